//! Observations of this node's requests, recorded by many threads at once.

use crate::count::Count;
use crate::upload::Progress;
use crate::upstream::client::Timeouts;
use http::StatusCode;
use judge::{Sample, Samples, Tally, Verdict, Windows, window_id};
use member::boottime;
use model::{ModelId, Time};
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
    /// The time that models have: one that took all of it has failed, though its client left in that moment.
    timeouts: Timeouts,
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
    /// One of models that have so much time.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, ..Self::default() }
    }

    /// Counts one request that ended now.
    pub(super) fn record(&self, model: &ModelId, now: Time, sample: Sample) {
        let mut counts = self.shards[own_shard()].0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.windows.record(model, now, sample);
        counts.trial.record(model, now, sample);
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

/// One request that went to an upstream. It is counted when it ends, or its client leaves and this is dropped.
pub(super) struct Recording(Option<Open>);

/// A request that is to be counted.
struct Open {
    observer: Arc<Observer>,
    model: ModelId,
    started: Time,
    /// How far its body has come, where that was not all there when it started.
    upload: Option<Progress>,
    answered_after: Option<Duration>,
    /// Since when the model owes the next byte of its answer; none while bytes wait for the client to take them.
    owing_since: Option<Time>,
    /// None when it says nothing about the model.
    verdict: Option<Verdict>,
}

impl Recording {
    /// A request to `model` that starts at `started`.
    pub(super) fn new(observer: Arc<Observer>, model: ModelId, started: Time) -> Self {
        observer.open(&model, started);
        Self(Some(Open {
            observer,
            model,
            started,
            upload: None,
            answered_after: None,
            owing_since: None,
            verdict: Some(Verdict::Good),
        }))
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
            self.end(Ending::Known);
        }
    }

    /// The first byte of its body is there, which is when the answer begins for whom it is: some servers send the head at
    /// once and think after it. How fast a client reads the rest says nothing about the model.
    pub(super) fn on_first_byte(&mut self) {
        if let Some(open) = &mut self.0 {
            open.answered_after = Some(open.models_time(boottime()));
        }
    }

    /// The client has taken all that there is, and waits for more.
    pub(super) fn on_wait(&mut self) {
        if let Some(open) = &mut self.0 {
            open.owing_since.get_or_insert_with(boottime);
        }
    }

    /// More of the answer is there.
    pub(super) const fn on_piece(&mut self) {
        if let Some(open) = &mut self.0 {
            open.owing_since = None;
        }
    }

    /// The answer is whole.
    pub(super) fn on_end(&mut self) {
        self.end(Ending::Known);
    }

    /// The model did not answer, or its answer broke off.
    pub(super) fn on_failure(&mut self) {
        if let Some(open) = &mut self.0 {
            open.verdict = Some(Verdict::Failed);
        }
        self.end(Ending::Known);
    }

    /// The client failed: that says nothing about the model, and is not counted.
    pub(super) fn on_client_failure(&mut self) {
        if let Some(open) = &mut self.0 {
            open.verdict = None;
        }
        self.end(Ending::Known);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(Ending::ClientLeft);
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As its verdict says.
    Known,
    /// Its client left before that was known.
    ClientLeft,
}

impl Recording {
    fn end(&mut self, ending: Ending) {
        let Some(open) = self.0.take() else { return };
        open.observer.close(&open.model, open.started);
        let now = boottime();
        let verdict = match ending {
            Ending::Known => open.verdict,
            Ending::ClientLeft => open.verdict_when_left(now),
        };
        let Some(verdict) = verdict else { return };
        let full = now.since(open.started);
        let latency = open.answered_after.unwrap_or_else(|| open.models_time(now));
        open.observer.record(&open.model, now, Sample { latency, full, verdict });
    }
}

impl Open {
    /// How much of the time until `now` was the model's.
    fn models_time(&self, now: Time) -> Duration {
        let clients = self.upload.as_ref().map_or(Duration::ZERO, |upload| upload.clients_time(now));
        now.since(self.started).saturating_sub(clients)
    }

    /// The verdict on a request whose client left at `now`: a model that had its time to go on has failed; one that still
    /// had some is taken by what it has said so far; and where the client had not sent all, nothing is said.
    fn verdict_when_left(&self, now: Time) -> Option<Verdict> {
        let waited = self.waited(now)?;
        let has_all = self.upload.as_ref().is_none_or(Progress::is_whole);
        match self.answered_after {
            Some(_) if waited >= self.observer.timeouts.idle => Some(Verdict::Failed),
            None if waited >= self.observer.timeouts.answer => Some(Verdict::Failed),
            None if !has_all => None,
            Some(_) | None => self.verdict,
        }
    }

    /// For how long the client has waited at `now` for the model's next byte; none when it is the client that is waited for.
    /// Bytes that wait for the model to read them are the model's time; bytes that wait for the client are not.
    fn waited(&self, now: Time) -> Option<Duration> {
        match (self.answered_after, &self.upload) {
            (Some(_), _) => Some(self.owing_since.map_or(Duration::ZERO, |since| now.since(since))),
            (None, Some(upload)) if !upload.is_whole() => upload.unread(now),
            (None, _) => Some(self.models_time(now)),
        }
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
        begun_at(observer, boottime())
    }

    fn begun_at(observer: &Arc<Observer>, started: Time) -> Recording {
        Recording::new(Arc::clone(observer), "v1".parse().expect("v1 is a model id"), started)
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
        assert_eq!(counts(), (0, 0));
        recording.on_failure();
        assert_eq!(counts(), (1, 1));
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
    fn a_model_that_had_its_time_has_failed_though_the_client_left() {
        let (second, limit) = (Duration::from_secs(1), Timeouts::default().idle);
        let observer = Arc::new(Observer::default());
        let errors = || observer.observations(boottime(), []).overall.errors;
        for (begun, owing, failed) in
            [(limit + second, None, 0), (limit + second, Some(limit - second), 0), (limit + second, Some(limit), 1)]
        {
            let now = boottime() + limit + second;
            let mut recording = begun_at(&observer, now - begun);
            recording.on_answer(StatusCode::OK);
            let open = recording.0.as_mut().expect("it is open");
            open.owing_since = owing.map(|owing| now - owing);
            assert_eq!(open.waited(now), Some(owing.unwrap_or_default()));
            let verdict = if failed > 0 { Verdict::Failed } else { Verdict::Good };
            assert_eq!(open.verdict_when_left(now), Some(verdict));
            open.owing_since = owing.map(|owing| boottime() - owing);
            drop(recording);
            assert_eq!(errors(), failed);
        }
        drop(begun_at(&observer, boottime() - Timeouts::default().answer));
        assert_eq!(errors(), 2, "it never answered");
    }

    #[test]
    fn the_time_in_which_bytes_wait_for_the_client_is_not_owed() {
        let observer = Arc::new(Observer::default());
        let mut recording = recording(&observer);
        recording.on_answer(StatusCode::OK);
        let owing = |recording: &Recording| recording.0.as_ref().and_then(|open| open.owing_since);
        assert_eq!(owing(&recording), None);
        recording.on_wait();
        let since = owing(&recording);
        recording.on_wait();
        assert!(since.is_some() && owing(&recording) == since, "it is owed since it was first awaited");
        recording.on_piece();
        assert_eq!(owing(&recording), None);
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
