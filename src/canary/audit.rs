//! `canary audit`.

use super::failure::{Exit, Failure};
use super::output::Output;
use audit::{self, Decision, Finding, Source, Verification, files_in};
use clap::{Args, Subcommand};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use service::Direction;
use std::path::{Path, PathBuf};
use terminal::table;

/// Check what the nodes have recorded.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(VerifyArgs),
}

/// Prove from the nodes' records that nothing in them was changed and every decision was agreed.
///
/// Each line names the hash of the line before, so that a line which was changed, dropped or moved is found and named. Votes
/// and acceptances carry the signature of the node that gave them: a decision is proved when a majority of the members
/// accepted it and, if it gave the canary more, every member that was not drained voted for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary audit verify                          # every node's record in ./data
  canary audit verify --data /var/lib/canary
  canary audit verify a.jsonl b.jsonl c.jsonl --ca ca.pem --ca old-ca.pem

Needs no network and no running node. What one node's record lacks, because that node was away, another's may have: give
them together. The records of this machine's running nodes may end in the middle of a decision; try again.

Exit codes: 0 every line is as it was written and every decision is proved, 1 otherwise.")]
struct VerifyArgs {
    /// Records, or directories with records [default: those of all nodes in the data directory].
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// The data directory.
    #[arg(long, env = "CANARY_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// The authority's certificates, present and former ones [default: ca.pem in the certificate directory].
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: AuditArgs, certs: &Path) -> Result<Exit, Failure> {
    let AuditCommand::Verify(args) = args.command;
    let authorities = authorities(&args.ca, certs)?;
    let sources = sources(&args.paths, &args.data)?;
    let verified = audit::verify(&sources, &authorities);
    args.output.print(|| told(&verified, sources.len()), &shape(&verified))?;
    Ok(if verified.is_sound() { Exit::Done } else { Exit::Failed })
}

/// All authorities, whatever their age: what was signed while they were valid stays signed.
fn authorities(files: &[PathBuf], certs: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let usual = [certs.join("ca.pem")];
    let mut all = Vec::new();
    for file in if files.is_empty() { &usual } else { files } {
        let wrong = |error| {
            let what = anyhow::anyhow!("{} holds no certificates that can be read: {error}", file.display());
            Failure::new(Exit::Failed, what)
                .with_hint("name the authority's certificate with --ca, or its directory with --certs")
        };
        let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
        all.extend(read.map_err(wrong)?);
    }
    Ok(all)
}

/// The records to read: files as they are given, and of directories all that they and their own directories hold.
fn sources(paths: &[PathBuf], data: &Path) -> Result<Vec<Source>, Failure> {
    let given = if paths.is_empty() { std::slice::from_ref(&data.to_owned()).to_vec() } else { paths.to_vec() };
    let mut files = Vec::new();
    for path in &given {
        if path.is_dir() {
            files.extend(below(path).map_err(|error| unreadable(path, &error))?);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let what = anyhow::anyhow!("there is no {} in {}", audit::AUDIT_FILE, given[0].display());
        return Err(
            Failure::new(Exit::Failed, what).with_hint("name the record, or the nodes' data directory with --data")
        );
    }
    files.iter().map(|file| Source::read(file).map_err(|error| unreadable(file, &error))).collect()
}

fn below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = files_in(directory)?;
    let mut folders: Vec<PathBuf> = std::fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        files.extend(files_in(&folder)?);
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, anyhow::anyhow!("{} cannot be read: {error}", path.display()))
}

fn told(verified: &Verification, files: usize) -> String {
    let decisions =
        table(["VERSION", "KIND", "ASKED BY", "VOTED", "ACCEPTED", "RESULT"], verified.decisions.iter().map(row));
    let mut text = if verified.decisions.is_empty() { "no decision is on file\n".to_owned() } else { decisions };
    text.push('\n');
    for Finding { place, what } in &verified.findings {
        text += &format!("WRONG  {place}: {what}\n");
    }
    for Finding { place, what } in &verified.notes {
        text += &format!("note   {place}: {what}\n");
    }
    let proved = verified.decisions.iter().filter(|decision| decision.missing.is_empty()).count();
    let (decisions, lines, wrong) = (verified.decisions.len(), verified.lines, verified.findings.len());
    let verdict = if verified.is_sound() { "SOUND" } else { "NOT SOUND" };
    text + &format!(
        "{verdict}: {files} files, {lines} lines, {wrong} wrong; {proved} of {decisions} decisions are proved\n"
    )
}

fn row(decision: &Decision) -> [String; 6] {
    let by = decision.by.as_ref().map_or_else(|| "-".to_owned(), |by| format!("{by} {}", by.remote).trim().to_owned());
    let voted = match decision.direction {
        Direction::Advance => decision.voted.to_string(),
        Direction::Retreat => "-".to_owned(),
    };
    let result = if decision.missing.is_empty() {
        "proved".to_owned()
    } else {
        format!("not proved: lacks {}", decision.missing.join(", "))
    };
    let kind = kind(decision.direction).to_owned();
    [decision.version.to_string(), kind, by, voted, decision.accepted.to_string(), result]
}

const fn kind(direction: Direction) -> &'static str {
    match direction {
        Direction::Advance => "advance",
        Direction::Retreat => "retreat",
    }
}

fn shape(verified: &Verification) -> Value {
    let findings = |findings: &[Finding]| -> Vec<Value> {
        findings.iter().map(|finding| json!({ "place": finding.place, "what": finding.what })).collect()
    };
    let decisions = verified.decisions.iter().map(|decision| {
        json!({
            "version": decision.version, "txid": decision.txid, "digest": decision.digest,
            "kind": kind(decision.direction), "by": decision.by, "known_to": decision.known_to,
            "voted": decision.voted, "accepted": decision.accepted,
            "proved": decision.missing.is_empty(), "missing": decision.missing,
        })
    });
    json!({
        "ok": verified.is_sound(), "lines": verified.lines, "findings": findings(&verified.findings),
        "notes": findings(&verified.notes), "decisions": decisions.collect::<Vec<_>>(),
    })
}
