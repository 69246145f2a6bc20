//! `canary model set`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::ModelId;
use schema::ModelRequest;
use std::path::Path;

/// Say where the stable model or the canary is served, on every node.
///
/// A node's own CANARY_UPSTREAMS goes over it. Every member votes, by asking the new URL.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  canary model set v1 --upstream http://127.0.0.1:9001/predict
  canary model set v1 --no-upstream       only what each node says for itself")]
pub(super) struct SetArgs {
    /// The model.
    #[arg(value_name = "MODEL")]
    model: ModelId,
    /// Its URL.
    #[arg(long, value_name = "URL", required_unless_present = "no_upstream")]
    upstream: Option<String>,
    /// It has none.
    #[arg(long, conflicts_with = "upstream")]
    no_upstream: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: SetArgs, certs: &Path) -> Result<Exit, Failure> {
    let body = ModelRequest { id: args.model, upstream: args.upstream };
    change::run(&args.change, certs, "/models", &body)
}
