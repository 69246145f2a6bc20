//! `canary rollout abort`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use schema::VerbRequest;
use std::path::Path;

/// End it: the canary gets nothing. A majority suffices, and nobody can veto it.
#[derive(Debug, Args)]
pub(super) struct AbortArgs {
    /// Why, for the others.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &AbortArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/current/abort", &VerbRequest { full: false, why: args.why.clone() })
}
