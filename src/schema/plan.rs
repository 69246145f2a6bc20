//! A plan as people write it, in a file or in `POST /rollouts`: the words of Argo Rollouts for the steps, those of the
//! limits for the rest.

use super::gates::{self, GateEntry, GatesShape};
use super::step::{HoldShape, PauseShape, StepShape};
use model::{Weight, WeightError};
use serde::{Deserialize, Serialize};
use service::{Plan, PlanError, Shield, Span, Step, Then, min_sample};
use std::time::Duration;

/// The document. What is left out has the usual value; what is not known is refused by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanShape {
    /// `{"setWeight": 20}`, `{"setWeight": 100, "approvals": 2}` and `{"pause": {"duration": "10m"}}` or
    /// `{"pause": {}}`, in their order.
    pub steps: Vec<StepShape>,
    /// How long a weight is held that no pause follows; 30 s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldShape>,
    /// The limits, by their short names.
    #[serde(default)]
    pub gates: GatesShape,
    /// Limits, by what they measure and what they compare it with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<GateEntry>,
    /// Requests to the canary that a verdict needs; by the error limit where nothing is said: 59 at 5 %.
    #[serde(default, rename = "minSample", skip_serializing_if = "Option::is_none")]
    pub min_sample: Option<u64>,
    /// Answers of the canary from which on a ratio of latencies that is not proven to be beyond its limit holds nothing up;
    /// 400 where nothing is said.
    #[serde(default, rename = "compareSample", skip_serializing_if = "Option::is_none")]
    pub compare_sample: Option<u64>,
    /// How long after the first step has begun nothing but errors is judged.
    #[serde(default, rename = "initialDelay", skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<HoldShape>,
    /// Seconds that a step may stay undecided after its hold; where nothing is said, worked out for each step from the rate at
    /// which requests come.
    #[serde(default, rename = "progressDeadlineSeconds", skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<u32>,
    /// Failures to measure in a row that pause the rollout.
    #[serde(default, rename = "consecutiveErrorLimit", skip_serializing_if = "Option::is_none")]
    pub consecutive_error_limit: Option<u32>,
    /// The test before the first step.
    #[serde(default)]
    pub smoke: SmokeShape,
    /// Whether requests that the canary cannot answer go to the stable model instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield: Option<bool>,
    /// Paths whose requests are no evidence, such as `/healthz`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted: Vec<String>,
    /// Statuses 3xx and 4xx that are good answers of the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<u16>,
}

/// The test of each node's upstream before the first step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeShape {
    /// What is asked on the upstream's origin, `/v2/health/ready`; else the upstream's own URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_p95_ms: Option<f64>,
}

/// The reason for which a document is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PlanShapeError {
    /// A weight that cannot be.
    #[error("step {step}: {error}")]
    Weight { step: usize, error: WeightError },
    #[error("step {0} is a pause before any setWeight: there is nothing to hold yet")]
    PauseFirst(usize),
    #[error("{0} must be a number, 0 or more")]
    Number(&'static str),
    /// The same limit in two places.
    #[error("{0} is said twice: once is enough, below gates or as a [[gate]]")]
    Twice(&'static str),
    /// A gate without a limit that has none where nothing is said.
    #[error("{0} needs a limit")]
    NoLimit(&'static str),
    /// The plan itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// The weights of a plan when nobody says any, in per cent.
const USUAL_WEIGHTS: [f64; 4] = [5.0, 20.0, 50.0, 100.0];

impl PlanShape {
    /// The plan when nobody says any.
    pub fn usual() -> Self {
        Self { steps: USUAL_WEIGHTS.map(StepShape::of_percent).into(), ..Self::default() }
    }

    /// The plan of these weights in per cent, each held for `hold`.
    pub fn of_weights(weights: &[Weight], hold: Option<Duration>) -> Self {
        let percent = |weight: &Weight| f64::from(weight.basis_points()) / 100.0;
        let steps = weights.iter().map(|weight| StepShape::of_percent(percent(weight))).collect();
        Self { steps, hold: hold.map(HoldShape), ..Self::default() }
    }

    /// The same, with the last step approved by so many different operators before it is entered: the one of 100 %, also
    /// where that goes without saying.
    pub fn with_approvals(mut self, approvals: u8) -> Self {
        let last = self.steps.iter_mut().rev().find_map(|step| match step {
            StepShape::SetWeight { percent, approvals } => Some((*percent, approvals)),
            StepShape::Pause(_) => None,
        });
        match last {
            Some((..100.0, _)) => self.steps.push(StepShape::SetWeight { percent: 100.0, approvals }),
            Some((_, last)) => *last = approvals,
            None => {}
        }
        self
    }

    /// The plan that it says. Else what is wrong, and in which step or field.
    pub fn plan(&self) -> Result<Plan, PlanShapeError> {
        let mut plan = Plan::of(self.held_weights()?)?;
        plan.gates = gates::read(&self.gates, &self.gate)?;
        plan.min_sample = self.min_sample.unwrap_or_else(|| min_sample(&plan.gates)).max(1);
        plan.compare_sample = Some(self.compare_sample.unwrap_or(Plan::COMPARE_SAMPLE));
        if let Some(delay) = self.initial_delay {
            plan.initial_delay = Span::from(delay.0);
        }
        if let Some(seconds) = self.progress_deadline_seconds {
            plan.progress_deadline = Some(Span::from(Duration::from_secs(seconds.into())));
        }
        plan.uncounted.clone_from(&self.uncounted);
        plan.expected.clone_from(&self.expected);
        if let Some(limit) = self.consecutive_error_limit {
            plan.consecutive_error_limit = limit;
        }
        plan.smoke.path.clone_from(&self.smoke.path);
        if let Some(millis) = self.smoke.max_p95_ms {
            plan.smoke.max_p95 = Span(whole("smoke.max_p95_ms", millis, 1.0)?);
        }
        if self.shield == Some(false) {
            plan.shield = Shield::Off;
        }
        Ok(plan.checked()?)
    }

    /// Each weight with the pauses after it.
    fn held_weights(&self) -> Result<Vec<Step>, PlanShapeError> {
        let hold = self.hold.map_or(Plan::HOLD, |hold| Span::from(hold.0));
        let mut steps: Vec<(Step, bool)> = Vec::new();
        for (number, step) in (1..).zip(&self.steps) {
            match (step, steps.last_mut()) {
                (StepShape::SetWeight { percent, approvals }, _) => {
                    let weight = Weight::from_percent(&percent.to_string())
                        .map_err(|error| PlanShapeError::Weight { step: number, error })?;
                    steps.push((Step { approvals: *approvals, ..Step::new(weight, hold) }, false));
                }
                (StepShape::Pause(_), None) => return Err(PlanShapeError::PauseFirst(number)),
                (StepShape::Pause(PauseShape { duration: None }), Some((held, _))) => held.then = Then::AwaitPromotion,
                (StepShape::Pause(PauseShape { duration: Some(duration) }), Some((held, paused))) => {
                    let before = if *paused { held.hold.duration() } else { Duration::ZERO };
                    held.hold = Span::from(before.saturating_add(duration.0));
                    *paused = true;
                }
            }
        }
        Ok(steps.into_iter().map(|(step, _)| step).collect())
    }
}

impl From<&Plan> for PlanShape {
    fn from(plan: &Plan) -> Self {
        let steps = plan.steps.iter().flat_map(|step| {
            let pause = |duration| StepShape::Pause(PauseShape { duration });
            let held = pause(Some(HoldShape(step.hold.duration())));
            let waits = (step.then == Then::AwaitPromotion).then(|| pause(None));
            let percent = f64::from(step.weight.basis_points()) / 100.0;
            let weight = StepShape::SetWeight { percent, approvals: step.approvals };
            [Some(weight), Some(held), waits].into_iter().flatten()
        });
        Self {
            steps: steps.collect(),
            hold: None,
            gates: GatesShape::from(&plan.gates),
            gate: Vec::new(),
            min_sample: Some(plan.min_sample),
            compare_sample: plan.compare_sample,
            initial_delay: Some(HoldShape(plan.initial_delay.duration())).filter(|delay| !delay.0.is_zero()),
            progress_deadline_seconds: plan
                .progress_deadline
                .and_then(|deadline| u32::try_from(deadline.duration().as_secs()).ok()),
            consecutive_error_limit: Some(plan.consecutive_error_limit),
            smoke: SmokeShape {
                path: plan.smoke.path.clone(),
                max_p95_ms: Some(plan.smoke.max_p95.duration().as_secs_f64() * 1e3),
            },
            shield: Some(plan.shield == Shield::On),
            uncounted: plan.uncounted.clone(),
            expected: plan.expected.clone(),
        }
    }
}

pub(super) fn whole(name: &'static str, number: f64, unit: f64) -> Result<u64, PlanShapeError> {
    if !number.is_finite() || number < 0.0 {
        return Err(PlanShapeError::Number(name));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and bounded here")]
    Ok((number * unit).round().min(1e15) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use service::{GateName, Mode};

    fn read(json: &str) -> Result<Plan, String> {
        let shape: PlanShape = serde_json::from_str(json).map_err(|error| error.to_string())?;
        shape.plan().map_err(|error| error.to_string())
    }

    #[test]
    fn the_words_of_argo_make_a_plan() {
        let plan = read(
            r#"{"steps": [{"setWeight": 5}, {"pause": {"duration": "1m30s"}}, {"pause": {"duration": 30}},
                {"setWeight": 20.5}, {"pause": {}}, {"setWeight": 100}],
                "hold": "10s", "gates": {"max_error_rate": 0.01, "max_p95_ms": {"limit": 250, "mode": "observe"},
                "p95_ratio": {"mode": "pause"}}, "progressDeadlineSeconds": 60, "shield": false}"#,
        )
        .expect("a plan");
        let steps: Vec<_> =
            plan.steps.iter().map(|step| (step.weight.basis_points(), step.hold.0, step.then)).collect();
        assert_eq!(
            steps,
            [(500, 120_000, Then::Continue), (2_050, 10_000, Then::AwaitPromotion), (10_000, 10_000, Then::Continue)]
        );
        let gate = |name| plan.gates.get(name).map(|gate| (gate.limit, gate.mode));
        assert_eq!(gate(GateName::ERROR_RATE), Some((10_000, Mode::Enforce)));
        assert_eq!(gate(GateName::P95), Some((250_000, Mode::Observe)));
        assert_eq!(gate(GateName::P95_RATIO), Some((1_200_000, Mode::Pause)));
        assert_eq!((plan.min_sample, plan.progress_deadline, plan.shield), (299, Some(Span(60_000)), Shield::Off));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50, "approvals": 2}]}"#;
        let plan = read(text).expect("a plan");
        assert_eq!(plan.steps.iter().map(|step| step.approvals).collect::<Vec<_>>(), [0, 2, 0]);
        let text = serde_json::to_string(&PlanShape::from(&plan)).expect("JSON");
        assert_eq!(read(&text), Ok(plan));
        let text = r#"{"steps": [{"setWeight": 5}], "compareSample": 900, "initialDelay": "20s", "uncounted": ["/healthz"],
            "expected": [302, 404], "gates": {"p95_ratio": {"limit": 1.5, "allow_ms": 2.5}, "max_rate_4xx": 0.3},
            "gate": [{"metric": "unknown_rate", "compare": "stable", "limit": 0.1, "mode": "pause"}]}"#;
        let plan = read(text).expect("a plan");
        let gate = |name: &str| plan.gates.iter().find(|gate| gate.name.word() == name).expect("it is there");
        assert_eq!((gate("p95_ratio").limit, gate("p95_ratio").allow), (1_500_000, 2_500));
        assert_eq!((gate("max_rate_4xx").limit, plan.gates.len()), (300_000, 8));
        assert_eq!(
            (gate("unknown_rate_difference").limit, gate("unknown_rate_difference").mode),
            (100_000, Mode::Pause)
        );
        assert_eq!((plan.initial_delay, plan.compare_sample), (Span(20_000), Some(900)));
        let text = serde_json::to_string(&PlanShape::from(&plan)).expect("JSON");
        assert_eq!(read(&text), Ok(plan));
    }

    #[test]
    fn the_last_step_is_the_one_that_is_approved() {
        let approvals = |shape: PlanShape| {
            let steps = shape.with_approvals(2).plan().expect("a plan").steps;
            steps.iter().map(|step| (step.weight.basis_points(), step.approvals)).collect::<Vec<_>>()
        };
        assert_eq!(approvals(PlanShape::usual()), [(500, 0), (2_000, 0), (5_000, 0), (10_000, 2)]);
        let half = Weight::from_percent("50").expect("a weight");
        assert_eq!(approvals(PlanShape::of_weights(&[half], None)), [(5_000, 0), (10_000, 2)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let wrong = |json: &str| read(json).expect_err("it is wrong");
        assert_eq!(wrong(r#"{"steps": []}"#), "a plan needs at least one step: give weights such as 5,20,50,100");
        assert!(wrong(r#"{"steps": [{"setWeight": 20}, {"setWeight": 5}]}"#).starts_with("step 2 sets 5 % after 20 %"));
        assert!(wrong(r#"{"steps": [{"setWeight": 101}]}"#).starts_with("step 1: weight 101 is out of range"));
        assert!(wrong(r#"{"steps": [{"pause": {}}]}"#).starts_with("step 1 is a pause before any setWeight"));
        let unknown = wrong("{\"steps\": [{\"setWeight\": 5}],\n \"minSamples\": 3}");
        assert!(unknown.contains("unknown field `minSamples`") && unknown.contains("line 2"), "{unknown}");
        assert!(wrong(r#"{"steps": [{"setWeight": 5}], "gates": {"max_p95": 3}}"#).contains("unknown field `max_p95`"));
        assert!(wrong(r#"{"steps": [{"setWeight": 5}], "hold": "soon"}"#).contains("a duration such as"));
        assert!(wrong(r#"{"steps": [{"setWeight": 5}], "hold": -3}"#).contains("a duration such as"));
        assert!(
            wrong(r#"{"steps": [{"setWeight": 5}], "gates": {"max_error_rate": 1.5}}"#).contains("max_error_rate must")
        );
        let gate = |gate: &str| wrong(&format!(r#"{{"steps": [{{"setWeight": 5}}], "gate": [{gate}]}}"#));
        let twice =
            gate(r#"{"metric": "p95_ms", "compare": "limit", "limit": 9}, {"metric": "p95_ms", "compare": "limit"}"#);
        assert_eq!(twice, "max_p95_ms is said twice: once is enough, below gates or as a [[gate]]");
        assert_eq!(gate(r#"{"metric": "rate_4xx", "compare": "limit"}"#), "max_rate_4xx needs a limit");
        assert!(gate(r#"{"metric": "p95", "compare": "limit"}"#).contains("unknown variant `p95`, expected one of"));
        let allowed = gate(r#"{"metric": "error_rate", "compare": "stable", "allow_ms": 5}"#);
        assert_eq!(allowed, "max_error_rate_difference has no allow_ms: it belongs to p95_ratio");
        assert!(wrong(r#"{"steps": [{"pause": {}, "approvals": 2}]}"#).starts_with("approvals belong to a step with"));
        assert!(wrong(r#"{"steps": [{"setWeight": 5, "pause": {}}]}"#).starts_with("a step is either a setWeight or"));
        assert!(wrong(r#"{"steps": [{"setWeight": 5, "approvals": 1}]}"#).starts_with("the first step is entered by"));
        assert!(
            wrong(r#"{"steps": [{"setWeight": 5}, {"setWeight": 50, "approvals": 9}]}"#).starts_with("step 2 asks")
        );
        let many = format!(r#"{{"steps": [{}]}}"#, vec![r#"{"setWeight": 1}"#; 10_000].join(","));
        assert!(wrong(&many).starts_with("a plan has at most 100 steps"), "{}", wrong(&many));
    }
}
