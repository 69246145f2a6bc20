//! The counts of one model since a window began, small enough for every report: it merges over nodes, and what is
//! merged on the wire is what is merged in memory. It judges nothing.

use super::tally::{HIGHEST_MICROS, LOWEST_MICROS, Verdict, share};
use hdrhistogram::Histogram;
use model::{Counts, Summary};
use std::time::Duration;

/// One digit: a latency is known within 1/16, far less than the fifth by which a canary may be slower, and a report has
/// a few dozen numbers instead of hundreds.
const SIGNIFICANT_DIGITS: u8 = 1;
/// A histogram with these bounds has fewer buckets than this, so an honest report has fewer pairs; what follows in
/// another one is not read.
const MAX_PAIRS: usize = 512;

/// The requests of one model by their ends, and how long its answers took. The answers are the requests that
/// did not fail: how fast a model fails says nothing about how fast it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    requests: u64,
    errors: u64,
    client_errors: u64,
    open: u64,
    /// Failures of which clients told after the end. They are known on this node alone.
    amended: u64,
    latencies: Histogram<u64>,
}

impl Default for Measured {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self { requests: 0, errors: 0, client_errors: 0, open: 0, amended: 0, latencies }
    }
}

impl Measured {
    /// Notes that a request has begun. Until it ends it is open.
    pub const fn begin(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    /// Notes that a request that had begun has ended, in whatever way; [`record`](Self::record) counts how.
    pub const fn end(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Counts one request whose first byte came after `latency`.
    pub fn record(&mut self, latency: Duration, verdict: Verdict) {
        self.requests = self.requests.saturating_add(1);
        match verdict {
            Verdict::Good => {}
            Verdict::ClientError => self.client_errors = self.client_errors.saturating_add(1),
            Verdict::Failed => {
                self.errors = self.errors.saturating_add(1);
                return;
            }
        }
        self.answered(u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_MICROS), 1);
    }

    /// Counts a request as `to` that was counted as `from`, with this latency.
    pub fn amend(&mut self, latency: Duration, from: Verdict, to: Verdict) {
        // Nothing else is told of a request after its end: see whoever takes what clients say.
        if (from, to) != (Verdict::Good, Verdict::Failed) {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_MICROS).clamp(LOWEST_MICROS, HIGHEST_MICROS);
        if self.latencies.count_at(micros) == 0 {
            return;
        }
        self.errors = self.errors.saturating_add(1);
        self.amended = self.amended.saturating_add(1);
        let mut one = Histogram::new_from(&self.latencies);
        one.saturating_record(micros);
        self.latencies.subtract(&one).expect("it has the same bounds, and an answer there");
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.client_errors = self.client_errors.saturating_add(other.client_errors);
        self.open = self.open.saturating_add(other.open);
        self.amended = self.amended.saturating_add(other.amended);
        self.latencies.add(&other.latencies).expect("all have the same bounds");
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.requests = 0;
        self.errors = 0;
        self.client_errors = 0;
        self.open = 0;
        self.amended = 0;
        self.latencies.reset();
    }

    /// The same in the form in which nodes tell it each other. More than four billion answers of one latency are told
    /// as four billion.
    pub fn to_counts(&self) -> Counts {
        let mut before = 0;
        let pair = |bucket: (u64, u64)| {
            let value = bucket.0.min(HIGHEST_MICROS);
            let difference = u32::try_from(value - before).unwrap_or(u32::MAX);
            before = value;
            (difference, u32::try_from(bucket.1).unwrap_or(u32::MAX))
        };
        let latencies = self.buckets().map(pair).collect();
        let Self { requests, errors, client_errors, open, .. } = *self;
        Counts { requests, errors, client_errors, open, latencies }
    }

    /// The counts that a node told. Any are read: those that contradict each other are cut down until they do not, latencies
    /// out of bounds count as the bound.
    pub fn from_counts(counts: &Counts) -> Self {
        let mut measured = Self { requests: counts.requests, open: counts.open, ..Self::default() };
        measured.errors = counts.errors.min(measured.requests);
        let mut unseen = measured.requests - measured.errors;
        measured.client_errors = counts.client_errors.min(unseen);
        let mut value = 0_u64;
        for (difference, count) in counts.latencies.iter().take(MAX_PAIRS) {
            value = value.saturating_add(u64::from(*difference)).min(HIGHEST_MICROS);
            let count = u64::from(*count).min(unseen);
            measured.answered(value, count);
            unseen -= count;
        }
        measured
    }

    /// Requests that ended, failed ones included.
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests that have begun, those that have not ended included. A failure is often the fastest answer there is, so
    /// that of those that ended too many failed, for as long as the others take.
    pub const fn begun(&self) -> u64 {
        self.requests.saturating_add(self.open)
    }

    /// Requests that failed.
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// Those of the failures that were taken for good ends at first. They may be told of long after, and many at once, so that
    /// they say nothing about the moment in which they are counted.
    pub const fn amended(&self) -> u64 {
        self.amended
    }

    /// Requests that the model refused.
    pub const fn client_errors(&self) -> u64 {
        self.client_errors
    }

    /// Requests with an answer, whose latencies are known.
    pub fn answers(&self) -> u64 {
        self.latencies.len()
    }

    /// The share of requests that failed, 0 to 1; none without a request, for no data is neither good nor bad.
    pub fn error_rate(&self) -> Option<f64> {
        share(self.errors, self.requests)
    }

    /// The latency that the share `quantile` (0 to 1) of the answers did not exceed, at most 1/16 too long; none without
    /// an answer.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        (self.answers() > 0).then(|| Duration::from_micros(self.latencies.value_at_quantile(quantile)))
    }

    /// Answers that surely took longer than this many microseconds: one in the bucket of the limit may have kept it, and
    /// is not counted.
    pub fn exceeding(&self, limit_micros: u64) -> u64 {
        if limit_micros >= HIGHEST_MICROS {
            return 0;
        }
        self.latencies.count_between(self.latencies.next_non_equivalent(limit_micros), HIGHEST_MICROS)
    }

    /// Whether a histogram cannot tell these two latencies apart, in microseconds.
    pub(super) fn is_same(&self, one: u64, other: u64) -> bool {
        self.latencies.equivalent(one.min(HIGHEST_MICROS), other.min(HIGHEST_MICROS))
    }

    /// The longest latency, a bound of a bucket in microseconds, that at least `count` answers exceeded.
    pub(super) fn exceeded_by(&self, count: u64) -> Option<u64> {
        let slowest = self.nth(self.answers().checked_sub(count)?.saturating_add(1))?;
        self.latencies.lowest_equivalent(slowest).checked_sub(1)
    }

    /// The shortest latency, a bound of a bucket in microseconds, that at most `count` answers exceeded.
    pub(super) fn exceeded_by_at_most(&self, count: u64) -> Option<u64> {
        self.nth(self.answers().saturating_sub(count).max(1))
    }

    /// The model in three numbers.
    pub fn summary(&self) -> Summary {
        let p95 = self.quantile(0.95).unwrap_or_default();
        let p95_us = u64::try_from(p95.as_micros()).unwrap_or(HIGHEST_MICROS);
        Summary { requests: self.requests, errors: self.errors, p95_us }
    }

    fn answered(&mut self, micros: u64, count: u64) {
        self.latencies.saturating_record_n(micros.clamp(LOWEST_MICROS, HIGHEST_MICROS), count);
    }

    /// The highest latency of each bucket with answers, and how many; the fastest first.
    fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.latencies.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// The highest latency of the bucket of the `rank`th fastest answer, from 1.
    fn nth(&self, rank: u64) -> Option<u64> {
        let mut seen = 0;
        self.buckets().find_map(|(value, count)| {
            seen += count;
            (seen >= rank).then_some(value)
        })
    }
}

/// Whose counts are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of all nodes together. They decide.
    Pooled,
    /// Those of one node, which may veto what the others find good. It is sure before it does, as there are many.
    Node,
}

/// The counts of both models on the same nodes in the same window.
///
/// The chance of a rollback in vain is kept over a whole rollout, whatever the number of steps and windows, if each step
/// begins a new window, and if windows within a step are begun anew by time and numbers of requests only, never by how
/// requests ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// The stable model.
    pub stable: Measured,
    /// The model on trial.
    pub canary: Measured,
    /// Which step of the plan, from 0.
    pub step: u32,
    /// How often a window was begun anew in this step, by all nodes whose counts are in it.
    pub restarts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn of(latencies: &[u64]) -> Measured {
        let mut measured = Measured::default();
        for (index, micros) in latencies.iter().enumerate() {
            let verdict = [Verdict::Good, Verdict::Good, Verdict::ClientError, Verdict::Failed][index % 4];
            measured.record(Duration::from_micros(*micros), verdict);
        }
        measured
    }

    #[test]
    fn a_failure_has_no_latency_and_a_refusal_has() {
        let mut measured = Measured::default();
        measured.record(millis(10), Verdict::ClientError);
        measured.record(millis(9_000), Verdict::Failed);
        measured.record(millis(10), Verdict::Good);
        assert_eq!((measured.requests(), measured.errors(), measured.client_errors()), (3, 1, 1));
        assert_eq!((measured.answers(), measured.exceeding(11_000)), (2, 0));
        let p95 = measured.quantile(0.95).expect("there are answers");
        assert!(p95 >= millis(10) && p95.as_secs_f64() < 0.010 * 17.0 / 16.0, "{p95:?}");
        assert_eq!(measured.summary().requests, 3);
        measured.clear();
        assert_eq!(measured, Measured::default());
        assert_eq!((measured.error_rate(), measured.quantile(0.95)), (None, None));
        assert_eq!(measured.summary(), Summary::default());
    }

    #[test]
    fn a_good_end_that_becomes_a_failure_is_one_request_and_no_answer() {
        let mut measured = Measured::default();
        for latency in [10, 20, 90_000] {
            measured.record(millis(latency), Verdict::Good);
        }
        measured.amend(millis(10), Verdict::Good, Verdict::Failed);
        assert_eq!(measured.amended(), 1);
        let mut same = Measured { amended: 1, ..Measured::default() };
        same.record(millis(20), Verdict::Good);
        same.record(millis(90_000), Verdict::Good);
        same.record(millis(10), Verdict::Failed);
        assert_eq!(measured, same);
        measured.amend(millis(90_000), Verdict::Good, Verdict::Failed);
        assert_eq!((measured.requests(), measured.errors(), measured.answers()), (3, 2, 1), "also beyond the bounds");
        measured.amend(millis(10), Verdict::Good, Verdict::Failed);
        assert_eq!((measured.requests(), measured.errors(), measured.answers()), (3, 2, 1), "there is no such answer");
    }

    #[test]
    fn an_answer_in_the_bucket_of_the_limit_does_not_exceed_it() {
        let mut measured = Measured::default();
        measured.record(millis(200), Verdict::Good);
        let bound = measured.exceeded_by_at_most(0).expect("an answer");
        assert!(bound > 200_000);
        measured.record(Duration::from_micros(bound + 1), Verdict::Good);
        assert_eq!(measured.exceeding(200_000), 1);
        assert_eq!(measured.exceeding(bound), 1);
        assert_eq!(measured.exceeding(bound + 1), 0);
        assert_eq!(measured.exceeding(u64::MAX), 0);
    }

    #[test]
    fn hostile_counts_are_cut_down() {
        let hostile = Counts {
            requests: 10,
            errors: u64::MAX,
            client_errors: u64::MAX,
            open: u64::MAX,
            latencies: vec![(u32::MAX, u32::MAX); 100_000],
        };
        let measured = Measured::from_counts(&hostile);
        assert_eq!((measured.requests(), measured.errors(), measured.client_errors()), (10, 10, 0));
        assert_eq!(measured.answers(), 0);
        let endless = Counts { requests: u64::MAX, errors: 0, ..hostile };
        let mut measured = Measured::from_counts(&endless);
        assert_eq!(measured.answers(), MAX_PAIRS as u64 * u64::from(u32::MAX));
        let room = measured.latencies.distinct_values();
        measured.merge(&measured.clone());
        assert_eq!((measured.requests(), measured.latencies.distinct_values()), (u64::MAX, room));
        assert!(measured.to_counts().latencies.len() < MAX_PAIRS && room < MAX_PAIRS);
    }

    proptest! {
        #[test]
        fn the_wire_form_says_all(latencies in proptest::collection::vec(0_u64..100_000_000, 0..200)) {
            let measured = of(&latencies);
            prop_assert_eq!(&Measured::from_counts(&measured.to_counts()), &measured);
        }

        #[test]
        fn merging_before_or_after_the_wire_is_the_same(
            one in proptest::collection::vec(0_u64..1_000_000, 0..100),
            other in proptest::collection::vec(0_u64..1_000_000, 0..100),
        ) {
            let (one, other) = (of(&one), of(&other));
            let mut told = Measured::from_counts(&one.to_counts());
            told.merge(&Measured::from_counts(&other.to_counts()));
            let mut merged = one;
            merged.merge(&other);
            prop_assert_eq!(told, merged);
        }

        #[test]
        fn any_counts_can_be_read(
            requests: u64, errors: u64, client_errors: u64, open: u64,
            latencies in proptest::collection::vec(any::<(u32, u32)>(), 0..50),
        ) {
            let measured = Measured::from_counts(&Counts { requests, errors, client_errors, open, latencies });
            prop_assert!(measured.errors() + measured.client_errors() <= measured.requests());
            prop_assert!(measured.answers() <= measured.requests() - measured.errors());
        }

        #[test]
        fn bounds_and_exceedances_agree(latencies in proptest::collection::vec(1_u64..10_000_000, 1..100), count in 1_u64..100) {
            let measured = of(&latencies);
            if let Some(bound) = measured.exceeded_by(count) {
                prop_assert!(measured.exceeding(bound) >= count);
                prop_assert!(measured.exceeding(bound + 1) < count);
            }
            if let Some(bound) = measured.exceeded_by_at_most(count) {
                prop_assert!(measured.exceeding(bound) <= count);
            }
        }
    }
}
