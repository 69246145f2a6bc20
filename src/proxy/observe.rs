//! What this node's requests looked like, recorded by many threads at once.

use crate::driver::boottime;
use crate::health::{Sample, Tally, Verdict, Windows, window_id};
use crate::model::{ModelId, Time};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Threads share a lock only when there are more of them than this; the memory of a shard is allocated on its first use.
const SHARDS: usize = 8;

/// What was observed of one model in the last minute; latencies in milliseconds, none without a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelObservations {
    /// Requests that ended.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Their share, 0 to 1.
    pub error_rate: Option<f64>,
    /// What half of the requests did not exceed.
    pub p50: Option<f64>,
    /// What 95 % of the requests did not exceed.
    pub p95: Option<f64>,
    /// What 99 % of the requests did not exceed.
    pub p99: Option<f64>,
}

/// What this node observed in the last minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    /// Grows every five seconds, when the oldest of the window is forgotten.
    pub window_id: u64,
    /// All models together.
    pub overall: ModelObservations,
    /// Each model with requests, and those of the current state.
    pub models: BTreeMap<ModelId, ModelObservations>,
}

/// Takes samples from any thread.
#[derive(Default)]
pub(super) struct Observer {
    shards: [Shard; SHARDS],
}

/// A cache line of its own, so that threads do not slow each other down by being neighbours.
#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Windows>);

impl Observer {
    /// Counts one request that ended now.
    pub(super) fn record(&self, model: &ModelId, now: Time, sample: Sample) {
        let shard = &self.shards[own_shard()];
        shard.0.lock().unwrap_or_else(PoisonError::into_inner).record(model, now, sample);
    }

    /// The last minute of every model that had requests, and of `expected` ones.
    pub(super) fn observations<'a>(&self, now: Time, expected: impl IntoIterator<Item = &'a ModelId>) -> Observations {
        let mut tallies: BTreeMap<ModelId, Tally> =
            expected.into_iter().map(|model| (model.clone(), Tally::default())).collect();
        for shard in &self.shards {
            let windows = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
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

fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.with(|own| *own)
}

fn summary(tally: &Tally) -> ModelObservations {
    let millis = |quantile| tally.latency(quantile).map(|latency: Duration| latency.as_secs_f64() * 1_000.0);
    ModelObservations {
        requests: tally.requests(),
        errors: tally.errors(),
        error_rate: tally.error_rate(),
        p50: millis(0.50),
        p95: millis(0.95),
        p99: millis(0.99),
    }
}

/// One request that went to an upstream. It is counted when this is dropped, however the request ended: one that its
/// client gave up counts with the time that the client waited, so that an upstream that hangs shows.
pub(super) struct Recording {
    observer: Arc<Observer>,
    model: ModelId,
    started: Time,
    answered_after: Option<Duration>,
    verdict: Option<Verdict>,
}

impl Recording {
    /// A request to `model` that starts at `started`.
    pub(super) const fn new(observer: Arc<Observer>, model: ModelId, started: Time) -> Self {
        Self { observer, model, started, answered_after: None, verdict: Some(Verdict::Good) }
    }

    /// The upstream's answer has begun; how fast a client reads the rest says nothing about the model.
    pub(super) fn on_answer(&mut self) {
        self.answered_after = Some(boottime().since(self.started));
    }

    /// The model failed.
    pub(super) const fn on_failure(&mut self) {
        self.verdict = Some(Verdict::Failed);
    }

    /// The client failed: that says nothing about the model, and is not counted.
    pub(super) const fn on_client_failure(&mut self) {
        self.verdict = None;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(verdict) = self.verdict else { return };
        let now = boottime();
        let latency = self.answered_after.unwrap_or_else(|| now.since(self.started));
        self.observer.record(&self.model, now, Sample { latency, verdict });
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
                        let sample = Sample { latency: Duration::from_millis(2), verdict: Verdict::Failed };
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
        assert_eq!(observations.models[&model], ModelObservations::default());
    }

    #[test]
    fn a_recording_counts_when_it_ends() {
        let observer = Arc::new(Observer::default());
        let model: ModelId = "v1".parse().expect("v1 is a model id");
        let mut recording = Recording::new(Arc::clone(&observer), model, boottime());
        let counts = || {
            let overall = observer.observations(boottime(), []).overall;
            (overall.requests, overall.errors)
        };
        recording.on_answer();
        recording.on_failure();
        assert_eq!(counts(), (0, 0));
        drop(recording);
        assert_eq!(counts(), (1, 1));
    }
}
