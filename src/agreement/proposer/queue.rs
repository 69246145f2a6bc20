//! The queue of requests: what is admitted, and what is turned away before anything was sent for acceptance.

use super::{Proposing, Task};
use crate::{Answer, Direction, Durable, Engine, Output, Proposal, Question, Refusal, Register, Rules, Votes};
use model::{Ballot, Time, TxId};
use std::collections::BTreeMap;
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
        if let Some(id) = self.other_coordinator(now) {
            return Err(Refusal::NotCoordinating(id));
        }
        if !self.reaches_majority(now) {
            return Err(Refusal::NoMajority);
        }
        let committed = &self.acceptor.committed().state;
        if let Some(wanted) = question.base_version.filter(|wanted| *wanted != committed.version()) {
            return Err(Refusal::BaseVersion { current: committed.version(), wanted });
        }
        let next = self.follow(committed, &question)?;
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
        let (acts, other) = (self.readiness.acts(), self.other_coordinator(now));
        let expired = |task: &Task<V>| {
            let astray = !acts && (other.is_some() || task.direction == Direction::Advance);
            astray || now >= task.deadline
        };
        let position = self.proposer.tasks.iter().position(expired);
        let task = position.and_then(|position| self.proposer.tasks.remove(position));
        refuse(task, other.map_or(Refusal::NoMajority, Refusal::NotCoordinating), out)
    }

    /// Turns away one request that was not sent for acceptance yet; says whether there was one.
    pub(crate) fn turn_away(&mut self, now: Time, out: &mut Output<V>) -> bool {
        self.is_leaving() && refuse(self.proposer.tasks.pop_front(), self.leaving_refusal(now), out)
    }

    /// Asks for the acceptance of what a retreat makes of `base`. Fails when that would be no retreat.
    pub(super) fn retreat(
        &mut self,
        now: Time,
        ballot: Ballot,
        base: &V,
        task: Task<V>,
        out: &mut Output<V>,
    ) -> Result<(), Refusal<V::Refusal>> {
        let next = self.follow(base, &task.question)?;
        if !self.rules.is_retreat(base.direction(&next)) {
            return Err(Refusal::WouldRaise { version: base.version() });
        }
        self.proposer.sequence += 1;
        let state = Arc::new(next);
        self.questions.await_decision(now, &self.config, &task, &state);
        let (by, votes, evidence) = (Some(task.question.by), Votes::new(), BTreeMap::new());
        self.ask_to_accept(now, Proposal { ballot, state, by, votes, evidence }, out);
        Ok(())
    }

    /// What a request makes of `base` as the next transaction, whose name nobody ever used.
    pub(super) fn follow(&self, base: &V, question: &Question<V>) -> Result<V, Refusal<V::Refusal>> {
        let Durable { incarnation, epoch, .. } = *self.acceptor.disk();
        let txid = TxId { node: self.config.me, incarnation, epoch, sequence: self.proposer.sequence + 1 };
        base.apply(&question.change, self.config.members, txid, question.at).map_err(Refusal::Invalid)
    }
}

/// Tells who asked for `task` why nothing comes of it; says whether there is one.
fn refuse<V: Register>(task: Option<Task<V>>, refusal: Refusal<V::Refusal>, out: &mut Output<V>) -> bool {
    out.reply.extend(task.as_ref().map(|task| (task.question.ticket, Answer::Refused(refusal))));
    task.is_some()
}
