//! Shapes of the rollout that is open or was last, and of what is measured of it.

use judge::{Finding, Group, Ruling, Standing};
use member::{HistoryEntry, View};
use model::{NodeId, Weight};
use rollout::{ModelFigures, Next, NodeFigures, Status};
use schema::{
    AgreedState, CurrentRollout, FiguresShape, GateFinding, NeedsShape, NextShape, NodeShape, PlanShape, RolloutShape,
    TrialShape,
};
use service::{Mode, Outcome, Phase, Rollout};
use std::collections::BTreeMap;
use std::time::Duration;

/// The rollout that `view` and `status` show; none when there was no rollout and the canary gets nothing.
pub(crate) fn current(view: &View, status: Option<&Status>) -> Option<CurrentRollout> {
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
    let needs = status.and_then(|status| status.rate).zip(state.open_rollout());
    let needs = needs.map(|(rate, rollout)| NeedsShape::of(rate, &rollout.needs(rate)));
    let others = view.peers.iter().map(|(id, peer)| node(*id, peer.connected, peer.applied));
    Some(CurrentRollout {
        node_id: view.me,
        rollout: state.rollout.as_deref().map(RolloutShape::of),
        plan: state.rollout.as_deref().map(|rollout| PlanShape::from(&*rollout.plan)),
        version: state.version,
        weights: AgreedState::of(state, view.digest).weights,
        acting_coordinator: view.coordinator,
        nodes: std::iter::once(node(view.me, true, state.version)).chain(others).collect(),
        trial: status.map(trial),
        needs,
    })
}

/// The measurements in `status`.
pub(crate) fn trial(status: &Status) -> TrialShape {
    let (stable, canary) = (figures(&status.stable), figures(&status.canary));
    let all = stable.requests + canary.requests;
    #[allow(clippy::cast_precision_loss, reason = "counts of a window are far below 2^52")]
    let observed_share = (all > 0).then(|| canary.requests as f64 / all as f64);
    TrialShape {
        held_s: status.held.map(|held| held.as_secs_f64()),
        stable,
        canary,
        observed_share,
        gates: status.findings.iter().map(finding).collect(),
        verdict: ruling(&status.ruling).into(),
        missing: status.missing,
        missing_for_s: status.missing_for.map(|missing| missing.as_secs_f64()),
        next: next(&status.next),
        unheeded: status.lenient.iter().collect(),
        refused: status.refused.clone(),
    }
}

fn figures(figures: &ModelFigures) -> FiguresShape {
    let ModelFigures { requests, errors, unknown, redirects, client_errors, uncounted, .. } = *figures;
    let ModelFigures { rate, error_rate, p50, p95, p99, .. } = *figures;
    let millis = |latency: Option<Duration>| latency.map(|latency| latency.as_secs_f64() * 1e3);
    let (p50, p95, p99) = (millis(p50), millis(p95), millis(p99));
    FiguresShape { requests, errors, unknown, redirects, client_errors, uncounted, rate, error_rate, p50, p95, p99 }
}

fn finding(finding: &Finding) -> GateFinding {
    GateFinding {
        gate: finding.gate.word().into(),
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
            Standing::Unproven => "unproven",
            Standing::Broken => "broken",
            Standing::Absent => "absent",
        }
        .into(),
        told: finding.group == Group::Told,
        doubt: finding.doubt.map(|doubt| doubt.to_string()),
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

fn next(next: &Next) -> NextShape {
    let held_by = next.held_up().map(|by| by.word().to_owned());
    let what = |word: &str| NextShape { what: word.into(), in_s: None, then: None, waits_for: None, held_by };
    let seconds = |left: &Duration| Some(left.as_secs_f64());
    match next {
        Next::Begins => what("begins"),
        Next::Holds { left, then } => {
            NextShape { in_s: seconds(left), then: then.map(Weight::fraction), ..what("holds") }
        }
        Next::Undecided { left, why, .. } => {
            NextShape { in_s: seconds(left), waits_for: Some(why.clone()), ..what("undecided") }
        }
        Next::AwaitsApproval(missing) => NextShape { waits_for: Some(missing.to_string()), ..what("awaits_approval") },
        Next::Advances => what("advances"),
        Next::RollsBack => what("rolls_back"),
        Next::Waits => what("waits"),
        Next::Manual => what("manual"),
    }
}

pub(super) fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Every rollout that this node remembers, the newest first, each as it stood last.
pub(crate) fn known(view: &View, history: &[HistoryEntry]) -> Vec<RolloutShape> {
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
