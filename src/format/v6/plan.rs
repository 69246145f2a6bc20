//! The plan of a rollout, with its limits as a list.

use crate::Invalid;
use crate::parts::same_words;
use crate::v5::{List, Mode, Shield, Smoke, Step, Text};
use serde::{Deserialize, Serialize};
use service::{GateName, Span};
use std::borrow::Cow;

/// A way up, and the limits that are kept on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan<'a> {
    /// The weights, rising.
    pub steps: List<'a, Step>,
    /// The limits, in the order of what they compare with and of their figures.
    pub gates: Vec<Gate>,
    /// Requests to the canary below which no step is passed.
    pub min_sample: u64,
    /// Answers from which on an unproven ratio of latencies holds nothing up.
    pub compare_sample: Option<u64>,
    /// Milliseconds of the first step in which nothing but errors is judged.
    pub initial_delay: u64,
    /// Milliseconds that a step whose hold is over may stay undecided; none where each step has its own.
    pub progress_deadline: Option<u64>,
    /// Failures to measure, in a row, after which the rollout is paused.
    pub consecutive_error_limit: u32,
    /// The test before the first step.
    #[serde(borrow)]
    pub smoke: Smoke<'a>,
    /// Whether the stable model answers what the canary cannot.
    pub shield: Shield,
    /// Paths whose requests are no evidence.
    #[serde(borrow)]
    pub uncounted: List<'a, Text<'a>>,
    /// Statuses 3xx and 4xx that are good.
    pub expected: Cow<'a, [u16]>,
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The figure.
    pub metric: Metric,
    /// What it is held against.
    pub compare: Compare,
    /// In the unit of the gate.
    pub limit: u64,
    /// Microseconds of a difference that is none.
    pub allow: u64,
    /// What follows when it is broken.
    pub mode: Mode,
}

/// A figure of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// The share of requests that failed.
    ErrorRate,
    /// The 95th percentile of the latencies.
    P95,
    /// The share of requests that ended in a way that nobody knows.
    UnknownRate,
    /// The share of statuses 4xx.
    Rate4xx,
    /// The share of statuses 3xx.
    Rate3xx,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compare {
    /// A number.
    Limit,
    /// The stable model.
    Stable,
}

same_words!(Metric = service::Metric { ErrorRate, P95, UnknownRate, Rate4xx, Rate3xx });
same_words!(Compare = service::Compare { Limit, Stable });

impl<'a> From<&'a service::Plan> for Plan<'a> {
    #[inline]
    fn from(plan: &'a service::Plan) -> Self {
        let service::Plan {
            steps,
            gates,
            min_sample,
            compare_sample,
            initial_delay,
            progress_deadline,
            consecutive_error_limit,
            smoke,
            shield,
            uncounted,
            expected,
        } = plan;
        Self {
            steps: steps.into(),
            gates: gates.iter().map(Gate::from).collect(),
            min_sample: *min_sample,
            compare_sample: *compare_sample,
            initial_delay: initial_delay.0,
            progress_deadline: progress_deadline.map(|Span(millis)| millis),
            consecutive_error_limit: *consecutive_error_limit,
            smoke: smoke.into(),
            shield: (*shield).into(),
            uncounted: uncounted.into(),
            expected: Cow::Borrowed(expected),
        }
    }
}

impl TryFrom<Plan<'_>> for service::Plan {
    type Error = Invalid;

    #[inline]
    fn try_from(plan: Plan<'_>) -> Result<Self, Invalid> {
        let Plan {
            steps,
            gates,
            min_sample,
            compare_sample,
            initial_delay,
            progress_deadline,
            consecutive_error_limit,
            smoke,
            shield,
            uncounted,
            expected,
        } = plan;
        Ok(Self {
            steps: steps.try_into()?,
            gates: gates.into_iter().map(service::Gate::from).collect(),
            min_sample,
            compare_sample,
            initial_delay: Span(initial_delay),
            progress_deadline: progress_deadline.map(Span),
            consecutive_error_limit,
            smoke: smoke.into(),
            shield: shield.into(),
            uncounted: uncounted.into_forms().into_iter().map(String::from).collect(),
            expected: expected.into_owned(),
        })
    }
}

impl From<service::Gate> for Gate {
    fn from(service::Gate { name: GateName { compare, metric }, limit, allow, mode }: service::Gate) -> Self {
        Self { metric: metric.into(), compare: compare.into(), limit, allow, mode: mode.into() }
    }
}

impl From<Gate> for service::Gate {
    fn from(Gate { metric, compare, limit, allow, mode }: Gate) -> Self {
        let name = GateName { compare: compare.into(), metric: metric.into() };
        Self { name, limit, allow, mode: mode.into() }
    }
}
