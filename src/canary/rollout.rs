//! `canary rollout`.

mod abort;
mod approve;
mod follow;
mod history;
mod pause;
mod promote;
mod resume;
mod retry;
mod screen;
mod set_weight;
mod start;
mod status;
mod undo;

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
    Promote(promote::PromoteArgs),
    Approve(approve::ApproveArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Abort(abort::AbortArgs),
    Retry(retry::RetryArgs),
    Undo(undo::UndoArgs),
    SetWeight(set_weight::SetWeightArgs),
    History(history::HistoryArgs),
}

pub(crate) fn run(args: RolloutArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        RolloutCommand::Start(args) => start::run(args, certs),
        RolloutCommand::Status(args) => status::run(&args, certs),
        RolloutCommand::Promote(args) => promote::run(&args, certs),
        RolloutCommand::Approve(args) => approve::run(&args, certs),
        RolloutCommand::Pause(args) => pause::run(&args, certs),
        RolloutCommand::Resume(args) => resume::run(&args, certs),
        RolloutCommand::Abort(args) => abort::run(&args, certs),
        RolloutCommand::Retry(args) => retry::run(&args, certs),
        RolloutCommand::Undo(args) => undo::run(&args, certs),
        RolloutCommand::SetWeight(args) => set_weight::run(&args, certs),
        RolloutCommand::History(args) => history::run(&args, certs),
    }
}
