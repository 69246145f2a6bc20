//! A member's memory on disk: JSON, one record each, in segments that begin with a snapshot; and whose memory it is.

use super::{Ballot, Incarnation, Map, NodeId, Proposal, RoutingState, Text};
use serde::{Deserialize, Serialize};

/// The first record of a segment: all that the member knew when it was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<'a, S = RoutingState<'a>> {
    /// The format of the segment.
    pub format: u64,
    /// The member.
    pub node: NodeId,
    /// The trust domain of its cluster.
    #[serde(borrow)]
    pub cluster: Text<'a>,
    /// Its memory.
    pub durable: Durable<'a, S>,
}

/// All that a member remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable<'a, S = RoutingState<'a>> {
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// How often a node has started on this disk.
    pub epoch: u64,
    /// Whether it takes part, and since when.
    #[serde(borrow)]
    pub joined: Option<Map<'a, NodeId, Incarnation>>,
    /// Nothing below it is accepted.
    pub promise: Ballot,
    /// What was accepted last.
    #[serde(borrow)]
    pub accepted: Option<Proposal<'a, S>>,
    /// The newest decision learned.
    pub committed: Option<Proposal<'a, S>>,
}

/// Every later record of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "it is made where it is written or taken apart, and never kept")]
pub enum Record<'a, S = RoutingState<'a>> {
    /// The member takes part from now on.
    Joined(#[serde(borrow)] Map<'a, NodeId, Incarnation>),
    /// Nothing below this ballot will be accepted.
    Promised(Ballot),
    /// This was accepted last.
    Accepted(#[serde(borrow)] Proposal<'a, S>),
    /// This was learned as decided.
    Committed(#[serde(borrow)] Proposal<'a, S>),
    /// What was accepted last was learned as decided.
    AcceptedIsCommitted,
}

/// The file beside the segments, indented, that says whose memory they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity<'a> {
    /// The format of the directory.
    pub format: u64,
    /// The member.
    #[serde(borrow)]
    pub node: Text<'a>,
    /// The trust domain of its cluster.
    pub cluster: Text<'a>,
    /// The life of the disk.
    pub incarnation: Incarnation,
}
