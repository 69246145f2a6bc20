//! `canary member`.

use super::failure::{Exit, Failure};
use clap::Args;
use std::path::Path;

/// Take a member out of the vote, or back in.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {}

pub(crate) fn run(_args: MemberArgs, _certs: &Path) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
