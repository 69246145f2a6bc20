//! `canary pki list`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::{IndexEntry, Status};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use terminal::{table, time_left};

/// Show what was issued, and what became of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  canary pki list\n  canary pki list --expiring-within 30d || echo 'time to renew'\n\nExit codes: 0 done, 6 with --expiring-within when something in use has less time left."
)]
pub(super) struct ListArgs {
    /// Only what is in use and has less than this time left: 30d, 36h.
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    expiring_within: Option<SignedDuration>,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: &ListArgs, certs: &Path) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let mut entries = issue::list(certs)?;
    if let Some(time) = args.expiring_within {
        entries.retain(|entry| entry.expires_within(time, now));
    }
    let json: Vec<Value> = entries.iter().map(|entry| as_json(entry, now)).collect();
    args.output.print(|| told(&entries, now), &json)?;
    let late = args.expiring_within.is_some() && !entries.is_empty();
    Ok(if late { Exit::CertificateExpiry } else { Exit::Done })
}

fn told(entries: &[IndexEntry], now: Timestamp) -> String {
    let row = |entry: &IndexEntry| {
        let left = time_left(entry.not_after, now);
        [entry.name(), status(entry, now), entry.not_after.to_string(), left, entry.serial.clone()]
    };
    table(["NAME", "STATUS", "VALID UNTIL", "LEFT", "SERIAL"], entries.iter().map(row))
}

fn status(entry: &IndexEntry, now: Timestamp) -> String {
    match (entry.status, entry.reason) {
        (Status::Revoked, Some(reason)) => format!("revoked ({reason})"),
        (Status::Revoked, None) => "revoked".to_owned(),
        (Status::Valid | Status::Superseded, _) if entry.not_after <= now => "expired".to_owned(),
        (Status::Superseded, _) => "superseded".to_owned(),
        (Status::Valid, _) => "valid".to_owned(),
    }
}

fn as_json(entry: &IndexEntry, now: Timestamp) -> Value {
    let mut value = json!(entry);
    value["name"] = json!(entry.name());
    value["seconds_left"] = json!(entry.not_after.duration_since(now).as_secs());
    value
}
