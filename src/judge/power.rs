//! The power of a plan's gates: how many requests a canary beyond a limit gets until it is proven to be, and how many
//! of them end badly for somebody.
//!
//! Limits that are numbers are told exactly, by the distribution of what is counted. Where a limit compares, the
//! counts are taken to be the ones to be expected, which tells a seventh too many: half of all such canaries are
//! found a little before the expected one is. What is judged of the last seconds alone, and by single nodes, finds
//! some sooner still. The stable model is taken to have no such ends. Where nothing but a p95 is known of latencies,
//! they are taken to be distributed exponentially: with shorter tails more answers are beyond a limit than that, and
//! it is proven sooner.

use super::bench::{TAIL, can_compare};
use super::finding::Group;
use super::levels::level;
use super::samples::Scope;
use super::sequential::{Side, first, log_evidence, log_evidence_above, log_threshold, rate_upper_bound};
use model::Weight;
use service::{Compare, Gate, Gates, Metric};

/// More requests than any plan gives time for: what is not proven by then is not proven.
const MOST: u64 = 1 << 40;
/// The rate below which rare ends are counted as if they came this often, in so many fewer requests: the difference
/// is beyond what is shown.
const RARE: f64 = 0.002;
/// Requests by which ends that are no rarer are found, with room. What is not found by then is a limit of nearly all
/// requests.
const MOST_EXACT: u64 = 1 << 15;
/// How many times its limit the canary is at.
const TIMES: f64 = 2.0;
/// Halvings until a share is exact enough to be shown.
const HALVINGS: u32 = 40;

/// The cost of finding a canary that is beyond one limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// The limit.
    pub gate: Gate,
    /// Requests to the canary, in the first step of a rollout, after which half of all such canaries are found.
    pub requests: u64,
    /// How many of these failed, were too slow, or ended in the way that the gate is about.
    pub hit: u64,
}

/// What a canary that is at twice a limit costs, for each limit of a first step at this weight. Without those that
/// cannot be proven to be broken there, as nothing is left to compare with.
pub fn power(gates: &Gates, weight: Weight) -> Vec<Power> {
    gates.iter().filter_map(|gate| of_gate(gates, gate, weight)).collect()
}

fn of_gate(gates: &Gates, gate: Gate, weight: Weight) -> Option<Power> {
    let level = level(gates, gate.name, Scope::Pooled, Group::Routed);
    let threshold = |parts: f64| log_threshold(level / parts, 0) + log_threshold(1.0, 0);
    #[allow(clippy::cast_precision_loss, reason = "limits are at most a hundred millions")]
    let limit = gate.limit as f64 / gate.name.unit() as f64;
    let share = (TIMES * limit).min(1.0);
    let (requests, share) = match (gate.name.compare, gate.name.metric) {
        (Compare::Limit, Metric::P95) => {
            let slow = TAIL.powf(1.0 / TIMES);
            (median(slow, TAIL, threshold(1.0))?, slow)
        }
        (Compare::Limit, _) => (median(share, limit, threshold(1.0))?, share),
        // Each of two bounds may be wrong with half of the level.
        (Compare::Stable, Metric::P95) => compared(weight, threshold(2.0), |stable| {
            #[allow(clippy::cast_precision_loss, reason = "at most 2^54")]
            let beyond = beyond_bound(stable as f64, threshold(2.0))?;
            Some((beyond.powf(1.0 / TIMES), TAIL))
        })?,
        (Compare::Stable, _) => compared(weight, threshold(2.0), |stable| {
            Some((share, rate_upper_bound(stable, 0, threshold(2.0)) + limit))
        })?,
    };
    #[allow(clippy::cast_precision_loss, reason = "at most 2^40")]
    let hit = whole((requests as f64 * share).ceil()).min(requests);
    Some(Power { gate, requests, hit })
}

/// The requests after which a test of `rate` has found half of the models of which `share` end badly: by the chances
/// of all counts that were not found before.
fn median(share: f64, rate: f64, threshold: f64) -> Option<u64> {
    let scale = (rate / RARE).min(1.0);
    let (share, rate) = (share / scale, rate / scale);
    let (mut open, mut found, mut fewest) = (vec![1.0], 0.0, 0);
    for requests in 1..=MOST_EXACT {
        let mut before = 0.0;
        for chance in &mut open {
            let now = *chance;
            *chance = now * (1.0 - share) + before * share;
            before = now;
        }
        open.push(before * share);
        while log_evidence_above(requests, fewest, rate) < threshold && fewest <= requests {
            fewest += 1;
        }
        let kept = usize::try_from(fewest).unwrap_or(usize::MAX).min(open.len());
        found += open.drain(kept..).sum::<f64>();
        if found >= 0.5 {
            #[allow(clippy::cast_precision_loss, reason = "at most 2^15")]
            return Some(whole((requests as f64 / scale).ceil()));
        }
    }
    None
}

/// The requests to a canary at this weight after which what is to be expected of it is proven, and the share of them
/// that end badly.
/// `tested` says that share, and the rate that it is tested against, with so many requests to the stable model.
#[allow(clippy::cast_precision_loss, reason = "at most 2^54")]
fn compared(weight: Weight, threshold: f64, tested: impl Fn(u64) -> Option<(f64, f64)>) -> Option<(u64, f64)> {
    let tested = |requests: u64| {
        let stable = whole(requests as f64 * (1.0 / weight.fraction() - 1.0));
        tested(stable).filter(|_| can_compare(stable, requests))
    };
    let is_proven = |requests: u64| {
        let canary = requests as f64;
        tested(requests)
            .is_some_and(|(share, rate)| log_evidence(canary, share * canary, rate, Side::Above) >= threshold)
    };
    let end = (0..u64::BITS).map(|bits| 1 << bits).take_while(|end| *end <= MOST).find(|end| is_proven(*end))?;
    let requests = first(end / 2, end, is_proven);
    Some((requests, tested(requests)?.0))
}

/// The share of the stable model's answers beyond the upper bound of its p95, when there are so many: as much less
/// than a twentieth as it takes to prove that. None when there are too few for any bound.
fn beyond_bound(answers: f64, threshold: f64) -> Option<f64> {
    let is_proven = |share: f64| log_evidence(answers, share * answers, TAIL, Side::Below) >= threshold;
    if !is_proven(0.0) {
        return None;
    }
    let (mut proven, mut open) = (0.0, TAIL);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(proven, open);
        if is_proven(middle) { proven = middle } else { open = middle }
    }
    Some(proven)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and 2^60 at most")]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::crossed;
    use service::GateName;

    fn five() -> Weight {
        Weight::from_percent("5").expect("a weight")
    }

    fn of(name: GateName, weight: Weight) -> Option<(u64, u64)> {
        let found = power(&Gates::default(), weight).into_iter().find(|power| power.gate.name == name);
        found.map(|power| (power.requests, power.hit))
    }

    /// The requests after which half of all canaries that end so badly are found.
    fn exactly(share: f64, rate: f64, threshold: f64) -> u64 {
        let chances = crossed(log_evidence_above, 1_000, share, rate, threshold);
        (0..).zip(chances).find(|(_, chance)| *chance >= 0.5).expect("a thousand are enough").0
    }

    #[test]
    fn half_of_the_canaries_at_twice_a_limit_are_found_by_then() {
        for (gate, share) in [(GateName::ERROR_RATE, 0.1), (GateName::P95, 0.05_f64.sqrt())] {
            let (requests, hit) = of(gate, five()).expect("it can be proven");
            let level = level(&Gates::default(), gate, Scope::Pooled, Group::Routed);
            assert_eq!(requests, exactly(share, 0.05, log_threshold(level, 0) + log_threshold(1.0, 0)), "{gate}");
            #[allow(clippy::cast_precision_loss, reason = "hundreds")]
            let expected = requests as f64 * share;
            assert!((whole(expected)..=whole(expected) + 1).contains(&hit), "{hit} of {requests}");
        }
    }

    #[test]
    fn what_is_rare_takes_as_many_times_more() {
        let of = |rate: f64| median(2.0 * rate, rate, 8.0).expect("it can be proven");
        let (few, rarer) = (of(RARE), of(RARE / 100.0));
        assert!(rarer.abs_diff(100 * few) < few / 10, "{few}, {rarer}");
        assert!(of(2.0 * RARE).abs_diff(few / 2) * 100 < few, "{} {few}", of(2.0 * RARE));
    }

    #[test]
    fn what_compares_tells_a_little_too_many() {
        // With stable traffic without end a difference to it is tested like a limit.
        let weight = Weight::from_percent("0.01").expect("a weight");
        let (requests, _) = of(GateName::ERROR_RATE_DIFFERENCE, weight).expect("it can be proven");
        let level = level(&Gates::default(), GateName::ERROR_RATE_DIFFERENCE, Scope::Pooled, Group::Routed);
        let exact = median(0.04, 0.02, log_threshold(level / 2.0, 0) + log_threshold(1.0, 0)).expect("likewise");
        assert!(requests >= exact && requests * 5 < exact * 6, "{requests}, {exact}");
    }

    #[test]
    fn what_is_compared_with_little_is_found_late_and_with_nothing_never() {
        for gate in [GateName::ERROR_RATE_DIFFERENCE, GateName::P95_RATIO, GateName::RATE_4XX_DIFFERENCE] {
            let ninety = Weight::from_percent("90").expect("a weight");
            let (many, few) = (of(gate, five()).expect("there is much"), of(gate, ninety).expect("there is some"));
            assert!(many.0 < few.0, "{gate}: {many:?}, {few:?}");
            assert_eq!(of(gate, Weight::FULL), None);
        }
        assert_eq!(of(GateName::ERROR_RATE, Weight::FULL), of(GateName::ERROR_RATE, five()));
    }

    #[test]
    fn any_limit_has_a_number_or_none() {
        for limit in [1, 100, 500_000, 990_000] {
            let gates = Gates::default().changed(GateName::ERROR_RATE, |gate| gate.limit = limit);
            let found = power(&gates, five()).into_iter().find(|power| power.gate.name == GateName::ERROR_RATE);
            assert!(found.is_some_and(|power| power.requests > 0 && power.hit <= power.requests), "{limit}: {found:?}");
        }
    }
}
