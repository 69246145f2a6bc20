//! The proposer: what a member drives that coordinates: prepare, accept, decide.
//!
//! Any member may propose at any time; promises keep two who do from harming each other.

mod campaign;
mod queue;
mod spent;
mod transaction;

use super::{Direction, Envelope, Message, Output, Proposal, Question, Reason, Register, Rules, Vote, Votes};
use model::{Ballot, Evidence, NodeId, NodeSet, Time, TxId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A member's part as one who proposes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposer<V: Register> {
    proposing: Proposing<V>,
    /// The requests that were not sent for acceptance yet.
    tasks: VecDeque<Task<V>>,
    /// How many transactions this process has begun.
    sequence: u64,
    /// The highest round heard of.
    round: u64,
    /// Until when a refused proposer leaves the place to others.
    retry_at: Time,
    /// How often it was refused since it last decided something.
    refusals: u32,
}

/// The phase that a proposer is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Proposing<V: Register> {
    /// It holds no ballot.
    Idle,
    /// Phase one: it has asked for promises.
    Campaigning(Box<Campaigning<V>>),
    /// It may propose without phase one: a majority has promised its ballot, and `chosen` was chosen last under it.
    Holding { ballot: Ballot, chosen: Arc<Proposal<V>> },
    /// It has asked for votes on what would follow `chosen`.
    Preparing(Box<Preparing<V>>),
    /// It has asked for acceptance.
    Accepting(Accepting<V>),
}

/// An advance that is being voted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Preparing<V: Register> {
    ballot: Ballot,
    chosen: Arc<Proposal<V>>,
    next: Arc<V>,
    task: Task<V>,
    voters: NodeSet,
    votes: Votes,
    evidence: BTreeMap<NodeId, Evidence>,
    deadline: Time,
}

/// A proposal that acceptances are awaited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Accepting<V> {
    proposal: Arc<Proposal<V>>,
    accepted: NodeSet,
    rejected: NodeSet,
    resend_at: Time,
}

/// A request that has not been sent for acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Task<V: Register> {
    pub(super) question: Question<V>,
    pub(super) direction: Direction,
    pub(super) since: Time,
    pub(super) deadline: Time,
}

impl<V: Register> Proposing<V> {
    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Idle | Self::Holding { .. } => None,
            Self::Campaigning(campaigning) => Some(campaigning.resend_at),
            Self::Accepting(accepting) => Some(accepting.resend_at),
            Self::Preparing(preparing) => Some(preparing.deadline),
        }
    }

    /// The ballot that answers are awaited for.
    pub(super) fn asks_under(&self) -> Option<Ballot> {
        match self {
            Self::Idle | Self::Holding { .. } | Self::Preparing(_) => None,
            Self::Campaigning(campaigning) => Some(campaigning.ballot),
            Self::Accepting(accepting) => Some(accepting.proposal.ballot),
        }
    }
}

/// A ballot that promises are awaited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Campaigning<V> {
    pub(super) ballot: Ballot,
    promises: BTreeMap<NodeId, Option<Arc<Proposal<V>>>>,
    pub(super) rejected: NodeSet,
    pub(super) resend_at: Time,
}

impl<V: Register> Proposer<V> {
    /// One that has promised this round and proposed nothing yet.
    pub(super) const fn new(round: u64) -> Self {
        Self {
            proposing: Proposing::Idle,
            tasks: VecDeque::new(),
            sequence: 0,
            round,
            retry_at: Time::ZERO,
            refusals: 0,
        }
    }

    /// Takes note of a round that somebody is at.
    pub(super) fn hear(&mut self, round: u64) {
        self.round = self.round.max(round);
    }

    /// The highest round heard of.
    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// Whether nobody waits for anything to be sent for acceptance.
    pub(super) fn has_no_task(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The state that is being voted on.
    pub(super) fn open_state(&self) -> Option<&Arc<V>> {
        let Proposing::Preparing(preparing) = &self.proposing else { return None };
        Some(&preparing.next)
    }

    /// Whether something above `version` was sent for acceptance.
    pub(super) fn awaits_acceptance_above(&self, version: u64) -> bool {
        matches!(&self.proposing, Proposing::Accepting(accepting) if accepting.proposal.state.version() > version)
    }

    /// When the next thing is due that is known of.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.tasks.iter().map(|task| task.deadline).chain(self.proposing.deadline())
    }

    /// Takes a vote on what is open into account; only the first of each voter counts.
    pub(super) fn on_vote(&mut self, from: NodeId, txid: TxId, vote: Vote, evidence: Evidence, rules: &impl Rules) {
        if let Proposing::Preparing(preparing) = &mut self.proposing
            && rules.counts(txid, preparing.next.txid())
            && preparing.voters.contains(from)
        {
            preparing.votes.entry(from).or_insert(vote);
            if evidence != Evidence::default() {
                preparing.evidence.insert(from, evidence);
            }
        }
    }

    /// Counts a member that the link was lost to as one that votes against.
    pub(super) fn count_as_unreachable(&mut self, id: NodeId) {
        if let Proposing::Preparing(preparing) = &mut self.proposing
            && preparing.voters.contains(id)
        {
            preparing.votes.entry(id).or_insert(Vote::Abort(Reason::Unreachable));
        }
    }

    /// Takes a promise into account.
    pub(super) fn on_promise(&mut self, from: NodeId, ballot: Ballot, accepted: Option<Arc<Proposal<V>>>) {
        if let Proposing::Campaigning(campaigning) = &mut self.proposing
            && campaigning.ballot == ballot
        {
            campaigning.promises.insert(from, accepted);
        }
    }

    /// Takes an acceptance into account.
    pub(super) fn on_accepted(&mut self, from: NodeId, ballot: Ballot, version: u64) {
        if let Proposing::Accepting(Accepting { proposal, accepted, .. }) = &mut self.proposing
            && (proposal.ballot, proposal.state.version()) == (ballot, version)
        {
            accepted.insert(from);
        }
    }

    /// Takes it into account that somebody has promised a higher ballot.
    pub(super) fn on_reject(&mut self, from: NodeId, ballot: Ballot, promised: Ballot) {
        self.hear(promised.round);
        match &mut self.proposing {
            Proposing::Campaigning(campaigning) if campaigning.ballot == ballot => campaigning.rejected.insert(from),
            Proposing::Accepting(accepting) if accepting.proposal.ballot == ballot => accepting.rejected.insert(from),
            Proposing::Idle
            | Proposing::Campaigning(_)
            | Proposing::Holding { .. }
            | Proposing::Preparing(_)
            | Proposing::Accepting(_) => {}
        }
    }

    /// Says again to a member that has just been connected what it may have missed.
    pub(super) fn remind(&self, id: NodeId, out: &mut Output<V>) {
        let message = match &self.proposing {
            Proposing::Idle | Proposing::Holding { .. } | Proposing::Preparing(_) => return,
            Proposing::Campaigning(campaigning) => Message::Campaign { ballot: campaigning.ballot },
            Proposing::Accepting(accepting) => Message::Accept { proposal: Arc::clone(&accepting.proposal) },
        };
        out.send.push(Envelope { to: id, message });
    }

    fn take_retreat(&mut self) -> Option<Task<V>> {
        let position = self.tasks.iter().position(|task| task.direction == Direction::Retreat)?;
        self.tasks.remove(position)
    }
}
