//! The JSON of rollouts and of what is measured of them.

use super::plan::PlanShape;
use super::shapes::{AgreedState, Shares, rfc3339};
use judge::{Finding, GateName, Ruling, Standing};
use member::{HistoryEntry, View};
use model::{Digest, ModelId, NodeId, Weight};
use rollout::{ModelFigures, Next, NodeFigures, Status};
use serde::{Deserialize, Serialize};
use service::{Mode, Outcome, Phase, Rollout, Step, Then};
use std::collections::BTreeMap;
use std::time::Duration;

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
}

/// What is known of a member.
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

/// What is measured.
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
    /// Why the last change that was asked for was not made, while it is asked for again.
    pub refused: Option<String>,
}

/// One model's measurements since the window began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FiguresShape {
    /// Requests that ended.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that the model refused with a status 4xx.
    pub client_errors: u64,
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
    /// `kept`, `open`, `broken` or `absent`.
    pub verdict: String,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextShape {
    /// `begins`, `holds`, `undecided`, `awaits_approval`, `advances`, `rolls_back`, `waits` or `manual`.
    pub what: String,
    /// In how many seconds the hold, or the deadline, is over.
    pub in_s: Option<f64>,
    /// The weight after it, as a fraction; none when the canary becomes stable.
    pub then: Option<f64>,
    /// The approvals that are missing, in words; none while it waits for something else.
    #[serde(default)]
    pub waits_for: Option<String>,
}

impl RolloutShape {
    /// What is shown of `rollout`.
    #[must_use]
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

impl CurrentRollout {
    /// What `view` and `status` show; none when there was no rollout and the canary gets nothing.
    #[must_use]
    pub fn of(view: &View, status: Option<&Status>) -> Option<Self> {
        let state = &view.state;
        if state.rollout.is_none() && status.is_none() {
            return None;
        }
        let figures = |id: NodeId| status.and_then(|status| status.nodes.get(&id)).cloned().unwrap_or_default();
        let node = |id: NodeId, connected, version| {
            let NodeFigures { age, requests, errors, ejected } = figures(id);
            let shape = NodeShape {
                connected,
                version,
                drained: state.drained.contains(id),
                report_age_ms: age.map(millis),
                canary_requests: requests,
                canary_errors: errors,
                ejected,
            };
            (id, shape)
        };
        let others = view.peers.iter().map(|(id, peer)| node(*id, peer.connected, peer.applied));
        Some(Self {
            node_id: view.me,
            rollout: state.rollout.as_deref().map(RolloutShape::of),
            plan: state.rollout.as_deref().map(|rollout| PlanShape::from(&*rollout.plan)),
            version: state.version,
            weights: AgreedState::of(state, view.digest).weights,
            acting_coordinator: view.coordinator,
            nodes: std::iter::once(node(view.me, true, state.version)).chain(others).collect(),
            trial: status.map(TrialShape::of),
        })
    }
}

impl TrialShape {
    /// What is shown of `status`.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let (stable, canary) = (FiguresShape::of(&status.stable), FiguresShape::of(&status.canary));
        let all = stable.requests + canary.requests;
        #[allow(clippy::cast_precision_loss, reason = "counts of a window are far below 2^52")]
        let observed_share = (all > 0).then(|| canary.requests as f64 / all as f64);
        Self {
            held_s: status.held.map(|held| held.as_secs_f64()),
            stable,
            canary,
            observed_share,
            gates: status.findings.iter().map(GateFinding::of).collect(),
            verdict: ruling(&status.ruling).into(),
            missing: status.missing,
            missing_for_s: status.missing_for.map(|missing| missing.as_secs_f64()),
            next: NextShape::of(&status.next),
            refused: status.refused.clone(),
        }
    }
}

impl FiguresShape {
    fn of(figures: &ModelFigures) -> Self {
        let ModelFigures { requests, errors, client_errors, rate, error_rate, p50, p95, p99 } = *figures;
        let millis = |latency: Option<Duration>| latency.map(|latency| latency.as_secs_f64() * 1e3);
        Self { requests, errors, client_errors, rate, error_rate, p50: millis(p50), p95: millis(p95), p99: millis(p99) }
    }
}

impl GateFinding {
    fn of(finding: &Finding) -> Self {
        Self {
            gate: gate(finding.gate).into(),
            mode: match finding.mode {
                Mode::Enforce => "enforce",
                Mode::Pause => "pause",
                Mode::Observe => "observe",
            }
            .into(),
            value: finding.value,
            limit: finding.limit,
            sample: finding.requests,
            verdict: match finding.standing {
                Standing::Kept => "kept",
                Standing::Open => "open",
                Standing::Broken => "broken",
                Standing::Absent => "absent",
            }
            .into(),
        }
    }
}

/// The word of a plan for a gate.
const fn gate(gate: GateName) -> &'static str {
    match gate {
        GateName::ErrorRate => "max_error_rate",
        GateName::P95 => "max_p95_ms",
        GateName::ErrorRateDifference => "max_error_rate_difference",
        GateName::P95Ratio => "p95_ratio",
    }
}

const fn ruling(ruling: &Ruling) -> &'static str {
    match ruling {
        Ruling::Pass => "pass",
        Ruling::Fail(_) => "fail",
        Ruling::Pause(_) => "pause",
        Ruling::NotEnough => "not_enough",
    }
}

impl NextShape {
    fn of(next: &Next) -> Self {
        let seconds = |left: &Duration| Some(left.as_secs_f64());
        let (what, in_s, then) = match next {
            Next::Begins => ("begins", None, None),
            Next::Holds { left, then } => ("holds", seconds(left), then.map(Weight::fraction)),
            Next::Undecided { left } => ("undecided", seconds(left), None),
            Next::AwaitsApproval(_) => ("awaits_approval", None, None),
            Next::Advances => ("advances", None, None),
            Next::RollsBack => ("rolls_back", None, None),
            Next::Waits => ("waits", None, None),
            Next::Manual => ("manual", None, None),
        };
        let waits_for = match next {
            Next::AwaitsApproval(missing) => Some(missing.to_string()),
            Next::Begins
            | Next::Holds { .. }
            | Next::Undecided { .. }
            | Next::Advances
            | Next::RollsBack
            | Next::Waits
            | Next::Manual => None,
        };
        Self { what: what.into(), in_s, then, waits_for }
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Every rollout that this node remembers, the newest first, each as it stood last.
#[must_use]
pub(super) fn known(view: &View, history: &[HistoryEntry]) -> Vec<RolloutShape> {
    let states = history.iter().filter_map(|entry| entry.decided.as_deref());
    let mut newest: BTreeMap<u64, (u64, &Rollout)> = BTreeMap::new();
    for state in states.chain(std::iter::once(&*view.state)) {
        if let Some(rollout) = state.rollout.as_deref() {
            let known = newest.entry(rollout.started).or_insert((state.version, rollout));
            if known.0 <= state.version {
                *known = (state.version, rollout);
            }
        }
    }
    let present = view.state.rollout.as_ref().map(|rollout| rollout.started);
    let shape = |(_, rollout): (u64, &Rollout)| match rollout.is_open() && Some(rollout.started) != present {
        // It was open when another one began.
        true => RolloutShape::of(&rollout.standing(Phase::Ended(Outcome::Superseded), "")),
        false => RolloutShape::of(rollout),
    };
    newest.into_values().rev().map(shape).collect()
}
