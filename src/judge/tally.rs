//! Counts and latencies that can be merged: over slots, threads and nodes.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Latencies are told apart from one microsecond on; what is faster counts as that.
pub(super) const LOWEST_MICROS: u64 = 1;
/// The longest latency that is told apart. An upstream that takes longer has run into its timeout before.
pub(super) const HIGHEST_MICROS: u64 = 60_000_000;
/// Two digits: a quantile is within 1 % of the truth, and a histogram takes 10 KB.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The end of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it took until its answer began; how long that was waited for where none did.
    pub latency: Duration,
    /// How long it took until its answer had ended.
    pub full: Duration,
    /// What it says about the model.
    pub verdict: Verdict,
}

/// What the end of a request says about the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The model answered.
    Good,
    /// The model failed: no answer, a broken one, or one with status 5xx.
    Failed,
    /// The client left before that could be known, and after it had waited for longer than clients of the stable model do.
    Unknown,
    /// The model answered that what was asked for is elsewhere: with status 3xx.
    Redirect,
    /// The model answered that the request was wrong: with status 4xx.
    ClientError,
}

/// The number of requests, how they ended, and how long they took.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests whose end is known and speaks for or against the model: good and failed ones.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests beside these whose client left before it was known how they would end.
    pub unknown: u64,
    /// Requests beside these that were answered with a status 3xx.
    pub redirects: u64,
    /// Requests beside these that were answered with a status 4xx.
    pub client_errors: u64,
    /// Requests beside these that say nothing about the model, such as health checks.
    pub uncounted: u64,
    latencies: Histogram<u32>,
    full: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self {
            requests: 0,
            errors: 0,
            unknown: 0,
            redirects: 0,
            client_errors: 0,
            uncounted: 0,
            latencies: times.clone(),
            full: times,
        }
    }
}

impl Tally {
    /// Counts one request.
    pub(super) fn record(&mut self, sample: Sample) {
        match sample.verdict {
            Verdict::Good => {
                self.requests += 1;
                self.latencies.saturating_record(micros(sample.latency));
                self.full.saturating_record(micros(sample.full));
            }
            Verdict::Failed => {
                self.requests += 1;
                self.errors += 1;
            }
            Verdict::Unknown => self.unknown += 1,
            Verdict::Redirect => self.redirects += 1,
            Verdict::ClientError => self.client_errors += 1,
        }
    }

    /// Counts a request as `to` that was counted as `from`.
    pub(super) fn amend(&mut self, from: Verdict, to: Verdict) {
        for (verdict, by) in [(from, -1), (to, 1)] {
            let beside = match verdict {
                Verdict::Good => &mut self.requests,
                Verdict::Failed => {
                    self.errors = self.errors.saturating_add_signed(by);
                    &mut self.requests
                }
                Verdict::Unknown => &mut self.unknown,
                Verdict::Redirect => &mut self.redirects,
                Verdict::ClientError => &mut self.client_errors,
            };
            *beside = beside.saturating_add_signed(by);
        }
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.requests = 0;
        self.errors = 0;
        self.unknown = 0;
        self.redirects = 0;
        self.client_errors = 0;
        self.uncounted = 0;
        self.latencies.reset();
        self.full.reset();
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.unknown += other.unknown;
        self.redirects += other.redirects;
        self.client_errors += other.client_errors;
        self.uncounted += other.uncounted;
        self.latencies.add(&other.latencies).expect("all tallies have the same bounds");
        self.full.add(&other.full).expect("all tallies have the same bounds");
    }

    /// The share of the requests that failed, 0 to 1; none without one, for no data is neither good nor bad.
    pub fn error_rate(&self) -> Option<f64> {
        share(self.errors, self.requests)
    }

    /// The latency that the share `quantile` (0 to 1) of the good answers did not exceed, within 1 %; none without one.
    pub fn latency(&self, quantile: f64) -> Option<Duration> {
        (!self.latencies.is_empty()).then(|| Duration::from_micros(self.latencies.value_at_quantile(quantile)))
    }

    /// The same for the time to the end of the whole answer.
    pub fn full_latency(&self, quantile: f64) -> Option<Duration> {
        (!self.full.is_empty()).then(|| Duration::from_micros(self.full.value_at_quantile(quantile)))
    }
}

/// The share `k` of `n`, 0 to 1; none of nothing.
#[allow(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
pub(super) fn share(k: u64, n: u64) -> Option<f64> {
    (n > 0).then(|| k.min(n) as f64 / n as f64)
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(HIGHEST_MICROS).clamp(LOWEST_MICROS, HIGHEST_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(latency: Duration, verdict: Verdict) -> Sample {
        Sample { latency, full: latency, verdict }
    }

    #[test]
    fn quantiles_are_within_a_per_cent() {
        let mut tally = Tally::default();
        for millis in 1..=1_000 {
            tally.record(sample(Duration::from_millis(millis), Verdict::Good));
        }
        for (quantile, millis) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let measured = tally.latency(quantile).expect("there were requests").as_secs_f64() * 1_000.0;
            assert!((measured / millis - 1.0).abs() < 0.01, "{quantile}: {measured} ms, not {millis} ms");
        }
    }

    #[test]
    fn no_request_has_no_rate_and_no_quantile() {
        let mut tally = Tally::default();
        assert_eq!((tally.error_rate(), tally.latency(0.5)), (None, None));
        tally.record(sample(Duration::from_millis(3), Verdict::Failed));
        assert_eq!(tally.error_rate(), Some(1.0));
        tally.clear();
        assert_eq!((tally.requests, tally.errors, tally.error_rate(), tally.latency(0.5)), (0, 0, None, None));
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut tally = Tally::default();
        tally.record(sample(Duration::ZERO, Verdict::Good));
        assert_eq!(tally.latency(1.0), Some(Duration::from_micros(1)));
        tally.record(sample(Duration::MAX, Verdict::Good));
        assert!(tally.latency(1.0) >= Some(Duration::from_micros(HIGHEST_MICROS)));
    }

    #[test]
    fn merging_adds_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.record(sample(Duration::from_millis(1), Verdict::Good));
        other.record(sample(Duration::from_millis(100), Verdict::Good));
        other.record(sample(Duration::from_millis(200), Verdict::Failed));
        one.merge(&other);
        assert_eq!((one.requests, one.errors), (3, 1));
        let longest = one.latency(1.0).expect("there are answers");
        assert!(
            longest >= Duration::from_millis(99) && longest < Duration::from_millis(102),
            "a failure has no latency"
        );
    }

    #[test]
    fn what_a_client_can_bring_about_is_counted_beside_the_requests() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for verdict in [Verdict::ClientError, Verdict::Redirect, Verdict::Unknown] {
            one.record(sample(Duration::from_millis(1), verdict));
            other.record(sample(Duration::from_millis(1), verdict));
        }
        other.record(sample(Duration::from_millis(1), Verdict::Failed));
        one.merge(&other);
        assert_eq!((one.requests, one.errors), (1, 1));
        assert_eq!((one.client_errors, one.redirects, one.unknown, one.latency(0.5)), (2, 2, 2, None));
        one.clear();
        assert_eq!((one.client_errors, one.redirects, one.unknown), (0, 0, 0));
    }

    #[test]
    fn the_first_byte_and_the_whole_answer_are_timed_apart() {
        let (first, full) = (Duration::from_millis(10), Duration::from_millis(500));
        let (mut one, mut other) = (Tally::default(), Tally::default());
        assert_eq!(one.full_latency(0.5), None);
        other.record(Sample { latency: first, full, verdict: Verdict::Good });
        one.merge(&other);
        let near =
            |measured: Option<Duration>, real: Duration| measured.is_some_and(|time| time >= real && time < real * 2);
        assert!(near(one.latency(0.5), first) && near(one.full_latency(0.5), full));
        one.clear();
        assert_eq!(one.full_latency(0.5), None);
    }
}
