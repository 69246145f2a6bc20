//! `canary pki`: one file a subcommand.

mod init;
mod inspect;
mod verify;

use super::failure::{Exit, Failure};
use crate::model::Peers;
use crate::pki::PkiError;
use clap::{Args, Subcommand};
use std::path::Path;

/// Make and look at the certificates of a mesh.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    Init(init::InitArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
}

pub(crate) fn run(args: PkiArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        PkiCommand::Init(args) => init::run(args, certs),
        PkiCommand::Inspect(args) => inspect::run(args),
        PkiCommand::Verify(args) => verify::run(args, certs),
    }
}

impl From<PkiError> for Failure {
    fn from(error: PkiError) -> Self {
        let exit = match &error {
            PkiError::Plan(_) => Exit::Usage,
            PkiError::Exists { .. } | PkiError::Interrupted { .. } => Exit::Refused,
            PkiError::Expired { .. } => Exit::CertificateExpiry,
            PkiError::UnsafeKey { .. } => Exit::UnsafeKey,
            PkiError::Busy { .. } | PkiError::Io { .. } | PkiError::Generate(_) | PkiError::Random(_) => Exit::Failed,
            PkiError::Peers(_)
            | PkiError::NotADirectory(_)
            | PkiError::Missing { .. }
            | PkiError::TooLarge { .. }
            | PkiError::Format { .. }
            | PkiError::Ca { .. }
            | PkiError::Crl { .. }
            | PkiError::Svid { .. }
            | PkiError::Identity { .. }
            | PkiError::KeyMismatch { .. }
            | PkiError::Chain { .. }
            | PkiError::NotYetValid { .. }
            | PkiError::Address { .. }
            | PkiError::Bundle { .. } => Exit::Configuration,
        };
        Self::new(exit, error)
    }
}

/// The `PEERS_NODE_*` variables of this process; none when none is set.
fn peers_of_environment() -> Result<Option<Peers>, PkiError> {
    // Names that are not text are none of ours; values that are not text are refused as addresses.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Ok(Peers::from_variables(variables)?)
}
