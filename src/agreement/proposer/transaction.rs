//! Transactions: votes on an advance, acceptance, decision.

use super::{Accepting, Preparing, Proposing, Task};
use crate::{
    Answer, Base, Direction, Engine, Envelope, Event, Message, Output, Proposal, Reason, Refusal, Register, Rules,
    Vote, Votes,
};
use model::{Ballot, NodeSet, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

impl<V: Register, R: Rules> Engine<V, R> {
    pub(crate) fn advance_seat(&mut self, now: Time, out: &mut Output<V>) -> bool {
        match std::mem::replace(&mut self.proposer.proposing, Proposing::Idle) {
            Proposing::Idle => self.advance_idle(now, out),
            Proposing::Campaigning(campaigning) => self.advance_campaign(now, campaigning, out),
            Proposing::Holding { ballot, chosen } => self.advance_holding(now, ballot, chosen, out),
            Proposing::Preparing(preparing) => self.advance_preparing(now, preparing, out),
            Proposing::Accepting(accepting) => self.advance_accepting(now, accepting, out),
        }
    }

    fn advance_holding(&mut self, now: Time, ballot: Ballot, chosen: Arc<Proposal<V>>, out: &mut Output<V>) -> bool {
        let replaced = self.acceptor.disk().promise != ballot
            || self.acceptor.committed().state.version() > chosen.state.version();
        let unwanted = !self.readiness.acts() && self.proposer.tasks.is_empty();
        if replaced
            || unwanted
            || (self.readiness.acts() && now >= self.proposer.retry_at && self.is_unsettled(now, ballot))
        {
            return true;
        }
        let task = self.proposer.take_retreat().or_else(|| self.proposer.tasks.pop_front());
        let Some(task) = task else {
            self.proposer.proposing = Proposing::Holding { ballot, chosen };
            return false;
        };
        let ticket = task.question.ticket;
        if let Err(refusal) = self.begin(now, ballot, &chosen, task, out) {
            out.reply.push((ticket, Answer::Refused(refusal)));
            self.proposer.proposing = Proposing::Holding { ballot, chosen };
        }
        true
    }

    /// Begins the transaction for `task` on top of `chosen`.
    fn begin(
        &mut self,
        now: Time,
        ballot: Ballot,
        chosen: &Arc<Proposal<V>>,
        task: Task<V>,
        out: &mut Output<V>,
    ) -> Result<(), Refusal<V::Refusal>> {
        if task.direction == Direction::Retreat {
            return self.retreat(now, ballot, &chosen.state, task, out);
        }
        let current = chosen.state.version();
        if let Some(wanted) = task.question.base_version.filter(|wanted| *wanted != current) {
            return Err(Refusal::BaseVersion { current, wanted });
        }
        let next = self.follow(&chosen.state, &task.question)?;
        self.proposer.sequence += 1;
        self.prepare(now, ballot, Arc::clone(chosen), next, task, out);
        Ok(())
    }

    /// Asks every member that is not drained for its vote. One known to be unreachable has as good as voted.
    fn prepare(
        &mut self,
        now: Time,
        ballot: Ballot,
        chosen: Arc<Proposal<V>>,
        next: V,
        task: Task<V>,
        out: &mut Output<V>,
    ) {
        let voters = self.config.members.minus(next.drained());
        let unreachable = voters.minus(self.peers.connected()).without(self.config.me);
        let votes: Votes = unreachable.iter().map(|id| (id, Vote::Abort(Reason::Unreachable))).collect();
        let next = Arc::new(next);
        if votes.is_empty() {
            let base = Base { version: chosen.state.version(), digest: chosen.state.digest() };
            for to in voters.iter() {
                let (base, next, by) = (base.clone(), Arc::clone(&next), task.question.by.clone());
                self.send(to, Message::Prepare { base, next, by }, out);
            }
        }
        let deadline = now + self.config.timing.vote;
        self.acceptor.pending_since = now;
        out.publish = true;
        self.proposer.proposing = Proposing::Preparing(Box::new(Preparing {
            ballot,
            chosen,
            next,
            task,
            voters,
            votes,
            evidence: BTreeMap::new(),
            deadline,
        }));
    }

    fn advance_preparing(&mut self, now: Time, mut preparing: Box<Preparing<V>>, out: &mut Output<V>) -> bool {
        let (base, decided) = (preparing.chosen.state.version(), self.acceptor.committed().state.version());
        let base_is_chosen = self.rules.is_still_chosen(base, decided);
        let replaced = self.acceptor.disk().promise != preparing.ballot || !base_is_chosen || !self.readiness.acts();
        let overtaken = self.proposer.tasks.iter().any(|task| task.direction == Direction::Retreat);
        let late = now >= preparing.deadline;
        let missing = preparing.voters.minus(preparing.votes.keys().copied().collect());
        let reason = match (replaced, overtaken, late) {
            _ if self.is_leaving() => Some(Reason::CoordinatorStops),
            (true, ..) => Some(Reason::CoordinatorReplaced),
            (false, true, _) => Some(Reason::OvertakenByRetreat),
            (false, false, true) => Some(Reason::NoAnswer),
            (false, false, false) => None,
        };
        if let Some(reason) = reason {
            let blamed = if reason == Reason::NoAnswer { missing } else { NodeSet::EMPTY.with(self.config.me) };
            for id in blamed.iter() {
                preparing.votes.insert(id, Vote::Abort(reason.clone()));
            }
        }
        let against = preparing.votes.values().any(|vote| matches!(vote, Vote::Abort(_)));
        let complete = self.rules.has_all_votes(missing);
        if against {
            self.abort(now, *preparing, out);
        } else if complete {
            let Preparing { ballot, next, task, votes, evidence, .. } = *preparing;
            self.questions.await_decision(now, &self.config, &task, &next);
            let by = Some(task.question.by);
            self.ask_to_accept(now, Proposal { ballot, state: next, by, votes, evidence }, out);
        } else {
            self.proposer.proposing = Proposing::Preparing(preparing);
            return false;
        }
        true
    }

    /// Phase two. The others are asked before this member's own disk is, so that all write at the same time.
    pub(super) fn ask_to_accept(&mut self, now: Time, proposal: Proposal<V>, out: &mut Output<V>) {
        let proposal = Arc::new(proposal);
        let accept = |to| Envelope { to, message: Message::Accept { proposal: Arc::clone(&proposal) } };
        out.ask.extend(self.config.others().iter().map(accept));
        self.take_in(now, &proposal, out);
        let accepted = NodeSet::EMPTY.with(self.config.me);
        let resend_at = now + self.config.timing.resend;
        let accepting = Accepting { proposal, accepted, rejected: NodeSet::EMPTY, resend_at };
        self.proposer.proposing = Proposing::Accepting(accepting);
    }

    fn advance_accepting(&mut self, now: Time, accepting: Accepting<V>, out: &mut Output<V>) -> bool {
        let Accepting { proposal, accepted, rejected, mut resend_at } = accepting;
        let members = self.config.members;
        let (version, decided) = (proposal.state.version(), self.acceptor.committed().state.version());
        if decided > version || (decided == version && self.acceptor.committed().state.txid() != proposal.state.txid())
        {
            // Another proposer was faster; the caller learns it from the decision.
            return true;
        }
        if self.rules.decides(accepted, members) {
            self.decide(now, proposal, out);
            return true;
        }
        if members.minus(rejected).len() < members.majority() {
            self.proposer.step_back(now, &self.config, self.acceptor.disk());
            return true;
        }
        let advances = self.acceptor.committed().state.direction(&proposal.state) == Direction::Advance;
        if advances && self.proposer.tasks.iter().any(|task| task.direction == Direction::Retreat) {
            self.give_up(now, &proposal, out);
            return true;
        }
        let due = now >= resend_at;
        if due {
            resend_at = now + self.config.timing.resend;
            let silent = self.peers.connected().minus(accepted);
            let accept = |to| Envelope { to, message: Message::Accept { proposal: Arc::clone(&proposal) } };
            out.send.extend(silent.iter().map(accept));
        }
        self.proposer.proposing = Proposing::Accepting(Accepting { proposal, accepted, rejected, resend_at });
        due
    }

    /// Gives up an open advance for a retreat: it may have been chosen, so only phase one can tell what to build on.
    fn give_up(&mut self, now: Time, proposal: &Proposal<V>, out: &mut Output<V>) {
        match self.rules.ballot_after_giving_up(proposal.ballot) {
            None => self.campaign(now, out),
            Some(ballot) => {
                self.proposer.proposing = Proposing::Holding { ballot, chosen: Arc::clone(self.acceptor.committed()) }
            }
        }
    }

    /// A majority has accepted: the state is chosen.
    fn decide(&mut self, now: Time, proposal: Arc<Proposal<V>>, out: &mut Output<V>) {
        let version = proposal.state.version();
        self.proposer.refusals = 0;
        let before = Arc::clone(self.acceptor.committed());
        if version > before.state.version() {
            self.apply(now, &proposal, out);
        }
        for (to, _) in self.peers.iter().filter(|(_, peer)| peer.connected && peer.applied < version) {
            out.send.push(Envelope { to, message: Message::Decision { proposal: Arc::clone(&proposal) } });
        }
        let ballot = proposal.ballot;
        let chosen = self.rules.builds_on(proposal, before);
        self.proposer.proposing = Proposing::Holding { ballot, chosen };
    }

    /// Ends an advance before anything was sent for acceptance: final at once.
    fn abort(&mut self, now: Time, preparing: Preparing<V>, out: &mut Output<V>) {
        let Preparing { ballot, chosen, next, task, votes, .. } = preparing;
        self.proposer.proposing = Proposing::Holding { ballot, chosen };
        out.publish = true;
        let Some(txid) = next.txid() else { return };
        let (version, by) = (next.version(), task.question.by);
        let message = Message::Abort { txid, version, by: by.clone(), votes: votes.clone() };
        self.send_to_others(&message, out);
        let took = Some(now.since(task.since));
        out.reply.push((task.question.ticket, Answer::Aborted { txid, votes: votes.clone() }));
        out.events.push(Event::Aborted { txid, version, by, votes, took });
    }
}
