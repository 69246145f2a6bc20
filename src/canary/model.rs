//! `canary model`.

use super::change::{self, ChangeArgs};
use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use model::ModelId;
use schema::ModelRequest;
use std::path::Path;

/// Say where models are served.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    Set(SetArgs),
}

/// Say where the stable model or the canary is served, on every node.
///
/// A node's own CANARY_UPSTREAMS goes over it. Every member votes, by asking the new URL.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  canary model set v1 --upstream http://127.0.0.1:9001/predict
  canary model set v1 --no-upstream       only what each node says for itself")]
struct SetArgs {
    /// The model.
    #[arg(value_name = "MODEL")]
    model: ModelId,
    /// Its URL.
    #[arg(long, value_name = "URL", required_unless_present = "no_upstream")]
    upstream: Option<String>,
    /// It has none.
    #[arg(long, conflicts_with = "upstream")]
    no_upstream: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) fn run(args: ModelArgs, certs: &Path) -> Result<Exit, Failure> {
    let ModelCommand::Set(SetArgs { model, upstream, change, .. }) = args.command;
    change::run(&change, certs, "/models", &ModelRequest { id: model, upstream })
}
