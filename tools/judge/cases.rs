//! The cases: what is rolled out, and what is asked of the judgement.

use crate::rollout::{End, Ended, HOLD, STEPS, requests_to_fail, run};
use crate::table::Row;
use crate::traffic::{Behaviour, Chance, Failing, Pace, Shape, chance, log_uniform};
use crate::world::World;
use service::{Gate, GateName, Gates, Mode, Plan};
use std::thread;

/// Requests a second on all nodes together.
const RATES: (f64, f64) = (20.0, 2_000.0);
/// "Enough traffic": as many requests to the canary in the holds before the last step. It follows from the rate alone, not
/// from how long the canary lived.
const ENOUGH: f64 = 500.0;
/// Rollouts in vain, of all.
const MOST_IN_VAIN: f64 = 0.01;
/// Bad canaries caught, of all with enough traffic.
const FEWEST_CAUGHT: f64 = 0.99;
/// Requests to catch four times the limit, in the middle.
const MOST_REQUESTS: u64 = 60;

/// A p95 that is so many seconds longer than stable's is not longer.
const ALLOWED: f64 = 0.005;

/// What all cases share.
pub(crate) struct Cases {
    pub(crate) seed: u64,
    pub(crate) rollouts: u64,
    /// The only part of the table that is asked for; none for all.
    pub(crate) only: Option<String>,
}

/// How rollouts ended.
pub(crate) struct Ends(pub(crate) Vec<Ended>);

impl Ends {
    fn count(&self, is: impl Fn(End) -> bool) -> usize {
        self.0.iter().filter(|ended| is(ended.end)).count()
    }

    pub(crate) fn rolled_back(&self) -> usize {
        self.count(|end| matches!(end, End::RolledBack { .. }))
    }

    pub(crate) fn paused(&self) -> usize {
        self.count(|end| end == End::Paused)
    }

    pub(crate) fn aborted(&self) -> usize {
        self.count(|end| matches!(end, End::Aborted { .. }))
    }

    /// Aborted with as many requests as a plan compares by.
    pub(crate) fn aborted_with_enough(&self) -> usize {
        self.count(|end| matches!(end, End::Aborted { requests, .. } if requests >= Plan::COMPARE_SAMPLE))
    }

    pub(crate) fn promoted(&self) -> usize {
        self.count(|end| end == End::Promoted)
    }

    pub(crate) fn held_up(&self) -> usize {
        self.0.iter().filter(|ended| ended.was_held_up).count()
    }

    pub(crate) fn all(&self) -> usize {
        self.0.len()
    }
}

/// A part of the table by its name.
type Part = (&'static str, fn(&Cases) -> Vec<Row>);

/// Makes up a stable model and a canary.
type Made = fn(&mut Chance) -> (Behaviour, Behaviour);

impl Cases {
    /// All rows of the table, or those of one part.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let parts: [Part; 4] = [
            ("limits", Self::limits),
            ("equal", Self::alike),
            ("strangers", Self::strangers),
            ("evasions", Self::evasions),
        ];
        let wanted = parts.iter().filter(|(name, _)| self.only.as_ref().is_none_or(|only| only == name));
        wanted.flat_map(|(_, rows)| rows(self)).collect()
    }

    fn limits(&self) -> Vec<Row> {
        let mut rows = self.equal();
        rows.extend(self.bad(2, "10 % errors, limit 5 %", twice_the_errors));
        rows.extend(self.bad(3, "p95 1.5 x stable's, limit 1.2 and 5 ms", slower_by_half));
        rows.extend(self.requests_to_catch());
        rows.push(self.never_passed(6, "seven of ten points 100 x slower", |chance| {
            canary(chance, |stable| Behaviour { pace: Pace::SevenOfTen, ..stable })
        }));
        rows.push(self.never_passed(7, "errors in bursts only, 8 % in all", |chance| {
            canary(chance, |stable| Behaviour { failing: Failing::Bursts(0.8), ..stable })
        }));
        rows.push(self.never_passed(8, "deviation doubled, same median", |chance| wider(chance, 0.0)));
        // A log-normal of deviation s has its mean exp(s²/2) above its median.
        rows.push(self.never_passed(9, "deviation doubled, same mean", |chance| wider(chance, -0.375)));
        rows
    }

    fn worlds(&self, row: u64, make: Made) -> Vec<World> {
        let made = |rollout| {
            let mut chance = chance(self.seed, row, rollout);
            let rate = log_uniform(&mut chance, RATES.0, RATES.1);
            let (stable, canary) = make(&mut chance);
            World::plain(rate, stable, canary)
        };
        (0..self.rollouts).map(made).collect()
    }

    fn ends(&self, row: u64, made: Made) -> Ends {
        self.ends_of(row, self.rollouts, |chance| {
            let rate = log_uniform(chance, RATES.0, RATES.1);
            let (stable, canary) = made(chance);
            World::plain(rate, stable, canary)
        })
    }

    /// How so many rollouts end, shared out among the processors.
    pub(crate) fn ends_of(&self, row: u64, rollouts: u64, make: impl Fn(&mut Chance) -> World + Sync) -> Ends {
        let one = |rollout| {
            let mut chance = chance(self.seed, row, rollout);
            let world = make(&mut chance);
            (rollout, run(&world, &mut chance))
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let of_thread = |first: u64| (first..rollouts).step_by(threads).map(one).collect();
        let mut ends: Vec<(u64, Ended)> = thread::scope(|scope| {
            let running: Vec<_> =
                (0..threads as u64).map(|first| scope.spawn(move || -> Vec<_> { of_thread(first) })).collect();
            running.into_iter().flat_map(|thread| thread.join().expect("a rollout does not panic")).collect()
        });
        ends.sort_unstable_by_key(|(rollout, _)| *rollout);
        Ends(ends.into_iter().map(|(_, end)| end).collect())
    }

    fn equal(&self) -> Vec<Row> {
        let ends = self.ends(1, |chance| canary(chance, |stable| stable));
        let (rolled_back, aborted) = (ends.rolled_back(), ends.aborted());
        let in_vain = share(rolled_back + aborted, ends.0.len());
        let at_its_limits = self.ends(10, at_its_limits);
        let unproven = share(at_its_limits.rolled_back(), at_its_limits.0.len());
        vec![
            Row {
                case: "equal versions: rolled back or aborted in vain".to_owned(),
                measured: format!("{} ({rolled_back} rolled back, {aborted} aborted)", percent(in_vain)),
                required: format!("<= {}", percent(MOST_IN_VAIN)),
                holds: Some(in_vain <= MOST_IN_VAIN),
            },
            Row {
                case: "canary exactly at three limits: rolled back".to_owned(),
                measured: format!("{} ({} aborted)", percent(unproven), at_its_limits.aborted()),
                required: format!("<= {}", percent(MOST_IN_VAIN)),
                holds: Some(unproven <= MOST_IN_VAIN),
            },
        ]
    }

    fn bad(&self, row: u64, case: &str, made: Made) -> Vec<Row> {
        let holds: f64 = STEPS[..STEPS.len() - 1].iter().sum::<f64>() * HOLD as f64;
        let rates = self.worlds(row, made).into_iter().map(|world| world.rate * holds);
        let ends: Vec<(f64, Ended)> = rates.zip(self.ends(row, made).0).collect();
        let caught_from = |least: f64| {
            let ends: Vec<Ended> = ends.iter().filter(|end| end.0 >= least).map(|end| end.1).collect();
            (ends.iter().filter(|end| end.is_before_the_whole()).count(), ends.len())
        };
        let told = |(caught, all)| format!("{} ({caught} of {all})", percent(share(caught, all)));
        let (enough, all) = (caught_from(ENOUGH), caught_from(0.0));
        let aborted = Ends(ends.iter().map(|end| end.1).collect()).aborted();
        vec![
            Row {
                case: format!("{case}: caught before 100 %, from {ENOUGH} requests on"),
                measured: told(enough),
                required: format!(">= {}", percent(FEWEST_CAUGHT)),
                holds: Some(share(enough.0, enough.1) >= FEWEST_CAUGHT),
            },
            Row {
                case: format!("{case}: the same with any traffic"),
                measured: format!("{}, {aborted} by the deadline", told(all)),
                required: String::new(),
                holds: None,
            },
        ]
    }

    fn requests_to_catch(&self) -> Vec<Row> {
        let observe = |gate: Gate| Gate { mode: Mode::Observe, ..gate };
        let usual = Gates::default();
        let of = |gate: Gate| if gate.name == GateName::ERROR_RATE { gate } else { observe(gate) };
        let alone: Gates = usual.iter().map(of).collect();
        let row = |row, case: &str, gates: &Gates| {
            let made: Made = |chance| canary(chance, |stable| Behaviour { failing: Failing::Steady(0.2), ..stable });
            let mut counts: Vec<u64> = self
                .worlds(row, made)
                .iter()
                .zip(0..)
                .map(|(world, rollout)| {
                    let mut chance = chance(self.seed, row + 1_000, rollout);
                    requests_to_fail(world, gates, 10_000, &mut chance).unwrap_or(u64::MAX)
                })
                .collect();
            counts.sort_unstable();
            let (median, ninth) = (counts[counts.len() / 2], counts[counts.len() * 9 / 10]);
            Row {
                case: format!("requests to catch 20 % errors, limit 5 %, {case}"),
                measured: format!("median {median}, 90 % within {ninth}"),
                required: format!("median <= {MOST_REQUESTS}"),
                holds: Some(median <= MOST_REQUESTS),
            }
        };
        let absolute = format!("{} alone", GateName::ERROR_RATE);
        vec![row(4, &absolute, &alone), row(5, "all gates", &usual)]
    }

    fn never_passed(&self, row: u64, case: &str, made: Made) -> Row {
        let ends = self.ends(row, made);
        let (rolled_back, aborted) = (ends.rolled_back(), ends.aborted());
        let promoted = ends.promoted();
        Row {
            case: format!("{case}: promoted"),
            measured: format!("{promoted} ({rolled_back} rolled back, {aborted} aborted)"),
            required: "0".to_owned(),
            holds: Some(promoted == 0),
        }
    }
}

/// A stable model and a canary that differs from it.
fn canary(chance: &mut Chance, change: fn(Behaviour) -> Behaviour) -> (Behaviour, Behaviour) {
    let stable = Behaviour::any(chance);
    (stable, change(stable))
}

/// 5 % errors, two in a hundred more than stable has, and a p95 of 1.2 times stable's: all of it is allowed.
fn at_its_limits(chance: &mut Chance) -> (Behaviour, Behaviour) {
    let (stable, canary) = canary(chance, |stable| Behaviour { pace: Pace::Steady(1.2), ..stable });
    let failing = |rate| Failing::Steady(rate);
    (Behaviour { failing: failing(0.03), ..stable }, Behaviour { failing: failing(0.05), ..canary })
}

fn twice_the_errors(chance: &mut Chance) -> (Behaviour, Behaviour) {
    canary(chance, |stable| Behaviour { failing: Failing::Steady(0.1), ..stable })
}

/// A quarter over the limit of the p95's ratio, which is 1.2, or more where that is less than 5 ms.
fn slower_by_half(chance: &mut Chance) -> (Behaviour, Behaviour) {
    let stable = Behaviour::any(chance);
    let limit = (1.0 + ALLOWED / stable.p95_seconds(chance)).max(1.2);
    (stable, Behaviour { pace: Pace::Steady(1.25 * limit), ..stable })
}

/// A stable model whose latencies deviate by 0.5, and a canary whose latencies deviate by 1 from a median `shift` higher on
/// the scale of logarithms. The stable one's p95 is long enough that a fifth of it is a difference.
fn wider(chance: &mut Chance, shift: f64) -> (Behaviour, Behaviour) {
    let stable =
        Behaviour::shaped(chance, Shape::LogNormal(0.5), Failing::Steady(0.005)).slowed_to(5.0 * ALLOWED, chance);
    let median_micros = stable.median_micros * shift.exp();
    (stable, Behaviour { shape: Shape::LogNormal(1.0), median_micros, ..stable })
}

pub(crate) fn share(some: usize, all: usize) -> f64 {
    some as f64 / all.max(1) as f64
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
