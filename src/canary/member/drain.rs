//! `canary member drain`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::NodeId;
use std::path::Path;

/// Take a member out of the vote: it serves the stable model only. A majority suffices.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Which one, node-a or coordinator.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &DrainArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, &format!("/members/{}/drain", args.id), &serde_json::json!({}))
}
