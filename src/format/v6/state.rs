//! The routing state, with the mark of a version of the wire.

use super::Rollout;
use crate::v5::{self, Canary, Link, List, Model, NodeId, NodeSet, TxId};
use crate::{Form, Invalid};
use serde::{Deserialize, Serialize};

/// The routing state without the mark.
type Unmarked<'a> = v5::RoutingState<'a, Rollout<'a>>;

/// The split of the traffic, from one decision to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingState<'a> {
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
    /// The models that were stable before, oldest first.
    pub earlier: List<'a, Model<'a>>,
    /// The rollout.
    pub rollout: Option<Box<Rollout<'a>>>,
    /// The decisions before this one, oldest first.
    pub chain: List<'a, Link>,
    /// From this state on the mesh speaks this version of the wire, and there is no way back.
    pub wire: Option<u16>,
}

impl<'a> From<Unmarked<'a>> for RoutingState<'a> {
    fn from(state: Unmarked<'a>) -> Self {
        let Unmarked { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain } =
            state;
        Self { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain, wire: None }
    }
}

impl<'a> Form<'a> for RoutingState<'a> {
    type Value = service::RoutingState;

    #[inline]
    fn of(state: &'a service::RoutingState) -> Self {
        Self { wire: state.wire, ..Unmarked::of(state).into() }
    }
}

impl TryFrom<RoutingState<'_>> for service::RoutingState {
    type Error = Invalid;

    #[inline]
    fn try_from(state: RoutingState<'_>) -> Result<Self, Invalid> {
        let RoutingState {
            version,
            txid,
            coordinator,
            timestamp,
            stable,
            canary,
            drained,
            earlier,
            rollout,
            chain,
            wire,
        } = state;
        let before =
            Unmarked { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain };
        Ok(Self { wire, ..before.try_into()? })
    }
}
