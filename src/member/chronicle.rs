//! What was decided, and how: in memory for who asks, on disk for the next start.

use super::handle::Publisher;
use super::unix_millis;
use agreement::Votes;
use model::{Actor, Evidence, ModelId, NodeId, Time, TxId, UnixMillis, Weight};
use serde::{Deserialize, Serialize};
use service::{Event, Proposal, RoutingState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::History;

/// Decisions that follow one another this soon share one write. A process that is killed meanwhile forgets them here,
/// though not the newest, which the agreement remembers.
const WRITE_AFTER: Duration = Duration::from_millis(50);

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is the state, or was.
    Commit,
    /// It never will be.
    Abort,
}

/// One decided transaction, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The transaction.
    pub txid: TxId,
    /// Its version, or the one it was meant for.
    pub version: u64,
    /// How it ended.
    pub decision: Decision,
    /// Who asked for it; none where this node learned it without that.
    pub by: Option<Actor>,
    /// When it was proposed, by the coordinator's wall clock.
    pub proposed_at: UnixMillis,
    /// When this node learned the end, by its own.
    pub learned_at: UnixMillis,
    /// Each member's vote; empty for a retreat.
    pub votes: Votes,
    /// What the voters had measured.
    #[serde(default)]
    pub evidence: BTreeMap<NodeId, Evidence>,
    /// What was decided before, as far as this node knows.
    pub from: Option<Split>,
    /// What it decided; none for an abort.
    pub decided: Option<Arc<RoutingState>>,
    /// On the coordinator, how long it took from the request to the end.
    pub took: Option<Duration>,
}

/// Who gets how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The stable model.
    pub stable: ModelId,
    /// The canary.
    pub canary: Option<ModelId>,
    /// Its share.
    pub weight: Weight,
}

/// Keeps the entries.
pub(super) struct Chronicle {
    history: History,
    /// Lines that are not on disk yet.
    unwritten: String,
    write_at: Option<Time>,
    /// The state decided last.
    last: Arc<RoutingState>,
}

impl Split {
    /// The split by `state`.
    #[must_use]
    pub fn of(state: &RoutingState) -> Self {
        let canary = state.canary.as_ref().map(|canary| canary.model.id.clone());
        Self { stable: state.stable.id.clone(), canary, weight: state.canary_weight() }
    }
}

impl Chronicle {
    /// Goes on with what is on disk. The newest decision that the agreement remembers may be missing there: it is added.
    pub(super) fn new(history: History, lines: &[String], newest: &Proposal, publisher: &Publisher) -> Self {
        let entries = lines.iter().filter_map(|line| serde_json::from_str::<HistoryEntry>(line).ok());
        let mut newest_known = 0;
        for entry in entries {
            if entry.decision == Decision::Commit {
                newest_known = entry.version;
            }
            publisher.record(entry);
        }
        let mut chronicle = Self { history, unwritten: String::new(), write_at: None, last: Arc::clone(&newest.state) };
        if newest.state.version > newest_known {
            let entry = committed(newest, None, None);
            entry.into_iter().for_each(|entry| chronicle.keep(entry, publisher));
        }
        chronicle
    }

    /// Keeps what `event` tells of a decision, if it does.
    pub(super) fn record(&mut self, event: Event, publisher: &Publisher) {
        match event {
            Event::Committed { proposal, took } => {
                let from = Split::of(&self.last);
                self.last = Arc::clone(&proposal.state);
                if let Some(entry) = committed(&proposal, Some(from), took) {
                    self.keep(entry, publisher);
                }
            }
            Event::Aborted { txid, version, by, votes, took } => {
                let now = unix_millis();
                let entry = HistoryEntry {
                    txid,
                    version,
                    decision: Decision::Abort,
                    by: Some(by),
                    proposed_at: now,
                    learned_at: now,
                    votes,
                    evidence: BTreeMap::new(),
                    from: Some(Split::of(&self.last)),
                    decided: None,
                    took,
                };
                self.keep(entry, publisher);
            }
            Event::CoordinationTaken
            | Event::CoordinationGiven
            | Event::Joined
            | Event::Isolated
            | Event::Confirmed { .. }
            | Event::Alarm(_) => {}
        }
    }

    /// When what is not on disk yet should be written, if there is anything.
    pub(super) fn poll_write(&mut self, now: Time) -> Option<Time> {
        if self.unwritten.is_empty() {
            self.write_at = None;
            return None;
        }
        Some(*self.write_at.get_or_insert(now + WRITE_AFTER))
    }

    /// Hands on what is not on disk yet. Nothing waits for it, so several decisions share one write.
    pub(super) fn write(&mut self) {
        if !self.unwritten.is_empty() {
            self.history.append(std::mem::take(&mut self.unwritten));
        }
    }

    fn keep(&mut self, entry: HistoryEntry, publisher: &Publisher) {
        if let Ok(line) = serde_json::to_string(&entry) {
            self.unwritten.push_str(&line);
            self.unwritten.push('\n');
        }
        publisher.record(entry);
    }
}

fn committed(proposal: &Proposal, from: Option<Split>, took: Option<Duration>) -> Option<HistoryEntry> {
    let state = &proposal.state;
    Some(HistoryEntry {
        txid: state.txid?,
        version: state.version,
        decision: Decision::Commit,
        by: proposal.by.clone(),
        proposed_at: state.timestamp,
        learned_at: unix_millis(),
        votes: proposal.votes.clone(),
        evidence: proposal.evidence.clone(),
        from,
        decided: Some(Arc::clone(state)),
        took,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        // Before there were rollouts, what voters had measured, and models to go back to.
        let line = r#"{"txid":"node-a.a4899cfe5183b3df.1.1","version":1,"decision":"commit","by":null,"proposed_at":1,
            "learned_at":2,"votes":{"node-a":"commit"},"from":null,"decided":{"version":1,
            "txid":"node-a.a4899cfe5183b3df.1.1","coordinator":"node-a","timestamp":1,
            "stable":{"id":"v1","upstream":null},"canary":null,"drained":[],"chain":[]},"took":null}"#;
        let entry: HistoryEntry = serde_json::from_str(line).expect("an entry");
        assert!(entry.evidence.is_empty() && entry.decided.is_some_and(|state| state.rollout.is_none()));
    }
}
