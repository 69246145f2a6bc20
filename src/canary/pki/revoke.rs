//! `canary pki revoke`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::{IndexEntry, Reason, RevokeReport};
use std::path::Path;

/// Take certificates back: all of a holder, or one by its serial number or file.
///
/// Signs the revocation list anew and puts it beside ca.pem and into the folder of every node that is here. To do it
/// again changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary pki revoke node-b --reason keyCompromise
  canary pki revoke operator-alice --reason cessationOfOperation
  canary pki revoke 1f8e03c2a45b6d70918273645a6b7c8d        # one certificate, the others of its holder stay
  canary pki revoke old/node-b/node.pem

Then copy crl.pem into the node's folder on every machine and signal the node there: kill -HUP PID")]
pub(super) struct RevokeArgs {
    /// A name such as node-b or operator-admin, a serial number, or a certificate's file.
    #[arg(value_name = "NAME|SERIAL|FILE")]
    what: String,
    /// Why: keyCompromise, superseded, cessationOfOperation, affiliationChanged, privilegeWithdrawn or unspecified.
    #[arg(long, value_name = "REASON", default_value_t = Reason::Unspecified)]
    reason: Reason,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: &RevokeArgs, certs: &Path) -> Result<Exit, Failure> {
    let report = issue::revoke(certs, &args.what, args.reason)?;
    super::crl::warn(&report.lists);
    args.output.print(|| told(&report), &report)
}

fn told(report: &RevokeReport) -> String {
    let line = |entry: &IndexEntry, verb: &str| {
        let reason = entry.reason.map(|reason| format!(", {reason}")).unwrap_or_default();
        format!("{} {} {verb} at {}{reason}\n", entry.name(), entry.serial, entry.time)
    };
    let already = report.already.iter().map(|entry| line(entry, "was revoked already,"));
    let mut text: String = report.revoked.iter().map(|entry| line(entry, "revoked")).chain(already).collect();
    text += &super::crl::told(&report.lists);
    text
}
