//! The limits of a plan: a list of gates, each of which holds one figure of the canary against a number or against the stable
//! model. Everything in them is a whole number, so that a plan has one digest on all machines.

use crate::{MILLION, PlanError};
use std::fmt;
use std::sync::Arc;

/// The limits of a plan, at most one of each name, in the order of the names. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gates(Arc<[Gate]>);

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    /// What is measured, and against what it is held.
    pub name: GateName,
    /// The limit: a share or a difference of shares in millionths, a latency in microseconds, a ratio in millionths.
    pub limit: u64,
    /// For a ratio of latencies: a difference of so many microseconds, or less, is none.
    pub allow: u64,
    /// What happens when it is broken.
    pub mode: Mode,
}

/// What a gate measures, and against what it holds that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateName {
    /// Against what.
    pub compare: Compare,
    /// What.
    pub metric: Metric,
}

/// What a figure of the canary is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compare {
    /// The number that the plan gives.
    Limit,
    /// The same figure of the stable model on the same nodes in the same time: the difference of a share, the ratio of a
    /// latency.
    Stable,
}

/// A figure of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The share of requests that failed.
    ErrorRate,
    /// The latency that 95 % of the answers did not exceed.
    P95,
    /// The share of requests whose client left before it was known how they would end.
    UnknownRate,
    /// The share of requests that were answered with a status 4xx.
    Rate4xx,
    /// The share of requests that were answered with a status 3xx.
    Rate3xx,
}

/// What a broken limit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The canary is rolled back.
    Enforce,
    /// The rollout is paused until an operator decides.
    Pause,
    /// It is shown.
    Observe,
}

impl Metric {
    /// All figures.
    pub const ALL: [Self; 5] = [Self::ErrorRate, Self::P95, Self::UnknownRate, Self::Rate4xx, Self::Rate3xx];

    /// Its word in a plan.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::P95 => "p95_ms",
            Self::UnknownRate => "unknown_rate",
            Self::Rate4xx => "rate_4xx",
            Self::Rate3xx => "rate_3xx",
        }
    }
}

impl GateName {
    /// The share of requests that fail.
    pub const ERROR_RATE: Self = Self { compare: Compare::Limit, metric: Metric::ErrorRate };
    /// The p95.
    pub const P95: Self = Self { compare: Compare::Limit, metric: Metric::P95 };
    /// How far the error rate is above the stable model's.
    pub const ERROR_RATE_DIFFERENCE: Self = Self { compare: Compare::Stable, metric: Metric::ErrorRate };
    /// How many times the stable model's p95 the canary's is.
    pub const P95_RATIO: Self = Self { compare: Compare::Stable, metric: Metric::P95 };
    /// How far the share of unknown ends is above the stable model's.
    pub const UNKNOWN_RATE_DIFFERENCE: Self = Self { compare: Compare::Stable, metric: Metric::UnknownRate };
    /// How far the share of 4xx is above the stable model's.
    pub const RATE_4XX_DIFFERENCE: Self = Self { compare: Compare::Stable, metric: Metric::Rate4xx };
    /// How far the share of 3xx is above the stable model's.
    pub const RATE_3XX_DIFFERENCE: Self = Self { compare: Compare::Stable, metric: Metric::Rate3xx };

    /// All names, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        let named = |compare| Metric::ALL.into_iter().map(move |metric| Self { compare, metric });
        [Compare::Limit, Compare::Stable].into_iter().flat_map(named)
    }

    /// Its short name in a plan.
    pub const fn word(self) -> &'static str {
        match (self.compare, self.metric) {
            (Compare::Limit, Metric::ErrorRate) => "max_error_rate",
            (Compare::Limit, Metric::P95) => "max_p95_ms",
            (Compare::Limit, Metric::UnknownRate) => "max_unknown_rate",
            (Compare::Limit, Metric::Rate4xx) => "max_rate_4xx",
            (Compare::Limit, Metric::Rate3xx) => "max_rate_3xx",
            (Compare::Stable, Metric::ErrorRate) => "max_error_rate_difference",
            (Compare::Stable, Metric::P95) => "p95_ratio",
            (Compare::Stable, Metric::UnknownRate) => "unknown_rate_difference",
            (Compare::Stable, Metric::Rate4xx) => "rate_4xx_difference",
            (Compare::Stable, Metric::Rate3xx) => "rate_3xx_difference",
        }
    }

    /// The unit of its limit in a plan, as parts of one in which the limit is agreed.
    pub const fn unit(self) -> u64 {
        match (self.compare, self.metric) {
            (Compare::Limit, Metric::P95) => 1_000,
            (Compare::Limit | Compare::Stable, _) => MILLION,
        }
    }

    /// Whether a client can break it without any doing of the model.
    pub const fn can_be_provoked(self) -> bool {
        match self.metric {
            Metric::ErrorRate | Metric::P95 => false,
            Metric::UnknownRate | Metric::Rate4xx | Metric::Rate3xx => true,
        }
    }

    /// The limit where nothing is said; none where there is no gate then.
    pub const fn usual(self) -> Option<Gate> {
        let (limit, allow) = match (self.compare, self.metric) {
            (Compare::Limit, Metric::ErrorRate) => (50_000, 0),
            (Compare::Limit, Metric::P95) => (200_000, 0),
            (Compare::Stable, Metric::ErrorRate) => (20_000, 0),
            (Compare::Stable, Metric::P95) => (1_200_000, 5_000),
            (Compare::Stable, Metric::UnknownRate | Metric::Rate4xx | Metric::Rate3xx) => (50_000, 0),
            (Compare::Limit, Metric::UnknownRate | Metric::Rate4xx | Metric::Rate3xx) => return None,
        };
        Some(Gate { name: self, limit, allow, mode: Mode::Enforce })
    }

    /// Whether version 5 knows it.
    const fn is_known_to_5(self) -> bool {
        matches!(self.metric, Metric::ErrorRate | Metric::P95)
    }

    /// What its limit must be, and whether it is.
    fn allows(self, limit: u64) -> (&'static str, bool) {
        match (self.compare, self.metric) {
            (Compare::Limit, Metric::P95) => ("0.1 to 60000 milliseconds", (100..=60_000_000).contains(&limit)),
            (Compare::Stable, Metric::P95) => ("1 to 100", (MILLION..=100 * MILLION).contains(&limit)),
            (Compare::Limit | Compare::Stable, _) => ("above 0 and below 1", (1..MILLION).contains(&limit)),
        }
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = match self.metric {
            Metric::ErrorRate => "error rate",
            Metric::P95 => "p95",
            Metric::UnknownRate => "share of unknown ends",
            Metric::Rate4xx => "share of 4xx",
            Metric::Rate3xx => "share of 3xx",
        };
        let against = match (self.compare, self.metric) {
            (Compare::Limit, _) => "",
            (Compare::Stable, Metric::P95) => " ratio to stable",
            (Compare::Stable, _) => " difference to stable",
        };
        write!(f, "{figure}{against}")
    }
}

impl Default for Gates {
    /// 5 % errors, a p95 of 200 ms; compared with the stable model two errors in a hundred more, a p95 of 1.2 times its, and five
    /// in a hundred more unknown ends, 4xx and 3xx. All are enforced.
    fn default() -> Self {
        GateName::all().filter_map(GateName::usual).collect()
    }
}

impl FromIterator<Gate> for Gates {
    /// Of two with one name the later one counts.
    fn from_iter<T: IntoIterator<Item = Gate>>(gates: T) -> Self {
        let by_name = gates.into_iter().map(|gate| (gate.name, gate)).collect::<std::collections::BTreeMap<_, _>>();
        Self(by_name.into_values().collect())
    }
}

impl Gates {
    /// Those of version 5 where nothing was said.
    pub fn usual_of_5() -> Self {
        let of_5 = Self::default();
        of_5.iter().filter(|gate| gate.name.is_known_to_5()).map(|gate| Gate { allow: 0, ..gate }).collect()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = Gate> {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one of this name.
    pub fn get(&self, name: GateName) -> Option<Gate> {
        self.iter().find(|gate| gate.name == name)
    }

    /// The same with `gate` in the place of the one of its name, or beside the others.
    #[must_use]
    pub fn with(&self, gate: Gate) -> Self {
        self.iter().chain([gate]).collect()
    }

    /// The same with `change` made to the one of this name, if there is one.
    #[must_use]
    pub fn changed(&self, name: GateName, change: impl FnOnce(&mut Gate)) -> Self {
        let Some(mut gate) = self.get(name) else { return self.clone() };
        change(&mut gate);
        self.with(gate)
    }

    /// The four of version 5 in its order, if these are they and say nothing that it has no words for.
    pub fn of_5(&self) -> Option<[Gate; 4]> {
        let four: [Gate; 4] = (*self.0).try_into().ok()?;
        let known = four.iter().all(|gate| gate.name.is_known_to_5() && gate.allow == 0);
        known.then_some(four)
    }

    /// Fails with what is wrong with one of them.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        for Gate { name, limit, allow, .. } in self.iter() {
            let (range, is_within) = name.allows(limit);
            if !is_within {
                return Err(PlanError::Limit { gate: name.word(), range });
            }
            if allow > 0 && name != GateName::P95_RATIO {
                return Err(PlanError::Allowance { gate: name.word() });
            }
            if allow > 60_000_000 {
                return Err(PlanError::Limit { gate: "allow_ms", range: "at most 60000 milliseconds" });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_ordered() {
        let all: Vec<_> = GateName::all().collect();
        assert!(all.is_sorted());
        let mut words: Vec<_> = all.iter().map(|name| name.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!((all.len(), words.len()), (10, 10));
    }

    #[test]
    fn the_usual_ones_keep_their_ranges_and_version_5_knows_four() {
        assert_eq!(Gates::default().check(), Ok(()));
        assert_eq!((Gates::default().len(), Gates::default().of_5()), (7, None));
        let names = Gates::usual_of_5().of_5().expect("four").map(|gate| gate.name);
        use GateName as N;
        assert_eq!(names, [N::ERROR_RATE, N::P95, N::ERROR_RATE_DIFFERENCE, N::P95_RATIO]);
        let allowing = Gates::usual_of_5().changed(N::P95_RATIO, |gate| gate.allow = 1);
        assert_eq!(allowing.of_5(), None);
    }

    #[test]
    fn one_name_has_one_gate() {
        let usual = Gates::default();
        let stricter = usual.with(Gate { name: GateName::P95, limit: 100_000, allow: 0, mode: Mode::Pause });
        assert_eq!(stricter.len(), usual.len());
        assert_eq!(stricter.get(GateName::P95).map(|gate| gate.limit), Some(100_000));
        assert_eq!(
            usual.changed(GateName::P95, |gate| gate.limit = 100_000).get(GateName::P95).expect("it").limit,
            100_000
        );
    }

    #[test]
    fn an_allowance_belongs_to_the_ratio() {
        let odd = Gates::default().changed(GateName::P95, |gate| gate.allow = 1);
        assert_eq!(odd.check(), Err(PlanError::Allowance { gate: "max_p95_ms" }));
    }
}
