//! Tests of a rate and of a quantile that may be looked at after every request, as often as one likes. They see counts
//! only, and know nothing of limits or rollouts.
//!
//! A test that is right for one look is wrong for many: whoever looks every second at a canary with nothing wrong sees a
//! "significant" result sooner or later. So evidence is kept as a process that starts at 1 and cannot be expected to grow
//! while the hypothesis holds (a nonnegative supermartingale). Ville (1939) showed that the chance that such a process
//! *ever* reaches 1/α is at most α, however long one looks and for whatever reason one stops.
//!
//! The process here is a likelihood ratio, as in Wald's sequential test (1945), mixed over a few alternatives, as Robbins
//! (1970) does, because nobody knows beforehand how bad a canary is. An alternative is told by its odds, ρ times those of
//! the rate p0 under test; its likelihood ratio after k of n is then ρ^k / (1 + (ρ − 1) p0)^n. With ρ > 1 and a true rate
//! p ≤ p0, one more request multiplies this by (1 + (ρ − 1) p) / (1 + (ρ − 1) p0) ≤ 1 on average: exactly 1 at p = p0. In
//! this form the evidence falls with p0, so that the rates which are not rejected are an interval, and its end is a bound.
//! Seen as a bet against the hypothesis, it is of the family that Waudby-Smith and Ramdas describe (2024).
//!
//! A quantile is bounded by testing the share of answers that exceed a latency, the way Howard and Ramdas make confidence
//! sequences for quantiles ("Sequential estimation of quantiles with applications to A/B testing and best-arm
//! identification", 2022, arXiv 1906.09712). Nothing is assumed about the shape of the latencies. Lindon, Sanden and
//! Shirikhanyan describe such tests for canaries at Netflix (2022, arXiv 2205.14762).
//!
//! All this takes requests as independent draws. Errors that come in bursts are weaker evidence than it says.

use super::Measured;
use super::tally::share;
use std::f64::consts::PI;

/// The alternatives: how many times the odds of the rate under test, and the share of the bet on it. Most of it lies
/// between twice and eight times, where rollouts go wrong. The first finds the small differences that only much traffic
/// shows, the last finds a canary that fails everything after four requests. A finer grid finds nothing sooner.
const ODDS: [(f64, f64); 7] =
    [(1.1, 0.05), (1.3, 0.05), (1.75, 0.15), (2.5, 0.25), (4.0, 0.3), (8.0, 0.15), (50.0, 0.05)];
/// Halvings of an interval of at most 1 until a bound is within 1e-9, which is less than anyone shows.
const HALVINGS: u32 = 30;

/// Which alternatives are bet on.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// Higher rates than the one under test.
    Above,
    /// Lower ones.
    Below,
}

/// The natural logarithm of the evidence that the rate is above `p0` (0 to 1), after `k` of `n` requests. While the rate
/// is `p0` or less, the chance that it ever reaches `ln(1/α)` is at most α.
pub fn log_evidence_above(n: u64, k: u64, p0: f64) -> f64 {
    log_mixture(n, k, p0, Side::Above)
}

/// The natural logarithm of the evidence that the rate is below `p0` (0 to 1), after `k` of `n` requests. While the rate
/// is `p0` or more, the chance that it ever reaches `ln(1/α)` is at most α.
pub fn log_evidence_below(n: u64, k: u64, p0: f64) -> f64 {
    log_mixture(n, k, p0, Side::Below)
}

/// The logarithm that the evidence has to reach at the level `alpha` (above 0, at most 1) in a process that was begun
/// after `restarts` others. The n-th gets 6/(π² n²) of the level, and these shares sum to one: a process can be begun anew
/// for ever, so that a long good past does not hide a canary that turns bad, and all of them together keep the level.
pub fn log_threshold(alpha: f64, restarts: u32) -> f64 {
    -alpha.ln() + (PI * PI / 6.0).ln() + 2.0 * (f64::from(restarts) + 1.0).ln()
}

/// A lower bound of the rate after `k` of `n` requests: all rates below it are rejected. 0 without evidence.
pub fn rate_lower_bound(n: u64, k: u64, log_threshold: f64) -> f64 {
    last_rejected(0.0, share(k, n).unwrap_or(0.0), |rate| log_evidence_above(n, k, rate) >= log_threshold)
}

/// An upper bound of the rate after `k` of `n` requests: all rates above it are rejected. 1 without evidence.
pub fn rate_upper_bound(n: u64, k: u64, log_threshold: f64) -> f64 {
    last_rejected(1.0, share(k, n).unwrap_or(1.0), |rate| log_evidence_below(n, k, rate) >= log_threshold)
}

/// The last rate that is rejected on the way from one that is to one that is not.
fn last_rejected(mut rejected: f64, mut possible: f64, is_rejected: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(rejected, possible);
        match is_rejected(middle) {
            true => rejected = middle,
            false => possible = middle,
        }
    }
    rejected
}

/// A lower bound of the latency that the share `q` (0 to 1) of answers does not exceed, in microseconds: the highest bound
/// of a bucket of which it is rejected that at most `1 − q` exceed it. None without evidence.
pub fn quantile_above(measured: &Measured, q: f64, log_threshold: f64) -> Option<u64> {
    let answers = measured.answers_and_waits();
    let enough = |count| log_evidence_above(answers, count, 1.0 - q) >= log_threshold;
    let fewest = first(0, answers + 1, enough);
    measured.exceeded_by(fewest)
}

/// An upper bound of the latency that the share `q` (0 to 1) of answers does not exceed, in microseconds: the lowest bound
/// of a bucket of which it is rejected that `1 − q` or more exceed it. None without evidence.
pub fn quantile_below(measured: &Measured, q: f64, log_threshold: f64) -> Option<u64> {
    let answers = measured.answers_and_waits();
    let too_many = |count| log_evidence_below(answers, count, 1.0 - q) < log_threshold;
    let most = first(0, answers + 1, too_many).checked_sub(1)?;
    measured.exceeded_by_at_most(most)
}

#[allow(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
fn log_mixture(n: u64, k: u64, p0: f64, side: Side) -> f64 {
    log_evidence(n as f64, k.min(n) as f64, p0, side)
}

/// The same after counts that need not be whole, as expected ones are not.
pub(super) fn log_evidence(n: f64, k: f64, p0: f64, side: Side) -> f64 {
    let terms = ODDS.map(|(odds, share)| {
        let odds: f64 = match side {
            Side::Above => odds,
            Side::Below => 1.0 / odds,
        };
        share.ln() + k * odds.ln() - n * ((odds - 1.0) * p0).ln_1p()
    });
    let largest = terms.into_iter().fold(f64::NEG_INFINITY, f64::max);
    largest + terms.map(|term| (term - largest).exp()).iter().sum::<f64>().ln()
}

/// The first number from `low` on that `is` so, when all after it are too; `high` if none before it is.
pub(super) fn first(mut low: u64, mut high: u64, is: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        match is(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::exact::{Evidence, crossed};
    use proptest::prelude::*;
    use std::time::Duration;

    /// The evidence to expect after `n` requests at the rate `p`, by all its outcomes.
    fn expected(evidence: Evidence, n: u64, p: f64, p0: f64) -> f64 {
        let mut ways = 1.0;
        let mut sum = 0.0;
        for k in 0..=n {
            let (yes, no) = (i32::try_from(k).expect("small"), i32::try_from(n - k).expect("small"));
            sum += ways * p.powi(yes) * (1.0 - p).powi(no) * evidence(n, k, p0).exp();
            ways *= f64::from(no) / f64::from(yes + 1);
        }
        sum
    }

    #[test]
    fn the_bet_is_shared_out() {
        assert!((ODDS.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(ODDS.iter().all(|(odds, share)| *odds > 1.0 && *share > 0.0));
        assert!(log_evidence_above(0, 0, 0.05).abs() < 1e-12 && log_evidence_below(0, 0, 0.05).abs() < 1e-12);
    }

    #[test]
    fn evidence_cannot_be_expected_to_grow_while_the_hypothesis_holds() {
        for p0 in [0.001, 0.01, 0.05, 0.3, 0.9] {
            for n in [1, 2, 7, 20] {
                for (evidence, end) in [(log_evidence_above as Evidence, 0.0), (log_evidence_below, 1.0)] {
                    let at = |p| expected(evidence, n, p, p0);
                    assert!((at(p0) - 1.0).abs() < 1e-9, "p0 {p0}, n {n}: {}", at(p0));
                    for p in [end, f64::midpoint(end, p0), 0.1 * end + 0.9 * p0] {
                        assert!(at(p) < 1.0, "p {p}, p0 {p0}, n {n}: {}", at(p));
                    }
                    let outside = 1.1 * p0 - 0.1 * end;
                    assert!(at(outside.min(1.0)) > 1.0, "it grows otherwise");
                }
            }
        }
    }

    #[test]
    fn looking_after_every_request_keeps_the_level() {
        for p0 in [0.01, 0.05, 0.2] {
            for alpha in [0.05_f64, 0.005] {
                let threshold = -alpha.ln();
                let above = crossed(log_evidence_above, 300, p0, p0, threshold)[300];
                let below = crossed(log_evidence_below, 300, p0, p0, threshold)[300];
                assert!(above <= alpha && below <= alpha, "p0 {p0}, α {alpha}: {above}, {below}");
                assert!(above > alpha / 50.0, "p0 {p0}, α {alpha}: {above} wastes it");
            }
        }
    }

    #[test]
    fn twenty_per_cent_where_five_are_allowed_take_sixty_requests() {
        let threshold = log_threshold(0.004, 0) + log_threshold(1.0, 0);
        let chance = crossed(log_evidence_above, 200, 0.2, 0.05, threshold);
        assert!(chance[60] >= 0.5, "{}", chance[60]);
        assert!(chance[160] >= 0.99, "{}", chance[160]);
        let all_fail = crossed(log_evidence_above, 10, 1.0, 0.05, threshold);
        assert!(all_fail[3] < 1.0 && all_fail[4] >= 1.0, "{all_fail:?}");
    }

    #[test]
    fn the_shares_of_all_restarts_sum_to_the_level() {
        let sum: f64 = (0..100_000).map(|restarts| (-log_threshold(0.01, restarts)).exp()).sum();
        assert!(sum <= 0.01 && sum > 0.009_99, "{sum}");
    }

    #[test]
    fn no_data_bounds_nothing() {
        assert_eq!((rate_lower_bound(0, 0, 3.0), rate_upper_bound(0, 0, 3.0)), (0.0, 1.0));
        assert_eq!(quantile_above(&Measured::default(), 0.95, 3.0), None);
        assert_eq!(quantile_below(&Measured::default(), 0.95, 3.0), None);
    }

    #[test]
    fn counts_of_any_size_give_a_number() {
        for (n, k) in [(u64::MAX, 0), (u64::MAX, u64::MAX), (1, u64::MAX), (1_000_000_000, 50_000_000)] {
            for p0 in [0.0, 1e-6, 0.5, 1.0] {
                assert!(!log_evidence_above(n, k, p0).is_nan(), "{k} of {n} against {p0}");
                assert!(!log_evidence_below(n, k, p0).is_nan(), "{k} of {n} against {p0}");
            }
        }
    }

    #[test]
    fn bounds_of_a_quantile_close_in_on_it() {
        let mut measured = Measured::default();
        for n in 1..=20_000_u64 {
            measured.record(Duration::from_micros(1_000 + 7_919 * n % 100_000), Verdict::Good, None);
        }
        let (low, high) = (quantile_above(&measured, 0.95, 7.0), quantile_below(&measured, 0.95, 7.0));
        let (low, high) = (low.expect("enough answers"), high.expect("enough answers"));
        assert!((86_000..=96_000).contains(&low), "{low}");
        assert!((96_000..=106_000).contains(&high), "{high}");
    }

    proptest! {
        #[test]
        fn bounds_enclose_what_was_seen_and_move_with_it(n in 1_u64..5_000, k in 0_u64..5_000, threshold in 1.0..15.0) {
            let k = k.min(n - 1);
            let (low, high) = (rate_lower_bound(n, k, threshold), rate_upper_bound(n, k, threshold));
            let seen = share(k, n).expect("requests");
            prop_assert!(low <= seen && seen <= high);
            prop_assert!(rate_lower_bound(n, k + 1, threshold) >= low - 1e-8);
            prop_assert!(rate_upper_bound(n, k + 1, threshold) >= high - 1e-8);
            prop_assert!(rate_lower_bound(n, k, threshold + 1.0) <= low + 1e-8);
            if low > 0.0 {
                prop_assert!((log_evidence_above(n, k, low) - threshold).abs() < 1e-3);
                prop_assert!(log_evidence_above(n, k, low + 1e-4) < threshold);
            }
            if high < 1.0 {
                prop_assert!(log_evidence_below(n, k, high) >= threshold);
                prop_assert!(log_evidence_below(n, k, high - 1e-4) < threshold);
            }
        }

        #[test]
        fn a_bound_of_a_quantile_is_the_last_that_is_rejected(
            latencies in proptest::collection::vec(1_u64..1_000_000, 1..400), threshold in 1.0..8.0,
        ) {
            let mut measured = Measured::default();
            for micros in latencies {
                measured.record(Duration::from_micros(micros), Verdict::Good, None);
            }
            let answers = measured.answers();
            let above = |micros| log_evidence_above(answers, measured.exceeding(micros), 0.05) >= threshold;
            let below = |micros| log_evidence_below(answers, measured.exceeding(micros), 0.05) >= threshold;
            match quantile_above(&measured, 0.95, threshold) {
                Some(bound) => prop_assert!(above(bound) && !above(bound + 1)),
                None => prop_assert!(!above(1)),
            }
            match quantile_below(&measured, 0.95, threshold) {
                Some(bound) => prop_assert!(below(bound) && !below(bound - bound / 16 - 1)),
                None => prop_assert!(!below(1_000_000)),
            }
        }
    }
}
