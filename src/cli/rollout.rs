//! `canary rollout`.

use super::change;
use super::cluster::{ReadArgs, block_on};
use super::failure::{Exit, Failure};
use super::output::{Output, columns, print_json, print_text};
use super::query::shares;
use crate::api::client::ClientError;
use crate::api::{HistoryLine, ServedState, WeightRequest};
use crate::model::{ModelId, NodeId, Weight};
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use std::path::Path;

const WEIGHT_EXAMPLES: &str = "\
Examples:
  canary rollout set-weight 20 --canary v2     20 % to v2; needs the vote of every member
  canary rollout set-weight 0.5                half a per cent to the present canary
  canary rollout set-weight 0                  pull it back; a majority suffices, nobody has a veto
  canary rollout set-weight 50 --base-version 7     only if the state is still version 7

Exit code: 0 decided; 3 no majority or nobody reachable; 4 refused or voted down, with each
node's reason; 124 sent, but the outcome is not known yet (see `canary rollout status`).";

/// Change how much traffic the canary gets, and see what was decided.
#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    SetWeight(SetWeightArgs),
    Status(StatusArgs),
    History(HistoryArgs),
}

/// Give the canary this share of the traffic, in per cent.
#[derive(Debug, Args)]
#[command(after_help = WEIGHT_EXAMPLES)]
struct SetWeightArgs {
    /// The share in per cent, 0 to 100 with up to two decimals: 20 is a fifth, 0.2 is two in a thousand.
    #[arg(value_name = "PER_CENT", value_parser = Weight::from_percent, allow_negative_numbers = true)]
    weight: Weight,
    /// Make this model the canary; without it, the present one is meant.
    #[arg(long, value_name = "MODEL")]
    canary: Option<ModelId>,
    /// Refuse unless the state is at this version.
    #[arg(long, value_name = "VERSION")]
    base_version: Option<u64>,
    #[command(flatten)]
    change: change::ChangeArgs,
}

/// Show the state that was agreed last, from the first node that answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary rollout status\n  canary rollout status --output json")]
struct StatusArgs {
    #[command(flatten)]
    read: ReadArgs,
}

/// Show decided transactions, newest first, from the first node that answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary rollout history\n  canary rollout history --limit 5 --output json")]
struct HistoryArgs {
    /// How many.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) fn run(args: RolloutArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        RolloutCommand::SetWeight(args) => set_weight(&args, certs),
        RolloutCommand::Status(args) => status(&args.read, certs),
        RolloutCommand::History(args) => history(&args, certs),
    }
}

fn set_weight(args: &SetWeightArgs, certs: &Path) -> Result<Exit, Failure> {
    let body = WeightRequest {
        canary_weight: args.weight.fraction(),
        canary_model_id: args.canary.clone(),
        base_version: args.base_version,
    };
    change::run(&args.change, certs, "/routing/weights", &body)
}

fn status(args: &ReadArgs, certs: &Path) -> Result<Exit, Failure> {
    let (node, state): (NodeId, ServedState) = first(args, certs, "/routing/state")?;
    if args.output == Output::Json {
        print_json(&state)?;
    } else {
        print_text(&status_text(node, &state))?;
    }
    Ok(Exit::Done)
}

fn status_text(node: NodeId, state: &ServedState) -> String {
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
    let note = if state.isolated { ", which is isolated and may be behind" } else { "" };
    rows.push(["told by".to_owned(), format!("{node}{note}")]);
    columns(&rows)
}

fn history(args: &HistoryArgs, certs: &Path) -> Result<Exit, Failure> {
    let path = format!("/history?limit={}", args.limit);
    let (_, lines): (NodeId, Vec<HistoryLine>) = first(&args.read, certs, &path)?;
    if args.read.output == Output::Json {
        print_json(&lines)?;
        return Ok(Exit::Done);
    }
    let header = ["VERSION", "DECISION", "WEIGHTS", "BY", "PROPOSED", "TOOK", "TXID", "REASONS"];
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(lines.iter().map(history_cells)).collect();
    print_text(&columns(&rows))?;
    Ok(Exit::Done)
}

fn history_cells(line: &HistoryLine) -> [String; 8] {
    let dash = || "-".to_owned();
    let reasons = line.votes.iter().filter_map(|(node, vote)| Some(format!("{node}: {}", vote.reason.as_ref()?)));
    [
        line.version.to_string(),
        line.decision.clone(),
        line.state.as_ref().map_or_else(dash, |state| shares(&state.weights)),
        line.by.clone().unwrap_or_else(dash),
        line.proposed_at.clone(),
        line.took_ms.map_or_else(dash, |millis| format!("{millis:.1} ms")),
        line.txid.to_string(),
        reasons.collect::<Vec<_>>().join("; "),
    ]
}

/// The document of the first node, in id order, that answers.
fn first<T: DeserializeOwned>(args: &ReadArgs, certs: &Path, path: &str) -> Result<(NodeId, T), Failure> {
    let client = args.client(certs)?;
    block_on(async {
        let mut silent: Vec<(NodeId, ClientError)> = Vec::new();
        for (node, _) in client.peers().iter() {
            match client.read(node, path).await {
                Ok(document) => return Ok((node, document)),
                Err(error) => silent.push((node, error)),
            }
        }
        Err(change::nobody(&silent))
    })
}
