//! The whole system in simulation: the engine, the controller of rollouts, the store on its disk, the bytes between nodes
//! and the glue of all these, as they ship, on machines whose every part may fail, drawn from one seed.
//!
//! [`watch`] knows what must hold, [`trouble`] what can go wrong, [`schedule`] what one run is; [`sometimes`] is what must
//! happen in some of them, [`mutants`] what the simulation finds when one rule is left out.

#![allow(clippy::print_stderr, reason = "a search says how far it looked, and follows one schedule on request")]

mod clock;
mod event;
mod life;
mod mutants;
mod network;
mod node;
mod omitted;
mod schedule;
mod sometimes;
mod surroundings;
mod trouble;
mod upgrade;
mod watch;
mod wire;
mod world;

pub(super) use omitted::Omitted;

use schedule::{Mode, Start, Story};
use sometimes::{Seen, Sometimes};
use std::sync::atomic::{AtomicBool, Ordering};

/// The faults that each schedule has.
const BUDGET: u8 = 5;
/// How many schedules each run of the tests looks at, and how many members they have.
const TRIED: [(usize, u64); 4] = [(3, 17_000), (4, 1_200), (5, 1_200), (7, 600)];
/// Where the nightly run begins: with seeds that the tests do not look at.
const NIGHTLY_FROM: u64 = 1_000_000;

/// What schedule a seed stands for.
fn mode(seed: u64) -> Mode {
    match seed % 64 {
        63 => Mode::Rollout(BUDGET),
        31 => Mode::Weather,
        15 => Mode::Upgrade(BUDGET),
        _ => Mode::Faults(BUDGET),
    }
}

/// How many members the nightly run gives a seed: three to seven, mostly three.
fn members(seed: u64) -> usize {
    match seed % 100 {
        0..4 => 4,
        4..8 => 5,
        8 => 6,
        9 => 7,
        _ => 3,
    }
}

/// Runs the schedules of many seeds until one fails, here or elsewhere; gives what was seen.
fn run_all(members: usize, seeds: impl Iterator<Item = u64>, failed: &AtomicBool) -> Seen {
    let mut start = Start::new(members).unwrap_or_else(|broken| panic!("{broken:?}"));
    let mut seen = Seen::default();
    for seed in seeds {
        if failed.load(Ordering::Relaxed) {
            break;
        }
        match start.run(seed, mode(seed), Omitted::Nothing, Story::Untold) {
            Ok(outcomes) => seen += &outcomes.seen,
            Err(failure) => {
                failed.store(true, Ordering::Relaxed);
                let again = start.run(seed, mode(seed), Omitted::Nothing, Story::Told);
                let story = again.map_or_else(|failure| failure.story, |fine| fine.story).unwrap_or_default();
                panic!("CANARY_SIM={members}:{seed} {:?}: {:?}\n{story}", mode(seed), failure.broken);
            }
        }
    }
    seen
}

/// The same on every processor.
fn run_everywhere(tried: &[(usize, Vec<u64>)]) -> Seen {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (mut seen, failed) = (Seen::default(), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let part = |worker: usize| {
            move || {
                let mut seen = Seen::default();
                for (members, seeds) in tried {
                    let mine = seeds.iter().copied().skip(worker).step_by(workers);
                    seen += &run_all(*members, mine, failed);
                }
                seen
            }
        };
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(part(worker))).collect();
        for worker in running {
            seen += &worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    seen
}

fn must_all_have_happened(seen: &Seen) {
    let never: Vec<Sometimes> = Sometimes::ALL.iter().copied().filter(|what| seen.count(*what) == 0).collect();
    assert!(never.is_empty(), "these never happened: {never:?}");
}

#[test]
fn twenty_thousand_schedules_break_no_promise_and_look_at_everything() {
    let tried = TRIED.map(|(members, count)| (members, (0..count).collect()));
    must_all_have_happened(&run_everywhere(&tried));
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte() {
    for members in [3, 5] {
        for seed in [3, 31, 63, 77] {
            let run = || {
                let mut start = Start::new(members).expect("a first boot");
                start.run(seed, mode(seed), Omitted::Nothing, Story::Told).expect("it breaks no promise")
            };
            let outcomes = run();
            assert!(outcomes.steps > 50 && outcomes.print != 0 && outcomes.versions > 0);
            assert_eq!(outcomes, run(), "{members} members, seed {seed}");
        }
    }
}

/// The nightly run: `cargo test --profile nightly -p sim --lib system::nightly -- --ignored --nocapture`, of
/// `CANARY_SIM_SCHEDULES` schedules from the seed `CANARY_SIM_FROM` on, where these are given.
#[test]
#[ignore = "it takes minutes"]
fn nightly() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let from = number("CANARY_SIM_FROM").unwrap_or(NIGHTLY_FROM);
    let count = number("CANARY_SIM_SCHEDULES").unwrap_or(1_000_000);
    let with = |wanted| (wanted, (from..from + count).filter(|seed| members(*seed) == wanted).collect());
    let tried: Vec<(usize, Vec<u64>)> = (3..=7).map(with).collect();
    let began = std::time::Instant::now();
    let seen = run_everywhere(&tried);
    for what in Sometimes::ALL {
        eprintln!("{:>9} {what:?}", seen.count(*what));
    }
    let took = began.elapsed().as_secs_f64();
    eprintln!("seeds {from}..{}: {count} schedules, {took:.0} s, 0 violations", from + count);
    must_all_have_happened(&seen);
}

/// Follows schedules: `CANARY_SIM=3:7 cargo test -p sim --lib system::follow -- --nocapture`, 3 members and seed 7; or
/// `3:0-5000` for a look at the speed. `CANARY_SIM_WITHOUT=WriteAgain` leaves a rule out; `Member(WriteThenSpeak)` names one
/// whose name another part has, too.
#[test]
fn follow() {
    let Ok(text) = std::env::var("CANARY_SIM") else { return };
    let numbers: Vec<u64> = text.split([':', '-']).map(|number| number.parse().expect("a number")).collect();
    let (members, first) = (usize::try_from(numbers[0]).expect("few members"), numbers[1]);
    let name = std::env::var("CANARY_SIM_WITHOUT").unwrap_or_default();
    let is_named = |omitted: &Omitted| {
        let full = format!("{omitted:?}");
        full == name || full.ends_with(&format!("({name})"))
    };
    let named = mutants::all().into_iter().find(is_named);
    let omitted = named.unwrap_or_default();
    let mut start = Start::new(members).unwrap_or_else(|broken| panic!("{broken:?}"));
    let Some(last) = numbers.get(2).copied() else {
        let result = start.run(first, mode(first), omitted, Story::Told);
        let story = result.as_ref().map_or_else(|failure| &failure.story, |fine| &fine.story);
        eprintln!("{}", story.as_deref().unwrap_or_default());
        return assert!(result.is_ok(), "{:?}", result.err().map(|failure| failure.broken));
    };
    let mut took = [(0, 0, std::time::Duration::ZERO); 4];
    let mut print = crc32fast::Hasher::new();
    for seed in first..=last {
        let began = std::time::Instant::now();
        let outcomes = start.run(seed, mode(seed), omitted, Story::Untold).unwrap_or_else(|failure| {
            panic!("CANARY_SIM={members}:{seed} {:?}: {:?}", mode(seed), failure.broken);
        });
        print.update(&outcomes.print.to_le_bytes());
        outcomes.seen.print(&mut print);
        let (count, steps, span) = &mut took[match mode(seed) {
            Mode::Faults(_) => 0,
            Mode::Weather => 1,
            Mode::Rollout(_) => 2,
            Mode::Upgrade(_) => 3,
        }];
        (*count, *steps, *span) = (*count + 1, *steps + outcomes.steps, *span + began.elapsed());
    }
    for ((count, steps, span), what) in took.iter().zip(["faults", "weather", "rollouts", "upgrades"]) {
        eprintln!(
            "{count} {what}: {} steps each, {:?} each",
            steps / count.max(&1),
            *span / u32::try_from((*count).max(1)).unwrap_or(1)
        );
    }
    eprintln!("print of all runs: {:08x}", print.finalize());
}
