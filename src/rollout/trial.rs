//! The trial of a canary under a routing state: what is measured, and by which limits.

use judge::{Terms, Witnesses};
use model::{ModelId, Weight};
use service::{GateName, Gates, Plan, RoutingState, min_sample};
use std::time::Duration;

/// A canary that gets traffic, and the stable model beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The version that the measurements belong to.
    pub epoch: u64,
    /// The stable model.
    pub stable: ModelId,
    /// The canary.
    pub canary: ModelId,
    /// What the canary has to keep.
    pub terms: Terms,
    /// How long after it has begun nothing but errors is judged.
    pub warm_up: Duration,
    /// Which step of the plan, from 0; 0 without a plan.
    pub step: u32,
    /// Who decides what follows from it.
    pub kind: Kind,
}

/// The one who decides what follows from a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Kind {
    /// The plan of the rollout that this version started.
    Rollout { started: u64 },
    /// An operator who set the weight by hand: the measurements only speak against more.
    Manual,
}

impl Trial {
    /// The trial under `state`. One by hand goes on from `before` for as long as it is about the same weight.
    pub fn of(state: &RoutingState, before: Option<&Self>) -> Option<Self> {
        let canary = state.canary.as_ref().filter(|canary| canary.weight > Weight::ZERO)?;
        let (stable, canary) = (state.stable.id.clone(), canary.model.id.clone());
        if let Some(rollout) = state.open_rollout() {
            let plan = &rollout.plan;
            let (gates, min_sample, compare_sample) = (plan.gates.clone(), plan.min_sample, plan.compare_sample);
            let kind = Kind::Rollout { started: rollout.started };
            let step = u32::try_from(rollout.step).unwrap_or(u32::MAX);
            // Where a node's own settings alone say where it is served, the state does not know.
            let is_served = state.canary.as_ref().is_some_and(|canary| canary.model.upstream.is_some());
            let witnesses = if is_served { Witnesses::Routers } else { Witnesses::Applications };
            let terms = Terms { gates, min_sample, compare_sample, witnesses };
            let warm_up = if rollout.step == 0 { plan.initial_delay.duration() } else { Duration::ZERO };
            return Some(Self { epoch: rollout.epoch, stable, canary, terms, warm_up, step, kind });
        }
        let gates = Gates::default();
        let min_sample = min_sample(&gates);
        let compare_sample = Some(Plan::COMPARE_SAMPLE);
        let terms = Terms { gates, min_sample, compare_sample, witnesses: Witnesses::Routers };
        let same = |before: &&Self| {
            let models = before.stable == stable && before.canary == canary;
            before.kind == Kind::Manual && models
        };
        let epoch = before.filter(same).map_or(state.version, |before| before.epoch);
        Some(Self { epoch, stable, canary, terms, warm_up: Duration::ZERO, step: 0, kind: Kind::Manual })
    }

    /// How long a request may take until it counts as slow, though it has not ended: the limit of the p95.
    pub fn late_after(&self) -> Duration {
        let limit = self.terms.gates.get(GateName::P95).or(GateName::P95.usual());
        limit.map_or(Duration::MAX, |gate| Duration::from_micros(gate.limit))
    }
}
