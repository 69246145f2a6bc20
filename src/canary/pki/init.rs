//! `canary pki init`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use issue::{
    Constraints, DevNames, Existing, InitPlan, InitReport, KeyAlgorithm, MAX_CA_DAYS, MAX_DAYS, NodeReport,
    OwnAuthority,
};
use model::{Host, NodeId, Peers};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use terminal::{listed, table};

/// Make the authority, a certificate for each node and one operator, and an empty revocation list.
///
/// The nodes are those of --node, else of PEERS_NODE_A, PEERS_NODE_B and so on, else three on 127.0.0.1. Writes to
/// the certificate directory, checks the result, and prints what to copy where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  PEERS_NODE_A=192.168.1.10 PEERS_NODE_B=192.168.1.20 PEERS_NODE_C=192.168.1.30 canary pki init
  canary pki init --node node-a=10.0.0.1,a.example --node node-b=10.0.0.2 --node node-c=10.0.0.3
  canary pki init --permit-cidr 10.0.0.0/8 --permit-dns example.org   # leaves room for more nodes
  canary pki init --ca-cert own-ca.pem --ca-key own-ca.key            # an authority that was made elsewhere")]
pub(super) struct InitArgs {
    /// A node and its addresses, the first of which the others dial; once for each node.
    #[arg(long = "node", value_name = "ID=ADDRESS[,ADDRESS…]")]
    nodes: Vec<NodeSpec>,
    /// The name of the cluster in all identities [default: drawn at random].
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,
    /// How long certificates are valid.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    days: u32,
    /// How long the authority is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CA_DAYS)))]
    ca_days: u32,
    /// A domain that the authority may issue for besides the nodes' addresses; may be repeated.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "no_name_constraints")]
    permit_dns: Vec<String>,
    /// An address block that the authority may issue for besides the nodes' addresses; may be repeated.
    #[arg(long, value_name = "ADDRESS/PREFIX", value_parser = trust::parse_network, conflicts_with = "no_name_constraints")]
    permit_cidr: Vec<IpNet>,
    /// Let the authority issue for any name.
    #[arg(long)]
    no_name_constraints: bool,
    /// The certificate of an authority of your own, instead of a new one.
    #[arg(long, value_name = "FILE", requires = "ca_key", conflicts_with_all = ["ca_days", "permit_dns", "permit_cidr", "no_name_constraints"])]
    ca_cert: Option<PathBuf>,
    /// The private key of that authority; it is copied into the certificate directory.
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// The kind of all keys.
    #[arg(long, value_name = "KIND", default_value = "p256")]
    key_alg: KeyKind,
    /// The name of the operator.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    operator: String,
    /// Let every node also answer as localhost, 127.0.0.1 and ::1.
    #[arg(long)]
    dev: bool,
    /// Replace what is there; it is kept as *.bak-<time>.
    #[arg(long)]
    force: bool,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum KeyKind {
    /// ECDSA on P-256, which every client takes.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519, which browsers do not take.
    Ed25519,
}

impl KeyKind {
    pub(super) const fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::P256 => KeyAlgorithm::P256,
            Self::P384 => KeyAlgorithm::P384,
            Self::Ed25519 => KeyAlgorithm::Ed25519,
        }
    }
}

/// A value of `--node`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeSpec {
    id: NodeId,
    hosts: Vec<Host>,
}

impl FromStr for NodeSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, hosts) = text.split_once('=').ok_or("use node-a=10.0.0.1,a.example")?;
        let id = id.parse().map_err(|error: model::NodeIdError| error.to_string())?;
        let hosts: Result<Vec<Host>, _> = hosts.split(',').map(str::parse).collect();
        Ok(Self { id, hosts: hosts.map_err(|error: model::HostError| error.to_string())? })
    }
}

pub(super) fn run(args: InitArgs, certs: &Path) -> Result<Exit, Failure> {
    let output = args.output;
    let report = issue::init(&plan(args, certs)?)?;
    let warnings: Vec<String> = report.warnings.iter().map(super::told::warning).collect();
    for warning in &warnings {
        anstream::eprintln!("warning: {warning}");
    }
    let steps = Steps::after(&report);
    let printed =
        Printed { report: &report, warnings, fingerprint: trust::fingerprint(&report.ca_sha256), next: &steps };
    output.print(|| told(&report, &steps), &printed)
}

fn plan(args: InitArgs, certs: &Path) -> Result<InitPlan, Failure> {
    let constraints = if args.no_name_constraints {
        Constraints::Unlimited
    } else {
        Constraints::Named { dns: args.permit_dns, cidrs: args.permit_cidr }
    };
    Ok(InitPlan {
        trust_domain: args.trust_domain,
        days: args.days,
        ca_days: args.ca_days,
        key_algorithm: args.key_alg.algorithm(),
        constraints,
        operator: args.operator,
        dev: if args.dev { DevNames::Included } else { DevNames::LeftOut },
        authority: args.ca_cert.zip(args.ca_key).map(|(certificate, key)| OwnAuthority { certificate, key }),
        existing: if args.force { Existing::KeepAsBackup } else { Existing::Refuse },
        ..InitPlan::new(super::without_dot(certs), nodes(args.nodes)?)
    })
}

/// The nodes of the command line, else of the environment, else three on this machine.
fn nodes(specs: Vec<NodeSpec>) -> Result<BTreeMap<NodeId, Vec<Host>>, Failure> {
    if specs.is_empty() {
        let peers = super::peers_of_environment()?.unwrap_or_else(Peers::local);
        return Ok(peers.iter().map(|(id, host)| (id, vec![host.clone()])).collect());
    }
    let mut nodes = BTreeMap::new();
    for NodeSpec { id, hosts } in specs {
        if nodes.insert(id, hosts).is_some() {
            let message = format!("--node {id} is there twice: give all its addresses in one, {id}=10.0.0.1,a.example");
            return Err(Failure::message(Exit::Usage, message));
        }
    }
    // A mistake in the flags is one of usage, not of the environment.
    let first = nodes.iter().filter_map(|(id, hosts)| Some((*id, hosts.first()?.clone())));
    Peers::new(first).map_err(|error| {
        let message = error.to_string().replace("PEERS_NODE_", "--node node-").replace("set --node", "give --node");
        Failure::message(Exit::Usage, message.clone())
            .with_hint("name every node: --node node-a=… --node node-b=… --node node-c=…")
    })?;
    Ok(nodes)
}

/// The report with what to type next.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a InitReport,
    warnings: Vec<String>,
    fingerprint: String,
    #[serde(flatten)]
    next: &'a Steps,
}

/// Commands ready to paste.
#[derive(Serialize)]
struct Steps {
    /// For each machine but this one.
    copy: Vec<CopyStep>,
    /// Reads the state from the first node.
    curl: String,
}

#[derive(Serialize)]
struct CopyStep {
    node: NodeId,
    command: String,
}

impl Steps {
    fn after(report: &InitReport) -> Self {
        let target = remote_directory(&report.dir);
        let copy = report.nodes.iter().filter_map(|node| copy_step(&report.dir, node, &target));
        let curl = report.nodes.first().and_then(|node| Some((node.id, node.hosts.first()?)));
        let curl = curl.map(|(id, host)| {
            let ca = trust::shell_word(&report.dir.join("ca.pem"));
            format!("curl --cacert {ca} https://{}:{}/routing/state", host.in_url(), id.data_port())
        });
        Self { copy: copy.collect(), curl: curl.unwrap_or_default() }
    }
}

/// Copies `ca.pem` and the node's folder, and nothing of the authority; none for a node on this machine.
fn copy_step(dir: &Path, node: &NodeReport, target: &str) -> Option<CopyStep> {
    let host = node.hosts.first().filter(|host| !host.is_loopback())?;
    let (ca, folder) = (trust::shell_word(&dir.join("ca.pem")), trust::shell_word(&node.folder));
    // ssh hands its words to a second shell, scp does not.
    let twice = trust::shell_word(Path::new(target));
    let command = format!("ssh {host} mkdir -p {twice} && scp -pr {ca} {folder} {}:{target}/", scp_host(host));
    Some(CopyStep { node: node.id, command })
}

/// scp wants brackets around an IPv6 address, and a shell wants those quoted; ssh wants neither.
fn scp_host(host: &Host) -> String {
    let text = host.in_url();
    if text.starts_with('[') { format!("'{text}'") } else { text }
}

/// The same directory on another machine: below the home directory there if it is below it here.
fn remote_directory(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let clean: PathBuf = absolute.components().collect();
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let below =
        home.as_ref().and_then(|home| clean.strip_prefix(home).ok()).filter(|path| !path.as_os_str().is_empty());
    trust::shell_word(below.unwrap_or(&clean))
}

fn told(report: &InitReport, steps: &Steps) -> String {
    let row = |node: &NodeReport| {
        [node.id.to_string(), listed(&node.hosts), report.not_after.to_string(), node.serial.clone()]
    };
    let nodes = table(["NODE", "ADDRESSES", "VALID UNTIL", "SERIAL"], report.nodes.iter().map(row));
    let mut text = format!("Certificates of {} in {}\n\n", report.trust_domain, report.dir.display());
    text += &nodes;
    let sha256 = trust::fingerprint(&report.ca_sha256);
    text += &format!("\nauthority  until {}, SHA-256 {sha256}\n", report.ca_not_after);
    text += &format!("operator   {} (what the command line uses)\n", report.operator.display());
    for backup in &report.backups {
        text += &format!("kept       {}\n", backup.display());
    }
    if steps.copy.is_empty() {
        text += "\nAll nodes are on this machine: there is nothing to copy.\n";
    } else {
        let ca = report.dir.join("ca");
        text += &format!("\nCopy to each machine what it needs; {} stays here:\n\n", ca.display());
        for step in &steps.copy {
            text += &format!("  {}\n", step.command);
        }
    }
    text += &format!("\nOnce the nodes run:\n\n  {}\n", steps.curl);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_with_all_their_addresses() {
        let spec = |text: &str| text.parse::<NodeSpec>();
        let hosts = ["10.0.0.1", "a.example", "::1"].map(|text| text.parse().expect("an address"));
        assert_eq!(spec("node-a=10.0.0.1,A.example,[::1]"), Ok(NodeSpec { id: NodeId::A, hosts: hosts.to_vec() }));
        for wrong in ["", "node-a", "node-a=", "=10.0.0.1", "node-1=10.0.0.1", "node-a=10.0.0.1,", "node-a=10.0.0.1:1"]
        {
            assert!(spec(wrong).is_err(), "{wrong:?} must be refused");
        }
    }

    #[test]
    fn addresses_of_version_6_are_quoted_where_they_must_be() {
        let node = |host: &str| NodeReport {
            id: NodeId::A,
            folder: "certs/node-a".into(),
            hosts: vec![host.parse().expect("an address")],
            serial: String::new(),
        };
        let command = |host: &str| copy_step(Path::new("certs"), &node(host), "canary/certs").map(|step| step.command);
        let v6 =
            "ssh 2001:db8::1 mkdir -p canary/certs && scp -pr certs/ca.pem certs/node-a '[2001:db8::1]':canary/certs/";
        assert_eq!(command("2001:db8::1").as_deref(), Some(v6));
        assert_eq!(command("127.0.0.1"), None);
    }
}
