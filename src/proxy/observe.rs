//! Observations of this node's requests, recorded by many threads at once.

use crate::count::Count;
use crate::given::{Amendment, End, Given};
use crate::repeats::Repeats;
use crate::upload::Progress;
use http::StatusCode;
use judge::{Sample, Samples, Tally, Verdict, Windows, window_id};
use member::boottime;
use model::{ModelId, RequestId, Time};
use rollout::Trial;
use schema::ModelHealth;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Threads share a lock only when there are more of them than this; the memory of a shard is allocated on its first use.
pub(super) const SHARDS: usize = 8;

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
}

/// A cache line of its own, so that threads do not slow each other down by being neighbours.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Counts>);

/// What one thread has counted.
#[derive(Default)]
struct Counts {
    windows: Windows,
    trial: Count,
}

impl Observer {
    /// Counts one request that ended now.
    pub(super) fn record(&self, model: &ModelId, now: Time, sample: Sample) {
        let mut counts = self.shards[own_shard()].0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.windows.record(model, now, sample);
        counts.trial.record(model, now, sample);
    }

    /// Counts one request that was answered here, and may be told of by its client, as [`record`](Self::record) does.
    pub(super) fn record_named(&self, request: RequestId, model: &ModelId, now: Time, sample: Sample) {
        self.record(model, now, sample);
        let Sample { latency, full: _, verdict } = sample;
        let end = End { verdict, latency, at: now, shard: own_shard() };
        if let Some(amendment) = self.given.end(request, model, end) {
            self.amend(&amendment);
        }
    }

    /// Corrects the count of one request.
    pub(super) fn amend(&self, amendment: &Amendment) {
        let Amendment { model, started, end, to } = amendment;
        let mut counts = self.shards[end.shard].0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.windows.amend(model, end.at, end.verdict, *to);
        counts.trial.amend(model, *started, *end, *to);
    }

    /// Counts one request that says nothing about the model.
    pub(super) fn pass_over(&self, model: &ModelId, now: Time) {
        self.shards[own_shard()].0.lock().unwrap_or_else(PoisonError::into_inner).windows.pass_over(model, now);
    }

    /// Notes that a request begins.
    fn open(&self, model: &ModelId, now: Time) {
        self.shards[own_shard()].0.lock().unwrap_or_else(PoisonError::into_inner).trial.open(model, now);
    }

    /// Notes that one has ended that began at `started`.
    fn close(&self, model: &ModelId, started: Time) {
        self.shards[own_shard()].0.lock().unwrap_or_else(PoisonError::into_inner).trial.close(model, started);
    }

    /// Counts for `trial` from now on, from nothing; or for none.
    pub(super) fn count(&self, trial: Option<&Trial>) {
        // First, so that none that counts is missing there.
        self.repeats.begin_anew(trial.is_some());
        self.given.begin_anew(trial);
        let since = boottime();
        for shard in &self.shards {
            shard.0.lock().unwrap_or_else(PoisonError::into_inner).trial.begin(trial, since);
        }
    }

    /// What was counted for the trial.
    pub(super) fn counted(&self) -> Samples {
        let mut sum = Samples::default();
        for shard in &self.shards {
            shard.0.lock().unwrap_or_else(PoisonError::into_inner).trial.add_to(&mut sum);
        }
        sum
    }

    /// The last minute of every model that had requests, and of `expected` ones.
    pub(super) fn observations<'a>(&self, now: Time, expected: impl IntoIterator<Item = &'a ModelId>) -> Observations {
        let mut tallies: BTreeMap<ModelId, Tally> =
            expected.into_iter().map(|model| (model.clone(), Tally::default())).collect();
        for shard in &self.shards {
            let counts = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            let windows = &counts.windows;
            for model in windows.models(now) {
                tallies.entry(model.clone()).or_default().merge(&windows.tally(model, now));
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
        client_errors: tally.client_errors,
        uncounted: tally.uncounted,
        error_rate: tally.error_rate(),
        p50: millis(0.50),
        p95: millis(0.95),
        p99: millis(0.99),
        full_p95: tally.full_latency(0.95).map(|latency| latency.as_secs_f64() * 1_000.0),
    }
}

/// One request that went to an upstream. It is counted when this is dropped, however the request ended: one that its
/// client gave up counts with the time that the client waited, so that an upstream that hangs shows.
pub(super) struct Recording(Option<Open>);

/// A request that is to be counted.
struct Open {
    observer: Arc<Observer>,
    /// The name of its answer.
    request: RequestId,
    model: ModelId,
    started: Time,
    /// How far its body has come, where that was not all there when it started.
    upload: Option<Progress>,
    answered_after: Option<Duration>,
    /// None when it says nothing about the model.
    verdict: Option<Verdict>,
}

impl Recording {
    /// A request to `model` that starts at `started`, and whose answer will have this name.
    pub(super) fn new(observer: Arc<Observer>, request: RequestId, model: ModelId, started: Time) -> Self {
        observer.open(&model, started);
        observer.given.open(request, &model, started);
        let (upload, answered_after, verdict) = (None, None, Some(Verdict::Good));
        Self(Some(Open { observer, request, model, started, upload, answered_after, verdict }))
    }

    pub(super) const fn kept_out() -> Self {
        Self(None)
    }

    /// Its body is still coming: what the client takes for that is not the model's time.
    pub(super) fn on_upload(&mut self, progress: Progress) {
        if let Some(open) = &mut self.0 {
            open.upload = Some(progress);
        }
    }

    /// The head of the upstream's answer is there. If that says that the upstream failed, nothing more is awaited.
    pub(super) fn on_answer(&mut self, status: StatusCode) {
        self.on_first_byte();
        let verdict = verdict(status);
        if let Some(open) = &mut self.0 {
            open.verdict = Some(verdict);
        }
        if verdict == Verdict::Failed {
            self.end();
        }
    }

    /// The first byte of its body is there, which is when the answer begins for whom it is: some servers send the head at
    /// once and think after it. How fast a client reads the rest says nothing about the model.
    pub(super) fn on_first_byte(&mut self) {
        if let Some(open) = &mut self.0 {
            open.answered_after = Some(open.models_time(boottime()));
        }
    }

    pub(super) const fn on_failure(&mut self) {
        if let Some(open) = &mut self.0 {
            open.verdict = Some(Verdict::Failed);
        }
    }

    /// The client failed: that says nothing about the model, and is not counted.
    pub(super) const fn on_client_failure(&mut self) {
        if let Some(open) = &mut self.0 {
            open.verdict = None;
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end();
    }
}

impl Recording {
    fn end(&mut self) {
        let Some(open) = self.0.take() else { return };
        open.observer.close(&open.model, open.started);
        let Some(verdict) = open.verdict else { return open.observer.given.drop(open.request, &open.model) };
        let awaits_client = open.upload.as_ref().is_some_and(|upload| !upload.is_whole());
        if awaits_client && open.answered_after.is_none() && verdict == Verdict::Good {
            // The client left before the model had all that it was to answer.
            return open.observer.given.drop(open.request, &open.model);
        }
        let now = boottime();
        let full = now.since(open.started);
        let latency = open.answered_after.unwrap_or_else(|| open.models_time(now));
        let sample = Sample { latency, full, verdict };
        open.observer.record_named(open.request, &open.model, now, sample);
    }
}

impl Open {
    /// How much of the time until `now` was the model's.
    fn models_time(&self, now: Time) -> Duration {
        let clients = self.upload.as_ref().map_or(Duration::ZERO, |upload| upload.clients_time(now));
        now.since(self.started).saturating_sub(clients)
    }
}

fn verdict(status: StatusCode) -> Verdict {
    if status.is_server_error() {
        Verdict::Failed
    } else if status.is_client_error() {
        Verdict::ClientError
    } else {
        Verdict::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                        observer.record(&model, now, sample);
                    }
                });
            }
        });
        let observations = observer.observations(now, []);
        assert_eq!((observations.overall.requests, observations.overall.errors), (THREADS * EACH, THREADS * EACH));
        assert_eq!(observations.models[&model].error_rate, Some(1.0));
        assert!(observations.models[&model].p95.is_some_and(|p95| (p95 - 2.0).abs() < 0.05));
        assert_eq!(observations.window_id, 1);
    }

    #[test]
    fn expected_models_are_listed_without_a_request() {
        let model: ModelId = "v1".parse().expect("v1 is a model id");
        let observations = Observer::default().observations(Time::ZERO, [&model]);
        assert_eq!(observations.models[&model], ModelHealth::default());
    }

    fn recording(observer: &Arc<Observer>) -> Recording {
        let request = RequestId { node: model::NodeId::A, number: 7 };
        Recording::new(Arc::clone(observer), request, "v1".parse().expect("v1 is a model id"), boottime())
    }

    #[test]
    fn a_recording_counts_when_it_ends() {
        let observer = Arc::new(Observer::default());
        let mut recording = recording(&observer);
        let counts = || {
            let overall = observer.observations(boottime(), []).overall;
            (overall.requests, overall.errors)
        };
        recording.on_answer(StatusCode::OK);
        recording.on_failure();
        assert_eq!(counts(), (0, 0));
        drop(recording);
        assert_eq!(counts(), (1, 1));
    }

    #[test]
    fn the_status_says_who_is_to_blame() {
        let observer = Arc::new(Observer::default());
        for status in [200, 302, 400, 429, 499, 500, 503, 599] {
            recording(&observer).on_answer(StatusCode::from_u16(status).expect("a status"));
        }
        let overall = observer.observations(boottime(), []).overall;
        assert_eq!((overall.requests, overall.client_errors, overall.errors), (8, 3, 3));
    }

    #[test]
    fn what_is_kept_out_or_the_clients_fault_is_not_counted() {
        let observer = Arc::new(Observer::default());
        recording(&observer).on_client_failure();
        let mut tester = Recording::kept_out();
        tester.on_answer(StatusCode::OK);
        tester.on_failure();
        drop(tester);
        assert_eq!(observer.observations(boottime(), []).overall.requests, 0);
    }

    #[test]
    fn the_whole_answer_is_timed_apart_from_its_beginning() {
        let observer = Arc::new(Observer::default());
        let mut recording = recording(&observer);
        recording.on_answer(StatusCode::OK);
        std::thread::sleep(Duration::from_millis(30));
        drop(recording);
        let model: ModelId = "v1".parse().expect("v1 is a model id");
        let mut tally = Tally::default();
        for shard in &observer.shards {
            tally.merge(&shard.0.lock().expect("nothing panicked").windows.tally(&model, boottime()));
        }
        let (latency, full) = (tally.latency(1.0).expect("one request"), tally.full_latency(1.0).expect("one request"));
        assert!(full >= Duration::from_millis(30) && latency < full, "{latency:?} of {full:?}");
    }
}
