//! `canary rollout approve`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use schema::VerbRequest;
use std::path::Path;

/// Say that the next step that asks for approvals may be entered.
///
/// It counts once for an operator, by the name in the certificate. Who started the rollout has not approved by that. An
/// approval skips no hold and no verdict, and holds for that step alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary rollout approve\n  canary rollout approve --operator alice")]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &ApproveArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/current/approve", &VerbRequest::default())
}
