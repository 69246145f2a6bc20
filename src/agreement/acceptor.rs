//! The acceptor: what a member has promised, accepted and learned as decided, and what of it is on disk.

use super::{
    Alarm, Base, Config, Durable, Engine, Envelope, Event, Message, Output, Proposal, Record, Register, Rules, Vote,
};
use model::{Ballot, Digest, NodeId, Time};
use std::sync::Arc;

/// A member's part as one of those who keep what is decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Acceptor<V> {
    /// What is on disk once the records handed out so far are.
    disk: Durable<V>,
    /// The newest decision that this member knows, and its digest.
    committed: Arc<Proposal<V>>,
    digest: Digest,
    /// Since when this member knows of what is not decided.
    pub(super) pending_since: Time,
}

impl<V: Register> Acceptor<V> {
    /// One that remembers what is on its disk.
    pub(super) fn new(config: &Config<V>, disk: Durable<V>, now: Time) -> Self {
        let committed = disk.committed.clone().unwrap_or_else(|| Arc::new(config.undecided()));
        Self { digest: committed.state.digest(), committed, disk, pending_since: now }
    }

    /// What is on disk once the records handed out so far are.
    pub(super) const fn disk(&self) -> &Durable<V> {
        &self.disk
    }

    /// The newest decision that this member knows.
    pub(super) const fn committed(&self) -> &Arc<Proposal<V>> {
        &self.committed
    }

    /// The digest of that.
    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    /// What a proposal has to follow to be voted for.
    pub(super) fn base(&self) -> Base {
        Base { version: self.committed.state.version(), digest: self.digest }
    }

    /// The version that this member accepted last, 0 before any.
    pub(super) fn accepted_version(&self) -> u64 {
        self.disk.accepted.as_ref().map_or(0, |proposal| proposal.state.version())
    }

    /// What this member accepted and does not know to be decided.
    pub(super) fn undecided(&self) -> Option<&Arc<V>> {
        let accepted = self.disk.accepted.as_ref().map(|proposal| &proposal.state);
        accepted.filter(|state| state.version() > self.committed.state.version())
    }

    /// Hands out a record. What is said in the same step is said after it is on disk.
    pub(super) fn append(&mut self, record: Record<V>, out: &mut Output<V>) {
        self.disk.apply(&record);
        out.publish = true;
        if record.is_lazy() {
            return out.note.push(record);
        }
        // What was noted before stays before.
        out.append.append(&mut out.note);
        out.append.push(record);
    }

    /// Writes down that `proposal` is accepted, which is also a promise.
    fn accept(&mut self, now: Time, proposal: &Arc<Proposal<V>>, rules: &impl Rules, out: &mut Output<V>) {
        let before = self.disk.promise;
        self.append(Record::Accepted(Arc::clone(proposal)), out);
        self.disk.promise = rules.promise_by_accepting(before, proposal.ballot);
        if proposal.state.version() > self.committed.state.version() {
            self.pending_since = now;
        }
    }

    /// Writes down, without haste, that `proposal` is decided.
    fn commit(&mut self, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        self.committed = Arc::clone(proposal);
        self.digest = proposal.state.digest();
        let accepted = self.disk.accepted.as_ref() == Some(proposal);
        let record = if accepted { Record::AcceptedIsCommitted } else { Record::Committed(Arc::clone(proposal)) };
        self.append(record, out);
    }

    /// Why no member may lawfully ask `me`, whose own vote on it is given, for this acceptance.
    fn unlawful(&self, me: NodeId, from: NodeId, proposal: &Proposal<V>, given: Option<&Vote>) -> Option<Alarm> {
        if proposal.ballot.node != from {
            return Some(Alarm::ForeignBallot { from, owner: proposal.ballot.node });
        }
        let Some(txid) = proposal.state.txid() else {
            let version = proposal.state.version();
            return (version > 0).then_some(Alarm::NoTransaction { from, version });
        };
        let voted_down = matches!(given, Some(Vote::Abort(_)));
        // A vote given before a restart is forgotten and was counted all the same: what was then accepted must not be
        // held up by another vote on the same question since.
        let counted = proposal.votes.get(&me) == Some(&Vote::Commit);
        if voted_down && !counted {
            return Some(Alarm::VotedDown { from, txid });
        }
        self.skips_approvals(proposal).map(|why| Alarm::NotApproved { from, txid, why })
    }

    /// What a proposal on this member's own state would do without that it takes. Not everything is voted on, and a member
    /// that votes can only speak for what it is asked: so each looks again before it accepts. Of what follows a state that
    /// this member does not know only that can be said which holds for all that ever comes.
    fn skips_approvals(&self, proposal: &Proposal<V>) -> Option<String> {
        let (own, next) = (&self.committed.state, &*proposal.state);
        let follows = next.version() == own.version() + 1
            && next.parent().map_or(own.version() == 0, |parent| parent == self.digest);
        let by = proposal.by.as_ref().map_or("", |by| by.id.as_str());
        if follows {
            own.bears(next, by).err()
        } else if next.version() > own.version() {
            own.can_come_to(next).err()
        } else {
            None
        }
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// Promises a ballot that is above every promise so far, once it is on disk.
    pub(super) fn on_campaign(&mut self, from: NodeId, ballot: Ballot, out: &mut Output<V>) {
        if !self.rules.takes_part(&self.acceptor.disk) {
            return;
        }
        if ballot.node != from {
            return out.events.push(Event::Alarm(Alarm::ForeignBallot { from, owner: ballot.node }));
        }
        self.proposer.hear(ballot.round);
        if ballot < self.acceptor.disk.promise {
            return self.send(from, Message::Reject { ballot, promised: self.acceptor.disk.promise }, out);
        }
        if ballot > self.acceptor.disk.promise {
            self.acceptor.append(Record::Promised(ballot), out);
        }
        let message = Message::Promise { ballot, accepted: self.acceptor.disk.accepted.clone() };
        self.speak(from, message, out);
    }

    /// Accepts a proposal that no promise stands against, once it is on disk.
    pub(super) fn on_accept(&mut self, now: Time, from: NodeId, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        if !self.rules.takes_part(&self.acceptor.disk) {
            return;
        }
        let (ballot, version) = (proposal.ballot, proposal.state.version());
        self.proposer.hear(ballot.round);
        let given = proposal.state.txid().and_then(|txid| self.voter.given(txid));
        if let Some(alarm) = self.acceptor.unlawful(self.config.me, from, proposal, given) {
            return out.events.push(Event::Alarm(alarm));
        }
        if !self.rules.promise_allows(self.acceptor.disk.promise, ballot) {
            return self.send(from, Message::Reject { ballot, promised: self.acceptor.disk.promise }, out);
        }
        let last =
            self.acceptor.disk.accepted.as_ref().map(|last| (last.ballot, last.state.version(), last.state.txid()));
        match last {
            Some((last_ballot, last_version, txid)) if (last_ballot, last_version) == (ballot, version) => {
                if txid != proposal.state.txid() {
                    return out.events.push(Event::Alarm(Alarm::TwoProposals { from, version }));
                }
            }
            Some((last_ballot, last_version, _))
                if !self.rules.is_upward((last_ballot, last_version), (ballot, version)) =>
            {
                return;
            }
            Some(_) | None => self.take_in(now, proposal, out),
        }
        self.speak(from, Message::Accepted { ballot, version }, out);
    }

    /// Writes down that `proposal` is accepted, which is also a promise.
    pub(super) fn take_in(&mut self, now: Time, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        self.acceptor.accept(now, proposal, &self.rules, out);
        if self.rules.serves_accepted() && proposal.state.version() > self.acceptor.committed.state.version() {
            self.apply(now, proposal, out);
        }
    }

    /// Learns a decision, and serves it if it is newer than what is served.
    pub(super) fn on_decision(&mut self, now: Time, from: NodeId, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        if !self.has_joined() {
            return;
        }
        let version = proposal.state.version();
        if version > 0 && proposal.state.txid().is_none() {
            return out.events.push(Event::Alarm(Alarm::NoTransaction { from, version }));
        }
        if version == self.acceptor.committed.state.version() && proposal.state.digest() != self.acceptor.digest {
            return out.events.push(Event::Alarm(Alarm::Diverged { from, version }));
        }
        if version > self.acceptor.committed.state.version() {
            if let (Some(txid), Err(why)) =
                (proposal.state.txid(), self.acceptor.committed.state.can_come_to(&proposal.state))
            {
                return out.events.push(Event::Alarm(Alarm::NotApproved { from, txid, why }));
            }
            self.apply(now, proposal, out);
        }
        self.send(from, Message::Applied { version: self.acceptor.committed.state.version() }, out);
    }

    /// Makes a decided state the one that is served.
    pub(super) fn apply(&mut self, now: Time, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        self.acceptor.commit(proposal, out);
        let took = self.questions.took(now, proposal.state.txid());
        out.events.push(Event::Committed { proposal: Arc::clone(proposal), took });
        self.questions.resolve(now, &proposal.state, self.config.timing.acknowledge);
        self.answer_questions(now, out);
        if proposal.state.begins() {
            // The clock of a step starts when the last member serves it, so all want to know, not only who decided it.
            self.send_to_others(&Message::Applied { version: proposal.state.version() }, out);
        }
        if self.is_isolated(now) {
            // That it was not known may be what kept echoes from counting: new ones need not wait for the next heartbeat.
            self.send_heartbeats(now, out);
        }
    }

    /// Says what rests on a record.
    fn speak(&mut self, to: NodeId, message: Message<V>, out: &mut Output<V>) {
        if to == self.config.me {
            self.to_self.push_back(message);
        } else {
            self.rules.say(Envelope { to, message }, out);
        }
    }
}
