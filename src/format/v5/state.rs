//! The routing state: the one value that the members agree on.

use super::{Digest, List, NodeId, NodeSet, Rollout, Text, TxId};
use serde::{Deserialize, Serialize};

/// The split of the traffic, from one decision to the next, with a rollout of the form `R`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingState<'a, R = Rollout<'a>> {
    /// Counts the decisions.
    pub version: u64,
    /// The transaction that decided it; none at version 0.
    pub txid: Option<TxId>,
    /// The member that drove the decision.
    pub coordinator: NodeId,
    /// When it was proposed, in milliseconds since 1970.
    pub timestamp: u64,
    /// The stable model.
    #[serde(borrow)]
    pub stable: Model<'a>,
    /// The model on trial.
    pub canary: Option<Canary<'a>>,
    /// Members out of the vote.
    pub drained: NodeSet,
    /// The models that were stable before, oldest first; missing in what programs wrote that could not go back.
    #[serde(default)]
    pub earlier: List<'a, Model<'a>>,
    /// The rollout; missing in what programs wrote that knew none.
    #[serde(default = "none")]
    pub rollout: Option<Box<R>>,
    /// The decisions before this one, oldest first.
    pub chain: List<'a, Link>,
}

const fn none<R>() -> Option<R> {
    None
}

/// A model, and where it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model<'a> {
    /// Its name.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// The URL that was given with it.
    pub upstream: Option<Text<'a>>,
}

/// The model on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary<'a> {
    /// The model.
    #[serde(borrow)]
    pub model: Model<'a>,
    /// Its share, in basis points.
    pub weight: u16,
    /// What keys are hashed with.
    pub salt: Text<'a>,
}

/// One decided version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The version.
    pub version: u64,
    /// The transaction that was decided at it.
    pub txid: TxId,
    /// The digest of the state that it decided.
    pub digest: Digest,
}
