//! The callers who wait for a decision: each is told what became of its request, and never a guess.

use super::coordinator::Task;
use super::{Answer, Direction, Engine, Output, Register, Rules, Ticket};
use model::{NodeId, NodeSet, Time, TxId};
use std::sync::Arc;
use std::time::Duration;

/// A request that was sent for acceptance, and whose caller has not been answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked<V> {
    ticket: Ticket,
    /// What was sent for acceptance; it has a transaction.
    state: Arc<V>,
    direction: Direction,
    since: Time,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Not known to be decided; until this moment the caller waits.
    Open(Time),
    /// Decided; until this moment the caller waits for the connected members to serve it.
    Decided(Time),
    /// Something else was decided at its version.
    Lost(TxId),
    /// Whether it was decided can no longer be told.
    Forgotten,
}

impl<V> Asked<V> {
    pub(super) const fn deadline(&self) -> Time {
        match self.stage {
            Stage::Open(until) | Stage::Decided(until) => until,
            Stage::Lost(_) | Stage::Forgotten => Time::ZERO,
        }
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// Remembers who waits for `state`, which is about to be sent for acceptance.
    pub(super) fn await_decision(&mut self, now: Time, task: &Task<V>, state: &Arc<V>) {
        let timing = &self.config.timing;
        let stage = Stage::Open((task.since + timing.answer).max(now + timing.decision));
        let (ticket, direction, since) = (task.question.ticket, task.direction, task.since);
        self.asked.push(Asked { ticket, state: Arc::clone(state), direction, since, stage });
    }

    /// What a caller has waited longest for without that anybody knows of a decision, and since when.
    pub(super) fn longest_asked(&self) -> Option<(&Arc<V>, Time)> {
        let open = self.asked.iter().filter(|asked| matches!(asked.stage, Stage::Open(_)));
        open.min_by_key(|asked| asked.since).map(|asked| (&asked.state, asked.since))
    }

    /// Whether a caller waits for something that was sent for acceptance and that this member knows no decision of.
    pub fn has_open_question(&self) -> bool {
        self.longest_asked().is_some()
    }

    /// How long the transaction took, if this member drove it for a caller.
    pub(super) fn took(&self, now: Time, txid: Option<TxId>) -> Option<Duration> {
        self.asked.iter().find(|asked| asked.state.txid() == txid).map(|asked| now.since(asked.since))
    }

    /// Takes a new decision into account.
    pub(super) fn resolve_asked(&mut self, now: Time) {
        let state = Arc::clone(&self.committed.state);
        let wait = self.config.timing.acknowledge;
        for asked in &mut self.asked {
            if !matches!(asked.stage, Stage::Open(_)) || asked.state.version() > state.version() {
                continue;
            }
            asked.stage = match state.decided_at(asked.state.version()) {
                Some(txid) if Some(txid) == asked.state.txid() => Stage::Decided(now + wait),
                Some(other) => Stage::Lost(other),
                None => Stage::Forgotten,
            };
        }
    }

    /// Notes that `from` serves `version`, or a later one.
    pub(super) fn on_applied(&mut self, now: Time, from: NodeId, version: u64, out: &mut Output<V>) {
        if let Some(peer) = self.presence.peer_mut(from) {
            // Who watches a rollout wants to see who serves its step; for others this is no news.
            out.publish |= version > peer.applied && self.committed.state.is_watched();
            peer.applied = peer.applied.max(version);
        }
        self.check_acknowledged(now, out);
    }

    /// The members that are known to serve `version` or a later one.
    fn acknowledged(&self, version: u64) -> NodeSet {
        let peers = self.presence.iter().filter(|(_, peer)| peer.applied >= version).map(|(id, _)| id);
        let own = (self.committed.state.version() >= version).then_some(self.config.me);
        peers.chain(own).collect()
    }

    /// Answers every caller whose question has come to its end by `now`.
    pub(super) fn check_acknowledged(&mut self, now: Time, out: &mut Output<V>) {
        let asked = std::mem::take(&mut self.asked);
        for question in asked {
            match self.answer_to(now, &question) {
                Some(answer) => out.reply.push((question.ticket, answer)),
                None => self.asked.push(question),
            }
        }
    }

    fn answer_to(&self, now: Time, asked: &Asked<V>) -> Option<Answer<V>> {
        let (txid, version) = (asked.state.txid()?, asked.state.version());
        match asked.stage {
            Stage::Open(until) if now < self.leaving.map_or(until, |leaving| leaving.min(until)) => None,
            Stage::Open(_) => Some(self.rules.overdue(txid, version)),
            Stage::Forgotten => Some(Answer::Unknown { txid, version }),
            Stage::Lost(by) => Some(Answer::Superseded { txid, by }),
            Stage::Decided(until) => {
                let acknowledged = self.acknowledged(version);
                let reachable = self.presence.connected().with(self.config.me);
                let waits =
                    asked.direction == Direction::Retreat && !reachable.minus(acknowledged).is_empty() && now < until;
                (!waits).then(|| {
                    let reached = self.config.members.minus(acknowledged).is_empty();
                    let others_until = if reached { None } else { self.others_until(now) };
                    Answer::Committed { state: Arc::clone(&asked.state), acknowledged, others_until }
                })
            }
        }
    }
}
