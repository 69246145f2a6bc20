//! The plan of a rollout: which weights, held how long, judged by which limits. Everything in it is a whole number, so
//! that a plan has one digest on all machines.

use crate::MAX_APPROVALS;
use model::{Digest, Weight};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// More steps than anyone watches. It bounds what a plan takes in every state, on disk and on the wire.
pub const MAX_STEPS: usize = 100;
/// A hold of a month is a decision to make anew.
pub const MAX_HOLD: Duration = Duration::from_secs(31 * 24 * 3600);
/// Parts in a whole, for rates and ratios: fine enough for a limit of one in a hundred thousand.
pub const MILLION: u64 = 1_000_000;
/// Longest path of a smoke test, in bytes.
pub const MAX_SMOKE_PATH: usize = 1_024;

/// A way up, and what speaks against going on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The weights in rising order; the last one is the whole.
    pub steps: Vec<Step>,
    /// The limits.
    pub gates: Gates,
    /// Requests to the canary, on all nodes together, below which a step is never passed.
    pub min_sample: u64,
    /// How long a step whose hold is over may stay undecided before the rollout is aborted.
    pub progress_deadline: Span,
    /// After this many failures to measure in a row the rollout is paused; they are no failures of the canary.
    pub consecutive_error_limit: u32,
    /// What each node's upstream has to pass before the first step.
    pub smoke: Smoke,
    /// Whether a request that the canary cannot answer goes to the stable model instead.
    pub shield: Shield,
}

/// One weight of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The canary's share.
    pub weight: Weight,
    /// How long it is held at least.
    pub hold: Span,
    /// What happens when it was held and nothing speaks against it.
    pub then: Then,
    /// How many different operators have to approve it before it is entered.
    pub approvals: u8,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// The next one follows by itself.
    Continue,
    /// An operator has to promote it.
    AwaitPromotion,
}

/// A length of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// The limits of a plan. The absolute ones hold for the canary alone; the relative ones compare it with the stable model
/// on the same nodes in the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    /// In the unit of the gate.
    pub limit: u64,
    /// What happens when it is broken.
    pub mode: Mode,
}

/// What a broken limit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The canary is rolled back.
    Enforce,
    /// The rollout is paused until an operator decides.
    Pause,
    /// It is shown.
    Observe,
}

/// The test of a canary's upstream before its first step: warm-ups that do not count, then measured requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Smoke {
    /// What is asked on the upstream's origin; the upstream's own URL where there is none.
    pub path: Option<String>,
    /// The longest p95 of the measured requests.
    pub max_p95: Span,
}

/// Whether the canary's failures are kept from users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shield {
    /// A request that can be sent again goes to the stable model.
    On,
    /// It fails.
    Off,
}

/// What makes no plan. Steps are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PlanError {
    /// Nothing to do.
    #[error("a plan needs at least one step: give weights such as 5,20,50,100")]
    NoSteps,
    /// Too much to do.
    #[error("a plan has at most {MAX_STEPS} steps, this one has {0}")]
    TooManySteps(usize),
    /// A step without traffic shows nothing.
    #[error("step {0} gives the canary nothing: use a weight above 0")]
    ZeroWeight(usize),
    /// A step that takes traffic away, or changes nothing.
    #[error("step {step} sets {weight} after {before}: each weight must be above the one before it")]
    NotRising { step: usize, weight: Weight, before: Weight },
    /// A hold that nobody waits for.
    #[error("step {0} is held for longer than 31 days: use a pause without a duration, which waits for you")]
    HoldTooLong(usize),
    /// The start is one operator's word.
    #[error("the first step is entered by the start itself: ask for approvals of a later one")]
    FirstApproved,
    /// More approvals than operators.
    #[error("step {step} asks for {approvals} approvals: at most {MAX_APPROVALS} can be asked for")]
    TooManyApprovals { step: usize, approvals: u8 },
    /// A limit that no measurement can break or keep.
    #[error("{gate} must be {range}")]
    Limit { gate: &'static str, range: &'static str },
    /// A path that cannot be asked for.
    #[error("the path of the smoke test must begin with / and be of printable ASCII, {MAX_SMOKE_PATH} bytes at most")]
    SmokePath,
}

impl Step {
    /// One that is held, and followed by the next without anyone's word.
    pub const fn new(weight: Weight, hold: Span) -> Self {
        Self { weight, hold, then: Then::Continue, approvals: 0 }
    }
}

impl Span {
    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Default for Gates {
    /// 5 % errors, a p95 of 200 ms, two errors in a hundred more than stable, a p95 of 1.2 times stable's; all enforced.
    fn default() -> Self {
        let enforce = |limit| Gate { limit, mode: Mode::Enforce };
        Self {
            error_rate: enforce(50_000),
            p95: enforce(200_000),
            error_rate_difference: enforce(20_000),
            p95_ratio: enforce(1_200_000),
        }
    }
}

impl Default for Smoke {
    fn default() -> Self {
        Self { path: None, max_p95: Span(150) }
    }
}

impl Plan {
    /// How long a step may stay undecided.
    pub const PROGRESS_DEADLINE: Span = Span(600_000);
    /// How often in a row measuring may fail.
    pub const CONSECUTIVE_ERROR_LIMIT: u32 = 4;
    /// How long a step is held where nothing is said.
    pub const HOLD: Span = Span(30_000);

    /// A plan of these steps with the usual limits. A last step below 100 % is followed by one of 100 %, held as
    /// long, so that nothing becomes stable that was not judged with all the traffic. Fails when the steps make no
    /// plan.
    pub fn of(mut steps: Vec<Step>) -> Result<Self, PlanError> {
        let Some(last) = steps.last().copied() else { return Err(PlanError::NoSteps) };
        if last.weight < Weight::FULL {
            steps.push(Step::new(Weight::FULL, last.hold));
        }
        let gates = Gates::default();
        Self {
            steps,
            gates,
            min_sample: min_sample(gates.error_rate),
            progress_deadline: Self::PROGRESS_DEADLINE,
            consecutive_error_limit: Self::CONSECUTIVE_ERROR_LIMIT,
            smoke: Smoke::default(),
            shield: Shield::On,
        }
        .checked()
    }

    /// The plan, if it is one: whoever changes a field asks again. Fails with what is wrong with it.
    pub fn checked(self) -> Result<Self, PlanError> {
        if self.steps.is_empty() {
            return Err(PlanError::NoSteps);
        }
        if self.steps.len() > MAX_STEPS {
            return Err(PlanError::TooManySteps(self.steps.len()));
        }
        let mut before = Weight::ZERO;
        for (number, step) in (1..).zip(&self.steps) {
            if step.weight == Weight::ZERO {
                return Err(PlanError::ZeroWeight(number));
            }
            if step.weight <= before {
                return Err(PlanError::NotRising { step: number, weight: step.weight, before });
            }
            if step.hold.duration() > MAX_HOLD {
                return Err(PlanError::HoldTooLong(number));
            }
            if number == 1 && step.approvals > 0 {
                return Err(PlanError::FirstApproved);
            }
            if step.approvals > MAX_APPROVALS {
                return Err(PlanError::TooManyApprovals { step: number, approvals: step.approvals });
            }
            before = step.weight;
        }
        self.gates.check()?;
        let path = self.smoke.path.as_deref();
        if path.is_some_and(|path| !is_path(path)) {
            return Err(PlanError::SmokePath);
        }
        Ok(self)
    }

    /// SHA-256 over all of it.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut number = |number: u64| hash.update(number.to_be_bytes());
        number(self.steps.len() as u64);
        for step in &self.steps {
            number(u64::from(step.weight.basis_points()));
            number(step.hold.0);
            // One number for both, so that a plan without approvals has the digest it always had.
            number(u64::from(step.then == Then::AwaitPromotion) | u64::from(step.approvals) << 1);
        }
        let gates = &self.gates;
        for gate in [gates.error_rate, gates.p95, gates.error_rate_difference, gates.p95_ratio] {
            number(gate.limit);
            number(gate.mode as u64);
        }
        number(self.min_sample);
        number(self.progress_deadline.0);
        number(u64::from(self.consecutive_error_limit));
        number(self.smoke.max_p95.0);
        number(self.shield as u64);
        number(u64::from(self.smoke.path.is_some()));
        hash.update(self.smoke.path.as_deref().unwrap_or_default());
        Digest(hash.finalize().into())
    }
}

impl Gates {
    fn check(&self) -> Result<(), PlanError> {
        let within =
            |gate: &'static str, range, good| if good { Ok(()) } else { Err(PlanError::Limit { gate, range }) };
        let rate = |limit: u64| (1..MILLION).contains(&limit);
        within("max_error_rate", "above 0 and below 1", rate(self.error_rate.limit))?;
        within("max_error_rate_difference", "above 0 and below 1", rate(self.error_rate_difference.limit))?;
        within("max_p95_ms", "0.1 to 60000 milliseconds", (100..=60_000_000).contains(&self.p95.limit))?;
        within("p95_ratio", "1 to 100", (MILLION..=100 * MILLION).contains(&self.p95_ratio.limit))
    }
}

/// The number of requests after which having seen no error says with 95 % confidence that the rate is below the limit:
/// 59 at 5 %, 299 at 1 %.
pub fn min_sample(error_rate: Gate) -> u64 {
    #[allow(clippy::cast_precision_loss, reason = "at most a million")]
    let limit = (error_rate.limit as f64 / MILLION as f64).clamp(1e-6, 0.999_999);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to three millions")]
    let needed = (0.05_f64.ln() / (1.0 - limit).ln()).ceil() as u64;
    needed.max(1)
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_SMOKE_PATH && path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(percent: &str) -> Step {
        let weight = Weight::from_percent(percent).expect("a weight");
        Step::new(weight, Plan::HOLD)
    }

    fn plan(percents: &[&str]) -> Result<Plan, PlanError> {
        Plan::of(percents.iter().map(|percent| step(percent)).collect())
    }

    #[test]
    fn the_whole_comes_last_by_itself() {
        let weights = |percents| {
            let plan = plan(percents).expect("a plan");
            plan.steps.iter().map(|step| step.weight.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(weights(&["5", "20"]), ["5 %", "20 %", "100 %"]);
        assert_eq!(weights(&["100"]), ["100 %"]);
    }

    #[test]
    fn what_is_no_plan_is_named() {
        assert_eq!(plan(&[]), Err(PlanError::NoSteps));
        let falling = plan(&["20", "5"]).expect_err("it falls").to_string();
        assert_eq!(falling, "step 2 sets 5 % after 20 %: each weight must be above the one before it");
        assert!(matches!(plan(&["5", "5"]), Err(PlanError::NotRising { step: 2, .. })));
        assert_eq!(plan(&["0"]), Err(PlanError::ZeroWeight(1)));
        let many = vec![step("1"); 10_000];
        assert!(matches!(Plan::of(many), Err(PlanError::TooManySteps(10_001))));
        let long = Step { hold: Span(u64::MAX), ..step("5") };
        assert_eq!(Plan::of(vec![long]), Err(PlanError::HoldTooLong(1)));
        let approved = |percent, approvals| Step { approvals, ..step(percent) };
        assert_eq!(Plan::of(vec![approved("100", 1)]), Err(PlanError::FirstApproved));
        let many = PlanError::TooManyApprovals { step: 2, approvals: 6 };
        assert_eq!(Plan::of(vec![step("5"), approved("20", 6)]), Err(many));
        assert!(Plan::of(vec![step("5"), approved("20", 5)]).is_ok());
    }

    #[test]
    fn limits_that_cannot_be_kept_or_broken_are_refused() {
        let with = |change: fn(&mut Plan)| {
            let mut plan = plan(&["5"]).expect("a plan");
            change(&mut plan);
            plan.checked().map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(
            with(|plan| plan.gates.error_rate.limit = 0),
            Err("max_error_rate must be above 0 and below 1".into())
        );
        assert!(with(|plan| plan.gates.p95_ratio.limit = 999_999).is_err());
        assert!(with(|plan| plan.gates.p95.limit = 0).is_err());
        assert!(with(|plan| plan.smoke.path = Some("health".into())).is_err());
        assert!(with(|plan| plan.smoke.path = Some("/he alth".into())).is_err());
        assert_eq!(with(|plan| plan.smoke.path = Some("/v2/health/ready".into())), Ok(()));
    }

    #[test]
    fn every_field_is_in_the_digest() {
        let changes: [fn(&mut Plan); 12] = [
            |plan| plan.steps[0].hold = Span(1),
            |plan| plan.steps[0].then = Then::AwaitPromotion,
            |plan| plan.steps[1].approvals = 1,
            |plan| plan.steps.truncate(1),
            |plan| plan.gates.error_rate.limit += 1,
            |plan| plan.gates.p95.mode = Mode::Observe,
            |plan| plan.min_sample += 1,
            |plan| plan.progress_deadline = Span(1),
            |plan| plan.consecutive_error_limit += 1,
            |plan| plan.smoke.path = Some("/".into()),
            |plan| plan.smoke.max_p95 = Span(1),
            |plan| plan.shield = Shield::Off,
        ];
        let original = plan(&["5"]).expect("a plan");
        for (number, change) in changes.iter().enumerate() {
            let mut changed = original.clone();
            change(&mut changed);
            assert_ne!(changed.digest(), original.digest(), "change {number}");
        }
    }

    #[test]
    fn the_minimum_sample_follows_the_limit() {
        let of = |limit| min_sample(Gate { limit, mode: Mode::Enforce });
        assert_eq!((of(50_000), of(10_000), of(1_000)), (59, 299, 2_995));
    }
}
