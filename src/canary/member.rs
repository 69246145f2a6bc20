//! `canary member`.

use super::change;
use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use model::NodeId;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  canary member drain node-c       before maintenance: node-c serves stable only and has no vote
  canary member undrain node-c     back in the vote; needs the vote of every member

Majorities still count all configured members.";

/// Take a member out of the vote, or back in.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Take a member out of the vote: it serves the stable model only. A majority suffices.
    Drain(OneMember),
    /// Take a drained member back into the vote.
    Undrain(OneMember),
}

#[derive(Debug, Args)]
struct OneMember {
    /// Which one, node-a or coordinator.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    change: change::ChangeArgs,
}

pub(crate) fn run(args: MemberArgs, certs: &Path) -> Result<Exit, Failure> {
    let (verb, args) = match &args.command {
        MemberCommand::Drain(args) => ("drain", args),
        MemberCommand::Undrain(args) => ("undrain", args),
    };
    let path = format!("/members/{}/{verb}", args.id);
    change::run(&args.change, certs, &path, &serde_json::json!({}))
}
