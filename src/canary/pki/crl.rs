//! `canary pki crl`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::ListReport;
use jiff::SignedDuration;
use std::path::Path;

/// Sign the revocation lists anew, before they are out of date.
///
/// All that is revoked stays on them. They are put beside ca.pem and into the folder of every node that is here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary pki crl\n  canary pki crl --next-update 30d")]
pub(super) struct CrlArgs {
    /// For how long the lists are current: 90d, 36h.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = super::time)]
    next_update: SignedDuration,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: &CrlArgs, certs: &Path) -> Result<Exit, Failure> {
    let report = issue::sign_lists(certs, args.next_update)?;
    warn(&report);
    args.output.print(|| told(&report), &report)
}

/// Says whose list could not be signed.
pub(super) fn warn(report: &ListReport) {
    for name in &report.kept {
        anstream::eprintln!("warning: the key of {name} is not here: its revocation list is the old one");
    }
}

/// The lists, and what to do with them.
pub(super) fn told(report: &ListReport) -> String {
    let (number, count, until) = (report.number, report.revoked, report.next_update);
    let mut text = format!("revocation list {number}: {count} revoked, to be replaced before {until}\n");
    if report.written.is_empty() {
        return text + "nothing had to be written\n";
    }
    for path in &report.written {
        text += &format!("wrote      {}\n", path.display());
    }
    text + "Copy it into the node's folder on every machine and signal the node there: kill -HUP PID\n"
}
