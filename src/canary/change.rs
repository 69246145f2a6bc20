//! Asking for a change: who is asked, and what the answer means for people and scripts.

use super::cluster::{IdentityArgs, block_on, parse_span};
use super::failure::{Exit, Failure};
use super::output::{Output, print_json, print_text};
use clap::Args;
use client::{Client, Silent, Told, Undecided};
use http::StatusCode;
use schema::{Committed, Document, code};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use terminal::{listed, shares};

// No doc comment: that would be the help of commands that take nothing else.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    /// How to print.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(super) output: Output,
    /// How long a node may take to show that it is there, before the next one is asked.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_span)]
    timeout: Duration,
}

impl ChangeArgs {
    pub(super) fn client(&self, certs: &Path) -> Result<Client, Failure> {
        self.identity.client(certs, self.timeout)
    }
}

/// Asks the nodes in order, beginning with the usual coordinator, until one takes the change.
pub(super) fn run(args: &ChangeArgs, certs: &Path, path: &str, body: &impl Serialize) -> Result<Exit, Failure> {
    let client = args.client(certs)?;
    let waits = |gone| {
        terminal::note(format_args!("{gone} coordinates and does not answer: waiting for another node to take over"))
    };
    let told = block_on(async { client.decide(path, body, waits).await.map_err(undecided) })?;
    if args.output == Output::Json {
        print_json(&told.document)?;
    }
    if told.status != StatusCode::OK {
        return Err(refusal(&told));
    }
    let committed = Committed::read(told.document)
        .map_err(|error| Failure::new(Exit::Failed, error).with_hint("is the node of another version of canary?"))?;
    if args.output == Output::Table {
        print_text(&(summary(&committed) + "\n"))?;
    }
    Ok(Exit::Done)
}

fn undecided(undecided: Undecided) -> Failure {
    match undecided {
        Undecided::NotSent(silent) => silent.into(),
        unknown @ Undecided::Unknown { .. } => Failure::new(Exit::TimedOut, unknown)
            .with_hint("it may have been decided: see `canary query` and `canary rollout history`"),
    }
}

impl From<Silent> for Failure {
    fn from(silent: Silent) -> Self {
        Self::new(Exit::Unreachable, silent)
            .with_hint("are the nodes running, and are PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C their addresses?")
    }
}

/// What a problem means: its exit code, its words, and each node's reason.
fn refusal(told: &Told) -> Failure {
    let problem = told.problem();
    let exit = match told.status {
        StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        StatusCode::GATEWAY_TIMEOUT => Exit::TimedOut,
        status if status.is_client_error() => Exit::Refused,
        _ => Exit::Failed,
    };
    let failure = Failure::message(exit, problem.to_string());
    match hint(&problem.code) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn hint(code: &str) -> Option<&'static str> {
    match code {
        code::NO_MAJORITY => {
            Some("nothing was changed; more than half of the nodes must be up and connected: canary query")
        }
        code::OUTCOME_UNKNOWN => Some("it is shown as pending until it is settled: canary rollout status"),
        code::BASE_VERSION | code::SUPERSEDED | code::WOULD_RAISE => {
            Some("look at the state as it is now: canary rollout status")
        }
        code::BUSY | code::STOPPING => Some("try again in a moment"),
        code::WIRE_VERSION => {
            Some("canary query names the members to upgrade first, or to start without --wire-version")
        }
        code::NOT_APPROVED => Some("canary rollout approve --operator NAME, by operators who have not approved it yet"),
        code::ROLLOUT_OPEN => Some("canary rollout status shows it; start MODEL --supersede ends it"),
        code::NO_ROLLOUT => Some("canary rollout start MODEL"),
        code::ROLE_NOT_ALLOWED | code::UNAUTHENTICATED => {
            Some("use an operator's certificate: --operator NAME or --identity DIR")
        }
        _ => None,
    }
}

fn summary(committed: &Committed) -> String {
    let state = &committed.state;
    let mut text = format!("{} version {}: {}", committed.decision, state.version, shares(&state.weights));
    if let Some(note) = &committed.note {
        text += &format!("\n{note}");
    }
    if !state.drained.is_empty() {
        text += &format!("\ndrained: {}", state.drained);
    }
    text += &format!("\nserved by {}", listed(&committed.acknowledged));
    if !committed.others.is_empty() {
        let others = listed(&committed.others);
        text += &match &committed.others_until {
            Some(until) => {
                format!("\nnot acknowledged yet by {others}: from {until} on at the latest, this state or stable only")
            }
            None => {
                format!("\nnot acknowledged yet by {others}: without a bound, an earlier state may be served there")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeId;
    use serde_json::{Value, json};

    fn refused(status: u16, document: Value) -> Failure {
        let status = StatusCode::from_u16(status).expect("a status");
        refusal(&Told { node: NodeId::A, status, document, took: Duration::ZERO })
    }

    fn committed(others: &[&str], until: Option<&str>) -> Committed {
        let state = json!({
            "version": 4, "stable_model_id": "v1", "canary_model_id": "v2", "weights": {"v1": 0.8, "v2": 0.2},
            "status": "COMMITTED", "txid": null, "timestamp": "", "digest": "0".repeat(64),
            "coordinator": "node-a", "salt": null, "drained": [],
        });
        let document = json!({
            "decision": "COMMIT", "state": state, "acknowledged": ["node-a", "node-b"], "others": others,
            "others_until": until,
        });
        serde_json::from_value(document).expect("an answer")
    }

    #[test]
    fn who_serves_it_and_until_when_the_others_may_not() {
        assert_eq!(summary(&committed(&[], None)), "COMMIT version 4: v1 80 %, v2 20 %\nserved by node-a, node-b");
        let bounded = summary(&committed(&["node-c"], Some("2026-11-23T02:00:10Z")));
        let told =
            "not acknowledged yet by node-c: from 2026-11-23T02:00:10Z on at the latest, this state or stable only";
        assert!(bounded.ends_with(told), "{bounded}");
        assert!(summary(&committed(&["node-c"], None)).contains("node-c: without a bound"));
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        let document = |code: &str| json!({"code": code, "title": "t", "detail": "d"});
        let codes = [
            (409, "busy", 4),
            (401, "unauthenticated", 4),
            (400, "bad_request", 4),
            (503, "no_majority", 3),
            (504, "outcome_unknown", 124),
            (500, "", 1),
        ];
        for (status, code, exit) in codes {
            assert_eq!(refused(status, document(code)).exit() as u8, exit, "{status} {code}");
        }
    }

    #[test]
    fn an_abort_names_each_nodes_reason() {
        let reasons = json!([{"node": "node-b", "reason": "its disk is full"}]);
        let told = json!({"code": "aborted", "title": "Voted down", "decision": "ABORT", "reasons": reasons});
        assert_eq!(refused(409, told).to_string(), "ABORT: Voted down (aborted)\n  node-b: its disk is full");
    }
}
