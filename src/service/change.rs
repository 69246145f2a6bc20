//! What may be asked for, as a function from the state it finds to the state that follows.

use super::next::{
    approve, end_as_stable, end_at_nothing, member, named, present, resume, retry, set_model, set_weight, start,
    step_on, undo, wrong_phase,
};
use crate::{MARK, Missing, Model, Outcome, Phase, Plan, Rate, RoutingState};
use agreement::Direction;
use model::{ModelId, NodeId, NodeSet, TxId, UnixMillis, Weight};
use std::sync::Arc;

/// A request to change the routing state. It is applied to whatever state the proposer finds itself built on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Change {
    /// Gives the canary this share; with a model, makes that model the canary. While a rollout is open it may only lower,
    /// and pauses the rollout.
    Weight { weight: Weight, canary: Option<Model> },
    /// Takes a member out of the vote.
    Drain(NodeId),
    /// Takes a drained member back into the vote.
    Undrain(NodeId),
    /// Says where a model is served: the stable one or the canary.
    Model(Model),
    /// Begins a rollout.
    Start { canary: Model, plan: Arc<Plan>, when_open: WhenOpen },
    /// The step that began at this version was held and passed: the next one, or the end.
    Next { epoch: u64 },
    /// An operator's word that the rollout goes on.
    Promote(Extent),
    /// An operator's word that the next step that names approvals may be entered: the same who asks for the change, or no
    /// member votes for it.
    Approve { operator: String },
    /// The rollout waits for an operator. With a version, only if that is still its present epoch.
    Pause { why: String, epoch: Option<u64> },
    /// A paused rollout goes on with its present step, measured anew.
    Resume,
    /// The rollout ends and the canary gets nothing. With a version, only the rollout that it started.
    Abort { why: String, started: Option<u64> },
    /// The canary has failed in the rollout that this version started, whatever step that is at: it gets nothing.
    RollBack { why: String, started: u64 },
    /// The rollout that was aborted or rolled back begins again.
    Retry,
    /// An earlier stable model becomes the stable one again, the latest where none is named.
    Undo { to: Option<ModelId> },
    /// Closes the door to version 5 of the wire: the state as it stands, marked. At version 0, where nothing stands yet,
    /// the mark comes with the first change, so that it takes no version of its own.
    Close(Option<Box<Self>>),
    /// The change at this rate of the service's requests, from which follows how long a step that begins with it may take.
    At { rate: Rate, change: Box<Self> },
}

/// What becomes of a rollout that is open when another one is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenOpen {
    /// The new one does not begin.
    Refuse,
    /// The open one ends.
    Supersede,
}

/// How far a promotion goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// To the next step.
    Step,
    /// To the end: the canary becomes the stable model.
    Full,
}

/// The change makes no sense on the state it meets. Steps are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ChangeError {
    /// A share without a model to give it to.
    #[error("there is no canary model to give {0} to")]
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
    /// A rollout is open and decides the weight.
    #[error("{id} of {canary} is open at {weight}: promote, pause or abort it")]
    RolloutOpen { id: String, canary: ModelId, weight: Weight },
    /// There is no rollout that goes on.
    #[error("no rollout is open: start one")]
    NoRollout,
    /// The rollout is not in the phase that this is for.
    #[error("{id} is {phase}: {hint}")]
    WrongPhase { id: String, phase: &'static str, hint: &'static str },
    /// The step is over already.
    #[error("the step that began at version {0} is over")]
    StepOver(u64),
    /// Not enough operators have approved what would be entered.
    #[error("it waits for {0}")]
    NotApproved(Missing),
    /// The same operator once more.
    #[error("{operator} has approved step {step} ({weight}) already")]
    AlreadyApproved { operator: String, step: usize, weight: Weight },
    /// Nobody's approval is missing.
    #[error("step {step} ({weight}) has all the approvals that are asked for")]
    ApprovedByEnough { step: usize, weight: Weight },
    /// No step to come names approvals.
    #[error("no step to come of {id} asks for approvals")]
    NothingToApprove { id: String },
    /// Nothing to go back to.
    #[error("no model was stable before {0}: there is nothing to go back to")]
    NothingBefore(ModelId),
    /// Not one of the models that were stable.
    #[error("{0} was not the stable model lately (before were: {1})")]
    NotBefore(ModelId, String),
    /// It cannot be said in version 5 of the wire, which is all that these members speak, or they are not connected.
    #[error("version 5 of the nodes' protocol has no words for it, and no newer one is spoken with {0}")]
    WireVersion(NodeSet),
    /// The mark is there.
    #[error("the door to version 5 of the nodes' protocol is closed already")]
    Closed,
    /// Neither stable nor canary.
    #[error("{0} is neither the stable model ({1}) nor the canary: only those two have an upstream in the state")]
    UnknownModel(ModelId, ModelId),
}

impl Change {
    /// Whether version 5 of the wire can say what comes of it on a state without the mark.
    pub fn is_said_by_5(&self) -> bool {
        match self {
            Self::Close(_) => false,
            Self::At { change, .. } => change.is_said_by_5(),
            Self::Start { plan, .. } => Plan::clone(plan).without_news().of_5().is_some(),
            Self::Weight { .. } | Self::Drain(_) | Self::Undrain(_) | Self::Model(_) => true,
            Self::Next { .. } | Self::Promote(_) | Self::Approve { .. } | Self::Pause { .. } | Self::Resume => true,
            Self::Abort { .. } | Self::RollBack { .. } | Self::Retry | Self::Undo { .. } => true,
        }
    }

    /// Whether a step begins with it, so that it matters at which rate of requests that is.
    pub const fn begins_step(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Next { .. }
            | Self::Promote(Extent::Step)
            | Self::Resume
            | Self::Retry
            | Self::Model(_) => true,
            Self::Weight { .. }
            | Self::Drain(_)
            | Self::Undrain(_)
            | Self::Promote(Extent::Full)
            | Self::Approve { .. }
            | Self::Pause { .. }
            | Self::Abort { .. }
            | Self::RollBack { .. }
            | Self::Undo { .. }
            | Self::Close(_)
            | Self::At { .. } => false,
        }
    }

    /// The rate that comes with it; none is known without.
    fn rate(&self) -> Rate {
        let within = if let Self::Close(Some(first)) = self { first } else { self };
        if let Self::At { rate, .. } = within { *rate } else { Rate::default() }
    }

    /// The state that follows `base` by this change. Fails when the change does not fit `base` or names a node
    /// outside `members`.
    pub fn apply(
        &self,
        base: &RoutingState,
        members: NodeSet,
        txid: TxId,
        timestamp: UnixMillis,
    ) -> Result<RoutingState, ChangeError> {
        let next = self.applied(base, members, txid, timestamp)?.in_its_words(members)?;
        Ok(next.with_deadline(self.rate()))
    }

    fn applied(
        &self,
        base: &RoutingState,
        members: NodeSet,
        txid: TxId,
        timestamp: UnixMillis,
    ) -> Result<RoutingState, ChangeError> {
        let mut next = RoutingState {
            version: base.version + 1,
            txid: Some(txid),
            coordinator: txid.node,
            timestamp,
            chain: base.extended_chain(),
            ..base.clone()
        };
        match self {
            Self::Weight { weight, canary } => set_weight(base, &mut next, *weight, canary.as_ref())?,
            Self::Drain(node) => {
                next.drained.insert(member(*node, members)?);
                if members.minus(next.drained).is_empty() {
                    return Err(ChangeError::LastMember(*node));
                }
            }
            Self::Undrain(node) => next.drained.remove(member(*node, members)?),
            Self::Model(model) => set_model(&mut next, model)?,
            Self::Start { canary, plan, when_open } => start(base, &mut next, canary, plan, *when_open)?,
            Self::Next { epoch } => {
                let rollout = present(base, Some(*epoch))?;
                if rollout.phase != Phase::Progressing {
                    return Err(wrong_phase(rollout, "resume it"));
                }
                step_on(&mut next, rollout)?;
            }
            Self::Promote(Extent::Step) => step_on(&mut next, present(base, None)?)?,
            Self::Promote(Extent::Full) => end_as_stable(&mut next, present(base, None)?, Outcome::FastPromoted)?,
            Self::Approve { operator } => approve(base, &mut next, operator)?,
            Self::Pause { why, epoch } => {
                let rollout = present(base, *epoch)?;
                next.rollout = Some(Arc::new(rollout.standing(Phase::Paused, why)));
            }
            Self::Resume => resume(base, &mut next)?,
            Self::Abort { why, started } => end_at_nothing(&mut next, named(base, *started)?, Outcome::Aborted, why),
            Self::RollBack { why, started } => {
                end_at_nothing(&mut next, named(base, Some(*started))?, Outcome::RolledBack, why);
            }
            Self::Retry => retry(base, &mut next)?,
            Self::Undo { to } => undo(base, &mut next, to.as_ref())?,
            Self::At { change, .. } => next = change.applied(base, members, txid, timestamp)?,
            Self::Close(None) if base.wire.is_some() => return Err(ChangeError::Closed),
            Self::Close(None) => next.wire = Some(MARK),
            Self::Close(Some(first)) => {
                next = first.applied(base, members, txid, timestamp)?;
                next.wire = base.wire.or((base.version == 0).then_some(MARK));
            }
        }
        Ok(next)
    }
}

impl RoutingState {
    /// What going from this state to `next` is: an advance when it is more traffic for the canary, other models, an
    /// approval, or a member back in the vote; else a retreat.
    pub fn direction_to(&self, next: &Self) -> Direction {
        let base = self;
        let model = |state: &RoutingState| state.canary.as_ref().map(|canary| canary.model.clone());
        let started = |state: &RoutingState| state.rollout.as_ref().map(|rollout| rollout.started);
        let advances = next.canary_weight() > base.canary_weight()
            || next.stable != base.stable
            || model(next) != model(base)
            || started(next) != started(base)
            || base.is_approved_more_in(next)
            || !base.drained.minus(next.drained).is_empty();
        if advances { Direction::Advance } else { Direction::Retreat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rollout;
    use model::Incarnation;

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
        let direction = |change: &Change| five.direction_to(&after(&five, change).expect("the change fits"));
        assert_eq!(initial().direction_to(&five), Direction::Advance);
        assert_eq!(direction(&weight("5", None)), Direction::Retreat);
        assert_eq!(direction(&weight("5.01", None)), Direction::Advance);
        assert_eq!(direction(&weight("0", Some("v3"))), Direction::Advance);
        assert_eq!(direction(&Change::Drain(NodeId::A)), Direction::Retreat);
        let drained = after(&five, &Change::Drain(NodeId::A)).expect("node-a is a member");
        let back = after(&drained, &Change::Undrain(NodeId::A)).expect("node-a is a member");
        assert_eq!(drained.direction_to(&back), Direction::Advance);
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

    use model::Digest;

    fn plan() -> Arc<Plan> {
        use crate::Step;
        let step = |percent| Step::new(Weight::from_percent(percent).expect("a weight"), Plan::HOLD);
        Arc::new(Plan::of(vec![step("5"), step("20")]).expect("a plan"))
    }

    fn model(id: &str) -> Model {
        Model { id: id.parse().expect("a model id"), upstream: None }
    }

    fn begun(base: &RoutingState, canary: &str) -> RoutingState {
        let start = Change::Start { canary: model(canary), plan: plan(), when_open: WhenOpen::Refuse };
        let next = after(base, &start).expect("nothing is open");
        assert_eq!((base.direction_to(&next), base.plan_allows(&next, "operator/x")), (Direction::Advance, Ok(())));
        next
    }

    fn onward(base: &RoutingState) -> RoutingState {
        let epoch = base.rollout.as_ref().expect("a rollout").epoch;
        let next = after(base, &Change::Next { epoch }).expect("it is progressing");
        assert_eq!((base.direction_to(&next), base.plan_allows(&next, "operator/x")), (Direction::Advance, Ok(())));
        next
    }

    fn stands(state: &RoutingState) -> (String, Phase, u64) {
        let rollout = state.rollout.as_ref().expect("a rollout");
        (state.canary_weight().to_string(), rollout.phase, rollout.epoch)
    }

    #[test]
    fn a_rollout_goes_its_way_and_the_canary_becomes_stable() {
        let first = begun(&initial(), "v2");
        assert_eq!(stands(&first), ("5 %".into(), Phase::Progressing, 1));
        let second = onward(&first);
        assert_eq!(stands(&second), ("20 %".into(), Phase::Progressing, 2));
        let whole = onward(&second);
        assert_eq!(stands(&whole), ("100 %".into(), Phase::Progressing, 3));
        let end = onward(&whole);
        assert_eq!(stands(&end), ("0 %".into(), Phase::Ended(Outcome::Promoted), 3));
        assert_eq!((end.stable.id.as_str(), end.canary.is_none()), ("v2", true));
        assert_eq!(after(&end, &Change::Next { epoch: 3 }), Err(ChangeError::NoRollout));
        let undone = after(&end, &Change::Undo { to: None }).expect("v1 was stable");
        assert_eq!((undone.stable.id.as_str(), undone.earlier.len()), ("v1", 1));
        assert_eq!(end.direction_to(&undone), Direction::Advance);
        assert_eq!(end.plan_allows(&undone, "operator/x"), Ok(()));
        let named = Change::Undo { to: Some("v9".parse().expect("a model id")) };
        assert!(matches!(after(&end, &named), Err(ChangeError::NotBefore(..))));
        assert!(matches!(after(&initial(), &Change::Undo { to: None }), Err(ChangeError::NothingBefore(_))));
    }

    #[test]
    fn whatever_takes_traffic_away_is_a_retreat() {
        let open = onward(&begun(&initial(), "v2"));
        let why = || "because".to_owned();
        for change in [
            Change::RollBack { why: why(), started: 1 },
            Change::Abort { why: why(), started: None },
            Change::Pause { why: why(), epoch: Some(2) },
            weight("1", None),
        ] {
            let next = after(&open, &change).expect("it fits");
            assert_eq!(open.direction_to(&next), Direction::Retreat, "{change:?}");
        }
        let paused = after(&open, &weight("1", None)).expect("it lowers");
        assert_eq!(stands(&paused), ("1 %".into(), Phase::Paused, 2));
        let back = after(&paused, &Change::Resume).expect("it is paused");
        assert_eq!(stands(&back), ("20 %".into(), Phase::Progressing, 4));
        assert_eq!((paused.direction_to(&back), paused.plan_allows(&back, "operator/x")), (Direction::Advance, Ok(())));
    }

    #[test]
    fn what_is_over_begins_again_from_its_first_step() {
        let open = onward(&begun(&initial(), "v2"));
        let over = after(&open, &Change::RollBack { why: "errors".into(), started: 1 }).expect("it is open");
        assert_eq!(stands(&over), ("0 %".into(), Phase::Ended(Outcome::RolledBack), 2));
        let again = after(&over, &Change::Retry).expect("it was rolled back");
        assert_eq!(
            (stands(&again), over.plan_allows(&again, "operator/x")),
            (("5 %".into(), Phase::Progressing, 4), Ok(()))
        );
        assert!(matches!(after(&again, &Change::Retry), Err(ChangeError::WrongPhase { .. })));
        let other = Change::Start { canary: model("v3"), plan: plan(), when_open: WhenOpen::Refuse };
        assert!(matches!(after(&again, &other), Err(ChangeError::RolloutOpen { .. })));
        let other = Change::Start { canary: model("v3"), plan: plan(), when_open: WhenOpen::Supersede };
        let superseded = after(&again, &other).expect("it may take its place");
        assert_eq!(
            (stands(&superseded), again.plan_allows(&superseded, "operator/x")),
            (("5 %".into(), Phase::Progressing, 5), Ok(()))
        );
    }

    #[test]
    fn an_open_rollout_decides_the_weight() {
        let open = begun(&initial(), "v2");
        for raising in [weight("5", None), weight("20", None), weight("1", Some("v3"))] {
            assert!(matches!(after(&open, &raising), Err(ChangeError::RolloutOpen { .. })), "{raising:?}");
        }
        assert_eq!(after(&open, &Change::Next { epoch: 0 }), Err(ChangeError::StepOver(0)));
        assert!(matches!(after(&open, &Change::Undo { to: None }), Err(ChangeError::RolloutOpen { .. })));
        assert_eq!(after(&open, &Change::RollBack { why: String::new(), started: 7 }), Err(ChangeError::NoRollout));
    }

    #[test]
    fn members_refuse_what_the_plan_does_not_say() {
        let open = begun(&initial(), "v2");
        let with = |change: &dyn Fn(&mut RoutingState)| {
            let mut next = onward(&open);
            change(&mut next);
            open.plan_allows(&next, "operator/x")
        };
        let set = |state: &mut RoutingState, points| {
            state.canary.as_mut().expect("a canary").weight = Weight::from_basis_points(points).expect("a weight");
        };
        let edit = |state: &mut RoutingState, change: &dyn Fn(&mut Rollout)| {
            let mut rollout = Rollout::clone(state.rollout.as_ref().expect("a rollout"));
            change(&mut rollout);
            state.rollout = Some(Arc::new(rollout));
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|next| set(next, 5_000)), Err("after 5 % comes 20 %, not 50 %".into()));
        assert!(with(&|next| edit(next, &|rollout| rollout.step = 2)).is_err());
        assert!(with(&|next| next.rollout = None).is_err());
        assert!(with(&|next| next.stable = model("v2")).is_err());
        assert!(with(&|next| edit(next, &|rollout| rollout.phase = Phase::Ended(Outcome::Promoted))).is_err());
        let other_plan = |rollout: &mut Rollout| Arc::make_mut(&mut rollout.plan).min_sample = 1;
        assert!(with(&|next| edit(next, &other_plan)).is_err());
        let promote = after(&open, &Change::Promote(Extent::Full)).expect("it is open");
        assert_eq!(open.plan_allows(&promote, "operator/x"), Ok(()));
        let mut begins_high = begun(&initial(), "v2");
        set(&mut begins_high, 2_000);
        assert!(initial().plan_allows(&begins_high, "operator/x").is_err());
    }

    #[test]
    fn only_the_two_models_have_a_place_in_the_state() {
        let open = begun(&initial(), "v2");
        let at = |id: &str| Model { upstream: Some("http://10.0.0.1:9/".into()), ..model(id) };
        let moved = after(&open, &Change::Model(at("v2"))).expect("v2 is the canary");
        let rollout = moved.rollout.as_ref().expect("open");
        assert_eq!((&rollout.canary, rollout.epoch), (&at("v2"), 2), "another server is measured anew");
        assert_eq!((open.direction_to(&moved), open.plan_allows(&moved, "operator/x")), (Direction::Advance, Ok(())));
        assert!(after(&open, &Change::Model(at("v1"))).is_ok_and(|next| next.stable == at("v1")));
        assert!(matches!(after(&open, &Change::Model(at("v3"))), Err(ChangeError::UnknownModel(..))));
    }
}
