//! `canary rollout status`.

use super::follow::{self, Until};
use super::screen;
use crate::cluster::{ViewerArgs, block_on, parse_span};
use crate::failure::{Exit, Failure};
use clap::Args;
use client::Client;
use model::NodeId;
use schema::{CurrentRollout, ServedState};
use std::path::Path;
use std::time::Duration;
use terminal::{columns, shares};

/// How long each node may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Show the state that was agreed last, the rollout, and what is measured of it, from the first node that answers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary rollout status
  canary rollout status -w --timeout 10m     until it is over
  canary rollout status --output json

Exit code with -w: 0 promoted, 4 aborted or superseded, 5 rolled back, 124 not over in time. Without: 0, or 5 when the
last one was rolled back.")]
pub(super) struct StatusArgs {
    /// Stay until the rollout is over: redraws on a terminal, else prints a line for each change.
    #[arg(long, short)]
    watch: bool,
    /// With -w: give up after this time; the rollout goes on. Without: how long each node may take to answer.
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    timeout: Option<Duration>,
    #[command(flatten)]
    viewer: ViewerArgs,
}

pub(super) fn run(args: &StatusArgs, certs: &Path) -> Result<Exit, Failure> {
    let patience = args.timeout.filter(|_| !args.watch).unwrap_or(PATIENCE);
    let client = args.viewer.client(certs, patience)?;
    if args.watch {
        return follow::run(&client, args.viewer.output, Until::new(args.timeout));
    }
    let (node, state, current) = block_on(look(&client))?;
    let rollout = || current.as_ref().map(|current| format!("\n{}", screen::rollout(current))).unwrap_or_default();
    let json = serde_json::json!({"state": state, "current": current});
    args.viewer.output.print(|| text(node, &state) + &rollout(), &json)?;
    let outcome = state.rollout.as_ref().and_then(|rollout| rollout.outcome.as_deref());
    Ok(if outcome == Some("RolledBack") { Exit::RolledBack } else { Exit::Done })
}

/// What the first node that answers shows of its state and, if there is one, of its rollout.
async fn look(client: &Client) -> Result<(NodeId, ServedState, Option<CurrentRollout>), Failure> {
    let (node, state) = client.first("/routing/state").await?;
    Ok((node, state, client.read(node, "/rollouts/current").await.ok()))
}

fn text(node: NodeId, state: &ServedState) -> String {
    let agreed = &state.agreed;
    let mut rows = vec![
        ["version".to_owned(), format!("{} ({})", agreed.version, agreed.status)],
        ["weights".to_owned(), shares(&agreed.weights)],
    ];
    if let Some(txid) = agreed.txid {
        rows.push(["decided".to_owned(), format!("{txid}, proposed {}", agreed.timestamp)]);
    }
    rows.push(["digest".to_owned(), agreed.digest.to_string()]);
    if !agreed.drained.is_empty() {
        rows.push(["drained".to_owned(), agreed.drained.to_string()]);
    }
    if let Some(pending) = &state.pending {
        let text = format!("{} for version {}, since {}", pending.txid, pending.version, pending.since);
        rows.push(["pending".to_owned(), text]);
    }
    if let Some(why) = &state.ejected {
        rows.push(["ejected".to_owned(), format!("{node} serves stable only: {why}")]);
    }
    let note = if state.isolated { ", which is isolated and may be behind" } else { "" };
    rows.push(["told by".to_owned(), format!("{node}{note}")]);
    columns(&rows)
}
