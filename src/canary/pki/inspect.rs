//! `canary pki inspect`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::Item;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use terminal::{columns, length};
use trust::{CertificateFacts, CrlFacts};

/// Show what certificates and revocation lists say. Nothing is judged; see `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  canary pki inspect certs/node-a/node.pem\n  canary pki inspect certs/ca.pem certs/crl.pem --output json"
)]
pub(super) struct InspectArgs {
    /// PEM or DER files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: InspectArgs) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let mut all = Vec::new();
    for path in args.files {
        for item in issue::inspect(&path)? {
            all.push((path.clone(), item));
        }
    }
    let text = || all.iter().map(|(path, item)| told(path, item, now)).collect::<Vec<_>>().join("\n");
    args.output.print(text, &all.iter().map(|(path, item)| as_json(path, item, now)).collect::<Vec<_>>())
}

fn told(path: &Path, item: &Item, now: Timestamp) -> String {
    let (kind, rows) = match item {
        Item::Certificate(facts, problem) => {
            let problem = problem.as_ref().filter(|_| !facts.is_ca).map(ToString::to_string);
            (if facts.is_ca { "authority" } else { "certificate" }, certificate_rows(facts, problem, now))
        }
        Item::RevocationList(facts) => ("revocation list", list_rows(facts, now)),
        Item::PrivateKey => ("private key, not shown", Vec::new()),
        Item::Other(text) => (text.as_str(), Vec::new()),
    };
    let rows: Vec<[String; 2]> = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| [format!("  {name}"), value])
        .collect();
    format!("{}: {kind}\n{}", path.display(), columns(&rows))
}

fn certificate_rows(facts: &CertificateFacts, problem: Option<String>, now: Timestamp) -> Vec<(&'static str, String)> {
    let may_issue = match facts.path_length {
        Some(0) => "certificates, but no further authorities".to_owned(),
        Some(length) => format!("certificates and authorities, {length} deep"),
        None => "certificates and authorities".to_owned(),
    };
    vec![
        ("identity", facts.spiffe_id.clone().unwrap_or_default()),
        ("refused since", problem.unwrap_or_default()),
        ("subject", facts.subject.clone()),
        ("issuer", facts.issuer.clone()),
        ("serial", facts.serial.clone()),
        ("valid from", facts.not_before.to_string()),
        ("valid until", format!("{} ({})", facts.not_after, left(facts.not_after.duration_since(now)))),
        ("names", facts.names.join(", ")),
        ("key", facts.key.clone()),
        ("key usage", facts.key_usage.join(", ")),
        ("used for", facts.extended_key_usage.join(", ")),
        ("may issue", Some(may_issue).filter(|_| facts.is_ca).unwrap_or_default()),
        ("only for", facts.permitted_names.join(", ")),
        ("never for", facts.excluded_names.join(", ")),
        ("SHA-256", facts.fingerprint()),
    ]
}

fn list_rows(facts: &CrlFacts, now: Timestamp) -> Vec<(&'static str, String)> {
    let replaced = facts.next_update.map(|until| format!("{until} ({})", left(until.duration_since(now))));
    let revoked = if facts.revoked.is_empty() { "nothing".to_owned() } else { facts.revoked.join(", ") };
    vec![
        ("issuer", facts.issuer.clone()),
        ("number", facts.number.clone().unwrap_or_default()),
        ("made at", facts.this_update.to_string()),
        ("next before", replaced.unwrap_or_default()),
        ("revoked", revoked),
    ]
}

fn left(duration: SignedDuration) -> String {
    if duration.is_negative() { format!("over for {}", length(duration)) } else { format!("{} left", length(duration)) }
}

fn as_json(path: &Path, item: &Item, now: Timestamp) -> Value {
    let (kind, mut value) = match item {
        Item::Certificate(facts, problem) => {
            let mut value = json!(facts);
            value["fingerprint"] = json!(facts.fingerprint());
            value["seconds_left"] = json!(facts.not_after.duration_since(now).as_secs());
            value["refused_since"] = json!(problem.as_ref().filter(|_| !facts.is_ca).map(ToString::to_string));
            ("certificate", value)
        }
        Item::RevocationList(facts) => {
            let mut value = json!(facts);
            value["seconds_left"] = json!(facts.next_update.map(|until| until.duration_since(now).as_secs()));
            ("revocation_list", value)
        }
        Item::PrivateKey => ("private_key", json!({})),
        Item::Other(text) => ("other", json!({ "detail": text })),
    };
    value["kind"] = json!(kind);
    value["path"] = json!(path);
    value
}
