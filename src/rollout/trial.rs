//! The trial of a canary under a routing state: what is measured, and by which limits.

use model::{ModelId, Weight};
use service::{Gates, RoutingState, min_sample};

/// A canary that gets traffic, and the stable model beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The version that the measurements belong to.
    pub epoch: u64,
    /// The stable model.
    pub stable: ModelId,
    /// The canary.
    pub canary: ModelId,
    /// The limits.
    pub gates: Gates,
    /// Requests to the canary that a verdict needs at least.
    pub min_sample: u64,
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
            let (gates, min_sample) = (rollout.plan.gates, rollout.plan.min_sample);
            let kind = Kind::Rollout { started: rollout.started };
            let step = u32::try_from(rollout.step).unwrap_or(u32::MAX);
            return Some(Self { epoch: rollout.epoch, stable, canary, gates, min_sample, step, kind });
        }
        let gates = Gates::default();
        let min_sample = min_sample(gates.error_rate);
        let same = |before: &&Self| {
            let models = before.stable == stable && before.canary == canary;
            before.kind == Kind::Manual && models
        };
        let epoch = before.filter(same).map_or(state.version, |before| before.epoch);
        Some(Self { epoch, stable, canary, gates, min_sample, step: 0, kind: Kind::Manual })
    }
}
