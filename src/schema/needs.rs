//! The JSON of what the steps of a plan need at the rate at which requests come.

use serde::{Deserialize, Serialize};
use service::{Late, Rate, Span, StepNeeds};

/// What all steps need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeedsShape {
    /// Requests a second to the service, to both models together.
    pub rate: f64,
    /// Each step.
    pub steps: Vec<StepNeedsShape>,
}

/// What one step needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepNeedsShape {
    /// Its number, from 1.
    pub step: usize,
    /// The canary's share, as a fraction.
    pub weight: f64,
    /// Requests a second to the canary.
    pub canary_rate: f64,
    /// Seconds that it is held at least.
    pub hold_s: f64,
    /// Seconds until the minimum sample is there; none without traffic.
    pub min_sample_s: Option<f64>,
    /// Seconds until a ratio of latencies holds nothing up any more; none without traffic, and where none does.
    pub compare_sample_s: Option<f64>,
    /// Seconds that it takes at most, if nothing speaks against the canary; none without traffic.
    pub takes_s: Option<f64>,
    /// Seconds after its hold at which it is aborted.
    pub deadline_s: f64,
    /// What is not there by then: `traffic`, `min_sample` or `compare_sample`; none where the deadline does not come first.
    pub late: Option<String>,
}

impl NeedsShape {
    /// The shape of these needs, which were worked out for this rate.
    pub fn of(rate: Rate, needs: &[StepNeeds]) -> Self {
        let steps = (1..).zip(needs).map(|(step, needs)| StepNeedsShape::of(step, needs)).collect();
        Self { rate: rate.per_second(), steps }
    }
}

impl StepNeedsShape {
    fn of(step: usize, needs: &StepNeeds) -> Self {
        let seconds = |span: Span| span.duration().as_secs_f64();
        let StepNeeds { weight, rate, hold, min_sample, compare_sample, deadline, late } = *needs;
        let late = late.map(|late| match late {
            Late::Traffic => "traffic",
            Late::MinSample => "min_sample",
            Late::CompareSample => "compare_sample",
        });
        Self {
            step,
            weight: weight.fraction(),
            canary_rate: rate.per_second(),
            hold_s: seconds(hold),
            min_sample_s: min_sample.map(seconds),
            compare_sample_s: compare_sample.map(seconds),
            takes_s: needs.takes().map(seconds),
            deadline_s: seconds(deadline),
            late: late.map(str::to_owned),
        }
    }
}
