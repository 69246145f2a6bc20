//! `canary demo`.

use super::failure::{Exit, Failure};
use clap::Args;

/// Run a whole mesh on this machine, alone.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {}

pub(crate) fn run(_args: DemoArgs) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
