//! Observations of this node's requests, recorded by many threads at once.

use crate::count::{Count, Sum};
use crate::given::{Amendment, Given};
use crate::patience::Patience;
use crate::repeats::Repeats;
use crate::upstream::client::Timeouts;
use judge::{Sample, Samples, Tally, Verdict, Windows, window_id};
use member::boottime;
use model::{ModelId, Time};
use rollout::Trial;
use schema::ModelHealth;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads share a lock only when there are more of them than this; the memory of a shard is allocated on its first use.
pub(super) const SHARDS: usize = 8;
/// What the clock tells apart.
const CLOCK_STEP: Duration = Duration::from_micros(1);

/// The observations of this node in the last minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    /// Grows every five seconds, when the oldest of the window is forgotten.
    pub window_id: u64,
    /// All models together.
    pub overall: ModelHealth,
    /// Each model with requests, and those of the current state.
    pub models: BTreeMap<ModelId, ModelHealth>,
}

/// Takes samples from any thread.
#[derive(Default)]
pub(super) struct Observer {
    shards: [Shard; SHARDS],
    /// The requests that count while a trial goes on, so that none does twice.
    pub(super) repeats: Repeats,
    /// The same by the names of their answers, so that their clients may say how they ended.
    pub(super) given: Given,
    /// The time that models have: one that took all of it has failed, though its client left in that moment.
    pub(super) timeouts: Timeouts,
    patience: Patience,
}

/// A cache line of its own, so that threads do not slow each other down by being neighbours.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Counts>);

/// What one thread has counted.
#[derive(Default)]
struct Counts {
    windows: Windows,
    /// What applications told: it is shown with the rest, and nothing of the routers is held against it.
    told: Windows,
    trial: Count,
}

/// One request as far as the count is about it.
#[derive(Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) model: &'a ModelId,
    /// When it was chosen for the model.
    pub(super) started: Time,
    /// When the model had all of it; none if it never had.
    pub(super) opened: Option<Time>,
}

impl Observer {
    /// One of models that have so much time.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, ..Self::default() }
    }

    fn own(&self) -> MutexGuard<'_, Counts> {
        self.shards[own_shard()].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long clients of the stable model wait for it.
    pub(super) fn patience(&self) -> Duration {
        self.patience.get()
    }

    /// Counts what an application tells at `now` of a request that began at `started`, and that no router has seen end.
    pub(super) fn told(&self, model: &ModelId, started: Time, now: Time, sample: Sample) {
        let mut counts = self.own();
        counts.told.record(model, now, sample);
        counts.trial.told(model, started, sample.latency, sample.verdict);
    }

    /// Corrects the count of one request.
    pub(super) fn amend(&self, amendment: &Amendment) {
        let Amendment { model, started, end, to } = amendment;
        let mut counts = self.shards[end.shard].0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.windows.amend(model, end.at, end.verdict, *to);
        counts.trial.amend(model, *started, end.verdict, *to);
    }

    /// Counts one request that says nothing about the model.
    pub(super) fn pass_over(&self, model: &ModelId, now: Time) {
        let mut counts = self.own();
        counts.windows.pass_over(model, now);
        counts.trial.pass_over(model, now);
    }

    /// Notes that the model has all of a request.
    pub(super) fn open(&self, model: &ModelId, at: Time) {
        if self.is_counting() {
            self.own().trial.open(model, at);
        }
    }

    /// Whether there is a trial: without one only ends are counted.
    fn is_counting(&self) -> bool {
        self.repeats.is_on()
    }

    /// Notes that the first byte of an answer is there.
    pub(super) fn answered(&self, request: Counted<'_>, now: Time, latency: Duration, verdict: Verdict) {
        let Counted { model, started, opened } = request;
        if !self.is_counting() {
            return;
        }
        let mut counts = self.own();
        if let Some(opened) = opened {
            counts.trial.waits_no_more(model, opened, now);
        }
        if verdict == Verdict::Good {
            counts.trial.answered(model, started, latency);
        }
    }

    /// Notes that a request is over, and how it ended, if that says something.
    pub(super) fn over(&self, request: Counted<'_>, now: Time, end: Option<(Sample, Option<IpAddr>)>) {
        let Counted { model, started, opened } = request;
        let mut counts = self.own();
        if let Some(opened) = opened {
            counts.trial.over(model, opened);
        }
        if let Some((sample, source)) = end {
            counts.windows.record(model, now, sample);
            counts.trial.ended(model, started, sample.verdict, source);
        }
    }

    /// Notes that nobody waits for the first byte of a request any more, after so much of the model's time.
    pub(super) fn gave_up(&self, request: Counted<'_>, now: Time, waited: Option<Duration>) {
        if let Some(opened) = request.opened
            && self.is_counting()
        {
            self.own().trial.gave_up(request.model, opened, now, waited);
        }
    }

    /// Counts for `trial` from now on, from nothing; or for none.
    pub(super) fn count(&self, trial: Option<&Trial>) {
        // First, so that none that counts is missing there.
        self.repeats.begin_anew(trial.is_some());
        self.given.begin_anew(trial);
        self.patience.begin(trial.map(|trial| (trial.stable.clone(), trial.late_after())));
        // While nobody else counts: of a request that began before, neither its beginning nor its end is counted; of one that
        // begins afterwards, both.
        let mut shards = self.shards.each_ref().map(|shard| shard.0.lock().unwrap_or_else(PoisonError::into_inner));
        let since = boottime() + CLOCK_STEP;
        shards.iter_mut().for_each(|counts| counts.trial.begin(trial, since));
    }

    /// What was counted for the trial.
    pub(super) fn counted(&self) -> Samples {
        let (now, mut sum) = (boottime(), Sum::default());
        for shard in &self.shards {
            shard.0.lock().unwrap_or_else(PoisonError::into_inner).trial.add_to(now, &mut sum);
        }
        self.patience.look(now, |model| {
            let mut before = Tally::default();
            for shard in &self.shards {
                let counts = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
                before.merge(&counts.windows.tally_before(model, now));
            }
            before.latency(0.95)
        });
        sum.into()
    }

    /// The last minute of every model that had requests, and of `expected` ones.
    pub(super) fn observations<'a>(&self, now: Time, expected: impl IntoIterator<Item = &'a ModelId>) -> Observations {
        let mut tallies: BTreeMap<ModelId, Tally> =
            expected.into_iter().map(|model| (model.clone(), Tally::default())).collect();
        for shard in &self.shards {
            let counts = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            for windows in [&counts.windows, &counts.told] {
                for model in windows.models(now) {
                    tallies.entry(model.clone()).or_default().merge(&windows.tally(model, now));
                }
            }
        }
        let mut overall = Tally::default();
        tallies.values().for_each(|tally| overall.merge(tally));
        Observations {
            window_id: window_id(now),
            overall: summary(&overall),
            models: tallies.iter().map(|(model, tally)| (model.clone(), summary(tally))).collect(),
        }
    }
}

/// The shard of this thread; the threads that answer requests have different ones.
pub(super) fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.with(|own| *own)
}

fn summary(tally: &Tally) -> ModelHealth {
    let millis = |quantile| tally.latency(quantile).map(|latency: Duration| latency.as_secs_f64() * 1_000.0);
    ModelHealth {
        requests: tally.requests,
        errors: tally.errors,
        unknown: tally.unknown,
        redirects: tally.redirects,
        client_errors: tally.client_errors,
        uncounted: tally.uncounted,
        error_rate: tally.error_rate(),
        p50: millis(0.50),
        p95: millis(0.95),
        p99: millis(0.99),
        full_p95: tally.full_latency(0.95).map(|latency| latency.as_secs_f64() * 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Weight;
    use service::{Canary, Model, RoutingState};
    use std::sync::atomic::AtomicBool;

    #[test]
    fn threads_record_side_by_side_and_nothing_is_lost() {
        const THREADS: u64 = 12;
        const EACH: u64 = 1_000;
        let observer = Observer::default();
        let model: ModelId = "v1".parse().expect("v1 is a model id");
        let now = Time::from_micros(7_000_000);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let took = Duration::from_millis(2);
                        let sample = Sample { latency: took, full: took, verdict: Verdict::Failed };
                        observer.told(&model, now, now, sample);
                    }
                });
            }
        });
        let observations = observer.observations(now, []);
        assert_eq!((observations.overall.requests, observations.overall.errors), (THREADS * EACH, THREADS * EACH));
        assert_eq!(observations.models[&model].error_rate, Some(1.0));
        assert_eq!(observations.window_id, 1);
    }

    #[test]
    fn what_begins_while_a_trial_does_is_counted_whole_or_not_at_all() {
        const KEPT: u64 = 10;
        let (observer, v2) = (Observer::default(), "v2".parse().expect("a model id"));
        let mut state = RoutingState::initial("v1".parse().expect("a model id"));
        let model = Model { id: "v2".parse().expect("a model id"), upstream: None };
        state.canary = Some(Canary { model, weight: Weight::FULL, salt: "salt".into() });
        let trial = Trial::of(&state, None).expect("a canary has some weight");
        let open = |from: &Observer| {
            let started = boottime();
            from.open(&v2, started);
            started
        };
        observer.count(Some(&trial));
        for _ in 0..50 {
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let started = open(&observer);
                            observer.over(Counted { model: &v2, started, opened: Some(started) }, boottime(), None);
                        }
                    });
                }
                std::thread::yield_now();
                observer.count(Some(&trial));
                stop.store(true, Ordering::Relaxed);
            });
            std::thread::sleep(Duration::from_micros(10));
            // Fewer than none are seen by what they take away from others.
            let begun = boottime();
            while boottime() <= begun + CLOCK_STEP {
                std::hint::spin_loop();
            }
            for _ in 0..KEPT {
                open(&observer);
            }
            assert_eq!(observer.counted().routed.canary.open(), KEPT);
        }
    }

    #[test]
    fn expected_models_are_listed_without_a_request() {
        let model: ModelId = "v1".parse().expect("v1 is a model id");
        let observations = Observer::default().observations(Time::ZERO, [&model]);
        assert_eq!(observations.models[&model], ModelHealth::default());
    }
}
