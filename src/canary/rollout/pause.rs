//! `canary rollout pause`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use schema::VerbRequest;
use std::path::Path;

/// Stop going on. The canary keeps its share, and is rolled back all the same when it fails.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// Why, for the others.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &PauseArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/current/pause", &VerbRequest { full: false, why: args.why.clone() })
}
