//! `canary rollout promote`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use schema::VerbRequest;
use std::path::Path;

/// Go on to the next step now, without waiting for the hold or the verdict.
///
/// Every member has to vote for it; one whose measurements fail a limit does not. Approvals that the step asks for are not
/// skipped: with --full as many as the strictest of the steps to come asks for.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  canary rollout promote\n  canary rollout promote --full    make it the stable model now"
)]
pub(super) struct PromoteArgs {
    /// To the end of the plan: the canary becomes the stable model.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &PromoteArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/current/promote", &VerbRequest { full: args.full, why: None })
}
