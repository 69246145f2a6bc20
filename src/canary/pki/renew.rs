//! `canary pki renew`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::{MAX_DAYS, RenewKey, RenewPlan};
use std::path::Path;

/// Issue another certificate for someone who has one: the same names and addresses.
///
/// The present one is accepted until it expires or is revoked, so that machines can be renewed one after the other.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary pki renew node-b
  canary pki renew node-d --same-key          # its key is on its machine only
  canary pki renew operator-admin --days 30

Then copy the folder to its machine and signal the node there: kill -HUP PID")]
pub(super) struct RenewArgs {
    /// Whose: node-b, operator-admin.
    name: String,
    /// Keep the key, instead of making a new one.
    #[arg(long)]
    same_key: bool,
    /// How long the certificate is valid [default: as long as the present one].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    days: Option<u32>,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: RenewArgs, certs: &Path) -> Result<Exit, Failure> {
    let key = if args.same_key { RenewKey::Same } else { RenewKey::New };
    let plan = RenewPlan { dir: certs.to_owned(), name: args.name, key, days: args.days };
    super::issued::print(&issue::renew(&plan)?, args.output)
}
