//! `canary member drain` and `canary member undrain`.

use super::change::{self, ChangeArgs};
use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use model::NodeId;
use std::path::Path;

/// Take a member out of the vote, or back in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary member drain node-c       before maintenance: node-c serves stable only and has no vote
  canary member undrain node-c     back in the vote; needs the vote of every member

Majorities still count all configured members.")]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Take a member out of the vote: it serves the stable model only. A majority suffices.
    Drain(OneArgs),
    /// Take a drained member back into the vote.
    Undrain(OneArgs),
}

#[derive(Debug, Args)]
struct OneArgs {
    /// Which one, node-a or coordinator.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) fn run(args: MemberArgs, certs: &Path) -> Result<Exit, Failure> {
    let (OneArgs { id, change }, verb) = match args.command {
        MemberCommand::Drain(args) => (args, "drain"),
        MemberCommand::Undrain(args) => (args, "undrain"),
    };
    change::run(&change, certs, &format!("/members/{id}/{verb}"), &serde_json::json!({}))
}
