//! The time that a step needs to be passed at a rate of requests, and the deadline that follows from it.
//!
//! All in whole numbers: a deadline that was worked out becomes part of what the members agree on.

use crate::{GateName, Mode, Plan, Rollout, RoutingState, Span, Step};
use model::Weight;
use std::sync::Arc;
use std::time::Duration;

/// The shortest deadline that is worked out, and the one without traffic.
pub const SHORTEST_DEADLINE: Span = Plan::PROGRESS_DEADLINE;
/// The longest deadline that is worked out: whoever has less traffic than a day brings says so in the plan.
pub const LONGEST_DEADLINE: Span = Span(24 * 3600 * 1000);
/// How many times what a step needs its deadline is: traffic may fall to a third of what it was when the step was
/// entered.
const DEADLINE_TIMES: u64 = 3;
/// Microseconds in the unit of a rate.
const UNIT_MICROS: u128 = 1_000_000_000_000;

/// A rate of requests: how many come in a million seconds, so that one a day is a number, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

/// What a step of a plan needs at a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepNeeds {
    /// The canary's share.
    pub weight: Weight,
    /// The rate of the requests to the canary.
    pub rate: Rate,
    /// How long it is held at least.
    pub hold: Span,
    /// How long the minimum sample takes; none without traffic.
    pub min_sample: Option<Span>,
    /// How long the sample takes after which a ratio of latencies holds nothing up; none without traffic, and where
    /// no ratio does.
    pub compare_sample: Option<Span>,
    /// How long the step may stay undecided after its hold.
    pub deadline: Span,
    /// What is not there when the deadline comes, if that comes first.
    pub late: Option<Late>,
}

/// What the deadline of a step comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Any request: the step can only be aborted.
    Traffic,
    /// The minimum sample: the step can only be aborted.
    MinSample,
    /// The sample to compare latencies by: the step is aborted where they are close to the limit.
    CompareSample,
}

impl Rate {
    /// That of so many requests in this time; none in no time.
    pub fn of(requests: u64, time: Duration) -> Self {
        let rate = (u128::from(requests) * UNIT_MICROS).checked_div(time.as_micros()).unwrap_or_default();
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Requests a second.
    pub fn per_second(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "it is shown")]
        let requests = self.0 as f64;
        requests / 1e6
    }

    /// The part of it that a model with this share gets.
    pub fn part(self, weight: Weight) -> Self {
        let whole = u128::from(Weight::FULL.basis_points());
        let part = u128::from(self.0) * u128::from(weight.basis_points()) / whole;
        Self(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// The time that so many requests take, rounded up; none where none come.
    pub fn time_for(self, requests: u64) -> Option<Span> {
        let millis = (u128::from(requests) * UNIT_MICROS / 1_000).checked_next_multiple_of(self.0.into())?;
        let millis = millis.checked_div(self.0.into())?;
        Some(Span(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

impl StepNeeds {
    /// How long the step takes at most, if nothing speaks against it: its hold, or until the samples are there. None
    /// without traffic.
    pub fn takes(&self) -> Option<Span> {
        Some(self.hold.max(self.min_sample?).max(self.compare_sample.unwrap_or_default()))
    }
}

impl Plan {
    /// What each step needs when so many requests come to the service.
    pub fn needs(&self, rate: Rate) -> Vec<StepNeeds> {
        self.steps.iter().map(|step| self.step_needs(step, rate, None)).collect()
    }

    /// With the deadline that was worked out when the step was entered, if it was.
    fn step_needs(&self, step: &Step, rate: Rate, agreed: Option<Span>) -> StepNeeds {
        let Step { weight, hold, .. } = *step;
        let rate = rate.part(weight);
        let min_sample = rate.time_for(self.min_sample.max(1));
        let compare_sample = self.compared().and_then(|sample| rate.time_for(sample));
        let needs =
            StepNeeds { weight, rate, hold, min_sample, compare_sample, deadline: SHORTEST_DEADLINE, late: None };
        let own = needs.takes().map_or(SHORTEST_DEADLINE, |Span(millis)| {
            Span(millis.saturating_mul(DEADLINE_TIMES)).clamp(SHORTEST_DEADLINE, LONGEST_DEADLINE)
        });
        let deadline = self.progress_deadline.or(agreed).unwrap_or(own);
        let end = Some(Span(hold.0.saturating_add(deadline.0)));
        let late = match (min_sample, compare_sample) {
            (None, _) => Some(Late::Traffic),
            (min_sample, _) if min_sample > end => Some(Late::MinSample),
            (_, compare_sample) if compare_sample > end => Some(Late::CompareSample),
            (Some(_), _) => None,
        };
        StepNeeds { deadline, late, ..needs }
    }

    /// The answers after which a ratio of latencies that is close to its limit holds nothing up, if there is one that
    /// does.
    fn compared(&self) -> Option<u64> {
        let ratio = self.gates.get(GateName::P95_RATIO)?;
        self.compare_sample.filter(|_| ratio.mode != Mode::Observe)
    }

    /// The deadline of a step by its number, at this rate.
    fn deadline_at(&self, step: usize, rate: Rate) -> Span {
        self.steps.get(step).map_or(SHORTEST_DEADLINE, |step| self.step_needs(step, rate, None).deadline)
    }
}

impl Rollout {
    /// What each step needs when so many requests come to the service, the present one with the deadline that it has.
    pub fn needs(&self, rate: Rate) -> Vec<StepNeeds> {
        let needs = |(at, step)| {
            let agreed = if at == self.step { self.deadline } else { None };
            self.plan.step_needs(step, rate, agreed)
        };
        self.plan.steps.iter().enumerate().map(needs).collect()
    }
}

impl RoutingState {
    /// The same with a deadline for the step that begins with it, where the plan has none.
    pub(super) fn with_deadline(mut self, rate: Rate) -> Self {
        let Some(rollout) = &mut self.rollout else { return self };
        let is_worked_out = self.wire.is_some() && rollout.plan.progress_deadline.is_none();
        let anew = || rollout.plan.deadline_at(rollout.step, rate);
        let deadline = match rollout.deadline {
            _ if !is_worked_out => None,
            Some(kept) if rollout.epoch != self.version => Some(kept),
            Some(_) | None => Some(anew()),
        };
        if deadline != rollout.deadline {
            Arc::make_mut(rollout).deadline = deadline;
        }
        self
    }

    /// Whether the deadline of the step in `next` is one that can follow: worked out where the plan has none, within
    /// its bounds, and the same as long as the step is. Fails with what is wrong with it.
    pub(super) fn deadline_allows(&self, next: &Self) -> Result<(), String> {
        let Some(after) = next.rollout.as_deref() else { return Ok(()) };
        let is_worked_out = next.wire.is_some() && after.plan.progress_deadline.is_none();
        let before = self.rollout.as_deref().filter(|before| before.epoch == after.epoch);
        match (after.deadline, before.and_then(|before| before.deadline)) {
            (None, _) if !is_worked_out => Ok(()),
            (None, _) => Err("the plan has no deadline, and the step has none either".into()),
            (Some(_), _) if !is_worked_out => Err("the step has a deadline of its own beside that of the plan".into()),
            (Some(own), Some(before)) if own != before => Err("the deadline of a step stays what it is".into()),
            (Some(own), _) if (SHORTEST_DEADLINE..=LONGEST_DEADLINE).contains(&own) => Ok(()),
            (Some(own), _) => Err(format!("a deadline of {} s is not between 600 s and a day", own.0 / 1_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Model, Phase, WhenOpen};
    use agreement::Register;
    use model::{Incarnation, NodeId, NodeSet, TxId, UnixMillis};

    const SECOND: Rate = Rate(1_000_000);

    fn plan(percents: &[&str]) -> Plan {
        let weight = |percent: &&str| Weight::from_percent(percent).expect("a weight");
        Plan::of(percents.iter().map(|percent| Step::new(weight(percent), Plan::HOLD)).collect()).expect("a plan")
    }

    fn late(plan: &Plan, rate: Rate) -> Vec<Option<Late>> {
        plan.needs(rate).into_iter().map(|needs| needs.late).collect()
    }

    #[test]
    fn a_rate_is_a_number_of_requests_in_a_time() {
        assert_eq!(Rate::of(180, Duration::from_secs(60)), Rate(3_000_000));
        assert_eq!(
            (Rate::of(1, Duration::ZERO), Rate::of(u64::MAX, Duration::from_micros(1))),
            (Rate(0), Rate(u64::MAX))
        );
        assert_eq!(Rate(3_000_000).part(Weight::from_percent("5").expect("a weight")), Rate(150_000));
        assert_eq!((SECOND.time_for(59), Rate(0).time_for(59)), (Some(Span(59_000)), None));
        assert_eq!(Rate(3).time_for(1), Some(Span(333_333_334)), "rounded up");
        assert_eq!(Rate(1).time_for(u64::MAX), Some(Span(u64::MAX)));
    }

    #[test]
    fn below_two_requests_a_second_ten_minutes_are_too_few_for_five_per_cent() {
        let fixed = Plan { progress_deadline: Some(Plan::PROGRESS_DEADLINE), ..plan(&["5", "20", "50", "100"]) };
        assert_eq!(late(&fixed, Rate(1_850_000))[0], Some(Late::MinSample));
        assert_eq!(late(&fixed, Rate(1_900_000))[0], Some(Late::CompareSample));
        assert_eq!(late(&fixed, Rate(1_900_000))[1..], [Some(Late::CompareSample), None, None]);
        assert_eq!(late(&fixed, Rate(13_000_000)), [None; 4]);
        assert_eq!(late(&fixed, Rate(0)), [Some(Late::Traffic); 4]);
    }

    #[test]
    fn a_deadline_is_three_times_what_the_step_needs() {
        let plan = plan(&["5", "20", "50", "100"]);
        let seconds = |rate| -> Vec<u64> { plan.needs(rate).iter().map(|needs| needs.deadline.0 / 1_000).collect() };
        assert_eq!(seconds(SECOND), [24_000, 6_000, 2_400, 1_200], "400 answers at 5 % take 8 000 s");
        assert_eq!(seconds(Rate(0)), [600; 4]);
        assert_eq!(seconds(Rate(1_000_000_000)), [600; 4]);
        assert_eq!(seconds(Rate(1_000)), [86_400; 4]);
        assert_eq!(late(&plan, SECOND), [None; 4]);
        assert_eq!(late(&plan, Rate(10_000))[..2], [Some(Late::MinSample), Some(Late::CompareSample)]);
        let observed = plan.gates.changed(GateName::P95_RATIO, |gate| gate.mode = Mode::Observe);
        let needs = Plan { gates: observed, ..plan }.needs(SECOND);
        assert_eq!((needs[0].takes(), needs[0].deadline), (Some(Span(1_180_000)), Span(3_540_000)));
    }

    fn after(base: &RoutingState, change: &Change) -> RoutingState {
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: base.version + 1 };
        change.apply(base, NodeSet::first(3), txid, UnixMillis(base.version)).expect("the change fits")
    }

    fn at(rate: Rate, change: Change) -> Change {
        Change::At { rate, change: Box::new(change) }
    }

    fn start(plan: Plan) -> Change {
        let canary = Model { id: "v2".parse().expect("a model id"), upstream: None };
        Change::Start { canary, plan: Arc::new(plan), when_open: WhenOpen::Refuse }
    }

    fn marked() -> RoutingState {
        let initial = RoutingState::initial("v1".parse().expect("a model id"));
        let zero = Change::Weight { weight: Weight::ZERO, canary: None };
        after(&after(&initial, &zero), &Change::Close(None))
    }

    fn deadline(state: &RoutingState) -> Option<Span> {
        state.rollout.as_ref().expect("a rollout").deadline
    }

    #[test]
    fn who_proposes_a_step_says_its_deadline_and_it_stays() {
        let base = marked();
        let first = after(&base, &at(SECOND, start(plan(&["5", "20"]))));
        assert_eq!((deadline(&first), base.plan_allows(&first, "")), (Some(Span(24_000_000)), Ok(())));
        let epoch = first.rollout.as_ref().expect("a rollout").epoch;
        let paused = after(&first, &Change::Pause { why: String::new(), epoch: None });
        assert_eq!((deadline(&paused), first.deadline_allows(&paused)), (deadline(&first), Ok(())));
        let resumed = after(&paused, &at(Rate(2_000_000), Change::Resume));
        assert_eq!((deadline(&resumed), paused.deadline_allows(&resumed)), (Some(Span(12_000_000)), Ok(())));
        let second = after(&first, &at(SECOND, Change::Next { epoch }));
        assert_eq!((deadline(&second), first.plan_allows(&second, "")), (Some(Span(6_000_000)), Ok(())));
        assert_eq!(deadline(&after(&first, &Change::Next { epoch })), Some(SHORTEST_DEADLINE), "nothing is known");
        let said = Plan { progress_deadline: Some(Span(5_000)), ..plan(&["5"]) };
        assert_eq!(deadline(&after(&base, &at(SECOND, start(said)))), None, "the plan's is the plan's");
        let first = after(&RoutingState { wire: None, ..base }, &at(SECOND, start(plan(&["5"]))));
        let rollout = first.rollout.as_ref().expect("a rollout");
        assert_eq!((rollout.deadline, rollout.plan.progress_deadline), (None, Some(Plan::PROGRESS_DEADLINE)));
    }

    #[test]
    fn members_refuse_a_deadline_that_cannot_be() {
        let base = marked();
        let first = after(&base, &at(SECOND, start(plan(&["5", "20"]))));
        let with = |state: &RoutingState, deadline| {
            let mut state = state.clone();
            Arc::make_mut(state.rollout.as_mut().expect("a rollout")).deadline = deadline;
            state
        };
        for wrong in [None, Some(Span(599_999)), Some(Span(86_400_001))] {
            assert!(base.plan_allows(&with(&first, wrong), "").is_err(), "{wrong:?}");
        }
        assert_eq!(base.plan_allows(&with(&first, Some(Span(86_400_000))), ""), Ok(()));
        let paused = after(&first, &Change::Pause { why: String::new(), epoch: None });
        assert_eq!(paused.rollout.as_ref().map(|rollout| rollout.phase), Some(Phase::Paused));
        assert!(first.deadline_allows(&with(&paused, Some(Span(700_000)))).is_err(), "the step is the same");
        // A retreat is not voted on: whoever accepts it looks.
        assert!(first.bears(&with(&paused, Some(Span(700_000))), "").is_err() && first.bears(&paused, "").is_ok());
        let said = Plan { progress_deadline: Some(Span(5_000)), ..plan(&["5"]) };
        let beside = with(&after(&base, &start(said)), Some(Span(700_000)));
        assert!(base.plan_allows(&beside, "").is_err());
        let bare = RoutingState { wire: None, ..first };
        assert!(bare.deadline_allows(&with(&bare, Some(Span(700_000)))).is_err(), "never without the mark");
    }

    #[test]
    fn the_digest_covers_the_deadline() {
        let first = after(&marked(), &at(SECOND, start(plan(&["5"]))));
        let mut other = first.clone();
        Arc::make_mut(other.rollout.as_mut().expect("a rollout")).deadline = Some(Span(700_000));
        assert_ne!(first.digest(), other.digest());
    }
}
