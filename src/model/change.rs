//! What an operator may ask for, as a function from the state it finds to the state that follows.

use super::{Canary, Model, ModelId, NodeId, NodeSet, RoutingState, TxId, UnixMillis, Weight};
use serde::{Deserialize, Serialize};

/// A request to change the routing state. It is applied to whatever state the proposer finds itself built on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// Gives the canary this share; with a model, makes that model the canary.
    Weight {
        /// The share.
        weight: Weight,
        /// The canary from now on, or the one there is.
        canary: Option<Model>,
    },
    /// Takes a member out of the vote.
    Drain(NodeId),
    /// Takes a drained member back into the vote.
    Undrain(NodeId),
}

/// Whether a change needs every vote or only a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// More traffic for the canary, other models, or a member back in the vote: all must vote for it.
    Advance,
    /// Anything else: a majority suffices and nobody has a veto.
    Retreat,
}

/// The change makes no sense on the state it meets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChangeError {
    /// A share without a model to give it to.
    #[error("there is no canary model to give {0} to: name one (canary_model_id)")]
    NoCanary(Weight),
    /// The canary would be the stable model.
    #[error("{0} is the stable model already: the canary must be another one")]
    CanaryIsStable(ModelId),
    /// Not a configured member.
    #[error("{0} is not a member of this mesh (members: {1})")]
    NotAMember(NodeId, NodeSet),
    /// Nobody would be left to vote.
    #[error("{0} is the last member that is not drained: undrain another one first")]
    LastMember(NodeId),
}

impl Change {
    /// The state that follows `base` by this change.
    ///
    /// # Errors
    /// When the change does not fit `base` or names a node outside `members`.
    pub fn apply(
        &self,
        base: &RoutingState,
        members: NodeSet,
        txid: TxId,
        timestamp: UnixMillis,
    ) -> Result<RoutingState, ChangeError> {
        let version = base.version + 1;
        let mut next = RoutingState {
            version,
            txid: Some(txid),
            coordinator: txid.node,
            timestamp,
            chain: base.extended_chain(),
            ..base.clone()
        };
        match self {
            Self::Weight { weight, canary } => next.canary = canary_after(base, *weight, canary.as_ref(), version)?,
            Self::Drain(node) => {
                next.drained.insert(member(*node, members)?);
                if members.minus(next.drained).is_empty() {
                    return Err(ChangeError::LastMember(*node));
                }
            }
            Self::Undrain(node) => next.drained.remove(member(*node, members)?),
        }
        Ok(next)
    }
}

impl Direction {
    /// What going from `base` to `next` is.
    #[must_use]
    pub fn between(base: &RoutingState, next: &RoutingState) -> Self {
        let model = |state: &RoutingState| state.canary.as_ref().map(|canary| canary.model.clone());
        let advances = next.canary_weight() > base.canary_weight()
            || next.stable != base.stable
            || model(next) != model(base)
            || !base.drained.minus(next.drained).is_empty();
        if advances { Self::Advance } else { Self::Retreat }
    }
}

fn canary_after(
    base: &RoutingState,
    weight: Weight,
    named: Option<&Model>,
    version: u64,
) -> Result<Option<Canary>, ChangeError> {
    let Some(model) = named.or(base.canary.as_ref().map(|canary| &canary.model)) else {
        return if weight == Weight::ZERO { Ok(None) } else { Err(ChangeError::NoCanary(weight)) };
    };
    if model.id == base.stable.id {
        return Err(ChangeError::CanaryIsStable(model.id.clone()));
    }
    let kept = base.canary.as_ref().filter(|canary| canary.model.id == model.id);
    // Naming the present canary again without a URL keeps the URL it has.
    let upstream = model.upstream.clone().or_else(|| kept.and_then(|canary| canary.model.upstream.clone()));
    let salt = kept.map_or_else(|| format!("rollout-{version}"), |canary| canary.salt.clone());
    Ok(Some(Canary { model: Model { id: model.id.clone(), upstream }, weight, salt }))
}

const fn member(node: NodeId, members: NodeSet) -> Result<NodeId, ChangeError> {
    if members.contains(node) { Ok(node) } else { Err(ChangeError::NotAMember(node, members)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Incarnation;

    const MEMBERS: usize = 3;

    fn txid(sequence: u64) -> TxId {
        TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence }
    }

    fn weight(percent: &str, canary: Option<&str>) -> Change {
        let canary = canary.map(|id| Model { id: id.parse().expect("a model id"), upstream: None });
        Change::Weight { weight: Weight::from_percent(percent).expect("a weight"), canary }
    }

    fn after(base: &RoutingState, change: &Change) -> Result<RoutingState, ChangeError> {
        change.apply(base, NodeSet::first(MEMBERS), txid(base.version + 1), UnixMillis(0))
    }

    fn initial() -> RoutingState {
        RoutingState::initial("v1".parse().expect("a model id"))
    }

    #[test]
    fn the_salt_stays_with_the_canary_model() {
        let five = after(&initial(), &weight("5", Some("v2"))).expect("v2 becomes the canary");
        let none = after(&five, &weight("0", None)).expect("weight 0 keeps the model");
        let other = after(&none, &weight("5", Some("v3"))).expect("v3 becomes the canary");
        let salts: Vec<_> =
            [&five, &none, &other].map(|state| state.canary.as_ref().map(|canary| canary.salt.clone())).into();
        assert_eq!(salts, [Some("rollout-1".into()), Some("rollout-1".into()), Some("rollout-3".into())]);
    }

    #[test]
    fn more_traffic_another_model_and_undrain_are_advances() {
        let five = after(&initial(), &weight("5", Some("v2"))).expect("v2 becomes the canary");
        let direction = |change: &Change| Direction::between(&five, &after(&five, change).expect("the change fits"));
        assert_eq!(Direction::between(&initial(), &five), Direction::Advance);
        assert_eq!(direction(&weight("5", None)), Direction::Retreat);
        assert_eq!(direction(&weight("5.01", None)), Direction::Advance);
        assert_eq!(direction(&weight("0", Some("v3"))), Direction::Advance);
        assert_eq!(direction(&Change::Drain(NodeId::A)), Direction::Retreat);
        let drained = after(&five, &Change::Drain(NodeId::A)).expect("node-a is a member");
        let back = after(&drained, &Change::Undrain(NodeId::A)).expect("node-a is a member");
        assert_eq!(Direction::between(&drained, &back), Direction::Advance);
    }

    #[test]
    fn changes_that_fit_nothing_are_refused() {
        assert!(matches!(after(&initial(), &weight("5", None)), Err(ChangeError::NoCanary(_))));
        assert!(matches!(after(&initial(), &weight("5", Some("v1"))), Err(ChangeError::CanaryIsStable(_))));
        let stranger = NodeId::from_letter('z').expect("a letter");
        assert!(matches!(after(&initial(), &Change::Drain(stranger)), Err(ChangeError::NotAMember(..))));
        assert!(after(&initial(), &weight("0", None)).is_ok(), "pulling back always works");
        let two_drained = RoutingState { drained: NodeSet::first(2), ..initial() };
        let last = NodeId::from_letter('c').expect("a letter");
        assert_eq!(after(&two_drained, &Change::Drain(last)), Err(ChangeError::LastMember(last)));
    }

    #[test]
    fn the_digest_covers_the_past_and_the_chain_is_bounded() {
        let mut state = initial();
        for _ in 0..20 {
            let next = after(&state, &weight("0", None)).expect("a retreat fits");
            assert_ne!(next.digest(), state.digest());
            state = next;
        }
        assert_eq!(state.chain.len(), super::super::CHAIN_LENGTH);
        assert_eq!(state.decided_at(19), Some(txid(19)));
        assert_eq!(state.decided_at(3), None);
        let mut other = state.clone();
        other.chain.last_mut().expect("a chain").digest = Digest([7; 32]);
        assert_ne!(other.digest(), state.digest());
    }

    use crate::model::Digest;
}
