//! `canary rollout retry`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use schema::VerbRequest;
use std::path::Path;

/// Begin the rollout again that was aborted or rolled back last.
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &RetryArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/current/retry", &VerbRequest::default())
}
