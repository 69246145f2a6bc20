//! Each gate of a plan held against what was counted: how far it was kept, and at which level it counts as broken.

use super::finding::{Doubt, Finding, Group, Standing};
use super::levels::level;
use super::measured::{Measured, provoked};
use super::samples::{Arms, Samples, Scope};
use super::sequential::{
    log_evidence_above, log_threshold, quantile_above, quantile_below, rate_lower_bound, rate_upper_bound,
};
use super::tally::share;
use service::{Compare, Gate, Gates, Metric};

/// The quantile of the latency gates.
const P95: f64 = 0.95;
/// The share of answers that may exceed it.
pub(super) const TAIL: f64 = 0.05;
/// A comparison needs this many stable requests: a p95 of fewer than 20 is the slowest of them, and half as many again
/// keep one outlier from being it.
const FEWEST_TO_COMPARE: u64 = 30;
/// So many stable requests of one step are compared with alone in a later one. They tell a share of one half within 5 in a
/// hundred, which is what the usual gates allow, and a p95 within a tenth unless its tail is very heavy.
const ENOUGH_TO_KEEP: u64 = 400;
/// A sample that is large enough to compare by lets a step pass though it has not kept the ratio's limit, unless that is likely to
/// be broken: that too many answers are beyond it is at least this part as likely as that just enough are, by the natural
/// logarithm. Without this, a canary a quarter over the limit was let pass in three rollouts of four, for it takes thousands of
/// answers to prove that; and two equal models are seldom seen so far apart.
const LIKELY: f64 = -1.3;
/// A comparison needs one stable request for at most this many of the canary's. In a step of 100 % the stable model only
/// ends what it had begun; with fewer than this it is no trial beside the canary's, and nothing is gained by waiting.
const CANARY_A_STABLE: u64 = 200;
/// Where there is nothing to compare with, more than this share of ends that say little is for a person to look at.
const MOST: f64 = 0.5;

/// Where the samples are held against the gates.
pub(super) struct Bench<'a> {
    samples: &'a Samples,
    gates: &'a Gates,
    compare_sample: Option<u64>,
    scope: Scope,
    group: Group,
}

/// What a gate has to say besides its name and limit.
struct Seen {
    value: Option<f64>,
    requests: u64,
    standing: Standing,
}

/// Requests that ended in one way, and those that could have.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) of: u64,
    pub(super) all: u64,
}

impl Ends {
    /// Those of `measured` that `metric` is about; none for a latency.
    pub(super) const fn of(measured: &Measured, metric: Metric) -> Option<Self> {
        Some(match metric {
            Metric::ErrorRate => Self { of: measured.errors(), all: measured.requests() },
            Metric::UnknownRate => {
                Self { of: measured.unknown(), all: measured.requests().saturating_add(measured.unknown()) }
            }
            Metric::Rate4xx => Self { of: measured.client_errors(), all: measured.ended() },
            Metric::Rate3xx => Self { of: measured.redirects(), all: measured.ended() },
            Metric::P95 => return None,
        })
    }

    fn share(self) -> Option<f64> {
        share(self.of, self.all)
    }
}

impl<'a> Bench<'a> {
    pub(super) const fn new(
        samples: &'a Samples,
        gates: &'a Gates,
        compare_sample: Option<u64>,
        scope: Scope,
        group: Group,
    ) -> Self {
        Self { samples, gates, compare_sample, scope, group }
    }

    /// How this gate stands.
    pub(super) fn find(&self, gate: &Gate) -> Finding {
        let Gate { name, limit, mode, .. } = *gate;
        #[allow(clippy::cast_precision_loss, reason = "limits are at most a hundred millions")]
        let in_units = limit as f64 / name.unit() as f64;
        let seen = match (name.compare, name.metric) {
            (Compare::Limit, Metric::P95) => self.p95(gate, in_units),
            (Compare::Limit, _) => self.share_of(gate, in_units),
            (Compare::Stable, Metric::P95) => self.p95_ratio(gate, in_units),
            (Compare::Stable, _) => self.difference(gate, in_units),
        };
        let Seen { value, requests, standing } = seen;
        let doubt = if standing == Standing::Broken { self.doubt(gate) } else { None };
        let finding =
            Finding { gate: name, group: self.group, mode, value, limit: in_units, requests, standing, doubt };
        self.without_comparison(gate, finding)
    }

    const fn arms(&self) -> &'a Arms {
        match self.group {
            Group::Routed => &self.samples.routed,
            Group::Told => &self.samples.told,
        }
    }

    /// What the stable model is compared by, if there is enough: its counts now, else those of the last step that had enough.
    fn stable(&self, count: impl Fn(&Measured) -> u64, canary: u64) -> Option<&'a Measured> {
        let now = &self.arms().stable;
        if can_compare(count(now), canary) {
            return Some(now);
        }
        let before = self.samples.stable_before.as_deref().filter(|_| self.group == Group::Routed)?;
        (count(before) >= FEWEST_TO_COMPARE).then_some(before)
    }

    /// What the evidence has to reach in a test of this gate that is made of so many parts. Steps share out the level as
    /// restarts do.
    fn threshold(&self, gate: &Gate, parts: f64) -> f64 {
        let level = level(self.gates, gate.name, self.scope, self.group) / parts;
        log_threshold(level, self.samples.restarts) + log_threshold(1.0, self.samples.step)
    }

    fn share_of(&self, gate: &Gate, limit: f64) -> Seen {
        let canary = &self.arms().canary;
        let Some(ends) = Ends::of(canary, gate.name.metric) else { return Seen::nothing() };
        // Those that are under way may still end otherwise.
        let begun = ends.all.saturating_add(canary.open());
        let broken = || log_evidence_above(begun, ends.of, limit) >= self.threshold(gate, 1.0);
        let value = ends.share();
        Seen { value, requests: ends.all, standing: standing(value.map(|rate| rate <= limit), broken) }
    }

    /// Judged by the share of answers that exceed the limit, which needs no histogram finer than it.
    fn p95(&self, gate: &Gate, limit: f64) -> Seen {
        let canary = &self.arms().canary;
        let (answers, slow) = (canary.answers(), canary.exceeding(gate.limit));
        let broken = || log_evidence_above(answers, slow, TAIL) >= self.threshold(gate, 1.0);
        let kept = share(slow, answers).map(|share| share <= TAIL);
        // What cannot be told from the limit is shown as the limit.
        let value = canary.quantile(P95).map(|p95| match u64::try_from(p95.as_micros()) {
            Ok(seen) if canary.is_same(seen, gate.limit) => limit,
            _ => p95.as_secs_f64() * 1_000.0,
        });
        Seen { value, requests: answers, standing: standing(kept, broken) }
    }

    fn difference(&self, gate: &Gate, limit: f64) -> Seen {
        let (canary, metric) = (&self.arms().canary, gate.name.metric);
        let Some(ends) = Ends::of(canary, metric) else { return Seen::nothing() };
        let of_stable = |measured: &Measured| Ends::of(measured, metric).map_or(0, |ends| ends.all);
        let Some(stable) = self.stable(of_stable, ends.all).and_then(|stable| Ends::of(stable, metric)) else {
            return Seen { value: None, requests: ends.all, standing: Standing::Absent };
        };
        // Each bound may be wrong with half of the level.
        let threshold = self.threshold(gate, 2.0);
        let begun = ends.all.saturating_add(canary.open());
        let broken = || {
            let at_most = rate_upper_bound(stable.all, stable.of, threshold);
            rate_lower_bound(begun, ends.of, threshold) > at_most + limit
        };
        let value = ends.share().zip(stable.share()).map(|(canary, stable)| canary - stable);
        Seen { value, requests: ends.all, standing: standing(value.map(|difference| difference <= limit), broken) }
    }

    #[allow(clippy::cast_precision_loss, reason = "at most sixty million microseconds")]
    fn p95_ratio(&self, gate: &Gate, limit: f64) -> Seen {
        let canary = &self.arms().canary;
        let (requests, allow) = (canary.answers_and_waits(), gate.allow as f64);
        let Some(stable) = self.stable(Measured::answers_and_waits, requests) else {
            return Seen { value: None, requests, standing: Standing::Absent };
        };
        // Each bound may be wrong with half of the level.
        let threshold = self.threshold(gate, 2.0);
        let is_beyond = |canary: f64, stable: f64| canary > limit * stable && canary - stable > allow;
        let broken = || {
            let (at_least, at_most) = (quantile_above(canary, P95, threshold), quantile_below(stable, P95, threshold));
            at_least.zip(at_most).is_some_and(|(canary, stable)| is_beyond(canary as f64, stable as f64))
        };
        let micros = |measured: &Measured| measured.quantile(P95).map(|p95| p95.as_secs_f64() * 1e6);
        let p95s = micros(canary).zip(micros(stable));
        // From the lower end of the bucket in which stable's p95 is: the limit's own bucket is not counted as beyond it.
        let is_likely = || {
            let beyond = stable.answers_and_waits() / 20 + 1;
            let p95 = stable.exceeded_by(beyond).unwrap_or(0) as f64;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some minutes in microseconds")]
            let most = (limit * p95).max(p95 + allow) as u64;
            log_evidence_above(requests, canary.exceeding(most), TAIL) >= LIKELY
        };
        let has_enough = self.compare_sample.is_some_and(|enough| requests >= enough);
        let mut standing = standing(p95s.map(|(canary, stable)| !is_beyond(canary, stable)), broken);
        if standing == Standing::Open && has_enough && !is_likely() {
            standing = Standing::Unproven;
        }
        Seen { value: p95s.map(|(canary, stable)| canary / stable), requests, standing }
    }

    /// Why such ends are for a person to look at, if they may be the doing of one client.
    fn doubt(&self, gate: &Gate) -> Option<Doubt> {
        let end = provoked(gate.name.metric)?;
        self.arms().canary.dominant(end).map(Doubt::OneSource)
    }

    /// The same finding, but for one that is absent while most requests ended so.
    fn without_comparison(&self, gate: &Gate, finding: Finding) -> Finding {
        let canary = &self.arms().canary;
        let ends = Ends::of(canary, gate.name.metric).filter(|_| gate.name.can_be_provoked());
        let is_most = |ends: Ends| {
            let begun = ends.all.saturating_add(canary.open());
            log_evidence_above(begun, ends.of, MOST) >= self.threshold(gate, 1.0)
        };
        match ends {
            Some(ends) if finding.standing == Standing::Absent && is_most(ends) => {
                let (standing, doubt) = (Standing::Broken, Some(Doubt::NothingToCompare));
                Finding { value: ends.share(), standing, doubt, ..finding }
            }
            Some(_) | None => finding,
        }
    }
}

impl Seen {
    const fn nothing() -> Self {
        Self { value: None, requests: 0, standing: Standing::Absent }
    }
}

/// Whether the stable model had enough requests in a step to be compared with later.
pub fn can_be_compared_with(stable: &Measured) -> bool {
    stable.requests() >= FEWEST_TO_COMPARE && stable.answers() >= FEWEST_TO_COMPARE
}

/// What is within its limit cannot be proven to be beyond it, so that the proof is only asked for otherwise.
fn standing(kept: Option<bool>, broken: impl Fn() -> bool) -> Standing {
    match kept {
        Some(true) => Standing::Kept,
        Some(false) if broken() => Standing::Broken,
        Some(false) | None => Standing::Open,
    }
}

/// The stable model's counts for a later step to be compared with: those of the step that is over, with what was kept `before`
/// where they are few. A comparison with a few dozen requests would be wrong for as long as it is made, as nothing is added to
/// them in a step of 100 %. None while there are too few in all.
pub fn stable_to_keep(mut over: Measured, before: Option<&Measured>) -> Option<Measured> {
    let fewest = over.requests().min(over.answers());
    if let Some(before) = before.filter(|_| fewest < ENOUGH_TO_KEEP) {
        over.merge(before);
    }
    can_be_compared_with(&over).then_some(over)
}

pub(super) const fn can_compare(stable: u64, canary: u64) -> bool {
    stable >= FEWEST_TO_COMPARE && stable.saturating_mul(CANARY_A_STABLE) >= canary
}
