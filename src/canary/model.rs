//! `canary model`.

mod set;

use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use std::path::Path;

/// Say where models are served.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    Set(set::SetArgs),
}

pub(crate) fn run(args: ModelArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        ModelCommand::Set(args) => set::run(args, certs),
    }
}
