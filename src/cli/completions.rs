//! `canary completions`.

use super::failure::{Exit, Failure};
use clap::Args;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {}

pub(crate) fn run(_args: CompletionsArgs) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
