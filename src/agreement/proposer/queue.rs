//! The queue of requests: what is admitted, and what is turned away before anything was sent for acceptance.

use super::{Proposer, Proposing, Task};
use crate::readiness::OwnReadiness;
use crate::{Answer, Config, Direction, Durable, Engine, Output, Question, Refusal, Register, Rules};
use model::{NodeId, Time, TxId};
use std::sync::Arc;

/// How many requests may wait at once; one advance, and retreats, which all say much the same.
const MOST_TASKS: usize = 16;

impl<V: Register, R: Rules> Engine<V, R> {
    /// Takes a caller's request, or says at once why not.
    pub(crate) fn on_propose(&mut self, now: Time, question: Question<V>, out: &mut Output<V>) {
        let ticket = question.ticket;
        match self.admit(now, question) {
            Ok(task) => self.proposer.tasks.push_back(task),
            Err(refusal) => out.reply.push((ticket, Answer::Refused(refusal))),
        }
    }

    fn admit(&self, now: Time, question: Question<V>) -> Result<Task<V>, Refusal<V::Refusal>> {
        if !self.has_joined() {
            return Err(Refusal::NotJoined);
        }
        if self.is_leaving() {
            return Err(self.leaving_refusal(now));
        }
        if !self.readiness.acts()
            && let Some(id) = self.coordinator(now)
        {
            return Err(Refusal::NotCoordinating(id));
        }
        if !self.reaches_majority(now) {
            return Err(Refusal::NoMajority);
        }
        let committed = &self.acceptor.committed().state;
        if let Some(wanted) = question.base_version.filter(|wanted| *wanted != committed.version()) {
            return Err(Refusal::BaseVersion { current: committed.version(), wanted });
        }
        let next = follow(
            &**committed,
            &question,
            self.proposer.next_txid(self.config.me, self.acceptor.disk()),
            &self.config,
        )?;
        let direction = committed.direction(&next);
        // What is written again while this member takes its proposing is no change under way.
        let advance_is_open = matches!(self.proposer.proposing, Proposing::Preparing(_))
            || self.proposer.awaits_acceptance_above(committed.version())
            || self.proposer.tasks.iter().any(|task| task.direction == Direction::Advance);
        match direction {
            Direction::Advance if !self.readiness.acts() => return Err(Refusal::NoMajority),
            Direction::Advance if advance_is_open => return Err(Refusal::Busy),
            Direction::Advance | Direction::Retreat => {}
        }
        if self.proposer.tasks.len() >= MOST_TASKS {
            return Err(Refusal::Busy);
        }
        Ok(Task { question, direction, since: now, deadline: now + self.config.timing.answer })
    }

    /// Gives up requests that could not even be sent for acceptance in time, or that are no longer this member's
    /// business: advances when it does not coordinate, and all when it hears who does.
    pub(crate) fn expire_tasks(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let other = if self.readiness.acts() { None } else { self.coordinator(now) };
        self.proposer.expire(now, &self.readiness, other, out)
    }

    /// Turns away one request that was not sent for acceptance yet; says whether there was one.
    pub(crate) fn turn_away(&mut self, now: Time, out: &mut Output<V>) -> bool {
        self.is_leaving() && self.proposer.turn_away(self.leaving_refusal(now), out)
    }
}

impl<V: Register> Proposer<V> {
    fn expire(&mut self, now: Time, readiness: &OwnReadiness, other: Option<NodeId>, out: &mut Output<V>) -> bool {
        let expired = |task: &Task<V>| {
            let astray = !readiness.acts() && (other.is_some() || task.direction == Direction::Advance);
            astray || now >= task.deadline
        };
        let Some(position) = self.tasks.iter().position(expired) else { return false };
        if let Some(task) = self.tasks.remove(position) {
            let refusal = other.map_or(Refusal::NoMajority, Refusal::NotCoordinating);
            out.reply.push((task.question.ticket, Answer::Refused(refusal)));
        }
        true
    }

    fn turn_away(&mut self, refusal: Refusal<V::Refusal>, out: &mut Output<V>) -> bool {
        let Some(task) = self.tasks.pop_front() else { return false };
        out.reply.push((task.question.ticket, Answer::Refused(refusal)));
        true
    }

    /// What a retreat makes of `base`, unless that would be no retreat.
    pub(super) fn retreat_from(
        &mut self,
        base: &V,
        task: &Task<V>,
        txid: TxId,
        config: &Config<V>,
        rules: &impl Rules,
    ) -> Result<Arc<V>, Refusal<V::Refusal>> {
        let next = follow(base, &task.question, txid, config)?;
        if !rules.is_retreat(base.direction(&next)) {
            return Err(Refusal::WouldRaise { version: base.version() });
        }
        self.sequence += 1;
        Ok(Arc::new(next))
    }

    /// The name of the next transaction, if it comes to one: nobody ever used it.
    pub(super) fn next_txid(&self, me: NodeId, disk: &Durable<V>) -> TxId {
        TxId { node: me, incarnation: disk.incarnation, epoch: disk.epoch, sequence: self.sequence + 1 }
    }
}

/// What a request makes of `base`.
pub(super) fn follow<V: Register>(
    base: &V,
    question: &Question<V>,
    txid: TxId,
    config: &Config<V>,
) -> Result<V, Refusal<V::Refusal>> {
    base.apply(&question.change, config.members, txid, question.at).map_err(Refusal::Invalid)
}
