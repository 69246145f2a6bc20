//! `canary member`.

mod drain;
mod undrain;

use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  canary member drain node-c       before maintenance: node-c serves stable only and has no vote
  canary member undrain node-c     back in the vote; needs the vote of every member

Majorities still count all configured members.";

/// Take a member out of the vote, or back in.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    Drain(drain::DrainArgs),
    Undrain(undrain::UndrainArgs),
}

pub(crate) fn run(args: MemberArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        MemberCommand::Drain(args) => drain::run(&args, certs),
        MemberCommand::Undrain(args) => undrain::run(&args, certs),
    }
}
