//! Rollouts and states.

use super::super::{Approvals, Canary, Link, Model, Outcome, Phase, Rollout, RoutingState, StepNumber, Text};
use super::plan::weight_of;
use crate::parts::same_words;
use crate::{Form, Invalid};
use model::UnixMillis;
use std::collections::BTreeSet;
use std::sync::Arc;

same_words!(Outcome = service::Outcome { Promoted, FastPromoted, Aborted, RolledBack, Superseded });

impl<'a, R: From<&'a service::Rollout> + 'a> Form<'a> for RoutingState<'a, R> {
    type Value = service::RoutingState;

    #[inline]
    fn of(state: &'a service::RoutingState) -> Self {
        let service::RoutingState {
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
            wire: _,
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
            rollout: rollout.as_deref().map(|rollout| Box::new(R::from(rollout))),
            chain: chain.into(),
        }
    }
}

impl<R> TryFrom<RoutingState<'_, R>> for service::RoutingState
where
    service::Rollout: TryFrom<R, Error = Invalid>,
{
    type Error = Invalid;

    #[inline]
    fn try_from(state: RoutingState<'_, R>) -> Result<Self, Invalid> {
        let RoutingState { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain } =
            state;
        let rollout = rollout.map(|rollout| service::Rollout::try_from(*rollout)).transpose()?;
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
            wire: None,
        })
    }
}

impl<'a> From<&'a service::Model> for Model<'a> {
    #[inline]
    fn from(service::Model { id, upstream }: &'a service::Model) -> Self {
        Self { id: id.into(), upstream: upstream.as_ref().map(Text::from) }
    }
}

impl TryFrom<Model<'_>> for service::Model {
    type Error = Invalid;

    #[inline]
    fn try_from(Model { id, upstream }: Model<'_>) -> Result<Self, Invalid> {
        Ok(Self { id: id.try_into()?, upstream: upstream.map(String::from) })
    }
}

impl<'a> From<&'a service::Canary> for Canary<'a> {
    #[inline]
    fn from(service::Canary { model, weight, salt }: &'a service::Canary) -> Self {
        Self { model: model.into(), weight: weight.basis_points(), salt: salt.into() }
    }
}

impl TryFrom<Canary<'_>> for service::Canary {
    type Error = Invalid;

    #[inline]
    fn try_from(Canary { model, weight, salt }: Canary<'_>) -> Result<Self, Invalid> {
        Ok(Self { model: model.try_into()?, weight: weight_of(weight)?, salt: salt.into() })
    }
}

impl From<&service::Link> for Link {
    #[inline]
    fn from(service::Link { version, txid, digest }: &service::Link) -> Self {
        Self { version: *version, txid: (*txid).into(), digest: (*digest).into() }
    }
}

impl TryFrom<Link> for service::Link {
    type Error = Invalid;

    #[inline]
    fn try_from(Link { version, txid, digest }: Link) -> Result<Self, Invalid> {
        Ok(Self { version, txid: txid.try_into()?, digest: digest.into() })
    }
}

impl<'a, P: From<&'a service::Plan>> From<&'a service::Rollout> for Rollout<'a, P> {
    #[inline]
    fn from(rollout: &'a service::Rollout) -> Self {
        let service::Rollout {
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
            deadline: _,
        } = rollout;
        Self {
            started: *started,
            started_at: *started_at,
            plan: P::from(&**plan),
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

impl<P> TryFrom<Rollout<'_, P>> for service::Rollout
where
    service::Plan: TryFrom<P, Error = Invalid>,
{
    type Error = Invalid;

    #[inline]
    fn try_from(rollout: Rollout<'_, P>) -> Result<Self, Invalid> {
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
            deadline: None,
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

fn approvals_in_room(approvals: Approvals<'_>) -> Result<service::Approvals, Invalid> {
    let steps = approvals.into_entries().into_iter();
    steps.map(|(StepNumber(step), by)| Ok((index(step)?, by.into_iter().map(String::from).collect()))).collect()
}

fn index(step: u64) -> Result<usize, Invalid> {
    usize::try_from(step).map_err(|_| Invalid::Step(step))
}

impl From<service::Phase> for Phase {
    #[inline]
    fn from(phase: service::Phase) -> Self {
        match phase {
            service::Phase::Progressing => Self::Progressing,
            service::Phase::Paused => Self::Paused,
            service::Phase::Ended(outcome) => Self::Ended(outcome.into()),
        }
    }
}

impl From<Phase> for service::Phase {
    #[inline]
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Progressing => Self::Progressing,
            Phase::Paused => Self::Paused,
            Phase::Ended(outcome) => Self::Ended(outcome.into()),
        }
    }
}
