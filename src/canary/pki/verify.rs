//! `canary pki verify`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::{Cause, Expectations, Finding};
use jiff::{SignedDuration, Timestamp};
use model::{Host, NodeId};
use serde::Serialize;
use serde_json::json;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use terminal::{listed, table, time_left};

/// Check certificates, keys and their files as the nodes will.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary pki verify                                  # everything in ./certs
  canary pki verify --as node-a                      # what this machine needs to be node-a
  canary pki verify --as node-a --peer-addr 10.0.0.1 # whether the others accept node-a from there
  canary pki verify --fail-within 30d certs/node-b/node.pem

Exit codes: 0 all is well, 6 something is expired or about to, 1 something else is wrong.")]
pub(super) struct VerifyArgs {
    /// Directories or PEM files [default: the certificate directory].
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Only what this node needs; a certificate must be its.
    #[arg(long = "as", value_name = "NODE")]
    node: Option<NodeId>,
    /// Whether the others expect the node at this address.
    #[arg(long, value_name = "ADDRESS", requires = "node")]
    peer_addr: Option<IpAddr>,
    /// Count as expired what is valid for less than this: 14d, 36h, 0d.
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = super::time)]
    fail_within: SignedDuration,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: VerifyArgs, certs: &Path) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let expected =
        Expectations { now, fail_within: args.fail_within, node: args.node, peers: super::peers_of_environment()? };
    let paths = if args.paths.is_empty() { vec![certs.to_owned()] } else { args.paths };
    let found = paths.iter().flat_map(|path| issue::verify(path, certs, &expected));
    let mut findings: Vec<Said> = found.map(Said::from).collect();
    if let Some(address) = args.peer_addr {
        findings.iter_mut().for_each(|finding| check_address(finding, address));
    }
    let exit = exit(&findings);
    args.output.print(|| told(&findings, now), &json!({ "ok": exit == Exit::Done, "findings": findings }))?;
    Ok(exit)
}

/// A finding as it is shown.
#[derive(Serialize)]
struct Said {
    path: PathBuf,
    what: String,
    not_after: Option<Timestamp>,
    hosts: Vec<Host>,
    problem: Option<Problem>,
}

/// Why something would not be accepted, as it is shown.
#[derive(Serialize)]
struct Problem {
    cause: Cause,
    text: String,
}

impl From<Finding> for Said {
    fn from(found: Finding) -> Self {
        let problem = found.problem.as_ref();
        let problem = problem.map(|problem| Problem { cause: problem.cause(), text: super::told::problem(problem) });
        let Finding { path, what, not_after, hosts, .. } = found;
        Self { path, what, not_after, hosts, problem }
    }
}

/// One problem that is not of age outweighs all that are.
fn exit(findings: &[Said]) -> Exit {
    let mut causes = findings.iter().filter_map(|finding| Some(finding.problem.as_ref()?.cause)).peekable();
    if causes.peek().is_none() {
        return Exit::Done;
    }
    if causes.all(|cause| cause == Cause::Expiry) { Exit::CertificateExpiry } else { Exit::Failed }
}

/// As a peer does after the handshake: the remote address must be one that is configured for the node.
fn check_address(finding: &mut Said, address: IpAddr) {
    if finding.problem.is_some() || finding.hosts.is_empty() {
        return;
    }
    let address = address.to_canonical();
    if finding.hosts.iter().flat_map(resolved).any(|expected| expected == address) {
        return;
    }
    let hosts = listed(&finding.hosts).replace(", ", " or ");
    let text = format!("address_mismatch: the others expect it at {hosts}, not at {address}");
    finding.problem = Some(Problem { cause: Cause::Invalid, text });
}

/// The addresses of a host now; a name that is not found has none.
fn resolved(host: &Host) -> Vec<IpAddr> {
    match host {
        Host::Ip(address) => vec![address.to_canonical()],
        Host::Name(name) => {
            let found = (name.as_str(), 0).to_socket_addrs();
            found.map(|found| found.map(|address| address.ip().to_canonical()).collect()).unwrap_or_default()
        }
    }
}

fn told(findings: &[Said], now: Timestamp) -> String {
    let row = |finding: &Said| {
        let left = finding.not_after.map_or_else(|| "-".to_owned(), |until| time_left(until, now));
        let what = if finding.what.is_empty() { "-".to_owned() } else { finding.what.clone() };
        let result = finding.problem.as_ref().map_or_else(|| "ok".to_owned(), |problem| problem.text.clone());
        [finding.path.display().to_string(), what, left, result]
    };
    table(["FILE", "WHAT", "LEFT", "RESULT"], findings.iter().map(row))
}
