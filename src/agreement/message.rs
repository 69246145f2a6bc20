//! Messages between members.

use model::{Actor, Ballot, Digest, Evidence, Incarnation, NodeId, Report, Testimony, Time, TxId};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// One message of the agreement. Who sent it is what the sender's certificate says, so no message names its sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Message<V> {
    /// I am here, this is what I hold, and this is what I heard from you.
    Heartbeat(Box<Heartbeat>),
    /// May this state follow? Phase one of an advance.
    Prepare { base: Base, next: Arc<V>, by: Actor },
    /// The answer to a prepare: an opinion, held in memory.
    Vote { txid: TxId, vote: Vote, evidence: Evidence },
    /// The transaction is over before anything was sent for acceptance.
    Abort { txid: TxId, version: u64, by: Actor, votes: Votes },
    /// Promise me to accept nothing below this ballot, and tell me what you accepted last.
    Campaign { ballot: Ballot },
    /// The promise asked for, on disk.
    Promise { ballot: Ballot, accepted: Option<Arc<Proposal<V>>> },
    /// Accept this state.
    Accept { proposal: Arc<Proposal<V>> },
    /// The state is accepted, on disk.
    Accepted { ballot: Ballot, version: u64 },
    /// I have promised a higher ballot.
    Reject { ballot: Ballot, promised: Ballot },
    /// A majority has accepted this: it is the routing state.
    Decision { proposal: Arc<Proposal<V>> },
    /// I serve this version, or a later one.
    Applied { version: u64 },
    /// This is what I measured. The agreement takes no notice; it is carried with its messages.
    Report(Box<Report>),
    /// This is what I put my name to. The agreement takes no notice; it is carried with its messages.
    Testimony(Box<Testimony>),
}

impl<V> Message<V> {
    /// The value that it is about.
    pub fn value(&self) -> Option<&V> {
        match self {
            Self::Prepare { next, .. } => Some(next),
            Self::Promise { accepted, .. } => accepted.as_ref().map(|proposal| &*proposal.state),
            Self::Accept { proposal } | Self::Decision { proposal } => Some(&proposal.state),
            Self::Heartbeat(_)
            | Self::Vote { .. }
            | Self::Abort { .. }
            | Self::Campaign { .. }
            | Self::Accepted { .. }
            | Self::Reject { .. }
            | Self::Applied { .. }
            | Self::Report(_)
            | Self::Testimony(_) => None,
        }
    }

    /// The name of the kind of message, for logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Heartbeat(_) => "heartbeat",
            Self::Prepare { .. } => "prepare",
            Self::Vote { .. } => "vote",
            Self::Abort { .. } => "abort",
            Self::Campaign { .. } => "campaign",
            Self::Promise { .. } => "promise",
            Self::Accept { .. } => "accept",
            Self::Accepted { .. } => "accepted",
            Self::Reject { .. } => "reject",
            Self::Decision { .. } => "decision",
            Self::Applied { .. } => "applied",
            Self::Report(_) => "report",
            Self::Testimony(_) => "testimony",
        }
    }
}

/// A state put up for acceptance, with how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal<V> {
    /// The right under which it is proposed.
    pub ballot: Ballot,
    /// The whole next state.
    pub state: Arc<V>,
    /// Who asked for it; none for the state at version 0.
    pub by: Option<Actor>,
    /// The votes of an advance; empty for a retreat.
    pub votes: Votes,
    /// What the voters had measured.
    pub evidence: BTreeMap<NodeId, Evidence>,
}

impl<V: Hash> Hash for Proposal<V> {
    /// A ballot and a state say it all, and searches hash proposals by the million.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.ballot.hash(hasher);
        self.state.hash(hasher);
    }
}

/// Each member's vote, where it gave one.
pub type Votes = BTreeMap<NodeId, Vote>;

/// A member's opinion on an advance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Vote {
    /// Nothing speaks against it.
    Commit,
    /// This does.
    Abort(Reason),
}

/// The reason for which an advance was not made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Reason {
    /// The sender is not a member that may coordinate.
    #[error("the sender may not coordinate")]
    MayNotCoordinate,
    /// The member's committed state is another one.
    #[error("its committed state is version {has}")]
    BaseDiffers { has: u64 },
    /// The member is cut off, or has not yet confirmed its state.
    #[error("it is isolated from a majority")]
    Isolated,
    /// The plan of the rollout says otherwise.
    #[error("the plan does not allow it: {0}")]
    PlanForbids(String),
    /// The model's upstream on that node does not answer its readiness probe, or fails its smoke test.
    #[error("the upstream is not ready there: {0}")]
    UpstreamNotReady(String),
    /// The member's own measurements speak against it.
    #[error("its measurements speak against it: {0}")]
    Unhealthy(String),
    /// The member's disk has no room but for the protocol's own records.
    #[error("its disk is full")]
    StorageFull,
    /// The member is known to be unreachable.
    #[error("it is unreachable")]
    Unreachable,
    /// The member did not answer in time.
    #[error("it did not vote in time")]
    NoAnswer,
    /// A retreat came first.
    #[error("a retreat came first")]
    OvertakenByRetreat,
    /// The coordinator lost its place while the votes were counted.
    #[error("another member coordinates now")]
    CoordinatorReplaced,
    /// The coordinator was told to stop while the votes were counted.
    #[error("the coordinator is stopping: ask again")]
    CoordinatorStops,
}

impl Reason {
    /// Whether a member said so itself; else its vote was not awaited, or did not come.
    pub const fn is_opinion(&self) -> bool {
        match self {
            Self::MayNotCoordinate
            | Self::BaseDiffers { .. }
            | Self::Isolated
            | Self::PlanForbids(_)
            | Self::UpstreamNotReady(_)
            | Self::Unhealthy(_)
            | Self::StorageFull => true,
            Self::Unreachable
            | Self::NoAnswer
            | Self::OvertakenByRetreat
            | Self::CoordinatorReplaced
            | Self::CoordinatorStops => false,
        }
    }
}

/// The state that a proposal follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// Its version.
    pub version: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Sent every heartbeat interval, at once on connecting, and at once to one who asks for an echo.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The sender's clock when it sent this; only the sender reads it again, as an echo.
    pub sent: Time,
    /// The newest `sent` that the sender has from the receiver.
    pub echo: Option<Time>,
    /// The sender wants an echo now: its lease is missing or runs out.
    pub wants_echo: bool,
    /// Whether the sender takes part yet.
    pub stage: Stage,
    /// The life of the sender's disk.
    pub incarnation: Incarnation,
    /// The sender's committed version and the digest of that state.
    pub committed: (u64, Digest),
    /// The version of what the sender accepted last, or the committed one where that is higher.
    pub accepted: u64,
    /// The sender's promise.
    pub promise: Ballot,
    /// Whether the sender coordinates, or could.
    pub readiness: Readiness,
    /// Whom the sender hears.
    pub hears: Vec<Hearing>,
}

/// A report of what the sender of a heartbeat hears of another member: who, how long ago in milliseconds, and its readiness.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hearing(pub NodeId, pub u32, pub Readiness);

/// A member's place among those who could coordinate, in the order of the places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Readiness {
    /// It is about to stop, and coordinates no more.
    Leaves,
    /// It is not in touch with a majority, or has to catch up first.
    #[default]
    Follows,
    /// It is in touch with a majority and could coordinate.
    Ready,
    /// It coordinates.
    Leads,
}

/// The stage of a member on its way to taking part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its disk is empty and it has seen no proof of a first boot.
    Blank {
        /// The blank members it has seen, with their incarnations, itself included.
        seen: BTreeMap<NodeId, Incarnation>,
    },
    /// Its disk was lost; it is asking the others what they hold.
    Rejoining,
    /// It takes part.
    Member,
    /// It takes part and was there at the first boot; said to those who may still be blank.
    Founder {
        /// All members, with the incarnations that they were blank with.
        founders: BTreeMap<NodeId, Incarnation>,
    },
}

impl Stage {
    /// Whether it takes part. Before, it knows of no state that the others would know, too.
    pub const fn has_joined(&self) -> bool {
        matches!(self, Self::Member | Self::Founder { .. })
    }
}
