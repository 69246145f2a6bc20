//! What was decided, and how: in memory for who asks, on disk for the next start.

use super::entry::{Decision, HistoryEntry, Split};
use super::handle::Publisher;
use super::unix_millis;
use model::Time;
use service::{Event, Proposal, RoutingState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::History;

/// Decisions that follow one another this soon share one write. A process that is killed meanwhile forgets them here,
/// though not the newest, which the agreement remembers.
const WRITE_AFTER: Duration = Duration::from_millis(50);

/// Keeps the entries.
pub(super) struct HistoryWriter {
    history: History,
    /// Lines that are not on disk yet.
    unwritten: String,
    write_at: Option<Time>,
    /// The state decided last.
    last: Arc<RoutingState>,
}

impl HistoryWriter {
    /// Goes on with what is on disk. The newest decision that the agreement remembers may be missing there: it is added.
    pub(super) fn new(history: History, lines: &[String], newest: &Proposal, publisher: &Publisher) -> Self {
        let entries = lines.iter().filter_map(|line| HistoryEntry::read(line).ok());
        let mut newest_known = 0;
        for entry in entries {
            if entry.decision == Decision::Commit {
                newest_known = entry.version;
            }
            publisher.record(entry);
        }
        let mut writer = Self { history, unwritten: String::new(), write_at: None, last: Arc::clone(&newest.state) };
        if newest.state.version > newest_known {
            let entry = committed(newest, None, None);
            entry.into_iter().for_each(|entry| writer.keep(entry, publisher));
        }
        writer
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
        self.unwritten.push_str(&entry.text());
        self.unwritten.push('\n');
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
