//! Each gate of a plan held against what was counted: how far it was kept, and at which level it counts as broken.

use super::finding::{Finding, GateName, Standing};
use super::measured::{Samples, Scope};
use super::sequential::{
    log_evidence_above, log_threshold, quantile_above, quantile_below, rate_lower_bound, rate_upper_bound,
};
use super::tally::share;
use service::{Gate, Gates, MILLION};

/// The quantile of the latency gates.
const P95: f64 = 0.95;
/// The share of answers that may exceed it.
pub(super) const TAIL: f64 = 0.05;
/// A comparison needs this many stable requests: a p95 of fewer than 20 is the slowest of them, and half as many again
/// keep one outlier from being it.
const FEWEST_TO_COMPARE: u64 = 30;
/// A comparison needs one stable request for at most this many of the canary's. In a step of 100 % the stable model only
/// ends what it had begun; with fewer than this it is no trial beside the canary's, and nothing is gained by waiting.
const CANARY_A_STABLE: u64 = 200;

/// The chances that a gate rolls back a canary that keeps its limit, each over a whole rollout.
pub(super) struct Levels {
    pub(super) error_rate: f64,
    pub(super) p95: f64,
    error_rate_difference: f64,
    p95_ratio: f64,
}

/// For the counts of all nodes together: 0.8 % in all, with what the last seconds have. Half of it is for the error rate,
/// where a rollback is most urgent and the limit furthest from what a good model does; it finds 20 % errors where 5 % are
/// allowed after some 50 requests.
const POOLED: Levels = Levels { error_rate: 0.002, p95: 0.0005, error_rate_difference: 0.002, p95_ratio: 0.001 };
/// For one node alone, which may veto: 0.2 % for all gates of all nodes of the largest mesh, 26.
const NODE: Levels = Levels { error_rate: 0.95e-5, p95: 0.95e-5, error_rate_difference: 1.9e-5, p95_ratio: 1.9e-5 };

impl Levels {
    pub(super) const fn of(scope: Scope) -> &'static Self {
        match scope {
            Scope::Pooled => &POOLED,
            Scope::Node => &NODE,
        }
    }
}

/// Where the samples are held against the gates.
pub(super) struct Bench<'a> {
    samples: &'a Samples,
    scope: Scope,
}

/// What a gate has to say besides its name and limit.
struct Seen {
    value: Option<f64>,
    requests: u64,
    standing: Standing,
}

impl<'a> Bench<'a> {
    pub(super) const fn new(samples: &'a Samples, scope: Scope) -> Self {
        Self { samples, scope }
    }

    /// How this gate stands.
    pub(super) fn find(&self, name: GateName, gates: &Gates) -> Finding {
        let levels = Levels::of(self.scope);
        let (gate, level, unit) = match name {
            GateName::ErrorRate => (gates.error_rate, levels.error_rate, MILLION),
            GateName::P95 => (gates.p95, levels.p95, 1_000),
            GateName::ErrorRateDifference => (gates.error_rate_difference, levels.error_rate_difference, MILLION),
            GateName::P95Ratio => (gates.p95_ratio, levels.p95_ratio, MILLION),
        };
        let limit = in_units(gate, unit);
        let seen = match name {
            GateName::ErrorRate => self.error_rate(limit, level),
            GateName::P95 => self.p95(gate.limit, limit, level),
            GateName::ErrorRateDifference => self.error_rate_difference(limit, level),
            GateName::P95Ratio => self.p95_ratio(limit, level),
        };
        let Seen { value, requests, standing } = seen;
        Finding { gate: name, mode: gate.mode, value, limit, requests, standing }
    }

    /// What the evidence has to reach at this level of a whole rollout. Steps share it out as restarts do.
    fn threshold(&self, level: f64) -> f64 {
        log_threshold(level, self.samples.restarts) + log_threshold(1.0, self.samples.step)
    }

    fn error_rate(&self, limit: f64, level: f64) -> Seen {
        let canary = &self.samples.canary;
        let (requests, errors) = (canary.requests(), canary.errors());
        // Those that are under way may still succeed.
        let broken = || log_evidence_above(canary.begun(), errors, limit) >= self.threshold(level);
        let value = canary.error_rate();
        Seen { value, requests, standing: standing(value.map(|rate| rate <= limit), broken) }
    }

    /// Judged by the share of answers that exceed the limit, which needs no histogram finer than it.
    fn p95(&self, micros: u64, limit: f64, level: f64) -> Seen {
        let canary = &self.samples.canary;
        let (answers, slow) = (canary.answers(), canary.exceeding(micros));
        let broken = || log_evidence_above(answers, slow, TAIL) >= self.threshold(level);
        let kept = share(slow, answers).map(|share| share <= TAIL);
        // What cannot be told from the limit is shown as the limit.
        let value = canary.quantile(P95).map(|p95| match u64::try_from(p95.as_micros()) {
            Ok(seen) if canary.is_same(seen, micros) => limit,
            _ => p95.as_secs_f64() * 1_000.0,
        });
        Seen { value, requests: answers, standing: standing(kept, broken) }
    }

    fn error_rate_difference(&self, limit: f64, level: f64) -> Seen {
        let Samples { stable, canary, .. } = self.samples;
        let requests = canary.requests();
        if !can_compare(stable.requests(), requests) {
            return Seen { value: None, requests, standing: Standing::Absent };
        }
        // Each bound may be wrong with half of the level.
        let threshold = self.threshold(level / 2.0);
        let broken = || {
            let at_most = rate_upper_bound(stable.requests(), stable.errors(), threshold);
            rate_lower_bound(canary.begun(), canary.errors(), threshold) > at_most + limit
        };
        let value = canary.error_rate().zip(stable.error_rate()).map(|(canary, stable)| canary - stable);
        Seen { value, requests, standing: standing(value.map(|difference| difference <= limit), broken) }
    }

    #[allow(clippy::cast_precision_loss, reason = "at most sixty million microseconds")]
    fn p95_ratio(&self, limit: f64, level: f64) -> Seen {
        let Samples { stable, canary, .. } = self.samples;
        let requests = canary.answers();
        if !can_compare(stable.answers(), requests) {
            return Seen { value: None, requests, standing: Standing::Absent };
        }
        // Each bound may be wrong with half of the level.
        let threshold = self.threshold(level / 2.0);
        let broken = || {
            let (at_least, at_most) = (quantile_above(canary, P95, threshold), quantile_below(stable, P95, threshold));
            at_least.zip(at_most).is_some_and(|(canary, stable)| canary as f64 > limit * stable as f64)
        };
        let p95s = canary.quantile(P95).zip(stable.quantile(P95));
        let value = p95s.map(|(canary, stable)| canary.as_secs_f64() / stable.as_secs_f64());
        Seen { value, requests, standing: standing(value.map(|ratio| ratio <= limit), broken) }
    }
}

#[allow(clippy::cast_precision_loss, reason = "limits are at most a hundred millions")]
fn in_units(gate: Gate, unit: u64) -> f64 {
    gate.limit as f64 / unit as f64
}

/// What is within its limit cannot be proven to be beyond it, so that the proof is only asked for otherwise.
fn standing(kept: Option<bool>, broken: impl Fn() -> bool) -> Standing {
    match kept {
        Some(true) => Standing::Kept,
        Some(false) if broken() => Standing::Broken,
        Some(false) | None => Standing::Open,
    }
}

fn can_compare(stable: u64, canary: u64) -> bool {
    stable >= FEWEST_TO_COMPARE && stable.saturating_mul(CANARY_A_STABLE) >= canary
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::MAX_NODES;

    #[test]
    fn all_gates_steps_and_nodes_together_roll_back_one_in_a_hundred_in_vain() {
        // The absolute gates have theirs twice: for all that was counted, and for the last seconds.
        let sum =
            |levels: &Levels| 2.0 * (levels.error_rate + levels.p95) + levels.error_rate_difference + levels.p95_ratio;
        #[allow(clippy::cast_precision_loss, reason = "26")]
        let all = sum(&POOLED) + MAX_NODES as f64 * sum(&NODE);
        assert!(all <= 0.01, "{all}");
    }
}
