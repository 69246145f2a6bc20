//! The open questions: the callers who wait for a decision, each of whom is told what became of its request, and never a
//! guess.

use super::peers::Peers;
use super::proposer::Task;
use super::{Answer, Config, Direction, IsolationPolicy, Output, Proposal, Register, Rules, Ticket};
use model::{NodeSet, Time, TxId};
use std::sync::Arc;
use std::time::Duration;

/// The requests that were sent for acceptance, and whose callers have not been answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Questions<V> {
    open: Vec<Open<V>>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open<V> {
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

/// What answers depend on beside the questions.
pub(super) struct Known<'a, V: Register> {
    pub(super) config: &'a Config<V>,
    pub(super) peers: &'a Peers,
    pub(super) committed: &'a Proposal<V>,
    /// Until when a member that stops waits.
    pub(super) leaving: Option<Time>,
}

impl<V: Register> Questions<V> {
    pub(super) const fn new() -> Self {
        Self { open: Vec::new() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Remembers who waits for `state`, which is about to be sent for acceptance.
    pub(super) fn await_decision(&mut self, now: Time, config: &Config<V>, task: &Task<V>, state: &Arc<V>) {
        let timing = &config.timing;
        let stage = Stage::Open((task.since + timing.answer).max(now + timing.decision));
        let (ticket, direction, since) = (task.question.ticket, task.direction, task.since);
        self.open.push(Open { ticket, state: Arc::clone(state), direction, since, stage });
    }

    /// When each comes to its end if nothing happens.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.open.iter().map(|question| match question.stage {
            Stage::Open(until) | Stage::Decided(until) => until,
            Stage::Lost(_) | Stage::Forgotten => Time::ZERO,
        })
    }

    /// What a caller has waited longest for without that anybody knows of a decision, and since when.
    pub(super) fn longest(&self) -> Option<(&Arc<V>, Time)> {
        let open = self.open.iter().filter(|question| matches!(question.stage, Stage::Open(_)));
        open.min_by_key(|question| question.since).map(|question| (&question.state, question.since))
    }

    /// How long the transaction took, if this member drove it for a caller.
    pub(super) fn took(&self, now: Time, txid: Option<TxId>) -> Option<Duration> {
        self.open.iter().find(|question| question.state.txid() == txid).map(|question| now.since(question.since))
    }

    /// Takes a new decision into account.
    pub(super) fn resolve(&mut self, now: Time, decided: &V, wait: Duration) {
        for question in &mut self.open {
            if !matches!(question.stage, Stage::Open(_)) || question.state.version() > decided.version() {
                continue;
            }
            question.stage = match decided.decided_at(question.state.version()) {
                Some(txid) if Some(txid) == question.state.txid() => Stage::Decided(now + wait),
                Some(other) => Stage::Lost(other),
                None => Stage::Forgotten,
            };
        }
    }

    /// Answers every caller whose question has come to its end by `now`.
    pub(super) fn answer(&mut self, now: Time, known: &Known<'_, V>, rules: &impl Rules, out: &mut Output<V>) {
        self.open.retain(|question| {
            let answer = question.answer(now, known, rules);
            let stays = answer.is_none();
            out.reply.extend(answer.map(|answer| (question.ticket, answer)));
            stays
        });
    }
}

impl<V: Register> Open<V> {
    fn answer(&self, now: Time, known: &Known<'_, V>, rules: &impl Rules) -> Option<Answer<V>> {
        let (txid, version) = (self.state.txid()?, self.state.version());
        match self.stage {
            Stage::Open(until) if now < known.leaving.map_or(until, |leaving| leaving.min(until)) => None,
            Stage::Open(_) => Some(rules.overdue(txid, version)),
            Stage::Forgotten => Some(Answer::Unknown { txid, version }),
            Stage::Lost(by) => Some(Answer::Superseded { txid, by }),
            Stage::Decided(until) => {
                let acknowledged = known.acknowledged(version);
                let reachable = known.peers.connected().with(known.config.me);
                let waits =
                    self.direction == Direction::Retreat && !reachable.minus(acknowledged).is_empty() && now < until;
                (!waits).then(|| {
                    let reached = known.config.members.minus(acknowledged).is_empty();
                    let others_until = if reached { None } else { others_until(now, known.config) };
                    Answer::Committed { state: Arc::clone(&self.state), acknowledged, others_until }
                })
            }
        }
    }
}

impl<V: Register> Known<'_, V> {
    /// The members that are known to serve `version` or a later one.
    fn acknowledged(&self, version: u64) -> NodeSet {
        let own = (self.committed.state.version() >= version).then_some(self.config.me);
        self.peers.serving(version).chain(own).collect()
    }
}

/// How long a lease lasts at the longest after `now` on a member that was not reached, by this member's clock.
fn others_until<V>(now: Time, config: &Config<V>) -> Option<Time> {
    match config.on_isolation {
        IsolationPolicy::Stable => Some(now + config.timing.lease + config.timing.lease_margin()),
        IsolationPolicy::Hold => None,
    }
}
