//! A line of the history: one decided transaction, in JSON.

use super::{Actor, Evidence, Map, NodeId, RoutingState, Text, TxId, Votes};
use crate::Version;
use serde::{Deserialize, Serialize};

/// One decided transaction, with states of the form `S`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<'a, S = RoutingState<'a>> {
    /// The format of the line.
    #[serde(default = "first_format", skip_serializing_if = "is_first_format")]
    pub format: u64,
    /// The transaction.
    pub txid: TxId,
    /// Its version, or the one it was meant for.
    pub version: u64,
    /// Its end.
    pub decision: Decision,
    /// Who asked for it.
    #[serde(borrow)]
    pub by: Option<Actor<'a>>,
    /// When it was proposed, in milliseconds since 1970.
    pub proposed_at: u64,
    /// When this node learned the end, in milliseconds since 1970.
    pub learned_at: u64,
    /// Each member's vote.
    pub votes: Votes<'a>,
    /// What the voters measured; missing in what programs wrote that did not measure.
    #[serde(default)]
    pub evidence: Map<'a, NodeId, Evidence>,
    /// What was decided before.
    pub from: Option<Split<'a>>,
    /// What it decided; none for an abort.
    pub decided: Option<S>,
    /// On the coordinator, how long it took.
    pub took: Option<Duration>,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is the state, or was.
    Commit,
    /// It never will be.
    Abort,
}

/// The shares of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split<'a> {
    /// The stable model.
    #[serde(borrow)]
    pub stable: Text<'a>,
    /// The canary.
    pub canary: Option<Text<'a>>,
    /// Its share, in basis points.
    pub weight: u16,
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duration {
    /// Whole seconds.
    pub secs: u64,
    /// The rest in nanoseconds.
    pub nanos: u32,
}

/// The format of a line that names none, as 0.1.0 writes them.
pub(crate) const fn first_format() -> u64 {
    Version::V5.line()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(super) const fn is_first_format(format: &u64) -> bool {
    *format == first_format()
}
