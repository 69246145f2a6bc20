//! The status of a trial, for people: every figure, every limit, and what happens next.

use judge::{Finding, Measured, Ruling};
use model::{NodeId, NodeSet, Weight};
use service::{GateName, Missing, Rate};
use std::collections::BTreeMap;
use std::time::Duration;

/// A trial as one node sees it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The version that the measurements belong to.
    pub epoch: u64,
    /// How long the step is held already; none before the last member serves it.
    pub held: Option<Duration>,
    /// The stable model, on all nodes.
    pub stable: ModelFigures,
    /// The canary, on all nodes.
    pub canary: ModelFigures,
    /// Every limit.
    pub findings: Vec<Finding>,
    /// What they come to.
    pub ruling: Ruling,
    /// Requests to the canary that a verdict lacks.
    pub missing: u64,
    /// When they will be there at the present rate; none without traffic.
    pub missing_for: Option<Duration>,
    /// The rate of the requests to both models; none before it is known.
    pub rate: Option<Rate>,
    /// Each member.
    pub nodes: BTreeMap<NodeId, NodeFigures>,
    /// What happens next.
    pub next: Next,
    /// Members whose counts can speak against the canary and never for it, as they take hangs for good ends.
    pub lenient: NodeSet,
    /// Why the last change that was asked for was not made, while it is asked for again.
    pub refused: Option<String>,
}

/// One model's measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelFigures {
    /// Requests whose end is known: good and failed ones.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Requests beside these whose client left before it was known how they would end.
    pub unknown: u64,
    /// Requests beside these that were answered with a status 3xx.
    pub redirects: u64,
    /// Requests beside these that were answered with a status 4xx.
    pub client_errors: u64,
    /// Requests beside these that are no evidence.
    pub uncounted: u64,
    /// Requests a second.
    pub rate: f64,
    /// Their share, 0 to 1.
    pub error_rate: Option<f64>,
    /// What half of the answers began within.
    pub p50: Option<Duration>,
    /// What 95 % of the answers began within.
    pub p95: Option<Duration>,
    /// What 99 % of the answers began within.
    pub p99: Option<Duration>,
}

/// The contribution of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFigures {
    /// How old its newest report is; none before the first. Its own is always new.
    pub age: Option<Duration>,
    /// Requests to the canary.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Why it has stopped serving the canary by itself, if it has.
    pub ejected: Option<String>,
}

/// The next thing that happens, if nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Next {
    /// The members are still taking the step.
    Begins,
    /// The step is held for as long as is left; then this weight follows, or promotion where there is none.
    Holds { left: Duration, then: Option<Weight> },
    /// The hold is over and the verdict is open, for this reason; at the deadline the rollout is aborted.
    Undecided { left: Duration, by: HeldUp, why: String },
    /// The hold is over, and the next step is not approved by enough operators.
    AwaitsApproval(Missing),
    /// The next step is being taken.
    Advances,
    /// The canary has failed and is being pulled back.
    RollsBack,
    /// An operator has to say.
    Waits,
    /// An operator set the weight: nothing follows by itself.
    Manual,
}

/// The kind of thing that holds a step up whose hold is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldUp {
    /// Requests to the canary are missing.
    Requests,
    /// There is none that counts.
    NoRequests,
    /// What was seen is beyond this limit, and may be chance.
    Gate(GateName),
    /// The counts were begun anew and have to stand for a while.
    Settling,
    /// No limit of the plan has anything to be held against.
    Nothing,
    /// Operators have to approve the next step.
    Approvals,
}

impl HeldUp {
    /// Its word: that of the gate, or of what is missing.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::NoRequests => "no_requests",
            Self::Gate(gate) => gate.word(),
            Self::Settling => "settling",
            Self::Nothing => "nothing_to_judge",
            Self::Approvals => "approvals",
        }
    }
}

impl Next {
    /// What holds the step up, if its hold is over and something does.
    pub const fn held_up(&self) -> Option<HeldUp> {
        match self {
            Self::Undecided { by, .. } => Some(*by),
            Self::AwaitsApproval(_) => Some(HeldUp::Approvals),
            Self::Begins | Self::Holds { .. } | Self::Advances | Self::RollsBack | Self::Waits | Self::Manual => None,
        }
    }
}

impl ModelFigures {
    /// The figures of what was `measured` in `open`.
    pub fn of(measured: &Measured, open: Duration) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "requests of one rollout are far below 2^52")]
        let rate = if open.is_zero() { 0.0 } else { measured.requests() as f64 / open.as_secs_f64() };
        Self {
            requests: measured.requests(),
            errors: measured.errors(),
            unknown: measured.unknown(),
            redirects: measured.redirects(),
            client_errors: measured.client_errors(),
            uncounted: measured.uncounted(),
            rate,
            error_rate: measured.error_rate(),
            p50: measured.quantile(0.50),
            p95: measured.quantile(0.95),
            p99: measured.quantile(0.99),
        }
    }
}
