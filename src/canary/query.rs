//! `canary query`.

mod show;
mod verdict;
mod watch;

pub(super) use show::shares;
pub(super) use verdict::{Row, Verdict};

use super::cluster::{ReadArgs, block_on};
use super::failure::{Exit, Failure};
use super::output::{Output, print_json, print_text};
use clap::Args;
use client::Client;
use model::NodeId;
use std::path::Path;
use verdict::Seen;

const EXAMPLES: &str = "\
Examples:
  canary query                      one row a node, and one verdict
  canary query --watch              draws it anew with every change
  canary query --output json        for programs
  canary query --timeout 500ms      do not wait longer for a dead node

Where the nodes are: PEERS_NODE_A, PEERS_NODE_B …; else a bundle.json below the certificate directory; else 127.0.0.1.
Exit code: 0 when SYNCHRONIZED; 3 when CATCHING UP, DIVERGED or UNREACHABLE.";

/// Show what every node serves, and whether they agree.
///
/// Needs no client certificate, only ca.pem in the certificate directory, unless the nodes require one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct QueryArgs {
    /// Keep showing changes until interrupted: redraws on a terminal, else prints a line for each.
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) fn run(args: QueryArgs, certs: &Path) -> Result<Exit, Failure> {
    let client = args.read.client(certs)?;
    block_on(async {
        if args.watch {
            return watch::run(&client, args.read.output()).await;
        }
        let rows = gather(&client).await;
        let verdict = Verdict::of(&rows);
        match args.read.output() {
            Output::Table => print_text(&format!("{}\n{verdict}\n", show::table(&rows)))?,
            Output::Json => print_json(&show::json(&rows))?,
        }
        Ok(verdict.exit())
    })
}

/// Asks all nodes at once; one that does not answer in time is a row, too.
pub(super) async fn gather(client: &Client) -> Vec<Row> {
    let nodes: Vec<NodeId> = client.peers().iter().map(|(node, _)| node).collect();
    futures_util::future::join_all(nodes.into_iter().map(|node| look(client, node))).await
}

async fn look(client: &Client, node: NodeId) -> Row {
    let answer = match client.state(node).await {
        Ok(state) => Ok(Box::new(Seen { state, health: client.health(node).await.ok() })),
        Err(error) => Err(error.to_string()),
    };
    Row { node, answer }
}
