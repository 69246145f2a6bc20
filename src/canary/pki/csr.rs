//! `canary pki csr`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use super::init::KeyKind;
use clap::Args;
use issue::{CsrPlan, CsrReport};
use model::{Host, NodeId};
use std::path::Path;

/// Make a key that never leaves this machine, and a request for its certificate.
///
/// A key that is there is kept and asked for again. The request carries nothing that is trusted but the public key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples, on the new machine, then where the authority is:
  canary pki csr node-d --addr 192.168.1.40
  canary pki sign node.csr --id node-d --addr 192.168.1.40")]
pub(super) struct CsrArgs {
    /// Which node this machine is: node-d.
    id: NodeId,
    /// Its addresses, for whoever reads the request.
    #[arg(long, value_name = "ADDRESS[,ADDRESS…]", required = true, value_delimiter = ',')]
    addr: Vec<Host>,
    /// The kind of a new key.
    #[arg(long, value_name = "KIND", default_value = "p256")]
    key_alg: KeyKind,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: CsrArgs, certs: &Path) -> Result<Exit, Failure> {
    let hosts = issue::each_once(args.addr);
    let plan = CsrPlan { dir: certs.to_owned(), node: args.id, hosts, key_algorithm: args.key_alg.algorithm() };
    let report = issue::request(&plan)?;
    args.output.print(|| told(&report), &report)
}

fn told(report: &CsrReport) -> String {
    let made = |new: bool| if new { "made" } else { "was there" };
    let request = trust::shell_word(&report.request);
    let mut text = format!("key        {} ({}; it stays here)\n", report.key.display(), made(report.made_key));
    text += &format!("request    {} ({})\n", report.request.display(), made(report.written));
    text += &format!("public key SHA-256 {}\n", trust::fingerprint(&report.public_key_sha256));
    text += &format!("Take {request} to where the authority is, and there:\n");
    text += &format!(
        "  canary pki sign {request} --id {} --addr {}\n",
        report.id,
        terminal::listed(&report.hosts).replace(", ", ",")
    );
    text
}
