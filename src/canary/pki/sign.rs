//! `canary pki sign`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::{Args, ValueEnum};
use issue::{MAX_DAYS, SignPlan};
use model::{Host, NodeId, Role};
use std::path::{Path, PathBuf};

/// Issue a certificate for a key that is elsewhere.
///
/// Only the public key is taken from the request, once it has proved to have the private one; all else is said here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary pki sign node.csr --id node-d --addr 192.168.1.40
  canary pki sign alice.csr --id alice --role operator

Then copy what is in the folder back to the machine, beside its key.")]
pub(super) struct SignArgs {
    /// The request.
    #[arg(value_name = "FILE")]
    request: PathBuf,
    /// Who the holder is: node-d, or the name of a client.
    #[arg(long, value_name = "NAME")]
    id: String,
    /// What the holder is.
    #[arg(long, value_name = "ROLE", default_value = "node")]
    role: AnyRole,
    /// A node's addresses, the first of which the others dial.
    #[arg(long, value_name = "ADDRESS[,ADDRESS…]", value_delimiter = ',')]
    addr: Vec<Host>,
    /// A further name or address in the certificate; may be repeated.
    #[arg(long, value_name = "ADDRESS", requires = "addr")]
    san: Vec<Host>,
    /// How long the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    days: u32,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AnyRole {
    /// A machine of the mesh.
    Node,
    /// Changes routes.
    Operator,
    /// Reports outcomes.
    App,
    /// Reads.
    Monitor,
}

pub(super) fn run(args: SignArgs, certs: &Path) -> Result<Exit, Failure> {
    let role = match args.role {
        AnyRole::Node => Role::Node(args.id.parse::<NodeId>().map_err(|error| Failure::new(Exit::Usage, error))?),
        AnyRole::Operator => Role::Operator(args.id),
        AnyRole::App => Role::App(args.id),
        AnyRole::Monitor => Role::Monitor(args.id),
    };
    let hosts = issue::each_once(args.addr.into_iter().chain(args.san));
    let plan = SignPlan { dir: certs.to_owned(), request: args.request, role, hosts, days: args.days };
    super::issued::print(&issue::sign(&plan)?, args.output)
}
