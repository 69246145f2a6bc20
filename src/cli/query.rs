//! `canary query`.

use super::failure::{Exit, Failure};
use clap::Args;
use std::path::Path;

/// Show what every node serves, and whether they agree.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {}

pub(crate) fn run(_args: QueryArgs, _certs: &Path) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
