//! `canary rollout set-weight`.

use crate::change;
use crate::failure::{Exit, Failure};
use clap::Args;
use model::{ModelId, Weight};
use schema::WeightRequest;
use std::path::Path;

/// Give the canary this share of the traffic by hand, in per cent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary rollout set-weight 20 --canary v2     20 % to v2; needs the vote of every member
  canary rollout set-weight 0.5                half a per cent to the present canary
  canary rollout set-weight 0                  pull it back; a majority suffices, nobody has a veto
  canary rollout set-weight 50 --base-version 7     only if the state is still version 7

While a rollout is open its plan sets the weight: this only lowers it then, which pauses the rollout.

Exit code: 0 decided; 3 no majority or nobody reachable; 4 refused or voted down, with each
node's reason; 124 sent, but the outcome is not known yet (see `canary rollout status`).")]
pub(super) struct SetWeightArgs {
    /// The share in per cent, 0 to 100 with up to two decimals: 20 is a fifth, 0.2 is two in a thousand.
    #[arg(value_name = "PER_CENT", value_parser = Weight::from_percent, allow_negative_numbers = true)]
    weight: Weight,
    /// Make this model the canary; without it, the present one is meant.
    #[arg(long, value_name = "MODEL")]
    canary: Option<ModelId>,
    /// Refuse unless the state is at this version.
    #[arg(long, value_name = "VERSION")]
    base_version: Option<u64>,
    #[command(flatten)]
    change: change::ChangeArgs,
}

pub(super) fn run(args: &SetWeightArgs, certs: &Path) -> Result<Exit, Failure> {
    let body = WeightRequest {
        canary_weight: args.weight.fraction(),
        canary_model_id: args.canary.clone(),
        base_version: args.base_version,
    };
    change::run(&args.change, certs, "/routing/weights", &body)
}
