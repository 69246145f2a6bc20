//! The door from version 5 of the wire to version 6, which is gone through once and by all.
//!
//! A state says so by its mark. Before it a member can be taken back to the program that speaks version 5; after it nobody
//! speaks that version any more, and states may hold what it has no words for.

use crate::{ChangeError, Plan, Rollout, RoutingState};
use model::NodeSet;
use std::sync::Arc;

/// The version of the wire that a marked state names.
pub const MARK: u16 = 6;

impl RoutingState {
    /// Whether a member may accept `next` on this state, as far as the mark goes. A majority decides about it without
    /// a vote, so nothing may come with it but at version 0, where nothing was agreed before. Fails with what stands
    /// against it.
    pub(super) fn door_allows(&self, next: &Self) -> Result<(), String> {
        self.mark_can_become(next.wire)?;
        if next.wire.is_none() && !next.has_plan_of_5() {
            return Err("a plan that version 5 of the wire has no words for comes without the mark".to_owned());
        }
        if self.wire == next.wire || self.version == 0 || self.is_repeated_by(next) {
            Ok(())
        } else {
            Err("something else comes with the mark of a version of the wire".to_owned())
        }
    }

    /// The state with a plan that it has words for: without the mark what version 5 does not know, and nobody asked for, is left
    /// out of the plan. Fails when something was asked for that is.
    pub(super) fn in_its_words(self, members: NodeSet) -> Result<Self, ChangeError> {
        if self.wire.is_some() || self.has_plan_of_5() {
            return Ok(self);
        }
        let in_words = |rollout: &Arc<Rollout>| {
            let plan = Arc::new(Plan::clone(&rollout.plan).without_news());
            Arc::new(Rollout { plan, deadline: None, ..Rollout::clone(rollout) })
        };
        let plain = Self { rollout: self.rollout.as_ref().map(in_words), ..self };
        if plain.has_plan_of_5() { Ok(plain) } else { Err(ChangeError::WireVersion(members)) }
    }

    /// Whether version 5 of the wire has words for the rollout, if there is one.
    fn has_plan_of_5(&self) -> bool {
        self.rollout.as_ref().is_none_or(|rollout| rollout.is_said_by_5())
    }

    /// Whether a state that comes after this one, sooner or later, can have this mark.
    pub(super) fn mark_can_become(&self, mark: Option<u16>) -> Result<(), String> {
        match (self.wire, mark) {
            (None, None | Some(MARK)) => Ok(()),
            (None, Some(other)) => Err(format!("it is marked {other}, and this member knows {MARK} only")),
            (Some(wire), after) if after == Some(wire) => Ok(()),
            (Some(wire), _) => Err(format!("the members speak version {wire} of the wire for good")),
        }
    }

    /// Whether `next` is this state but for its place in the order, and its mark.
    fn is_repeated_by(&self, next: &Self) -> bool {
        let Self { version, txid, coordinator, timestamp, ref chain, wire, .. } = *next;
        Self { version, txid, coordinator, timestamp, chain: chain.clone(), wire, ..self.clone() } == *next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Model};
    use agreement::{Direction, Register};
    use model::{Incarnation, ModelId, NodeId, NodeSet, TxId, UnixMillis, Weight};

    fn after(base: &RoutingState, change: &Change) -> RoutingState {
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: base.version + 1 };
        change.apply(base, NodeSet::first(3), txid, UnixMillis(base.version)).expect("the change fits")
    }

    fn share(points: u16) -> Change {
        let id: ModelId = "v2".parse().expect("a model id");
        let weight = Weight::from_basis_points(points).expect("a weight");
        Change::Weight { weight, canary: Some(Model { id, upstream: None }) }
    }

    fn initial() -> RoutingState {
        RoutingState::initial("v1".parse().expect("a model id"))
    }

    #[test]
    fn a_mark_repeats_the_state_and_stays() {
        let five = after(&initial(), &share(500));
        let marked = after(&five, &Change::Close(None));
        assert_eq!((marked.version, marked.wire, five.wire), (2, Some(MARK), None));
        assert_eq!(five.direction_to(&marked), Direction::Retreat, "a majority is enough");
        assert_eq!((marked.canary.as_ref(), five.bears(&marked, "")), (five.canary.as_ref(), Ok(())));
        let twenty = after(&marked, &share(2_000));
        assert_eq!((twenty.wire, marked.bears(&twenty, "")), (Some(MARK), Ok(())));
        let bare = RoutingState { wire: None, ..twenty.clone() };
        assert_ne!(bare.digest(), twenty.digest(), "the digest covers the mark");
        assert!(marked.bears(&bare, "").is_err(), "nothing takes it off");
        let other = RoutingState { wire: Some(MARK + 1), ..twenty };
        assert!(marked.bears(&other, "").is_err() && five.bears(&other, "").is_err());
    }

    #[test]
    fn whatever_comes_later_keeps_the_mark_and_has_no_other() {
        let five = after(&initial(), &share(500));
        let marked = after(&five, &Change::Close(None));
        let far = |wire| RoutingState { version: 40, wire, ..five.clone() };
        assert_eq!(five.can_come_to(&far(None)), Ok(()));
        assert_eq!(five.can_come_to(&far(Some(MARK))), Ok(()));
        assert_eq!(marked.can_come_to(&far(Some(MARK))), Ok(()));
        assert!(marked.can_come_to(&far(None)).is_err(), "nothing takes it off");
        for other in [0, 5, 7, u16::MAX] {
            assert!(five.can_come_to(&far(Some(other))).is_err() && marked.can_come_to(&far(Some(other))).is_err());
        }
    }

    #[test]
    fn nothing_comes_with_a_mark_but_at_version_0() {
        let five = after(&initial(), &share(500));
        for change in [share(2_000), share(0), Change::Drain(NodeId::A)] {
            let with = RoutingState { wire: Some(MARK), ..after(&five, &change) };
            assert!(five.bears(&with, "").is_err(), "{change:?}");
            let told = Change::Close(Some(Box::new(change)));
            assert_eq!(after(&five, &told).wire, None, "what was meant for version 0 comes without it");
        }
        let first = after(&initial(), &Change::Close(Some(Box::new(share(500)))));
        assert_eq!((first.version, first.wire, initial().bears(&first, "")), (1, Some(MARK), Ok(())));
        assert_eq!(initial().direction_to(&first), Direction::Advance, "the change is voted on all the same");
        assert_eq!(RoutingState { wire: None, ..first }, five);
    }

    #[test]
    fn without_the_mark_a_plan_has_what_version_5_knows() {
        let five = after(&initial(), &share(0));
        let start = |plan: Plan| {
            let canary = Model { id: "v2".parse().expect("a model id"), upstream: None };
            Change::Start { canary, plan: Arc::new(plan), when_open: crate::WhenOpen::Refuse }
        };
        let step = crate::Step::new(Weight::from_percent("5").expect("a weight"), Plan::HOLD);
        let plan = Plan::of(vec![step]).expect("a plan");
        let gates = |state: &RoutingState| state.rollout.as_ref().expect("it began").plan.gates.len();
        let plain = after(&five, &start(plan.clone()));
        assert_eq!((gates(&plain), five.bears(&plain, "")), (4, Ok(())));
        let marked = after(&five, &Change::Close(None));
        assert_eq!(gates(&after(&marked, &start(plan.clone()))), 7);
        let first = after(&initial(), &Change::Close(Some(Box::new(start(plan.clone())))));
        assert_eq!((gates(&first), initial().bears(&first, "")), (7, Ok(())));
        assert!(initial().bears(&RoutingState { wire: None, ..first }, "").is_err(), "a plan without words for it");
        let asked = start(Plan { expected: vec![404], ..plan });
        assert!(!asked.is_said_by_5());
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: 9 };
        let refused = asked.apply(&five, NodeSet::first(3), txid, UnixMillis(9));
        assert_eq!(refused, Err(ChangeError::WireVersion(NodeSet::first(3))));
    }

    #[test]
    fn a_state_without_a_mark_has_the_digest_that_version_5_computes() {
        let five = after(&initial(), &share(500));
        let computed = "73ae0f49311abe2e3b5ab437e3eb6a072db1adf6e47dd995523183b4dc76fa79";
        assert_eq!(five.digest().to_string(), computed);
    }
}
