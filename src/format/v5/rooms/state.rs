//! Rollouts and states.

use super::super::{Approvals, Canary, Link, Model, Outcome, Phase, Plan, Rollout, RoutingState, StepNumber, Text};
use super::plan::weight_of;
use super::same_words;
use crate::format::{Form, Inexpressible, Invalid, State, Version};
use crate::model::{self, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;

same_words!(Outcome = model::Outcome { Promoted, FastPromoted, Aborted, RolledBack, Superseded });

impl State for RoutingState<'_> {
    const VERSION: Version = Version::V5;

    fn check(_state: &model::RoutingState) -> Result<(), Inexpressible> {
        Ok(())
    }
}

impl<'a> Form<'a> for RoutingState<'a> {
    type Value = model::RoutingState;

    #[inline]
    fn of(state: &'a model::RoutingState) -> Self {
        let model::RoutingState {
            version,
            txid,
            coordinator,
            timestamp: UnixMillis(timestamp),
            stable,
            canary,
            drained,
            earlier,
            rollout,
            chain,
        } = state;
        Self {
            version: *version,
            txid: txid.map(Into::into),
            coordinator: (*coordinator).into(),
            timestamp: *timestamp,
            stable: stable.into(),
            canary: canary.as_ref().map(Canary::from),
            drained: (*drained).into(),
            earlier: earlier.into(),
            rollout: rollout.as_deref().map(|rollout| Box::new(rollout.into())),
            chain: chain.into(),
        }
    }
}

impl<'a> TryFrom<&'a model::RoutingState> for RoutingState<'a> {
    type Error = Inexpressible;

    /// The state, or what of it this version has no words for: so far it has words for all.
    #[inline]
    fn try_from(state: &'a model::RoutingState) -> Result<Self, Inexpressible> {
        Self::check(state)?;
        Ok(Self::of(state))
    }
}

impl TryFrom<RoutingState<'_>> for model::RoutingState {
    type Error = Invalid;

    #[inline]
    fn try_from(state: RoutingState<'_>) -> Result<Self, Invalid> {
        let RoutingState { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain } =
            state;
        let rollout = rollout.map(|rollout| model::Rollout::try_from(*rollout)).transpose()?;
        Ok(Self {
            version,
            txid: txid.map(TryInto::try_into).transpose()?,
            coordinator: coordinator.try_into()?,
            timestamp: UnixMillis(timestamp),
            stable: stable.try_into()?,
            canary: canary.map(TryInto::try_into).transpose()?,
            drained: drained.try_into()?,
            earlier: earlier.try_into()?,
            rollout: rollout.map(Arc::new),
            chain: chain.try_into()?,
        })
    }
}

impl<'a> From<&'a model::Model> for Model<'a> {
    #[inline]
    fn from(model::Model { id, upstream }: &'a model::Model) -> Self {
        Self { id: id.into(), upstream: upstream.as_ref().map(Text::from) }
    }
}

impl TryFrom<Model<'_>> for model::Model {
    type Error = Invalid;

    #[inline]
    fn try_from(Model { id, upstream }: Model<'_>) -> Result<Self, Invalid> {
        Ok(Self { id: id.try_into()?, upstream: upstream.map(String::from) })
    }
}

impl<'a> From<&'a model::Canary> for Canary<'a> {
    #[inline]
    fn from(model::Canary { model, weight, salt }: &'a model::Canary) -> Self {
        Self { model: model.into(), weight: weight.basis_points(), salt: salt.into() }
    }
}

impl TryFrom<Canary<'_>> for model::Canary {
    type Error = Invalid;

    #[inline]
    fn try_from(Canary { model, weight, salt }: Canary<'_>) -> Result<Self, Invalid> {
        Ok(Self { model: model.try_into()?, weight: weight_of(weight)?, salt: salt.into() })
    }
}

impl From<&model::Link> for Link {
    #[inline]
    fn from(model::Link { version, txid, digest }: &model::Link) -> Self {
        Self { version: *version, txid: (*txid).into(), digest: (*digest).into() }
    }
}

impl TryFrom<Link> for model::Link {
    type Error = Invalid;

    #[inline]
    fn try_from(Link { version, txid, digest }: Link) -> Result<Self, Invalid> {
        Ok(Self { version, txid: txid.try_into()?, digest: digest.into() })
    }
}

impl<'a> From<&'a model::Rollout> for Rollout<'a> {
    #[inline]
    fn from(rollout: &'a model::Rollout) -> Self {
        let model::Rollout {
            started,
            started_at: UnixMillis(started_at),
            plan,
            canary,
            stable,
            step,
            epoch,
            phase,
            why,
            approvals,
        } = rollout;
        Self {
            started: *started,
            started_at: *started_at,
            plan: Plan::from(&**plan),
            canary: canary.into(),
            stable: stable.into(),
            step: *step as u64,
            epoch: *epoch,
            phase: (*phase).into(),
            why: why.into(),
            approvals: approvals.steps().into(),
        }
    }
}

impl TryFrom<Rollout<'_>> for model::Rollout {
    type Error = Invalid;

    #[inline]
    fn try_from(rollout: Rollout<'_>) -> Result<Self, Invalid> {
        let Rollout { started, started_at, plan, canary, stable, step, epoch, phase, why, approvals } = rollout;
        Ok(Self {
            started,
            started_at: UnixMillis(started_at),
            plan: Arc::new(plan.try_into()?),
            canary: canary.try_into()?,
            stable: stable.try_into()?,
            step: index(step)?,
            epoch,
            phase: phase.into(),
            why: why.into(),
            approvals: approvals_in_room(approvals)?,
        })
    }
}

impl<'a> Form<'a> for StepNumber {
    type Value = usize;

    fn of(step: &'a usize) -> Self {
        Self(*step as u64)
    }
}

impl<'a> Form<'a> for Vec<Text<'a>> {
    type Value = BTreeSet<String>;

    fn of(names: &'a BTreeSet<String>) -> Self {
        names.iter().map(Text::from).collect()
    }
}

fn approvals_in_room(approvals: Approvals<'_>) -> Result<model::Approvals, Invalid> {
    let steps = approvals.into_entries().into_iter();
    steps.map(|(StepNumber(step), by)| Ok((index(step)?, by.into_iter().map(String::from).collect()))).collect()
}

fn index(step: u64) -> Result<usize, Invalid> {
    usize::try_from(step).map_err(|_| Invalid::Step(step))
}

impl From<model::Phase> for Phase {
    #[inline]
    fn from(phase: model::Phase) -> Self {
        match phase {
            model::Phase::Progressing => Self::Progressing,
            model::Phase::Paused => Self::Paused,
            model::Phase::Ended(outcome) => Self::Ended(outcome.into()),
        }
    }
}

impl From<Phase> for model::Phase {
    #[inline]
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Progressing => Self::Progressing,
            Phase::Paused => Self::Paused,
            Phase::Ended(outcome) => Self::Ended(outcome.into()),
        }
    }
}
