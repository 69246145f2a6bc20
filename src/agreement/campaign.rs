//! Phase one: how a proposer comes to a ballot of its own, and to the value that it has to go on from.

use super::coordinator::Seat;
use super::{Alarm, Answer, Engine, Envelope, Event, Message, Output, Proposal, Record, Register, Rules, Votes};
use model::{Ballot, NodeId, NodeSet, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A ballot that promises are awaited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Campaigning<V> {
    pub(super) ballot: Ballot,
    promises: BTreeMap<NodeId, Option<Arc<Proposal<V>>>>,
    pub(super) rejected: NodeSet,
    pub(super) resend_at: Time,
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// When a proposer that waits out a refusal tries again.
    pub(super) fn poll_retry(&self, now: Time) -> Option<Time> {
        let waits = match &self.seat {
            Seat::Idle => self.wants_ballot(now),
            Seat::Holding { ballot, .. } => self.acts && self.is_unsettled(now, *ballot),
            Seat::Campaigning(_) | Seat::Preparing(_) | Seat::Accepting { .. } => false,
        };
        waits.then_some(self.retry_at)
    }

    pub(super) fn advance_idle(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let due = now >= self.retry_at && self.wants_ballot(now);
        if due {
            self.campaign(now, out);
        }
        due
    }

    fn wants_ballot(&self, now: Time) -> bool {
        let wanted = self.has_joined() && (self.acts || !self.tasks.is_empty());
        wanted && self.in_touch(now).len() >= self.config.members.majority()
    }

    /// Begins phase one: first its own promise on disk, then the question to all others.
    pub(super) fn campaign(&mut self, now: Time, out: &mut Output<V>) {
        let round = self.rules.next_round(self.round, self.disk.promise, self.config.me);
        let ballot = Ballot { round, node: self.config.me, incarnation: self.disk.incarnation };
        self.round = round;
        // Not before this one has had its time: what others say of themselves may be older than it.
        self.retry_at = now + self.backoff();
        self.append(Record::Promised(ballot), out);
        let question = |to| Envelope { to, message: Message::Campaign { ballot } };
        self.rules.campaign(self.config.others().iter().map(question), out);
        let promises = BTreeMap::from([(self.config.me, self.disk.accepted.clone())]);
        let resend_at = now + self.config.timing.resend;
        self.seat = Seat::Campaigning(Box::new(Campaigning { ballot, promises, rejected: NodeSet::EMPTY, resend_at }));
    }

    pub(super) fn on_promise(&mut self, from: NodeId, ballot: Ballot, accepted: Option<Arc<Proposal<V>>>) {
        let version = accepted.as_ref().map(|proposal| proposal.state.version());
        self.presence.on_promise(from, ballot, version);
        self.joining.on_promise(from, ballot, accepted.as_ref());
        if let Seat::Campaigning(campaigning) = &mut self.seat
            && campaigning.ballot == ballot
        {
            campaigning.promises.insert(from, accepted);
        }
    }

    pub(super) fn advance_campaign(
        &mut self,
        now: Time,
        mut campaigning: Box<Campaigning<V>>,
        out: &mut Output<V>,
    ) -> bool {
        let (ballot, members) = (campaigning.ballot, self.config.members);
        if self.disk.promise > ballot || (!self.acts && self.tasks.is_empty()) {
            return true;
        }
        if self.rules.takes_over(campaigning.promises.len(), members) {
            self.take_over(now, ballot, campaigning.promises.into_values().flatten(), out);
            return true;
        }
        let due = now >= campaigning.resend_at;
        let rejected = campaigning.rejected;
        if members.minus(rejected).len() < members.majority() || (due && !rejected.is_empty()) {
            self.step_back(now);
            return true;
        }
        if due {
            campaigning.resend_at = now + self.config.timing.resend;
            let silent = self.presence.connected().minus(campaigning.promises.keys().copied().collect());
            out.send.extend(silent.iter().map(|to| Envelope { to, message: Message::Campaign { ballot } }));
        }
        self.seat = Seat::Campaigning(campaigning);
        due
    }

    /// Ends phase one: goes on from the value accepted under the highest ballot and version, which may have been chosen.
    /// A retreat follows it at once, so that an advance left open is never served; else it is written again.
    fn take_over(
        &mut self,
        now: Time,
        ballot: Ballot,
        accepted: impl Iterator<Item = Arc<Proposal<V>>>,
        out: &mut Output<V>,
    ) {
        let highest = self.rules.continues(accepted, &self.committed);
        let found = highest.unwrap_or_else(|| Arc::new(self.config.undecided()));
        let (version, known) = (found.state.version(), self.committed.state.version());
        if version < known {
            out.events.push(Event::Alarm(Alarm::Forgotten { found: version, known }));
            return;
        }
        while let Some(task) = self.take_retreat() {
            match self.retreat_from(&found.state, &task) {
                Ok(next) => {
                    let proposal = Proposal {
                        ballot,
                        state: next,
                        by: Some(task.question.by.clone()),
                        votes: Votes::new(),
                        evidence: BTreeMap::new(),
                    };
                    self.await_decision(now, &task, &proposal.state);
                    return self.ask_to_accept(now, proposal, out);
                }
                Err(refusal) => out.reply.push((task.question.ticket, Answer::Refused(refusal))),
            }
        }
        if !self.rules.writes_again(version, known) {
            self.seat = Seat::Holding { ballot, chosen: found };
            return;
        }
        self.ask_to_accept(now, Proposal { ballot, ..Proposal::clone(&found) }, out);
    }

    /// Whether another member holds something that only a new ballot of this one can settle.
    pub(super) fn is_unsettled(&self, now: Time, ballot: Ballot) -> bool {
        let committed = self.committed.state.version();
        let mut says = self.presence.recent_says(now, self.config.timing.silence);
        says.any(|says| says.promise > ballot || says.accepted > committed)
    }

    /// Gives the seat up for a while, so that whoever holds the higher ballot can finish.
    pub(super) fn step_back(&mut self, now: Time) {
        self.seat = Seat::Idle;
        self.retry_at = now + self.backoff();
        self.refusals = self.refusals.saturating_add(1);
    }
}
