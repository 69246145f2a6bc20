//! Counts and latencies that can be merged: over slots, threads and nodes.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Latencies are told apart from one microsecond on; what is faster counts as that.
const LOWEST_MICROS: u64 = 1;
/// The longest latency that is told apart. An upstream that takes longer has run into its timeout before.
const HIGHEST_MICROS: u64 = 60_000_000;
/// Two digits: a quantile is within 1 % of the truth, and a histogram takes 10 KB.
const SIGNIFICANT_DIGITS: u8 = 2;

/// How many requests there were, how many failed, and how long they took.
#[derive(Clone, Debug)]
pub struct Tally {
    requests: u64,
    errors: u64,
    latencies: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self { requests: 0, errors: 0, latencies }
    }
}

impl Tally {
    /// Counts one request that took `latency` and failed if `errors` is 1.
    pub(super) fn record(&mut self, latency: Duration, errors: u64) {
        self.requests += 1;
        self.errors += errors;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_MICROS);
        self.latencies.saturating_record(micros.clamp(LOWEST_MICROS, HIGHEST_MICROS));
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.requests = 0;
        self.errors = 0;
        self.latencies.reset();
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.latencies.add(&other.latencies).expect("all tallies have the same bounds");
    }

    /// Requests that ended, failed ones included.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests that failed.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// The share of requests that failed, 0 to 1; none without a request, for no data is neither good nor bad.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^52")]
    pub fn error_rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }

    /// The latency that the share `quantile` (0 to 1) of the requests did not exceed, within 1 %; none without a request.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Option<Duration> {
        (self.requests > 0).then(|| Duration::from_micros(self.latencies.value_at_quantile(quantile)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_per_cent() {
        let mut tally = Tally::default();
        for millis in 1..=1_000 {
            tally.record(Duration::from_millis(millis), 0);
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
        tally.record(Duration::from_millis(3), 1);
        assert_eq!(tally.error_rate(), Some(1.0));
        tally.clear();
        assert_eq!((tally.requests(), tally.errors(), tally.error_rate(), tally.latency(0.5)), (0, 0, None, None));
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut tally = Tally::default();
        tally.record(Duration::ZERO, 0);
        assert_eq!(tally.latency(1.0), Some(Duration::from_micros(1)));
        tally.record(Duration::MAX, 0);
        assert!(tally.latency(1.0) >= Some(Duration::from_micros(HIGHEST_MICROS)));
    }

    #[test]
    fn merging_adds_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.record(Duration::from_millis(1), 0);
        other.record(Duration::from_millis(100), 1);
        one.merge(&other);
        assert_eq!((one.requests(), one.errors()), (2, 1));
        assert!(one.latency(1.0) >= Some(Duration::from_millis(99)));
    }
}
