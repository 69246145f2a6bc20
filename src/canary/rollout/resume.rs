//! `canary rollout resume`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use schema::VerbRequest;
use std::path::Path;

/// Go on with the present step, measured anew.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &ResumeArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/current/resume", &VerbRequest::default())
}
