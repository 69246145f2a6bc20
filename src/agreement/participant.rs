//! A member's part as one of many: it votes, promises, accepts and applies.

use super::{
    Alarm, Base, Engine, Envelope, Event, Message, Output, Probe, Proposal, Reason, Record, Register, Rules, Standing,
    Vote, Votes,
};
use model::{Actor, Ballot, NodeId, Time, TxId};
use std::sync::Arc;

/// How many votes a member remembers. A coordinator has one transaction open at a time, so one for each member would
/// do; a few more make the alarm for an unlawful request work for late messages too.
const REMEMBERED_VOTES: usize = 32;

/// A question that waits for an upstream to answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probing<V> {
    from: NodeId,
    base: Base,
    pub(super) next: Arc<V>,
    by: Actor,
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// Votes, unless the upstream has to be asked first.
    pub(super) fn on_prepare(
        &mut self,
        now: Time,
        from: NodeId,
        base: &Base,
        next: &Arc<V>,
        by: &Actor,
        out: &mut Output<V>,
    ) {
        let Some(txid) = next.txid() else { return };
        if let Some(vote) = self.rules.stands(self.vote_on(txid)) {
            return self.send(from, Message::Vote { txid, vote: vote.clone(), evidence: self.evidence }, out);
        }
        if self.probing.as_ref().is_some_and(|waiting| waiting.next.txid() == Some(txid)) {
            // It is asked again: the vote comes with the upstream's answer, and only then.
            return;
        }
        if let Some(reason) = self.objection(now, from, base, next, by) {
            return self.give_vote(from, txid, Vote::Abort(reason), out);
        }
        match self.committed.state.check(next, self.config.me) {
            None => self.give_vote(from, txid, Vote::Commit, out),
            Some(check) => {
                let (base, next, by) = (base.clone(), Arc::clone(next), by.clone());
                self.probing = Some(Box::new(Probing { from, base, next, by }));
                out.probe = Some(Probe { txid, check });
            }
        }
    }

    pub(super) fn on_probed(&mut self, now: Time, txid: TxId, result: Result<(), String>, out: &mut Output<V>) {
        let Some(waiting) = self.probing.take_if(|waiting| waiting.next.txid() == Some(txid)) else { return };
        let Probing { from, base, next, by } = *waiting;
        // The answer took a while; what was true when the question came may not be any more.
        let objection = result.map_err(Reason::UpstreamNotReady).err();
        let vote = match objection.or_else(|| self.objection(now, from, &base, &next, &by)) {
            Some(reason) => Vote::Abort(reason),
            None => Vote::Commit,
        };
        self.give_vote(from, txid, vote, out);
    }

    /// What speaks against an advance, in the order in which it is checked.
    fn objection(&self, now: Time, from: NodeId, base: &Base, next: &V, by: &Actor) -> Option<Reason> {
        if from != self.config.me && self.knows_better_coordinator(now, from) {
            return Some(Reason::MayNotCoordinate);
        }
        let own = &self.committed.state;
        let own_base = Base { version: own.version(), digest: self.committed_digest };
        if !self.rules.is_own_base(base, &own_base) {
            return Some(Reason::BaseDiffers { has: own.version() });
        }
        if self.is_isolated(now) {
            return Some(Reason::Isolated);
        }
        if let Err(why) = own.allows(next, &by.id) {
            return Some(Reason::PlanForbids(why));
        }
        let unhealthy = self.failing.as_ref().filter(|_| own.gives_more(next));
        unhealthy.map(|why| Reason::Unhealthy(why.clone())).or_else(|| self.veto.clone())
    }

    /// Whether a member before the sender coordinates, as far as this member hears.
    fn knows_better_coordinator(&self, now: Time, from: NodeId) -> bool {
        let silence = self.config.timing.silence;
        let leads = |id: NodeId| match id == self.config.me {
            true => self.acts,
            false => self.presence.heard_standing(id, now, silence) == Some(Standing::Leads),
        };
        self.config.members.iter().take_while(|id| *id < from).any(leads)
    }

    fn vote_on(&self, txid: TxId) -> Option<&Vote> {
        self.voted.iter().find(|(voted, _)| *voted == txid).map(|(_, vote)| vote)
    }

    fn give_vote(&mut self, to: NodeId, txid: TxId, vote: Vote, out: &mut Output<V>) {
        if self.voted.len() == REMEMBERED_VOTES {
            self.voted.pop_front();
        }
        self.voted.push_back((txid, vote.clone()));
        self.send(to, Message::Vote { txid, vote, evidence: self.evidence }, out);
    }

    /// Learns that a transaction is over before anything was sent for acceptance.
    pub(super) fn on_abort(
        &mut self,
        from: NodeId,
        txid: TxId,
        version: u64,
        by: Actor,
        votes: Votes,
        out: &mut Output<V>,
    ) {
        if txid.node != from {
            return;
        }
        self.probing.take_if(|waiting| waiting.next.txid() == Some(txid));
        out.events.push(Event::Aborted { txid, version, by, votes, took: None });
    }

    /// Promises a ballot that is above every promise so far, once it is on disk.
    pub(super) fn on_campaign(&mut self, from: NodeId, ballot: Ballot, out: &mut Output<V>) {
        if !self.may_take_part() {
            return;
        }
        if ballot.node != from {
            return out.events.push(Event::Alarm(Alarm::ForeignBallot { from, owner: ballot.node }));
        }
        self.round = self.round.max(ballot.round);
        if ballot < self.disk.promise {
            return self.send(from, Message::Reject { ballot, promised: self.disk.promise }, out);
        }
        if ballot > self.disk.promise {
            self.append(Record::Promised(ballot), out);
        }
        let message = Message::Promise { ballot, accepted: self.disk.accepted.clone() };
        self.speak(from, message, out);
    }

    /// Accepts a proposal that no promise stands against, once it is on disk.
    pub(super) fn on_accept(&mut self, now: Time, from: NodeId, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        if !self.may_take_part() {
            return;
        }
        let (ballot, version) = (proposal.ballot, proposal.state.version());
        self.round = self.round.max(ballot.round);
        if let Some(alarm) = self.unlawful(from, proposal) {
            return out.events.push(Event::Alarm(alarm));
        }
        if !self.rules.promise_allows(self.disk.promise, ballot) {
            return self.send(from, Message::Reject { ballot, promised: self.disk.promise }, out);
        }
        let last = self.disk.accepted.as_ref().map(|last| (last.ballot, last.state.version(), last.state.txid()));
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
        let before = self.disk.promise;
        self.append(Record::Accepted(Arc::clone(proposal)), out);
        self.disk.promise = self.rules.promise_by_accepting(before, proposal.ballot);
        if proposal.state.version() > self.committed.state.version() {
            self.pending_since = now;
            if self.rules.serves_accepted() {
                self.apply(now, proposal, out);
            }
        }
    }

    /// Why no member may lawfully ask for this acceptance.
    fn unlawful(&self, from: NodeId, proposal: &Proposal<V>) -> Option<Alarm> {
        if proposal.ballot.node != from {
            return Some(Alarm::ForeignBallot { from, owner: proposal.ballot.node });
        }
        let Some(txid) = proposal.state.txid() else {
            let version = proposal.state.version();
            return (version > 0).then_some(Alarm::NoTransaction { from, version });
        };
        let voted_down = matches!(self.vote_on(txid), Some(Vote::Abort(_)));
        // A vote given before a restart is forgotten and was counted all the same: what was then accepted must not be
        // held up by another vote on the same question since.
        let counted = proposal.votes.get(&self.config.me) == Some(&Vote::Commit);
        if voted_down && !counted {
            return Some(Alarm::VotedDown { from, txid });
        }
        self.skips_approvals(proposal).map(|why| Alarm::NotApproved { from, txid, why })
    }

    /// What approvals a proposal on this member's own state would do without. Not everything is voted on, and a member
    /// that votes can only speak for what it is asked: so each looks again before it accepts. What follows a state that
    /// this member does not know it cannot compare with anything.
    fn skips_approvals(&self, proposal: &Proposal<V>) -> Option<String> {
        let (own, next) = (&self.committed.state, &*proposal.state);
        let follows = next.version() == own.version() + 1
            && next.parent().map_or(own.version() == 0, |parent| parent == self.committed_digest);
        let by = proposal.by.as_ref().map_or("", |by| by.id.as_str());
        own.bears(next, by).err().filter(|_| follows)
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
        if version == self.committed.state.version() && proposal.state.digest() != self.committed_digest {
            return out.events.push(Event::Alarm(Alarm::Diverged { from, version }));
        }
        if version > self.committed.state.version() {
            self.apply(now, proposal, out);
        }
        self.send(from, Message::Applied { version: self.committed.state.version() }, out);
    }

    /// Makes a decided state the one that is served.
    pub(super) fn apply(&mut self, now: Time, proposal: &Arc<Proposal<V>>, out: &mut Output<V>) {
        self.committed = Arc::clone(proposal);
        self.committed_digest = proposal.state.digest();
        let accepted = self.disk.accepted.as_ref() == Some(proposal);
        let record = if accepted { Record::AcceptedIsCommitted } else { Record::Committed(Arc::clone(proposal)) };
        self.append(record, out);
        out.publish = true;
        let took = self.took(now, proposal.state.txid());
        out.events.push(Event::Committed { proposal: Arc::clone(proposal), took });
        self.resolve_asked(now);
        self.check_acknowledged(now, out);
        if proposal.state.begins() {
            // The clock of a step starts when the last member serves it, so all want to know, not only who decided it.
            self.send_to_others(&Message::Applied { version: proposal.state.version() }, out);
        }
        if self.is_isolated(now) {
            // That it was not known may be what kept echoes from counting: new ones need not wait for the next heartbeat.
            self.send_heartbeats(now, out);
        }
    }

    /// Whether the member may promise and accept.
    fn may_take_part(&self) -> bool {
        self.rules.takes_part(&self.disk)
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

    /// Says what rests on a record.
    fn speak(&mut self, to: NodeId, message: Message<V>, out: &mut Output<V>) {
        if to == self.config.me {
            self.to_self.push_back(message);
        } else {
            self.rules.say(Envelope { to, message }, out);
        }
    }
}
