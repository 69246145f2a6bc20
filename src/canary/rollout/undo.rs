//! `canary rollout undo`.

use crate::change::{self, ChangeArgs};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::ModelId;
use schema::UndoRequest;
use std::path::Path;

/// Make an earlier stable model the stable one again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary rollout undo\n  canary rollout undo --to v1")]
pub(super) struct UndoArgs {
    /// Which; the one before the present one where none is named.
    #[arg(long, value_name = "MODEL")]
    to: Option<ModelId>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: &UndoArgs, certs: &Path) -> Result<Exit, Failure> {
    change::run(&args.change, certs, "/rollouts/undo", &UndoRequest { to: args.to.clone() })
}
