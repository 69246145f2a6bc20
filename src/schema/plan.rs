//! A plan as people write it, in a file or in `POST /rollouts`: the words of Argo Rollouts for the steps, those of the
//! limits for the rest.

use super::step::{HoldShape, PauseShape, StepShape};
use model::{Weight, WeightError};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use service::{Gate, Gates, MILLION, Mode, Plan, PlanError, Shield, Span, Step, Then, min_sample};
use std::fmt;
use std::time::Duration;

const MICROS_PER_MILLI: f64 = 1_000.0;

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
    /// The limits.
    #[serde(default)]
    pub gates: GatesShape,
    /// Requests to the canary that a verdict needs; by the error limit where nothing is said: 59 at 5 %.
    #[serde(default, rename = "minSample", skip_serializing_if = "Option::is_none")]
    pub min_sample: Option<u64>,
    /// Seconds that a step may stay undecided after its hold.
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
}

/// The limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatesShape {
    /// The share of requests that may fail, above 0 and below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_error_rate: Option<GateShape>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_p95_ms: Option<GateShape>,
    /// How much larger than the stable model's the error rate may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_error_rate_difference: Option<GateShape>,
    /// Times the stable model's p95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ratio: Option<GateShape>,
}

/// A limit, `0.05`, or with what it does, `{"limit": 0.05, "mode": "pause"}`. Either part may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GateShape {
    /// In the unit of the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// What happens when it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeShape>,
}

/// The consequence of a broken limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeShape {
    /// The canary is rolled back.
    Enforce,
    /// The rollout is paused.
    Pause,
    /// It is shown.
    Observe,
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
        plan.gates = self.gates.gates()?;
        plan.min_sample = self.min_sample.unwrap_or_else(|| min_sample(plan.gates.error_rate)).max(1);
        if let Some(seconds) = self.progress_deadline_seconds {
            plan.progress_deadline = Span::from(Duration::from_secs(seconds.into()));
        }
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
            min_sample: Some(plan.min_sample),
            progress_deadline_seconds: u32::try_from(plan.progress_deadline.duration().as_secs()).ok(),
            consecutive_error_limit: Some(plan.consecutive_error_limit),
            smoke: SmokeShape {
                path: plan.smoke.path.clone(),
                max_p95_ms: Some(plan.smoke.max_p95.duration().as_secs_f64() * 1e3),
            },
            shield: Some(plan.shield == Shield::On),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
const MILLIONTHS: f64 = MILLION as f64;

impl GatesShape {
    fn gates(&self) -> Result<Gates, PlanShapeError> {
        let usual = Gates::default();
        Ok(Gates {
            error_rate: gate("max_error_rate", self.max_error_rate, usual.error_rate, MILLIONTHS)?,
            p95: gate("max_p95_ms", self.max_p95_ms, usual.p95, MICROS_PER_MILLI)?,
            error_rate_difference: gate(
                "max_error_rate_difference",
                self.max_error_rate_difference,
                usual.error_rate_difference,
                MILLIONTHS,
            )?,
            p95_ratio: gate("p95_ratio", self.p95_ratio, usual.p95_ratio, MILLIONTHS)?,
        })
    }
}

impl From<&Gates> for GatesShape {
    fn from(gates: &Gates) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
        let shown = |gate: Gate, unit: f64| {
            let mode = match gate.mode {
                Mode::Enforce => ModeShape::Enforce,
                Mode::Pause => ModeShape::Pause,
                Mode::Observe => ModeShape::Observe,
            };
            Some(GateShape { limit: Some(gate.limit as f64 / unit), mode: Some(mode) })
        };
        Self {
            max_error_rate: shown(gates.error_rate, MILLIONTHS),
            max_p95_ms: shown(gates.p95, MICROS_PER_MILLI),
            max_error_rate_difference: shown(gates.error_rate_difference, MILLIONTHS),
            p95_ratio: shown(gates.p95_ratio, MILLIONTHS),
        }
    }
}

fn gate(name: &'static str, said: Option<GateShape>, usual: Gate, unit: f64) -> Result<Gate, PlanShapeError> {
    let Some(said) = said else { return Ok(usual) };
    let limit = said.limit.map_or(Ok(usual.limit), |limit| whole(name, limit, unit))?;
    let mode = said.mode.map_or(usual.mode, |mode| match mode {
        ModeShape::Enforce => Mode::Enforce,
        ModeShape::Pause => Mode::Pause,
        ModeShape::Observe => Mode::Observe,
    });
    Ok(Gate { limit, mode })
}

fn whole(name: &'static str, number: f64, unit: f64) -> Result<u64, PlanShapeError> {
    if !number.is_finite() || number < 0.0 {
        return Err(PlanShapeError::Number(name));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and bounded here")]
    Ok((number * unit).round().min(1e15) as u64)
}

impl<'de> Deserialize<'de> for GateShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GateVisitor)
    }
}

struct GateVisitor;

impl<'de> Visitor<'de> for GateVisitor {
    type Value = GateShape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit such as 0.05, or {\"limit\": 0.05, \"mode\": \"enforce\"}")
    }

    fn visit_f64<E: de::Error>(self, limit: f64) -> Result<GateShape, E> {
        Ok(GateShape { limit: Some(limit), mode: None })
    }

    #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    fn visit_u64<E: de::Error>(self, limit: u64) -> Result<GateShape, E> {
        self.visit_f64(limit as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    fn visit_i64<E: de::Error>(self, limit: i64) -> Result<GateShape, E> {
        self.visit_f64(limit as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GateShape, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            limit: Option<f64>,
            mode: Option<ModeShape>,
        }
        let Whole { limit, mode } = Whole::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(GateShape { limit, mode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(plan.gates.error_rate, Gate { limit: 10_000, mode: Mode::Enforce });
        assert_eq!(plan.gates.p95, Gate { limit: 250_000, mode: Mode::Observe });
        assert_eq!(plan.gates.p95_ratio, Gate { limit: 1_200_000, mode: Mode::Pause });
        assert_eq!((plan.min_sample, plan.progress_deadline, plan.shield), (299, Span(60_000), Shield::Off));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50, "approvals": 2}]}"#;
        let plan = read(text).expect("a plan");
        assert_eq!(plan.steps.iter().map(|step| step.approvals).collect::<Vec<_>>(), [0, 2, 0]);
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
