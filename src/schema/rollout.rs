//! The JSON of rollouts and of what is measured of them.

use super::needs::NeedsShape;
use super::plan::PlanShape;
use super::values::{Shares, rfc3339};
use model::{Digest, ModelId, NodeId};
use serde::{Deserialize, Serialize};
use service::{Outcome, Phase, Rollout, Step, Then};
use std::collections::BTreeMap;

/// A rollout: its plan, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutShape {
    /// Its name.
    pub id: String,
    /// The model on trial.
    pub canary_model_id: ModelId,
    /// The stable model that it set out from.
    pub stable_model_id: ModelId,
    /// `Progressing`, `Paused`, `Healthy` or `Degraded`.
    pub phase: String,
    /// `Promoted`, `FastPromoted`, `Aborted`, `RolledBack` or `Superseded`; none while it goes on.
    pub outcome: Option<String>,
    /// Why it is paused, or ended as it did.
    pub why: Option<String>,
    /// The present step, from 1.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// The weights of the steps, as fractions.
    pub weights: Vec<f64>,
    /// How long the present step is held, in seconds.
    pub hold_s: f64,
    /// How long the present step may stay undecided after its hold, in seconds.
    #[serde(default)]
    pub deadline_s: Option<f64>,
    /// Whether an operator has to promote the present step.
    pub manual: bool,
    /// Each step that asks for approvals, and who gave theirs.
    #[serde(default)]
    pub approvals: Vec<ApprovalsShape>,
    /// The version that the present measurements belong to.
    pub epoch: u64,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// Of the plan, so that equal plans are known as such.
    pub plan_digest: Digest,
}

/// A step that different operators have to approve before it is entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalsShape {
    /// Its number, from 1.
    pub step: usize,
    /// Its weight, as a fraction.
    pub weight: f64,
    /// How many operators have to approve it.
    pub needed: usize,
    /// Who did, `operator/admin`.
    pub by: Vec<String>,
}

/// `GET /rollouts/current`: everything about the rollout that is open, or ended last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentRollout {
    /// The node that answers.
    pub node_id: NodeId,
    /// The rollout; none where a weight was set by hand.
    pub rollout: Option<RolloutShape>,
    /// Its whole plan.
    pub plan: Option<PlanShape>,
    /// The version of the state.
    pub version: u64,
    /// What was agreed, by model.
    pub weights: Shares,
    /// Who coordinates, as far as this node knows.
    pub acting_coordinator: Option<NodeId>,
    /// Each member, as this node hears it.
    pub nodes: BTreeMap<NodeId, NodeShape>,
    /// What is measured, while the canary gets traffic.
    pub trial: Option<TrialShape>,
    /// What the steps need at the rate at which requests come; none before that is known.
    #[serde(default)]
    pub needs: Option<NeedsShape>,
}

/// A member as the answering node knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeShape {
    /// Whether there is a link to it.
    pub connected: bool,
    /// The newest version that it is known to serve.
    pub version: u64,
    /// Whether it is out of the vote.
    pub drained: bool,
    /// How old its measurements are, in milliseconds; none without any.
    pub report_age_ms: Option<u64>,
    /// Requests to the canary that it counted.
    pub canary_requests: u64,
    /// Those that failed.
    pub canary_errors: u64,
    /// Why it has stopped serving the canary by itself, if it has.
    pub ejected: Option<String>,
}

/// The measurements of the canary and of the stable model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialShape {
    /// How long the step is held already, in seconds; none before the last member serves it.
    pub held_s: Option<f64>,
    /// The stable model on all nodes.
    pub stable: FiguresShape,
    /// The canary on all nodes.
    pub canary: FiguresShape,
    /// The canary's share of the requests that were counted, 0 to 1.
    pub observed_share: Option<f64>,
    /// Every limit.
    pub gates: Vec<GateFinding>,
    /// `pass`, `fail`, `pause` or `not_enough`.
    pub verdict: String,
    /// Requests to the canary that a verdict lacks.
    pub missing: u64,
    /// In how many seconds they will be there at the present rate; none without traffic.
    pub missing_for_s: Option<f64>,
    /// What happens next.
    pub next: NextShape,
    /// Members whose counts can speak against the canary and never for it: those of an older version take hangs for good ends.
    #[serde(default)]
    pub unheeded: Vec<NodeId>,
    /// Why the last change that was asked for was not made, while it is asked for again.
    pub refused: Option<String>,
}

/// One model's measurements since the window began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FiguresShape {
    /// Requests whose end is known and speaks for or against the model: good and failed ones.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Requests beside these whose client left before it was known how they would end.
    #[serde(default)]
    pub unknown: u64,
    /// Requests beside these that the model answered with a status 3xx.
    #[serde(default)]
    pub redirects: u64,
    /// Requests beside these that the model refused with a status 4xx.
    pub client_errors: u64,
    /// Requests beside these that are no evidence, such as health checks and what a node answered itself.
    #[serde(default)]
    pub uncounted: u64,
    /// Requests a second.
    pub rate: f64,
    /// 0 to 1; none without requests.
    pub error_rate: Option<f64>,
    /// Milliseconds to the first byte.
    pub p50: Option<f64>,
    /// Milliseconds to the first byte.
    pub p95: Option<f64>,
    /// Milliseconds to the first byte.
    pub p99: Option<f64>,
}

/// One limit and how the canary stands to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateFinding {
    /// As in a plan.
    pub gate: String,
    /// `enforce`, `pause` or `observe`.
    pub mode: String,
    /// What was measured, in the unit of the gate.
    pub value: Option<f64>,
    /// The limit.
    pub limit: f64,
    /// Requests that it rests on.
    pub sample: u64,
    /// `kept`, `open`, `unproven`, `broken` or `absent`.
    pub verdict: String,
    /// Whether it is about what applications told, and not about what the routers saw.
    #[serde(default)]
    pub told: bool,
    /// Why a person has to look at it, where it may be one client's doing.
    #[serde(default)]
    pub doubt: Option<String>,
}

/// The next thing that happens, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextShape {
    /// `begins`, `holds`, `undecided`, `awaits_approval`, `advances`, `rolls_back`, `waits` or `manual`.
    pub what: String,
    /// In how many seconds the hold, or the deadline, is over.
    pub in_s: Option<f64>,
    /// The weight after it, as a fraction; none when the canary becomes stable.
    pub then: Option<f64>,
    /// What it waits for, in words: approvals, requests, or a limit that is not kept yet; none while it waits for the time.
    pub waits_for: Option<String>,
    /// The kind of that: the short name of the limit, `requests`, `no_requests`, `settling`, `nothing_to_judge` or `approvals`.
    #[serde(default)]
    pub held_by: Option<String>,
}

impl RolloutShape {
    /// The shape of `rollout`.
    pub fn of(rollout: &Rollout) -> Self {
        let (phase, outcome) = words(rollout.phase);
        let step = rollout.plan.steps.get(rollout.step);
        Self {
            id: rollout.id(),
            canary_model_id: rollout.canary.id.clone(),
            stable_model_id: rollout.stable.id.clone(),
            phase: phase.into(),
            outcome: outcome.map(str::to_owned),
            why: Some(rollout.why.clone()).filter(|why| !why.is_empty()),
            step: rollout.step + 1,
            steps: rollout.plan.steps.len(),
            weights: rollout.plan.steps.iter().map(|step| step.weight.fraction()).collect(),
            hold_s: step.map_or(0.0, |step| step.hold.duration().as_secs_f64()),
            deadline_s: Some(rollout.progress_deadline().duration().as_secs_f64()),
            manual: step.is_some_and(|step| step.then == Then::AwaitPromotion),
            approvals: approvals(rollout),
            epoch: rollout.epoch,
            started_at: rfc3339(rollout.started_at),
            plan_digest: rollout.plan.digest(),
        }
    }
}

fn approvals(rollout: &Rollout) -> Vec<ApprovalsShape> {
    let steps = rollout.plan.steps.iter().enumerate().filter(|(_, step)| step.approvals > 0);
    let shape = |(at, step): (usize, &Step)| ApprovalsShape {
        step: at + 1,
        weight: step.weight.fraction(),
        needed: rollout.needed(at),
        by: rollout.approvals.of(at).map(str::to_owned).collect(),
    };
    steps.map(shape).collect()
}

const fn words(phase: Phase) -> (&'static str, Option<&'static str>) {
    match phase {
        Phase::Progressing => ("Progressing", None),
        Phase::Paused => ("Paused", None),
        Phase::Ended(Outcome::Promoted) => ("Healthy", Some("Promoted")),
        Phase::Ended(Outcome::FastPromoted) => ("Healthy", Some("FastPromoted")),
        Phase::Ended(Outcome::Aborted) => ("Degraded", Some("Aborted")),
        Phase::Ended(Outcome::RolledBack) => ("Degraded", Some("RolledBack")),
        Phase::Ended(Outcome::Superseded) => ("Degraded", Some("Superseded")),
    }
}
