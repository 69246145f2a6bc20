//! `canary pki node`.

use super::super::failure::{Exit, Failure};
use super::NewArgs;
use clap::Args;
use issue::NodePlan;
use model::{Host, NodeId};
use std::path::Path;

/// Make a certificate for another machine, or for one that has moved.
///
/// The bundle.json of every node that is here is told of it. To do it again changes nothing while the certificate is
/// good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary pki node node-d --addr 192.168.1.40
  canary pki node node-d --addr 192.168.1.40,d.example --san d.internal
  canary pki node node-b --addr 192.168.1.21 --force          # node-b has moved")]
pub(super) struct NodeArgs {
    /// Which node: node-d, node-e and so on, without gaps.
    id: NodeId,
    /// Its addresses, the first of which the others dial.
    #[arg(long, value_name = "ADDRESS[,ADDRESS…]", required = true, value_delimiter = ',')]
    addr: Vec<Host>,
    /// A further name or address in the certificate; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    san: Vec<Host>,
    #[command(flatten)]
    new: NewArgs,
}

pub(super) fn run(args: NodeArgs, certs: &Path) -> Result<Exit, Failure> {
    let NewArgs { days, output, .. } = args.new;
    let hosts = issue::each_once(args.addr.into_iter().chain(args.san));
    let plan = NodePlan { dir: certs.to_owned(), node: args.id, hosts, days, existing: args.new.existing() };
    super::issued::print(&issue::add_node(&plan)?, output)
}
