//! `canary pki rotate-ca`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use issue::{MAX_CA_DAYS, RotatePlan, RotateReport, Stage, TrustedAuthority};
use std::path::Path;
use terminal::table;

/// Put a new authority in the place of the old one, in three stages.
///
/// Complete a stage on every machine before the next begins. Each can be repeated: it changes nothing once it is
/// complete, and completes one that was interrupted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples, each followed by copying the folders and ca.pem to every machine and signalling its node:
  canary pki rotate-ca --stage prepare        # a second authority, which all shall trust
  canary pki rotate-ca --stage activate       # it issues, and everyone gets a certificate of it
  canary pki rotate-ca --stage retire         # the old one is trusted no more")]
pub(super) struct RotateArgs {
    /// How far to go.
    #[arg(long, value_name = "STAGE")]
    stage: StageWord,
    /// How long the new authority is valid; with prepare.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CA_DAYS)))]
    ca_days: u32,
    /// A domain that the new authority may issue for besides those of the old one; with prepare; may be repeated.
    #[arg(long, value_name = "DOMAIN")]
    permit_dns: Vec<String>,
    /// An address block that the new authority may issue for besides those of the old one; with prepare; may be
    /// repeated.
    #[arg(long, value_name = "ADDRESS/PREFIX", value_parser = trust::parse_network)]
    permit_cidr: Vec<IpNet>,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StageWord {
    /// Make the new authority: both are trusted, the old one issues.
    Prepare,
    /// The new one issues, for all whose folders are here.
    Activate,
    /// The old one is trusted no more, and its key is deleted.
    Retire,
}

pub(super) fn run(args: RotateArgs, certs: &Path) -> Result<Exit, Failure> {
    let stage = match args.stage {
        StageWord::Prepare => Stage::Prepare,
        StageWord::Activate => Stage::Activate,
        StageWord::Retire => Stage::Retire,
    };
    let (dns, cidrs) = (args.permit_dns, args.permit_cidr);
    let report = issue::rotate(&RotatePlan { dir: certs.to_owned(), stage, ca_days: args.ca_days, dns, cidrs })?;
    for name in &report.left_out {
        anstream::eprintln!("warning: {name} is revoked and got no certificate of the new authority");
    }
    args.output.print(|| told(&report), &report)
}

fn told(report: &RotateReport) -> String {
    let row = |one: &TrustedAuthority| {
        let issues = if one.issues { "yes" } else { "no" };
        [one.subject.clone(), issues.to_owned(), one.not_after.to_string(), trust::fingerprint(&one.sha256)]
    };
    let mut text = table(["AUTHORITY", "ISSUES", "VALID UNTIL", "SHA-256"], report.authorities.iter().map(row));
    if !report.reissued.is_empty() {
        text += &format!("new certificates: {}\n", report.reissued.join(", "));
    }
    if !report.changed {
        text += "This stage was complete: nothing was changed.\n";
    }
    text += "Copy the folders and ca.pem to every machine and signal its node: kill -HUP PID\n";
    text += match report.stage {
        Stage::Prepare => "When all have them: canary pki rotate-ca --stage activate\n",
        Stage::Activate => "When all have them: canary pki rotate-ca --stage retire\n",
        Stage::Retire => "Then the change is complete.\n",
    };
    text
}
