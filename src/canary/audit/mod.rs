//! `canary audit`.

mod verify;

use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use std::path::Path;

/// Check what the nodes have recorded.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(verify::VerifyArgs),
}

pub(super) fn run(args: AuditArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        AuditCommand::Verify(args) => verify::run(args, certs),
    }
}
