//! Made-up traffic: how a model answers, and how many requests there are.

use judge::Verdict;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Pareto};
use std::time::Duration;

/// Where all chance comes from.
pub(crate) type Chance = Xoshiro256PlusPlus;

/// A chance of its own for each rollout, so that one can be looked at alone.
pub(crate) fn chance(seed: u64, row: u64, rollout: u64) -> Chance {
    Chance::seed_from_u64(seed ^ (row << 32) ^ rollout.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A number between two others that is as likely in each of their decades.
pub(crate) fn log_uniform(chance: &mut Chance, low: f64, high: f64) -> f64 {
    (low.ln() + chance.random::<f64>() * (high / low).ln()).exp()
}

/// The shape of a model's latencies, in units of its median.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// The logarithm is normal, with this deviation.
    LogNormal(f64),
    /// One of ten is from a Pareto tail of this exponent that begins at the median, the others as above.
    Tailed { deviation: f64, exponent: f64 },
}

/// How slow a model is at a time.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Its latencies times this.
    Steady(f64),
    /// In seven of ten seconds a hundred times slower.
    SevenOfTen,
}

/// How a model fails.
#[derive(Clone, Copy)]
pub(crate) enum Failing {
    /// This share, at all times.
    Steady(f64),
    /// This share in one second of ten, at a random place among them, and nothing in the others.
    Bursts(f64),
}

/// A model.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// The unit of its latencies, in microseconds.
    pub(crate) median_micros: f64,
    pub(crate) shape: Shape,
    pub(crate) pace: Pace,
    pub(crate) failing: Failing,
}

impl Shape {
    /// Log-normal with a deviation of 0.5 to 1.2, every second one with a Pareto tail.
    pub(crate) fn any(chance: &mut Chance) -> Self {
        let deviation = chance.random_range(0.5..1.2);
        match chance.random::<bool>() {
            true => Self::LogNormal(deviation),
            false => Self::Tailed { deviation, exponent: chance.random_range(1.5..3.0) },
        }
    }

    fn draw(self, chance: &mut Chance) -> f64 {
        let body = |deviation, chance: &mut Chance| {
            LogNormal::new(0.0, deviation).expect("a deviation is positive").sample(chance)
        };
        match self {
            Self::LogNormal(deviation) => body(deviation, chance),
            Self::Tailed { exponent, .. } if chance.random_bool(0.1) => {
                Pareto::new(1.0, exponent).expect("an exponent is positive").sample(chance)
            }
            Self::Tailed { deviation, .. } => body(deviation, chance),
        }
    }

    /// Its 95th percentile, of ten thousand draws.
    fn p95(self, chance: &mut Chance) -> f64 {
        let mut draws: Vec<f64> = (0..10_000).map(|_| self.draw(chance)).collect();
        draws.sort_unstable_by(f64::total_cmp);
        draws[9_500]
    }
}

impl Behaviour {
    /// A stable model: p95 of 10 to 150 ms (the limit is 200 ms), 0 to 2 % errors.
    pub(crate) fn any(chance: &mut Chance) -> Self {
        let shape = Shape::any(chance);
        Self::shaped(chance, shape, Failing::Steady(0.0)).with_errors_up_to(0.02, chance)
    }

    /// One of this shape with a p95 of 10 to 150 ms.
    pub(crate) fn shaped(chance: &mut Chance, shape: Shape, failing: Failing) -> Self {
        let median_micros = log_uniform(chance, 10_000.0, 150_000.0) / shape.p95(chance);
        Self { median_micros, shape, pace: Pace::Steady(1.0), failing }
    }

    fn with_errors_up_to(self, most: f64, chance: &mut Chance) -> Self {
        Self { failing: Failing::Steady(chance.random_range(0.0..most)), ..self }
    }

    /// Its 95th percentile in seconds, of ten thousand draws.
    pub(crate) fn p95_seconds(&self, chance: &mut Chance) -> f64 {
        self.median_micros * self.shape.p95(chance) / 1e6
    }

    /// The same, slowed down to a p95 of so many seconds if it is faster.
    pub(crate) fn slowed_to(self, p95: f64, chance: &mut Chance) -> Self {
        let times = (p95 / self.p95_seconds(chance)).max(1.0);
        Self { median_micros: self.median_micros * times, ..self }
    }

    /// How one request ends in this second of the rollout.
    pub(crate) fn answer(&self, moment: &Moment, chance: &mut Chance) -> (Duration, Verdict) {
        let failing = match self.failing {
            Failing::Steady(rate) => rate,
            Failing::Bursts(rate) if moment.is_burst => rate,
            Failing::Bursts(_) => 0.0,
        };
        let pace = match self.pace {
            Pace::Steady(pace) => pace,
            Pace::SevenOfTen => [100.0, 1.0][usize::from(moment.second % 10 >= 7)],
        };
        let seconds = self.median_micros * pace * self.shape.draw(chance) / 1e6;
        // Whoever waits longer than a minute has given up.
        let latency = Duration::from_secs_f64(seconds.min(60.0));
        (latency, if chance.random_bool(failing) { Verdict::Failed } else { Verdict::Good })
    }
}

/// A second of a rollout.
pub(crate) struct Moment {
    second: u64,
    burst: u64,
    is_burst: bool,
}

impl Moment {
    /// Before the first second.
    pub(crate) fn start(chance: &mut Chance) -> Self {
        Self { second: 0, burst: chance.random_range(0..10), is_burst: false }
    }

    /// The next second.
    pub(crate) fn advance(&mut self, chance: &mut Chance) {
        self.second += 1;
        if self.second.is_multiple_of(10) {
            self.burst = chance.random_range(0..10);
        }
        self.is_burst = self.second % 10 == self.burst;
    }

    /// Seconds since the rollout began.
    #[allow(clippy::cast_precision_loss, reason = "a rollout takes less than an hour")]
    pub(crate) const fn now(&self) -> f64 {
        self.second as f64
    }

    pub(crate) const fn is_burst(&self) -> bool {
        self.is_burst
    }
}
