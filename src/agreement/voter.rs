//! The voter: what a member has voted, what it is asked and has to find out first, and what speaks against an advance.
//!
//! All of it is in memory only: votes are opinions.

use super::{Base, Engine, Event, Message, Output, Probe, Readiness, Reason, Register, Rules, Vote, Votes};
use model::{Actor, Evidence, NodeId, Time, TxId};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many votes a member remembers. A coordinator has one transaction open at a time, so one for each member would
/// do; a few more make the alarm for an unlawful request work for late messages too.
const REMEMBERED_VOTES: usize = 32;

/// A member's opinions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Voter<V> {
    /// The newest votes given.
    given: VecDeque<(TxId, Vote)>,
    /// The prepare that waits for a check of this node's surroundings.
    waiting: Option<Box<Prepared<V>>>,
    /// What speaks against every advance.
    pub(super) veto: Option<Reason>,
    pub(super) evidence: Evidence,
    /// Why what is measured is held to be bad.
    pub(super) failing: Option<String>,
}

/// A question that waits for a check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Prepared<V> {
    txid: TxId,
    from: NodeId,
    base: Base,
    next: Arc<V>,
    by: Actor,
}

impl<V> Voter<V> {
    pub(super) fn new() -> Self {
        Self { given: VecDeque::new(), waiting: None, veto: None, evidence: Evidence::default(), failing: None }
    }

    /// The vote that this member gave.
    pub(super) fn given(&self, txid: TxId) -> Option<&Vote> {
        self.given.iter().find(|(voted, _)| *voted == txid).map(|(_, vote)| vote)
    }

    /// Remembers a vote.
    fn give(&mut self, txid: TxId, vote: Vote) {
        if self.given.len() == REMEMBERED_VOTES {
            self.given.pop_front();
        }
        self.given.push_back((txid, vote));
    }

    /// Whether the vote on this transaction waits for a check.
    pub(super) fn awaits(&self, txid: TxId) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.txid == txid)
    }

    /// Lets the vote wait for a check. A vote that waited before is never given.
    fn wait(&mut self, prepared: Prepared<V>) {
        self.waiting = Some(Box::new(prepared));
    }

    /// The question that waited for a check of this transaction; it waits no more.
    fn take(&mut self, txid: TxId) -> Option<Prepared<V>> {
        self.waiting.take_if(|waiting| waiting.txid == txid).map(|waiting| *waiting)
    }

    /// What this member holds against an advance: its measurements where they count, and what speaks against every one.
    fn against(&self, gives_more: impl FnOnce() -> bool) -> Option<Reason> {
        let unhealthy = self.failing.as_ref().filter(|_| gives_more());
        unhealthy.map(|why| Reason::Unhealthy(why.clone())).or_else(|| self.veto.clone())
    }
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
        if let Some(vote) = self.rules.stands(self.voter.given(txid)) {
            let message = Message::Vote { txid, vote: vote.clone(), evidence: self.voter.evidence };
            return self.send(from, message, out);
        }
        if self.voter.awaits(txid) {
            // It is asked again: the vote comes with the upstream's answer, and only then.
            return;
        }
        if let Some(reason) = self.objection(now, from, base, next, by) {
            return self.give_vote(from, txid, Vote::Abort(reason), out);
        }
        match self.acceptor.committed().state.check(next, self.config.me) {
            None => self.give_vote(from, txid, Vote::Commit, out),
            Some(check) => {
                let (base, next, by) = (base.clone(), Arc::clone(next), by.clone());
                self.voter.wait(Prepared { txid, from, base, next, by });
                out.probe = Some(Probe { txid, check });
            }
        }
    }

    pub(super) fn on_probed(&mut self, now: Time, txid: TxId, result: Result<(), String>, out: &mut Output<V>) {
        let Some(Prepared { from, base, next, by, .. }) = self.voter.take(txid) else { return };
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
        let own = &self.acceptor.committed().state;
        if !self.rules.is_own_base(base, &self.acceptor.base()) {
            return Some(Reason::BaseDiffers { has: own.version() });
        }
        if self.is_isolated(now) {
            return Some(Reason::Isolated);
        }
        if let Err(why) = own.allows(next, &by.id) {
            return Some(Reason::PlanForbids(why));
        }
        self.voter.against(|| own.gives_more(next))
    }

    /// Whether a member before the sender coordinates, as far as this member hears.
    fn knows_better_coordinator(&self, now: Time, from: NodeId) -> bool {
        let leads = |id: NodeId| match id == self.config.me {
            true => self.readiness.acts(),
            false => self.peers.heard_readiness(id, now) == Some(Readiness::Leads),
        };
        self.config.members.iter().take_while(|id| *id < from).any(leads)
    }

    fn give_vote(&mut self, to: NodeId, txid: TxId, vote: Vote, out: &mut Output<V>) {
        self.voter.give(txid, vote.clone());
        self.send(to, Message::Vote { txid, vote, evidence: self.voter.evidence }, out);
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
        self.voter.take(txid);
        out.events.push(Event::Aborted { txid, version, by, votes, took: None });
    }
}
