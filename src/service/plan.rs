//! The plan of a rollout: which weights, held how long, judged by which limits. Everything in it is a whole number, so
//! that a plan has one digest on all machines.

use crate::{Gate, GateName, Gates, MAX_APPROVALS};
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
/// More paths than a service has for its own needs. It bounds what a request is compared with.
pub const MAX_UNCOUNTED: usize = 32;

/// A way up, and what speaks against going on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The weights in rising order; the last one is the whole.
    pub steps: Vec<Step>,
    /// The limits.
    pub gates: Gates,
    /// Requests to the canary, on all nodes together, below which a step is never passed.
    pub min_sample: u64,
    /// Answers of the canary from which on a ratio of latencies that is not proven to be beyond its limit holds nothing up;
    /// none where it always does, as in version 5.
    pub compare_sample: Option<u64>,
    /// How long after the first step has begun nothing but errors is judged, for models that have to get warm.
    pub initial_delay: Span,
    /// How long a step whose hold is over may stay undecided before the rollout is aborted; none where that is worked out for
    /// each step from how much traffic there is.
    pub progress_deadline: Option<Span>,
    /// After this many failures to measure in a row the rollout is paused; they are no failures of the canary.
    pub consecutive_error_limit: u32,
    /// What each node's upstream has to pass before the first step.
    pub smoke: Smoke,
    /// Whether a request that the canary cannot answer goes to the stable model instead.
    pub shield: Shield,
    /// Paths whose requests are no evidence, such as `/healthz`, in the order of the alphabet.
    pub uncounted: Vec<String>,
    /// Statuses 3xx and 4xx that are good answers of the service, rising.
    pub expected: Vec<u16>,
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
    /// What only a ratio of latencies can have.
    #[error("{gate} has no allow_ms: it belongs to p95_ratio")]
    Allowance { gate: &'static str },
    /// A path that no request has.
    #[error(
        "uncounted names {0:?}: a path begins with / and is of printable ASCII without ?, {MAX_SMOKE_PATH} bytes at most"
    )]
    Uncounted(String),
    /// More of them than a request is compared with.
    #[error("uncounted names {0} paths: at most {MAX_UNCOUNTED} can be named")]
    ManyUncounted(usize),
    /// A status that is good or failed whatever a plan says.
    #[error("expected names {0}: a status of 300 to 499 can be named, others are what they are")]
    Expected(u16),
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

impl Default for Smoke {
    fn default() -> Self {
        Self { path: None, max_p95: Span(150) }
    }
}

impl Plan {
    /// How long a step may stay undecided where nothing is said and nothing is known of the traffic.
    pub const PROGRESS_DEADLINE: Span = Span(600_000);
    /// Answers to compare latencies by, where nothing is said: enough to tell a p95 of 1.5 times stable's from one of 1.2.
    pub const COMPARE_SAMPLE: u64 = 400;
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
            min_sample: min_sample(&gates),
            gates,
            compare_sample: Some(Self::COMPARE_SAMPLE),
            initial_delay: Span(0),
            progress_deadline: None,
            consecutive_error_limit: Self::CONSECUTIVE_ERROR_LIMIT,
            smoke: Smoke::default(),
            shield: Shield::On,
            uncounted: Vec::new(),
            expected: Vec::new(),
        }
        .checked()
    }

    /// The plan, if it is one: whoever changes a field asks again. Fails with what is wrong with it.
    pub fn checked(mut self) -> Result<Self, PlanError> {
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
        if self.uncounted.len() > MAX_UNCOUNTED {
            return Err(PlanError::ManyUncounted(self.uncounted.len()));
        }
        if let Some(path) = self.uncounted.iter().find(|path| !is_path(path) || path.contains('?')) {
            return Err(PlanError::Uncounted(path.clone()));
        }
        if let Some(status) = self.expected.iter().find(|status| !(300..500).contains(*status)) {
            return Err(PlanError::Expected(*status));
        }
        self.uncounted.sort_unstable();
        self.uncounted.dedup();
        self.expected.sort_unstable();
        self.expected.dedup();
        Ok(self)
    }

    /// The gates in the order of version 5 and the deadline, if version 5 has words for all of the plan.
    pub fn of_5(&self) -> Option<([Gate; 4], Span)> {
        let Self { gates, compare_sample: None, initial_delay: Span(0), progress_deadline: Some(deadline), .. } = self
        else {
            return None;
        };
        let is_plain = self.uncounted.is_empty() && self.expected.is_empty();
        Some((gates.of_5().filter(|_| is_plain)?, *deadline))
    }

    /// The same as version 5 would have it, where nothing else was said: without what it does not know and has usual values.
    #[must_use]
    pub fn without_news(self) -> Self {
        let usual = Gates::default();
        let of_5 = |gate: Gate| match Gates::usual_of_5().get(gate.name) {
            Some(old) if usual.get(gate.name) == Some(gate) => Some(old),
            None if usual.get(gate.name) == Some(gate) => None,
            Some(_) | None => Some(gate),
        };
        let compare_sample = self.compare_sample.filter(|sample| *sample != Self::COMPARE_SAMPLE);
        let progress_deadline = self.progress_deadline.or(Some(Self::PROGRESS_DEADLINE));
        Self { gates: self.gates.iter().filter_map(of_5).collect(), compare_sample, progress_deadline, ..self }
    }

    /// SHA-256 over all of it. A plan that version 5 has words for has the digest that it has there.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut number = |number: u64| hash.update(number.to_be_bytes());
        let of_5 = self.of_5();
        if of_5.is_none() {
            // No plan has so many steps.
            number(u64::MAX);
        }
        number(self.steps.len() as u64);
        for step in &self.steps {
            number(u64::from(step.weight.basis_points()));
            number(step.hold.0);
            // One number for both, so that a plan without approvals has the digest it always had.
            number(u64::from(step.then == Then::AwaitPromotion) | u64::from(step.approvals) << 1);
        }
        if of_5.is_none() {
            number(self.gates.len() as u64);
        }
        for gate in self.gates.iter() {
            if of_5.is_none() {
                number(gate.name.compare as u64);
                number(gate.name.metric as u64);
                number(gate.allow);
            }
            number(gate.limit);
            number(gate.mode as u64);
        }
        number(self.min_sample);
        if of_5.is_none() {
            for optional in [self.compare_sample, self.progress_deadline.map(|Span(millis)| millis)] {
                number(u64::from(optional.is_some()));
                number(optional.unwrap_or_default());
            }
            number(self.initial_delay.0);
            number(self.expected.len() as u64);
            self.expected.iter().for_each(|status| number(u64::from(*status)));
        }
        if let Some((_, deadline)) = of_5 {
            number(deadline.0);
        }
        number(u64::from(self.consecutive_error_limit));
        number(self.smoke.max_p95.0);
        number(self.shield as u64);
        number(u64::from(self.smoke.path.is_some()));
        let mut text = |text: &str| hash.update(text);
        text(self.smoke.path.as_deref().unwrap_or_default());
        for path in &self.uncounted {
            // No path has a zero in it.
            text("\0");
            text(path);
        }
        Digest(hash.finalize().into())
    }
}

/// The number of requests after which having seen no error says with 95 % confidence that the rate is below the limit:
/// 59 at 5 %, 299 at 1 %. Without such a limit that of the usual one.
pub fn min_sample(gates: &Gates) -> u64 {
    let error_rate = gates.get(GateName::ERROR_RATE).or(GateName::ERROR_RATE.usual());
    #[allow(clippy::cast_precision_loss, reason = "at most a million")]
    let limit = error_rate.map_or(0.05, |gate| gate.limit as f64 / MILLION as f64).clamp(1e-6, 0.999_999);
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
    use crate::Mode;

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
            with(|plan| plan.gates = plan.gates.changed(GateName::ERROR_RATE, |gate| gate.limit = 0)),
            Err("max_error_rate must be above 0 and below 1".into())
        );
        assert!(
            with(|plan| plan.gates = plan.gates.changed(GateName::P95_RATIO, |gate| gate.limit = 999_999)).is_err()
        );
        assert!(with(|plan| plan.gates = plan.gates.changed(GateName::P95, |gate| gate.limit = 0)).is_err());
        assert!(with(|plan| plan.smoke.path = Some("health".into())).is_err());
        assert!(with(|plan| plan.smoke.path = Some("/he alth".into())).is_err());
        assert_eq!(with(|plan| plan.smoke.path = Some("/v2/health/ready".into())), Ok(()));
    }

    #[test]
    fn every_field_is_in_the_digest() {
        let changes: [fn(&mut Plan); 20] = [
            |plan| plan.steps[0].hold = Span(1),
            |plan| plan.steps[0].then = Then::AwaitPromotion,
            |plan| plan.steps[1].approvals = 1,
            |plan| plan.steps.truncate(1),
            |plan| plan.gates = plan.gates.changed(GateName::ERROR_RATE, |gate| gate.limit += 1),
            |plan| plan.gates = plan.gates.changed(GateName::P95, |gate| gate.mode = Mode::Observe),
            |plan| plan.gates = plan.gates.changed(GateName::P95_RATIO, |gate| gate.allow += 1),
            |plan| plan.gates = plan.gates.iter().take(6).collect(),
            |plan| plan.compare_sample = None,
            |plan| plan.compare_sample = Some(1),
            |plan| plan.initial_delay = Span(1),
            |plan| plan.progress_deadline = None,
            |plan| plan.uncounted = vec!["/up".into()],
            |plan| plan.expected = vec![404],
            |plan| plan.min_sample += 1,
            |plan| plan.progress_deadline = Some(Span(1)),
            |plan| plan.consecutive_error_limit += 1,
            |plan| plan.smoke.path = Some("/".into()),
            |plan| plan.smoke.max_p95 = Span(1),
            |plan| plan.shield = Shield::Off,
        ];
        let of_6 = plan(&["5"]).expect("a plan");
        for original in [of_6.clone().without_news(), of_6] {
            for (number, change) in changes.iter().enumerate() {
                let mut changed = original.clone();
                change(&mut changed);
                let is_same = changed == original;
                assert_eq!(changed.digest() == original.digest(), is_same, "change {number}");
            }
        }
    }

    #[test]
    fn a_plan_without_news_is_one_of_version_5() {
        let plan = plan(&["5", "20"]).expect("a plan");
        assert_eq!(plan.of_5(), None);
        assert!(plan.clone().without_news().of_5().is_some());
        let said = Plan { expected: vec![404], ..plan };
        assert_eq!(said.without_news().of_5(), None, "what was said is kept");
    }

    #[test]
    fn what_no_request_has_is_refused() {
        let with = |change: fn(&mut Plan)| {
            let mut plan = plan(&["5"]).expect("a plan");
            change(&mut plan);
            plan.checked()
        };
        assert!(with(|plan| plan.uncounted = vec!["healthz".into()]).is_err());
        assert!(with(|plan| plan.uncounted = vec!["/healthz?a".into()]).is_err());
        assert!(with(|plan| plan.uncounted = vec!["/a".into(); 33]).is_err());
        assert_eq!(with(|plan| plan.expected = vec![200]), Err(PlanError::Expected(200)));
        let plan = with(|plan| {
            (plan.uncounted, plan.expected) = (vec!["/b".into(), "/a".into(), "/b".into()], vec![404, 302])
        });
        let plan = plan.expect("a plan");
        assert_eq!((plan.uncounted, plan.expected), (vec!["/a".to_owned(), "/b".to_owned()], vec![302, 404]));
    }

    #[test]
    fn the_minimum_sample_follows_the_limit() {
        let of = |limit| min_sample(&Gates::default().changed(GateName::ERROR_RATE, |gate| gate.limit = limit));
        assert_eq!((of(50_000), of(10_000), of(1_000)), (59, 299, 2_995));
    }
}
