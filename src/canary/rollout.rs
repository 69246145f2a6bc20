//! `canary rollout`. The words that take nothing of their own are here; every other command has a file.

mod explain;
mod follow;
mod history;
mod needs;
mod plan;
mod promote;
mod screen;
mod set_weight;
mod start;
mod status;
mod undo;

use super::change::{self, ChangeArgs};
use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use schema::VerbRequest;
use std::path::Path;

/// Bring a new version into the traffic step by step, and see how it does.
#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    Start(start::StartArgs),
    Explain(explain::ExplainArgs),
    Status(status::StatusArgs),
    Promote(promote::PromoteArgs),
    /// Say that the next step that asks for approvals may be entered.
    ///
    /// It counts once for an operator, by the name in the certificate. Who started the rollout has not approved by that.
    /// An approval skips no hold and no verdict, and holds for that step alone.
    #[command(after_help = "Examples:\n  canary rollout approve\n  canary rollout approve --operator alice")]
    Approve(ChangeArgs),
    /// Stop going on. The canary keeps its share, and is rolled back all the same when it fails.
    Pause(WhyArgs),
    /// Go on with the present step, measured anew.
    Resume(ChangeArgs),
    /// End it: the canary gets nothing. A majority suffices, and nobody can veto it.
    Abort(WhyArgs),
    /// Begin the rollout again that was aborted or rolled back last.
    Retry(ChangeArgs),
    Undo(undo::UndoArgs),
    SetWeight(set_weight::SetWeightArgs),
    History(history::HistoryArgs),
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// Why, for the others.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) fn run(args: RolloutArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        RolloutCommand::Start(args) => start::run(args, certs),
        RolloutCommand::Explain(args) => explain::run(&args),
        RolloutCommand::Status(args) => status::run(&args, certs),
        RolloutCommand::Promote(args) => promote::run(&args, certs),
        RolloutCommand::Approve(args) => say(&args, certs, "approve", None),
        RolloutCommand::Pause(args) => say(&args.change, certs, "pause", args.why),
        RolloutCommand::Resume(args) => say(&args, certs, "resume", None),
        RolloutCommand::Abort(args) => say(&args.change, certs, "abort", args.why),
        RolloutCommand::Retry(args) => say(&args, certs, "retry", None),
        RolloutCommand::Undo(args) => undo::run(&args, certs),
        RolloutCommand::SetWeight(args) => set_weight::run(&args, certs),
        RolloutCommand::History(args) => history::run(&args, certs),
    }
}

/// Says a word about the rollout that is open, or was last.
fn say(change: &ChangeArgs, certs: &Path, verb: &str, why: Option<String>) -> Result<Exit, Failure> {
    change::run(change, certs, &format!("/rollouts/current/{verb}"), &VerbRequest { full: false, why })
}
