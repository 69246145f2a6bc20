//! `canary pki`.

use super::failure::{Exit, Failure};
use clap::Args;
use std::path::Path;

/// Make and look at the certificates of a mesh.
#[derive(Debug, Args)]
pub(crate) struct PkiArgs {}

pub(crate) fn run(_args: PkiArgs, _certs: &Path) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
