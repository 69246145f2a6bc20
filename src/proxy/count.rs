//! The count for the trial of a canary: the requests to the two models that began after the trial did.
//!
//! A request has up to three moments: the model has all of it, the first byte of the answer is there, and it has ended. Each is
//! counted when it comes, so that a canary that hangs, or streams for minutes, is judged before its requests are over.

use judge::{Arms, Measured, Samples, Verdict};
use model::{ModelId, Time};
use rollout::Trial;
use std::net::IpAddr;
use std::time::Duration;

/// Parts of the limit in which requests without a first byte are told apart: one is found to be late at most so much after it
/// is.
const PARTS: usize = 16;
/// They and the one in which the limit falls.
const SLOTS: usize = PARTS + 1;

/// One thread's part of the count.
#[derive(Default)]
pub(super) struct Count(Option<Counted>);

struct Counted {
    since: Time,
    /// Until then nothing but errors is counted.
    warm: Time,
    limit: Duration,
    stable: ModelId,
    canary: ModelId,
    of_stable: Arm,
    of_canary: Arm,
    told: Arms,
}

/// One model's part. A request may begin on one thread and end on another, so that a part alone may be below nothing.
struct Arm {
    measured: Measured,
    open: i64,
    waiting: Waiting,
}

/// Requests that wait for their first byte, by when they began.
struct Waiting {
    /// Microseconds of a slot.
    width: u64,
    newest: u64,
    slots: [i64; SLOTS],
    /// Those that have waited for longer than the limit.
    late: i64,
}

/// What all threads have counted.
#[derive(Default)]
pub(super) struct Sum {
    samples: Samples,
    limit: Duration,
    stable: Open,
    canary: Open,
}

#[derive(Default)]
struct Open {
    open: i64,
    late: i64,
}

impl Count {
    /// Begins anew for `trial`, or ends.
    pub(super) fn begin(&mut self, trial: Option<&Trial>, since: Time) {
        self.0 = trial.map(|trial| {
            let limit = trial.late_after();
            Counted {
                since,
                warm: since + trial.warm_up,
                limit,
                stable: trial.stable.clone(),
                canary: trial.canary.clone(),
                of_stable: Arm::new(limit),
                of_canary: Arm::new(limit),
                told: Arms::default(),
            }
        });
    }

    /// Notes that `model` has all of a request since `opened`.
    pub(super) fn open(&mut self, model: &ModelId, opened: Time) {
        if let Some((arm, warm)) = self.of(model, opened) {
            arm.open += 1;
            if warm {
                arm.waiting.begin(opened);
            }
        }
    }

    /// Notes at `now` that a request that was opened at `opened` waits for its first byte no more.
    pub(super) fn waits_no_more(&mut self, model: &ModelId, opened: Time, now: Time) {
        if let Some((arm, true)) = self.of(model, opened) {
            arm.waiting.end(opened, now);
        }
    }

    /// Counts the first byte of a good answer to a request that was chosen at `started`, for which the model took so long.
    pub(super) fn answered(&mut self, model: &ModelId, started: Time, latency: Duration) {
        if let Some((arm, true)) = self.of(model, started) {
            arm.measured.answered(latency);
        }
    }

    /// Notes at `now` that a request that was opened at `opened` waits no more, without an answer that has a latency: it has
    /// failed, or its client has left. If it was late, it is slow for good; otherwise `left` says how long it was waited for,
    /// where the end is unknown.
    pub(super) fn gave_up(&mut self, model: &ModelId, opened: Time, now: Time, left: Option<Duration>) {
        let Some(limit) = self.0.as_ref().map(|counted| counted.limit) else { return };
        if let Some((arm, true)) = self.of(model, opened) {
            match (arm.waiting.end(opened, now), left) {
                (true, _) => arm.measured.late(limit, now.since(opened), 1),
                (false, Some(waited)) => arm.measured.left_after(waited),
                (false, None) => {}
            }
        }
    }

    /// Notes that a request that was opened at `opened` is over.
    pub(super) fn over(&mut self, model: &ModelId, opened: Time) {
        if let Some((arm, _)) = self.of(model, opened) {
            arm.open -= 1;
        }
    }

    /// Counts how a request ended that was chosen at `started`.
    pub(super) fn ended(&mut self, model: &ModelId, started: Time, verdict: Verdict, source: Option<IpAddr>) {
        match (self.of(model, started), verdict) {
            (Some((arm, _)), Verdict::Good | Verdict::Failed) => arm.measured.ended_as(verdict, source),
            (Some((arm, true)), _) => arm.measured.ended_as(verdict, source),
            (Some((_, false)) | None, _) => {}
        }
    }

    /// Counts a request to `model` as `to` that began at `started` and was counted as `from`.
    pub(super) fn amend(&mut self, model: &ModelId, started: Time, from: Verdict, to: Verdict) {
        if let Some((arm, _)) = self.of(model, started) {
            arm.measured.amend(from, to);
        }
    }

    /// Counts a request at `now` that is no evidence.
    pub(super) fn pass_over(&mut self, model: &ModelId, now: Time) {
        if let Some((arm, _)) = self.of(model, now) {
            arm.measured.pass_over();
        }
    }

    /// Counts what an application told of a request that began at `started`.
    pub(super) fn told(&mut self, model: &ModelId, started: Time, latency: Duration, verdict: Verdict) {
        let Some(counted) = self.0.as_mut().filter(|counted| started >= counted.since) else { return };
        if *model == counted.canary {
            counted.told.canary.record(latency, verdict, None);
        } else if *model == counted.stable {
            counted.told.stable.record(latency, verdict, None);
        }
    }

    /// Where a request to `model` that began at `started` counts, and whether more than errors is counted of it. One that was
    /// chosen under an earlier weight says nothing about this one.
    fn of(&mut self, model: &ModelId, started: Time) -> Option<(&mut Arm, bool)> {
        let counted = self.0.as_mut().filter(|counted| started >= counted.since)?;
        let warm = started >= counted.warm;
        if *model == counted.canary {
            Some((&mut counted.of_canary, warm))
        } else if *model == counted.stable {
            Some((&mut counted.of_stable, warm))
        } else {
            None
        }
    }

    /// Adds this part, as it stands at `now`, to `sum`.
    pub(super) fn add_to(&mut self, now: Time, sum: &mut Sum) {
        let Some(counted) = &mut self.0 else { return };
        sum.limit = counted.limit;
        sum.stable.add(&mut counted.of_stable, now, &mut sum.samples.routed.stable);
        sum.canary.add(&mut counted.of_canary, now, &mut sum.samples.routed.canary);
        sum.samples.told.merge(&counted.told);
    }
}

impl Arm {
    fn new(limit: Duration) -> Self {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let width = micros.div_ceil(PARTS as u64).max(1);
        Self {
            measured: Measured::default(),
            open: 0,
            waiting: Waiting { width, newest: 0, slots: [0; SLOTS], late: 0 },
        }
    }
}

impl Waiting {
    fn begin(&mut self, started: Time) {
        self.turn_to(started);
        *self.slot(started) += 1;
    }

    /// Takes one out, and says whether it was late.
    fn end(&mut self, started: Time, now: Time) -> bool {
        self.turn_to(now);
        let is_late = self.is_past(self.id(started));
        *self.slot(started) -= 1;
        is_late
    }

    /// Makes what has waited for too long at `now` late.
    fn turn_to(&mut self, now: Time) {
        let id = self.id(now);
        // Each slot once at most, however much time has passed.
        for next in (self.newest + 1..=id).take(SLOTS) {
            self.late += std::mem::take(&mut self.slots[place(next)]);
        }
        self.newest = self.newest.max(id);
    }

    fn slot(&mut self, started: Time) -> &mut i64 {
        let id = self.id(started);
        if self.is_past(id) { &mut self.late } else { &mut self.slots[place(id)] }
    }

    const fn is_past(&self, id: u64) -> bool {
        id + (PARTS as u64) < self.newest
    }

    const fn id(&self, time: Time) -> u64 {
        time.as_micros() / self.width
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder of seventeen")]
const fn place(id: u64) -> usize {
    (id % SLOTS as u64) as usize
}

impl Open {
    fn add(&mut self, arm: &mut Arm, now: Time, measured: &mut Measured) {
        arm.waiting.turn_to(now);
        self.open += arm.open;
        self.late += arm.waiting.late;
        measured.merge(&arm.measured);
    }

    fn put_into(&self, measured: &mut Measured, limit: Duration) {
        measured.under_way(u64::try_from(self.open).unwrap_or(0));
        measured.late(limit, limit, u64::try_from(self.late).unwrap_or(0));
    }
}

impl From<Sum> for Samples {
    fn from(sum: Sum) -> Self {
        let Sum { mut samples, limit, stable, canary } = sum;
        stable.put_into(&mut samples.routed.stable, limit);
        canary.put_into(&mut samples.routed.canary, limit);
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use service::{Canary, Model, RoutingState};

    const LIMIT: Duration = Duration::from_millis(200);

    fn model(name: &str) -> ModelId {
        name.parse().expect("tests use plain names")
    }

    fn trial() -> Trial {
        let mut state = RoutingState::initial(model("v1"));
        let on_trial = Model { id: model("v2"), upstream: None };
        let weight = model::Weight::from_percent("5").expect("a weight");
        state.canary = Some(Canary { model: on_trial, weight, salt: "salt".into() });
        Trial::of(&state, None).expect("the canary gets traffic")
    }

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    fn counted(parts: &mut [Count], now: Time) -> Samples {
        let mut sum = Sum::default();
        parts.iter_mut().for_each(|part| part.add_to(now, &mut sum));
        sum.into()
    }

    #[test]
    fn a_request_that_hangs_is_slow_when_it_passes_the_limit_and_for_good_when_it_fails() {
        let (mut parts, v2) = ([Count::default(), Count::default()], model("v2"));
        parts.iter_mut().for_each(|part| part.begin(Some(&trial()), at(1_000)));
        let slow = |parts: &mut [Count], now| {
            let canary = counted(parts, at(now)).routed.canary;
            (canary.answers(), canary.exceeding(200_000), canary.open())
        };
        parts[0].open(&v2, at(1_000));
        assert_eq!(slow(&mut parts, 1_199), (0, 0, 1));
        assert_eq!(slow(&mut parts, 1_213), (1, 1, 1));
        // It ends on another thread.
        parts[1].gave_up(&v2, at(1_000), at(1_300), None);
        parts[1].over(&v2, at(1_000));
        parts[1].ended(&v2, at(1_000), Verdict::Failed, None);
        assert_eq!(slow(&mut parts, 1_300), (1, 1, 0));
        parts[1].open(&v2, at(1_400));
        parts[0].gave_up(&v2, at(1_400), at(1_450), None);
        parts[0].over(&v2, at(1_400));
        parts[0].ended(&v2, at(1_400), Verdict::Failed, None);
        assert_eq!(slow(&mut parts, 9_000), (1, 1, 0), "one that fails before has no latency");
    }

    #[test]
    fn an_answer_that_was_late_has_its_own_latency_then() {
        let (mut part, v2) = ([Count::default()], model("v2"));
        part[0].begin(Some(&trial()), at(0));
        part[0].open(&v2, at(0));
        assert_eq!(counted(&mut part, at(500)).routed.canary.answers(), 1);
        part[0].waits_no_more(&v2, at(0), at(4_000));
        part[0].answered(&v2, at(0), Duration::from_secs(4));
        let canary = counted(&mut part, at(4_000)).routed.canary;
        assert_eq!((canary.answers(), canary.exceeding(3_000_000), canary.requests(), canary.open()), (1, 1, 0, 1));
        part[0].over(&v2, at(0));
        part[0].ended(&v2, at(0), Verdict::Good, None);
        assert_eq!(counted(&mut part, at(9_000)).routed.canary.requests(), 1);
    }

    #[test]
    fn a_client_that_leaves_before_the_limit_leaves_a_wait() {
        let (mut part, v2) = ([Count::default()], model("v2"));
        part[0].begin(Some(&trial()), at(0));
        part[0].open(&v2, at(0));
        part[0].gave_up(&v2, at(0), at(150), Some(Duration::from_millis(150)));
        part[0].over(&v2, at(0));
        part[0].ended(&v2, at(0), Verdict::Unknown, Some("192.0.2.1".parse().expect("an address")));
        let canary = counted(&mut part, at(150)).routed.canary;
        assert_eq!((canary.unknown(), canary.answers(), canary.to_counts().waits.len()), (1, 0, 1));
    }

    #[test]
    fn in_the_warm_up_nothing_but_errors_is_counted() {
        let (mut part, v2) = ([Count::default()], model("v2"));
        let warm_up = Duration::from_secs(20);
        part[0].begin(Some(&Trial { warm_up, ..trial() }), at(0));
        for verdict in [Verdict::Good, Verdict::Failed, Verdict::Unknown, Verdict::ClientError, Verdict::Redirect] {
            part[0].open(&v2, at(1_000));
            part[0].waits_no_more(&v2, at(1_000), at(6_000));
            part[0].answered(&v2, at(1_000), Duration::from_secs(5));
            part[0].over(&v2, at(1_000));
            part[0].ended(&v2, at(1_000), verdict, None);
        }
        let canary = counted(&mut part, at(30_000)).routed.canary;
        assert_eq!((canary.requests(), canary.errors(), canary.ended(), canary.answers()), (2, 1, 2, 0));
        part[0].open(&v2, at(20_000));
        assert_eq!(counted(&mut part, at(30_000)).routed.canary.answers(), 1);
    }

    #[test]
    fn what_began_before_or_belongs_to_neither_model_is_not_counted() {
        let mut part = [Count::default()];
        part[0].begin(Some(&trial()), at(100));
        for (name, started) in [("v2", 99), ("v3", 100)] {
            part[0].open(&model(name), at(started));
            part[0].over(&model(name), at(started));
            part[0].ended(&model(name), at(started), Verdict::Failed, None);
            part[0].told(&model(name), at(started), LIMIT, Verdict::Failed);
        }
        let nothing = counted(&mut part, at(1_000));
        assert!([nothing.stable(), nothing.canary()].iter().all(Measured::is_empty));
        part[0].told(&model("v1"), at(100), LIMIT, Verdict::Failed);
        part[0].pass_over(&model("v2"), at(100));
        let all = counted(&mut part, at(1_000));
        assert_eq!((all.told.stable.errors(), all.routed.canary.uncounted(), all.routed.canary.ended()), (1, 1, 0));
    }

    proptest! {
        #[test]
        fn the_late_ones_are_those_that_a_list_would_find(
            mut events in proptest::collection::vec((0_u64..3_000, 0_u64..900, 0_usize..3, 0_usize..3), 0..60),
            now in 3_000_u64..4_000,
        ) {
            events.sort_unstable();
            let mut parts = [Count::default(), Count::default(), Count::default()];
            parts.iter_mut().for_each(|part| part.begin(Some(&trial()), at(0)));
            let mut steps: Vec<(u64, usize, u64, bool)> = events
                .iter()
                .flat_map(|(begin, took, on, off)| [(*begin, *on, *begin, true), (begin + took, *off, *begin, false)])
                .filter(|(moment, ..)| *moment <= now)
                .collect();
            steps.sort_by_key(|(moment, _, _, begins)| (*moment, !begins));
            for (moment, part, started, begins) in steps {
                match begins {
                    true => parts[part].open(&model("v2"), at(started)),
                    false => {
                        parts[part].waits_no_more(&model("v2"), at(started), at(moment));
                        parts[part].over(&model("v2"), at(started));
                    }
                }
            }
            let canary = counted(&mut parts, at(now)).routed.canary;
            let open = |age: u64| events.iter().filter(|(begin, took, ..)| begin + took > now && now - begin > age).count();
            let (surely, perhaps) = (open(213) as u64, open(200) as u64);
            prop_assert!((surely..=perhaps).contains(&canary.exceeding(200_000)), "{canary:?}");
            prop_assert_eq!(canary.open(), events.iter().filter(|(begin, took, ..)| begin + took > now).count() as u64);
        }
    }
}
