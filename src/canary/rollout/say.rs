//! What an operator says of a rollout: `promote`, `approve`, `pause`, `resume`, `abort`, `retry`, `undo`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::ModelId;
use schema::{UndoRequest, VerbRequest};
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

/// Stop going on. The canary keeps its share, and is rolled back all the same when it fails.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// Why, for the others.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Go on with the present step, measured anew.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// End it: the canary gets nothing. A majority suffices, and nobody can veto it.
#[derive(Debug, Args)]
pub(super) struct AbortArgs {
    /// Why, for the others.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Begin the rollout again that was aborted or rolled back last.
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Make an earlier stable model the stable one again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary rollout undo\n  canary rollout undo --to v1")]
pub(super) struct UndoArgs {
    /// Which; the one before the present one where none is named.
    #[arg(long, value_name = "MODEL")]
    to: Option<ModelId>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn promote(args: &PromoteArgs, certs: &Path) -> Result<Exit, Failure> {
    say(&args.change, certs, "promote", &VerbRequest { full: args.full, why: None })
}

pub(super) fn approve(args: &ApproveArgs, certs: &Path) -> Result<Exit, Failure> {
    say(&args.change, certs, "approve", &VerbRequest::default())
}

pub(super) fn pause(args: &PauseArgs, certs: &Path) -> Result<Exit, Failure> {
    say(&args.change, certs, "pause", &VerbRequest { full: false, why: args.why.clone() })
}

pub(super) fn resume(args: &ResumeArgs, certs: &Path) -> Result<Exit, Failure> {
    say(&args.change, certs, "resume", &VerbRequest::default())
}

pub(super) fn abort(args: &AbortArgs, certs: &Path) -> Result<Exit, Failure> {
    say(&args.change, certs, "abort", &VerbRequest { full: false, why: args.why.clone() })
}

pub(super) fn retry(args: &RetryArgs, certs: &Path) -> Result<Exit, Failure> {
    say(&args.change, certs, "retry", &VerbRequest::default())
}

pub(super) fn undo(args: &UndoArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/undo", &UndoRequest { to: args.to.clone() })
}

fn say(change: &ChangeArgs, certs: &Path, verb: &str, body: &VerbRequest) -> Result<Exit, Failure> {
    change::run(change, certs, &format!("/rollouts/current/{verb}"), body)
}
