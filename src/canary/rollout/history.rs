//! `canary rollout history`.

use crate::cluster::{ReadArgs, block_on};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::NodeId;
use schema::{ApprovalsShape, EvidenceShape, HistoryLine, RolloutShape};
use service::operators;
use std::path::Path;
use terminal::{shares, table};

/// Show decided transactions, newest first, from the first node that answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  canary rollout history\n  canary rollout history --limit 5 --output json")]
pub(super) struct HistoryArgs {
    /// How many.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) fn run(args: &HistoryArgs, certs: &Path) -> Result<Exit, Failure> {
    let path = format!("/history?limit={}", args.limit);
    let client = args.read.client(certs)?;
    let (_, lines): (NodeId, Vec<HistoryLine>) = block_on(async { Ok(client.first(&path).await?) })?;
    let header = ["VERSION", "DECISION", "FROM", "TO", "BY", "PROPOSED", "TOOK", "TXID", "WHY"];
    args.read.viewer.output.print(|| table(header, lines.iter().map(cells)), &lines)
}

fn cells(line: &HistoryLine) -> [String; 9] {
    let dash = || "-".to_owned();
    [
        line.version.to_string(),
        line.decision.clone(),
        line.from.as_ref().map_or_else(dash, shares),
        line.state.as_ref().map_or_else(dash, |state| shares(&state.weights)),
        line.by.clone().unwrap_or_else(dash),
        line.proposed_at.clone(),
        line.took_ms.map_or_else(dash, |millis| format!("{millis:.1} ms")),
        line.txid.to_string(),
        why(line),
    ]
}

/// Who had approved the steps to come.
fn approvals(rollout: &RolloutShape) -> String {
    let to_come = rollout.approvals.iter().filter(|of| of.step > rollout.step && !of.by.is_empty());
    let line = |of: &ApprovalsShape| format!(", step {} approved by {}", of.step, operators(&of.by));
    to_come.map(line).collect()
}

/// The votes against it, or else how its rollout stood after it and what the voters had measured.
fn why(line: &HistoryLine) -> String {
    let against = line.votes.iter().filter_map(|(node, vote)| Some(format!("{node}: {}", vote.reason.as_ref()?)));
    let against: Vec<String> = against.collect();
    if !against.is_empty() {
        return against.join("; ");
    }
    if line.by.as_deref().is_some_and(|by| by.starts_with("wire/")) {
        return "all members speak the next version of the nodes' protocol".into();
    }
    let Some(rollout) = &line.rollout else { return String::new() };
    let stands = match (&rollout.outcome, &rollout.why) {
        (Some(outcome), Some(why)) => format!("{outcome}: {why}"),
        (Some(outcome), None) => outcome.clone(),
        (None, Some(why)) => format!("{}: {why}", rollout.phase),
        (None, None) => format!("step {} of {}{}", rollout.step, rollout.steps, approvals(rollout)),
    };
    let sum = |count: fn(&EvidenceShape) -> u64| line.evidence.values().map(count).sum::<u64>();
    match sum(|evidence| evidence.canary_requests) {
        0 => stands,
        requests => {
            let errors = sum(|evidence| evidence.canary_errors);
            format!("{stands} (the canary before it: {requests} requests, {errors} failed)")
        }
    }
}
