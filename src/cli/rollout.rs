//! `canary rollout`.

use super::failure::{Exit, Failure};
use clap::Args;
use std::path::Path;

/// Change how much traffic the canary gets.
#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {}

pub(crate) fn run(_args: RolloutArgs, _certs: &Path) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
