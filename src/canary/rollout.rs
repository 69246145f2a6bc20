//! `canary rollout`.

mod follow;
mod history;
mod say;
mod screen;
mod set_weight;
mod start;
mod status;

use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
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
    Status(status::StatusArgs),
    Promote(say::PromoteArgs),
    Approve(say::ApproveArgs),
    Pause(say::PauseArgs),
    Resume(say::ResumeArgs),
    Abort(say::AbortArgs),
    Retry(say::RetryArgs),
    Undo(say::UndoArgs),
    SetWeight(set_weight::SetWeightArgs),
    History(history::HistoryArgs),
}

pub(crate) fn run(args: RolloutArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        RolloutCommand::Start(args) => start::run(args, certs),
        RolloutCommand::Status(args) => status::run(&args, certs),
        RolloutCommand::Promote(args) => say::promote(&args, certs),
        RolloutCommand::Approve(args) => say::approve(&args, certs),
        RolloutCommand::Pause(args) => say::pause(&args, certs),
        RolloutCommand::Resume(args) => say::resume(&args, certs),
        RolloutCommand::Abort(args) => say::abort(&args, certs),
        RolloutCommand::Retry(args) => say::retry(&args, certs),
        RolloutCommand::Undo(args) => say::undo(&args, certs),
        RolloutCommand::SetWeight(args) => set_weight::run(&args, certs),
        RolloutCommand::History(args) => history::run(&args, certs),
    }
}
