//! `canary node`.

use super::failure::{Exit, Failure};
use clap::Args;
use std::path::Path;

/// Run one node of the mesh.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {}

pub(crate) fn run(_args: NodeArgs, _certs: &Path) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
