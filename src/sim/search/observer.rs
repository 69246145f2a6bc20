//! The observer of what must hold, always: it sees all disks, messages and answers, and remembers them for ever.

use super::subject::Subject;
use agreement::{Answer, Message, Output, Proposal, Record, Vote};
use model::{Ballot, Digest, NodeId, NodeSet, Time, TxId, Weight};
use service::{CHAIN_LENGTH, Link, RoutingState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The sentence of the list.
    pub(crate) promise: Promise,
    /// What was seen.
    pub(crate) how: String,
}

/// The promises, in the order and words of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Promise {
    /// For any version one transaction and one digest, over all members and all time; every choice extends the chain of
    /// those before it.
    Agreement,
    /// What an operator was told is committed was chosen, and survives everything.
    Durability,
    /// A chosen advance had the vote of every member not drained, all held when acceptance was first asked for; a
    /// retreat never gave the canary more than what it was built on.
    Validity,
    /// No outcome is ever reversed: what was told as aborted is never chosen.
    Stability,
    /// No confirmed version of a member goes back, restarts included.
    Monotony,
    /// Nothing undecided is ever served.
    NoDirtyRead,
    /// Nothing below a promise is accepted, ballots are never reused, and no member votes twice.
    Fencing,
    /// Once a rollback was answered, the members it names serve no more than it says, and all others do so in time.
    RollbackBound,
    /// With a majority alive and connected every question is settled, all are at one version, and one coordinates.
    Progress,
    /// Unknown is said only of what is not known.
    NoGuess,
    /// An open question older than two seconds shows as such.
    NoSilentWait,
    /// No member sees what cannot be.
    NoAlarm,
    /// The plan of a rollout is obeyed: its weights, holds, samples and approvals; and no step is undone without cause.
    Plan,
    /// A node that has found the canary to be bad does not serve it.
    Ejection,
    /// What was said is on the disk that a process starts with.
    Memory,
    /// All members leave version 5 of the wire at once, when each has spoken the next, and for good.
    Door,
}

/// A retreat whose caller was told that it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rollback {
    version: u64,
    weight: Weight,
    acknowledged: NodeSet,
    others_until: Option<Time>,
}

/// A member while it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pub(crate) node: NodeId,
    /// Which of its processes.
    pub(crate) run: u32,
    /// The newest decision it knows.
    pub(crate) committed: u64,
}

/// The observer's memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Observer<V = RoutingState> {
    members: NodeSet,
    accepted: BTreeMap<(Ballot, u64, Option<TxId>), NodeSet>,
    pub(crate) chosen: BTreeMap<u64, (TxId, Digest)>,
    pub(crate) newest: Option<Arc<V>>,
    voted: BTreeMap<(TxId, NodeId, u32), Vote>,
    told_committed: BTreeSet<(u64, TxId)>,
    told_aborted: BTreeSet<TxId>,
    confirmed: BTreeMap<NodeId, u64>,
    campaigns: BTreeMap<Ballot, (NodeId, u32)>,
    promised: BTreeMap<NodeId, Ballot>,
    /// The highest ballot that each member accepted under.
    highest: BTreeMap<NodeId, Ballot>,
    /// What each prepared transaction would follow.
    bases: BTreeMap<TxId, u64>,
    asked: BTreeSet<(Ballot, u64)>,
    /// Every state that was ever sent for acceptance.
    states: BTreeMap<TxId, Arc<V>>,
    fresh_votes: BTreeSet<(TxId, NodeId, u32)>,
    rollbacks: Vec<Rollback>,
}

impl<V: Subject> Observer<V> {
    pub(crate) fn new(members: NodeSet) -> Self {
        Self {
            members,
            accepted: BTreeMap::new(),
            chosen: BTreeMap::new(),
            newest: None,
            voted: BTreeMap::new(),
            told_committed: BTreeSet::new(),
            told_aborted: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            promised: BTreeMap::new(),
            highest: BTreeMap::new(),
            bases: BTreeMap::new(),
            asked: BTreeSet::new(),
            states: BTreeMap::new(),
            fresh_votes: BTreeSet::new(),
            rollbacks: Vec::new(),
        }
    }

    /// Sees what `node`, in its `run`-th process, sends and answers, and what reached its disk.
    pub(crate) fn observe(&mut self, watched: Watched, out: &Output<V>, stored: &[Record<V>]) -> Result<(), Broken> {
        for record in stored {
            if let Record::Accepted(proposal) = record {
                self.on_accepted(watched.node, proposal)?;
            }
        }
        for envelope in out.ask.iter().chain(&out.send) {
            self.on_sent(watched, &envelope.message)?;
        }
        for (_, answer) in &out.reply {
            self.on_answer(watched, answer)?;
        }
        Ok(())
    }

    pub(crate) fn on_accepted(&mut self, node: NodeId, proposal: &Proposal<V>) -> Result<(), Broken> {
        if let Some(promised) = self.promised.get(&node).filter(|promised| proposal.ballot < **promised) {
            return broken(
                Promise::Fencing,
                format!("{node} accepted under {} below its promise {promised}", proposal.ballot),
            );
        }
        let highest = self.highest.entry(node).or_insert(proposal.ballot);
        *highest = (*highest).max(proposal.ballot);
        let state = &proposal.state;
        let acceptors = self.accepted.entry((proposal.ballot, state.version(), state.txid())).or_default();
        acceptors.insert(node);
        if acceptors.len() < self.members.majority() {
            return Ok(());
        }
        self.on_chosen(proposal)
    }

    fn on_chosen(&mut self, proposal: &Proposal<V>) -> Result<(), Broken> {
        let state = &proposal.state;
        let Some(txid) = state.txid() else { return Ok(()) };
        let own = Link { version: state.version(), txid, digest: self.digest_of(state) };
        for link in state.chain().iter().chain([&own]) {
            let before = *self.chosen.entry(link.version).or_insert((link.txid, link.digest));
            if before != (link.txid, link.digest) {
                return broken(
                    Promise::Agreement,
                    format!("version {} is {} for one and {} for another", link.version, before.0, link.txid),
                );
            }
            if self.told_aborted.contains(&link.txid) {
                return broken(Promise::Stability, format!("{} was told as aborted and is chosen", link.txid));
            }
        }
        let first = state.chain().first().map_or(state.version(), |link| link.version);
        let missed = self
            .chosen
            .keys()
            .find(|version| (first..state.version()).contains(version) && state.decided_at(**version).is_none());
        if let Some(version) = missed {
            return broken(
                Promise::Agreement,
                format!("version {} does not know of version {version}", state.version()),
            );
        }
        if self.newest.as_ref().is_none_or(|newest| newest.version() < state.version()) {
            self.newest = Some(Arc::clone(state));
        }
        Ok(())
    }

    /// The digest of a state that was just accepted; mostly it is the newest, and equal states have equal digests.
    fn digest_of(&self, state: &V) -> Digest {
        let newest = self.newest.as_deref().filter(|newest| *newest == state);
        let known = newest.and_then(|newest| self.chosen.get(&newest.version()));
        known.map_or_else(|| state.digest(), |(_, digest)| *digest)
    }

    pub(crate) fn on_sent(&mut self, watched: Watched, message: &Message<V>) -> Result<(), Broken> {
        let Watched { node, run, committed } = watched;
        match message {
            Message::Prepare { base, next, .. } => {
                self.bases.extend(next.txid().map(|txid| (txid, base.version)));
            }
            Message::Vote { txid, vote, .. } => {
                let first = self.voted.entry((*txid, node, run)).or_insert_with(|| vote.clone());
                if first != vote {
                    return broken(Promise::Fencing, format!("{node} voted twice on {txid}"));
                }
                let is_new = self.fresh_votes.insert((*txid, node, run));
                let base = self.bases.get(txid).copied().unwrap_or(committed);
                if is_new && *vote == Vote::Commit && base != committed {
                    return broken(
                        Promise::Validity,
                        format!("{node} at version {committed} votes for {txid} on {base}"),
                    );
                }
            }
            Message::Campaign { ballot } => {
                let first = *self.campaigns.entry(*ballot).or_insert((node, run));
                if first != (node, run) {
                    return broken(Promise::Fencing, format!("{node} uses ballot {ballot} again"));
                }
            }
            Message::Promise { ballot, .. } => {
                if let Some(highest) = self.highest.get(&node).filter(|highest| ballot < *highest) {
                    let how = format!("{node} promises {ballot} after it accepted under {highest}");
                    return broken(Promise::Fencing, how);
                }
                let promised = self.promised.entry(node).or_insert(*ballot);
                *promised = (*promised).max(*ballot);
            }
            Message::Accept { proposal } if proposal.ballot.node == node => self.on_asked(watched, proposal)?,
            Message::Accept { .. } => {}
            Message::Heartbeat(_)
            | Message::Abort { .. }
            | Message::Accepted { .. }
            | Message::Reject { .. }
            | Message::Decision { .. }
            | Message::Applied { .. }
            | Message::Report(_)
            | Message::Testimony(_) => {}
        }
        Ok(())
    }

    fn on_asked(&mut self, watched: Watched, proposal: &Proposal<V>) -> Result<(), Broken> {
        self.on_new_state(watched, proposal)?;
        if proposal.votes.is_empty() || !self.asked.insert((proposal.ballot, proposal.state.version())) {
            return Ok(());
        }
        let node = watched.node;
        let txid = proposal.state.txid().unwrap_or_else(|| unreachable!("votes are given on transactions"));
        let voters = self.members.minus(proposal.state.drained());
        // The coordinator's own vote is not sent; it is in the proposal.
        let voted = |id: NodeId| {
            let runs = (txid, id, 0)..=(txid, id, u32::MAX);
            id == txid.node || self.voted.range(runs).any(|(_, vote)| *vote == Vote::Commit)
        };
        let missing = voters.iter().find(|id| !voted(*id) || proposal.votes.get(id) != Some(&Vote::Commit));
        match missing {
            Some(id) => broken(Promise::Validity, format!("{node} asks to accept {txid} without the vote of {id}")),
            None => Ok(()),
        }
    }

    /// That what is sent for acceptance for the first time follows what its proposer knows as decided, and, without votes,
    /// gives the canary no more than the state it is built on.
    fn on_new_state(&mut self, watched: Watched, proposal: &Proposal<V>) -> Result<(), Broken> {
        let state = &proposal.state;
        let Some(txid) = state.txid() else { return Ok(()) };
        let parent = state.chain().last().and_then(|link| self.states.get(&link.txid).cloned());
        let is_new = self.states.insert(txid, Arc::clone(state)).is_none();
        let gave = parent.as_ref().map_or(Weight::ZERO, |parent| parent.weight());
        if is_new && state.version() <= watched.committed {
            let Watched { node, committed, .. } = watched;
            return broken(
                Promise::Validity,
                format!("{node} knows version {committed} and asks for {}", state.version()),
            );
        }
        if is_new && proposal.votes.is_empty() && state.weight() > gave {
            return broken(Promise::Validity, format!("{txid} raises the canary from {gave} without a vote"));
        }
        Ok(())
    }

    pub(crate) fn on_answer(&mut self, watched: Watched, answer: &Answer<V>) -> Result<(), Broken> {
        match answer {
            Answer::Committed { state, acknowledged, others_until } => {
                let Some(txid) = state.txid() else { return broken(Promise::Durability, "no transaction".into()) };
                self.told_committed.insert((state.version(), txid));
                if self.chosen.get(&state.version()).map(|(chosen, _)| *chosen) != Some(txid) {
                    return broken(Promise::Durability, format!("{txid} was told as committed and is not chosen"));
                }
                self.rollbacks.push(Rollback {
                    version: state.version(),
                    weight: state.weight(),
                    acknowledged: *acknowledged,
                    others_until: *others_until,
                });
            }
            Answer::Aborted { txid, .. } | Answer::Superseded { txid, .. } => {
                self.told_aborted.insert(*txid);
                if self.chosen.values().any(|(chosen, _)| chosen == txid) {
                    return broken(Promise::Stability, format!("{txid} was told as aborted and is chosen"));
                }
            }
            Answer::Unknown { version, txid } => {
                let known = self.chosen.get(version).is_some_and(|_| watched.committed >= *version);
                if known && watched.committed < version + CHAIN_LENGTH as u64 {
                    let node = watched.node;
                    return broken(
                        Promise::NoGuess,
                        format!("{node} says unknown of {txid} and knows version {version}"),
                    );
                }
            }
            Answer::Refused(_) => {}
        }
        Ok(())
    }

    /// Sees what a living member serves, and whether its lease confirms it.
    pub(crate) fn observe_served(&mut self, node: NodeId, state: &V, lease: Lease) -> Result<(), Broken> {
        self.observe_view(node, state, state.digest(), lease)
    }

    /// The same where the digest that the member shows is known.
    pub(crate) fn observe_view(&mut self, node: NodeId, state: &V, digest: Digest, lease: Lease) -> Result<(), Broken> {
        if let Some(txid) = state.txid()
            && self.chosen.get(&state.version()) != Some(&(txid, digest))
        {
            return broken(Promise::NoDirtyRead, format!("{node} serves {txid}, which is not chosen"));
        }
        if lease == Lease::Holds {
            let newest = self.confirmed.entry(node).or_insert(state.version());
            if state.version() < *newest {
                return broken(Promise::Monotony, format!("{node} went back from {newest} to {}", state.version()));
            }
            *newest = state.version();
        }
        Ok(())
    }

    /// Sees what share a living member gives the canary at `now`.
    pub(crate) fn observe_serving(&self, node: NodeId, version: u64, serving: Weight, now: Time) -> Result<(), Broken> {
        for rollback in &self.rollbacks {
            let bound = rollback.acknowledged.contains(node) || rollback.others_until.is_some_and(|until| now >= until);
            if bound && version < rollback.version && serving > rollback.weight {
                return broken(
                    Promise::RollbackBound,
                    format!(
                        "{node} gives {serving} by version {version} after version {} was answered",
                        rollback.version
                    ),
                );
            }
        }
        Ok(())
    }

    /// Sees what a process of `node` finds on its disk: it may have been written just before the last one died.
    pub(crate) fn observe_recovered(&mut self, node: NodeId, proposal: &Proposal<V>) -> Result<(), Broken> {
        let known = self.accepted.get(&(proposal.ballot, proposal.state.version(), proposal.state.txid()));
        if known.is_some_and(|nodes| nodes.contains(node)) { Ok(()) } else { self.on_accepted(node, proposal) }
    }

    /// Whether this is a member's first vote for a transaction.
    pub(crate) fn is_new_vote_for(&self, node: NodeId, message: &Message<V>) -> bool {
        let Message::Vote { txid, vote: Vote::Commit, .. } = message else { return false };
        self.voted.range((*txid, node, 0)..=(*txid, node, u32::MAX)).next().is_none()
    }

    /// All configured members.
    pub(crate) const fn members(&self) -> NodeSet {
        self.members
    }

    /// Whether there is a rollback that members must heed.
    pub(crate) const fn has_rollbacks(&self) -> bool {
        !self.rollbacks.is_empty()
    }

    /// The state of a transaction, if it was ever sent for acceptance.
    pub(crate) fn state_of(&self, txid: TxId) -> Option<&Arc<V>> {
        self.states.get(&txid)
    }

    /// Whether something was accepted by someone and is neither chosen nor overtaken: a transaction in its midst.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let newest = self.newest.as_ref().map_or(0, |newest| newest.version());
        self.accepted.keys().any(|(_, version, _)| *version > newest)
    }

    /// How many versions were chosen.
    pub(crate) fn versions(&self) -> usize {
        self.chosen.len()
    }
}

/// Whether a member's lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    Holds,
    Over,
}

pub(crate) fn broken<T>(promise: Promise, how: String) -> Result<T, Broken> {
    Err(Broken { promise, how })
}
