//! The plan of a rollout. It has no version number of its own: it is part of the state that names it.

use super::{List, Text};
use serde::{Deserialize, Serialize};

/// A way up, and the limits that are kept on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan<'a> {
    /// The weights, rising.
    pub steps: List<'a, Step>,
    /// The limits.
    pub gates: Gates,
    /// Requests to the canary below which no step is passed.
    pub min_sample: u64,
    /// Milliseconds that a step whose hold is over may stay undecided.
    pub progress_deadline: u64,
    /// Failures to measure, in a row, after which the rollout is paused.
    pub consecutive_error_limit: u32,
    /// The test before the first step.
    #[serde(borrow)]
    pub smoke: Smoke<'a>,
    /// Whether the stable model answers what the canary cannot.
    pub shield: Shield,
}

/// One weight of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The canary's share, in basis points.
    pub weight: u16,
    /// Milliseconds that it is held at least.
    pub hold: u64,
    /// How it ends.
    pub then: Then,
    /// Operators who have to approve it; missing in what programs wrote that knew none.
    #[serde(default)]
    pub approvals: u8,
}

/// The end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// The next one follows by itself.
    Continue,
    /// An operator has to promote it.
    AwaitPromotion,
}

/// The limits of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gates {
    /// Failed requests of a million.
    pub error_rate: Gate,
    /// Microseconds that 95 % of the answers must begin within.
    pub p95: Gate,
    /// Failed requests of a million more than the stable model has.
    pub error_rate_difference: Gate,
    /// Millionths of the stable model's p95.
    pub p95_ratio: Gate,
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// In the unit of the gate.
    pub limit: u64,
    /// What follows when it is broken.
    pub mode: Mode,
}

/// The consequence of a broken limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The canary is rolled back.
    Enforce,
    /// The rollout is paused.
    Pause,
    /// It is shown.
    Observe,
}

/// The test of a canary's endpoints before its first step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smoke<'a> {
    /// The path that is asked for.
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
    /// Milliseconds of the longest p95 that passes.
    pub max_p95: u64,
}

/// Whether the canary's failures are kept from users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shield {
    /// They are.
    On,
    /// They are not.
    Off,
}
