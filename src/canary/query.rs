//! `canary query`.

mod show;
mod watch;

use super::cluster::{ReadArgs, block_on};
use super::failure::{Exit, Failure};
use super::output::{Output, print_json, print_text};
use clap::Args;
use client::Verdict;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  canary query                      one row a node, and one verdict
  canary query --watch              draws it anew with every change
  canary query --output json        for programs
  canary query --timeout 500ms      do not wait longer for a dead node

The line `wire …` says which version of the nodes' protocol all of them have agreed to speak, and when an older program can
be started no more.

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
            return watch::run(&client, args.read.viewer.output).await;
        }
        let rows = client.compare().await;
        let verdict = Verdict::of(&rows);
        match args.read.viewer.output {
            Output::Table => {
                print_text(&format!("{}\n{}{}\n", show::table(&rows), show::wire(&rows), terminal::verdict(&verdict)))?;
            }
            Output::Json => print_json(&show::json(&rows))?,
        }
        Ok(exit(&verdict))
    })
}

const fn exit(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Synchronized { .. } => Exit::Done,
        Verdict::CatchingUp { .. } | Verdict::Diverged { .. } | Verdict::Unreachable { .. } => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_in_step_are_a_success() {
        assert_eq!(exit(&Verdict::Synchronized { version: 4, isolated: Vec::new() }), Exit::Done);
        let isolated = vec![model::NodeId::A];
        assert_eq!(exit(&Verdict::Synchronized { version: 4, isolated }), Exit::Done);
        let others = [
            Verdict::CatchingUp { newest: 4, behind: Vec::new() },
            Verdict::Diverged { version: 4, nodes: Vec::new() },
            Verdict::Unreachable { silent: Vec::new() },
        ];
        assert!(others.iter().all(|verdict| exit(verdict) == Exit::Unreachable));
    }
}
