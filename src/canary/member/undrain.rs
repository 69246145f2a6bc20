//! `canary member undrain`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::NodeId;
use std::path::Path;

/// Take a drained member back into the vote.
#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    /// Which one, node-a or coordinator.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &UndrainArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, &format!("/members/{}/undrain", args.id), &serde_json::json!({}))
}
