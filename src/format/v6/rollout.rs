//! A rollout, with the deadline of its present step.

use super::Plan;
use crate::Invalid;
use crate::v5::{self, Approvals, Model, Phase, Text};
use serde::{Deserialize, Serialize};
use service::Span;

/// A rollout of version 5 with a plan of this one.
type WithoutDeadline<'a> = v5::Rollout<'a, Plan<'a>>;

/// The rollout that is open, or the one that ended last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout<'a> {
    /// The version that started it.
    pub started: u64,
    /// When, in milliseconds since 1970.
    pub started_at: u64,
    /// The way up.
    #[serde(borrow)]
    pub plan: Plan<'a>,
    /// The model on trial.
    #[serde(borrow)]
    pub canary: Model<'a>,
    /// The stable model that it set out from.
    #[serde(borrow)]
    pub stable: Model<'a>,
    /// The present step, from 0.
    pub step: u64,
    /// The version that the present measurements belong to.
    pub epoch: u64,
    /// Its phase.
    pub phase: Phase,
    /// Why it is paused, or ended as it did.
    #[serde(borrow)]
    pub why: Text<'a>,
    /// Who approved which step.
    #[serde(borrow)]
    pub approvals: Approvals<'a>,
    /// Milliseconds that the present step may stay undecided after its hold; none where the plan says it.
    pub deadline: Option<u64>,
}

impl<'a> From<&'a service::Rollout> for Rollout<'a> {
    #[inline]
    fn from(rollout: &'a service::Rollout) -> Self {
        let WithoutDeadline { started, started_at, plan, canary, stable, step, epoch, phase, why, approvals } =
            rollout.into();
        let deadline = rollout.deadline.map(|Span(millis)| millis);
        Self { started, started_at, plan, canary, stable, step, epoch, phase, why, approvals, deadline }
    }
}

impl TryFrom<Rollout<'_>> for service::Rollout {
    type Error = Invalid;

    #[inline]
    fn try_from(rollout: Rollout<'_>) -> Result<Self, Invalid> {
        let Rollout { started, started_at, plan, canary, stable, step, epoch, phase, why, approvals, deadline } =
            rollout;
        let before = WithoutDeadline { started, started_at, plan, canary, stable, step, epoch, phase, why, approvals };
        Ok(Self { deadline: deadline.map(Span), ..before.try_into()? })
    }
}
