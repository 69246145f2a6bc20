//! The routing state, with the mark of a version of the wire.

use super::{Canary, Link, List, Model, NodeId, NodeSet, Rollout, TxId};
use crate::format::{Form, Inexpressible, Invalid, State, Version, v5};
use serde::{Deserialize, Serialize};

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

impl<'a> From<v5::RoutingState<'a>> for RoutingState<'a> {
    fn from(state: v5::RoutingState<'a>) -> Self {
        let v5::RoutingState {
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
        } = state;
        Self { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain, wire: None }
    }
}

impl<'a> RoutingState<'a> {
    /// The state without its mark, and the mark.
    fn taken_apart(self) -> (v5::RoutingState<'a>, Option<u16>) {
        let Self { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain, wire } =
            self;
        let state = v5::RoutingState {
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
        };
        (state, wire)
    }
}

impl<'a> TryFrom<RoutingState<'a>> for v5::RoutingState<'a> {
    type Error = Inexpressible;

    fn try_from(state: RoutingState<'a>) -> Result<Self, Inexpressible> {
        match state.taken_apart() {
            (state, None) => Ok(state),
            (_, Some(_)) => Err(Inexpressible { what: "the mark of a version of the wire" }),
        }
    }
}

impl State for RoutingState<'_> {
    const VERSION: Version = Version::V6;

    fn check(_state: &crate::model::RoutingState) -> Result<(), Inexpressible> {
        Ok(())
    }
}

impl<'a> Form<'a> for RoutingState<'a> {
    type Value = crate::model::RoutingState;

    fn of(state: &'a crate::model::RoutingState) -> Self {
        Self { wire: None, ..v5::RoutingState::of(state).into() }
    }
}

impl<'a> From<&'a crate::model::RoutingState> for RoutingState<'a> {
    fn from(state: &'a crate::model::RoutingState) -> Self {
        Self::of(state)
    }
}

impl TryFrom<RoutingState<'_>> for crate::model::RoutingState {
    type Error = Invalid;

    fn try_from(state: RoutingState<'_>) -> Result<Self, Invalid> {
        let (state, mark) = state.taken_apart();
        // The room has no place for a mark, so none may be lost here.
        mark.map_or(Ok(()), |version| Err(Invalid::Mark(version)))?;
        state.try_into()
    }
}
