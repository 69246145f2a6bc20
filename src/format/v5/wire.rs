//! The messages between members: postcard, the variants and fields in this order.

use super::{Ballot, Digest, Incarnation, List, Map, NodeId, Report, RoutingState, Testimony, Text, TxId};
use serde::{Deserialize, Serialize};

/// One message, with states of the form `S`, heartbeats of the form `H` and reports of the form `R`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "it is made where it is written or taken apart, and never kept")]
pub enum Message<'a, S = RoutingState<'a>, H = Heartbeat<'a>, R = Report<'a>> {
    /// The sender is here, and says what it holds and hears.
    Heartbeat(H),
    /// Asks whether this state may follow.
    Prepare {
        /// The state that it would follow.
        base: Base,
        /// The state.
        next: S,
        /// Who asked for it.
        #[serde(borrow)]
        by: Actor<'a>,
    },
    /// The answer to a prepare.
    Vote {
        /// The transaction.
        txid: TxId,
        /// The opinion.
        #[serde(borrow)]
        vote: Vote<'a>,
        /// What the voter measured.
        evidence: Evidence,
    },
    /// The transaction is over before anything was sent for acceptance.
    Abort {
        /// The transaction.
        txid: TxId,
        /// The version it was meant for.
        version: u64,
        /// Who asked for it.
        #[serde(borrow)]
        by: Actor<'a>,
        /// Each member's vote.
        votes: Votes<'a>,
    },
    /// Asks for a promise.
    Campaign {
        /// The proposer's ballot.
        ballot: Ballot,
    },
    /// The promise asked for.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
        /// What the member accepted last.
        #[serde(borrow)]
        accepted: Option<Proposal<'a, S>>,
    },
    /// Asks to accept this state.
    Accept {
        /// The proposal.
        #[serde(borrow)]
        proposal: Proposal<'a, S>,
    },
    /// The state is accepted.
    Accepted {
        /// The ballot it was accepted under.
        ballot: Ballot,
        /// The version accepted.
        version: u64,
    },
    /// A higher ballot was promised.
    Reject {
        /// The ballot refused.
        ballot: Ballot,
        /// The ballot promised.
        promised: Ballot,
    },
    /// This state was chosen.
    Decision {
        /// The proposal.
        #[serde(borrow)]
        proposal: Proposal<'a, S>,
    },
    /// The sender serves this version, or a later one.
    Applied {
        /// The version.
        version: u64,
    },
    /// What the sender measured.
    Report(R),
    /// What the sender put its name to.
    Testimony(#[serde(borrow)] Testimony<'a>),
}

/// A state put up for acceptance; part of the log, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal<'a, S = RoutingState<'a>> {
    /// The right under which it is proposed.
    pub ballot: Ballot,
    /// The state.
    pub state: S,
    /// Who asked for it; none for version 0.
    #[serde(borrow)]
    pub by: Option<Actor<'a>>,
    /// The votes of an advance; none for a retreat.
    pub votes: Votes<'a>,
    /// What the voters measured; missing in what programs wrote that did not measure.
    #[serde(default)]
    pub evidence: Map<'a, NodeId, Evidence>,
}

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor<'a> {
    /// The path of the SPIFFE id.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// The certificate's serial number.
    pub serial: Text<'a>,
    /// The address the request came from.
    pub remote: Text<'a>,
}

/// Each member's vote.
pub type Votes<'a> = Map<'a, NodeId, Vote<'a>>;

/// An opinion on an advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote<'a> {
    /// Nothing speaks against it.
    Commit,
    /// This does.
    Abort(#[serde(borrow)] Reason<'a>),
}

/// Why an advance was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason<'a> {
    /// The sender may not coordinate.
    MayNotCoordinate,
    /// The voter's committed state is another one.
    BaseDiffers {
        /// Its version.
        has: u64,
    },
    /// The voter is cut off.
    Isolated,
    /// The plan says otherwise.
    PlanForbids(#[serde(borrow)] Text<'a>),
    /// The canary's endpoint does not answer there.
    UpstreamNotReady(#[serde(borrow)] Text<'a>),
    /// The voter's measurements speak against it.
    Unhealthy(#[serde(borrow)] Text<'a>),
    /// The voter's disk is full.
    StorageFull,
    /// The member is known to be unreachable.
    Unreachable,
    /// The member did not answer in time.
    NoAnswer,
    /// A retreat came first.
    OvertakenByRetreat,
    /// Another member coordinates.
    CoordinatorReplaced,
    /// The coordinator was told to stop.
    CoordinatorStops,
}

/// What a voter measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of the stable model.
    pub stable: Summary,
    /// Of the model on trial.
    pub canary: Summary,
}

/// One model in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests that ended.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// The 95th percentile in microseconds.
    pub p95_us: u64,
}

/// The state that a proposal follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its version.
    pub version: u64,
    /// Its digest.
    pub digest: Digest,
}

/// A member's regular sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat<'a> {
    /// The sender's clock in microseconds.
    pub sent: u64,
    /// The newest `sent` that the sender has from the receiver.
    pub echo: Option<u64>,
    /// Whether the sender wants an echo now.
    pub wants_echo: bool,
    /// Whether the sender takes part yet.
    #[serde(borrow)]
    pub stage: Stage<'a>,
    /// The life of the sender's disk.
    pub incarnation: Incarnation,
    /// The sender's committed version and the digest of that state.
    pub committed: (u64, Digest),
    /// The version of what the sender accepted last.
    pub accepted: u64,
    /// The sender's promise.
    pub promise: Ballot,
    /// The sender's place among those who could coordinate.
    pub standing: Standing,
    /// The others, as the sender hears them.
    pub hears: List<'a, Hearing>,
}

/// Another member, how many milliseconds ago it was heard, and its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearing(pub NodeId, pub u32, pub Standing);

/// A place among those who could coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It follows.
    Follows,
    /// It could coordinate.
    Ready,
    /// It coordinates.
    Leads,
    /// It is about to stop.
    Leaves,
}

/// Whether a member takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage<'a> {
    /// Its disk is empty.
    Blank {
        /// The blank members it has seen, with their incarnations.
        #[serde(borrow)]
        seen: Map<'a, NodeId, Incarnation>,
    },
    /// Its disk was lost.
    Rejoining,
    /// It takes part.
    Member,
    /// It takes part and was there at the first boot.
    Founder {
        /// All members, with the incarnations that they were blank with.
        #[serde(borrow)]
        founders: Map<'a, NodeId, Incarnation>,
    },
}
