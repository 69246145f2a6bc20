//! Long schedules drawn from seeds: everything at once, heartbeats on the wire, the real spans of time.

use super::ghost::Broken;
use super::world::{Fate, Heartbeats, World, id, pull_back, share};
use crate::commit::rule::Rule;
use crate::commit::{Input, Timing};
use crate::model::Change;
use std::time::Duration;

/// Steps of one schedule before everything is repaired.
const STEPS: usize = 120;
/// How soon after the last repair all must be settled: the protocol's 5 s, and one heartbeat for a proposer's back-off.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// A generator of numbers that look random: splitmix64, by Steele, Lea and Flood (2014).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Runs the schedule of one seed; the error is the promise it broke.
pub(super) fn run(members: usize, seed: u64, omitted: Option<Rule>, trace: Trace) -> Result<Stats, Broken> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(members, Heartbeats::OnTheWire, Timing::default(), omitted)?;
    world.trace = trace == Trace::On;
    world.deliver_all()?;
    world.pass(Duration::from_millis(200))?;
    if dice.once_in(2) {
        world.propose(id(0), share(20))?;
        world.pass(Duration::from_millis(100))?;
    }
    for _ in 0..STEPS {
        act(&mut world, &mut dice)?;
        world.look()?;
    }
    if dice.once_in(8) {
        one_way_view(&mut world)?;
    }
    world.heal(SETTLED_WITHIN)?;
    for change in [pull_back(), share(50)] {
        decide(&mut world, &change)?;
    }
    Ok(Stats { versions: world.ghost.versions() })
}

/// Asks for a change as a patient operator does, of whoever coordinates: with everything repaired it must be decided.
fn decide(world: &mut World, change: &Change) -> Result<(), Broken> {
    let before = world.ghost.versions();
    for _ in 0..4 {
        let acting = world.ids().find(|id| world.engine(*id).is_some_and(crate::commit::Engine::acts));
        world.propose(acting.unwrap_or(id(0)), change.clone())?;
        world.pass(Duration::from_millis(300))?;
        if world.ghost.versions() > before && world.is_settled() {
            return Ok(());
        }
    }
    let how = format!("healed, but nothing can be decided: {}", world.describe());
    super::ghost::broken(super::ghost::Promise::Progress, how)
}

/// Whether every step is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    On,
    Off,
}

/// What one schedule did.
pub(super) struct Stats {
    pub(super) versions: usize,
}

/// Leaves all links but the one between the first two, and checks that one member coordinates, and only one.
fn one_way_view(world: &mut World) -> Result<(), Broken> {
    world.heal(SETTLED_WITHIN)?;
    world.cut.extend([(id(0), id(1)), (id(1), id(0))]);
    world.link()?;
    world.pass(Duration::from_secs(12))?;
    let acting = world.ids().filter(|id| world.engine(*id).is_some_and(crate::commit::Engine::acts)).count();
    if acting != 1 {
        let how = format!("{acting} members coordinate: {}", world.describe());
        return super::ghost::broken(super::ghost::Promise::Progress, how);
    }
    Ok(())
}

fn act(world: &mut World, dice: &mut Dice) -> Result<(), Broken> {
    let members = world.nodes.len();
    let node = id(dice.below(members));
    match dice.below(100) {
        0..60 if !world.wire.is_empty() => {
            // Mostly in order, sometimes not.
            let window = if dice.once_in(3) { world.wire.len() } else { 1 };
            let position = dice.below(window);
            let fate = match dice.below(60) {
                0 => Fate::DiesBeforeDisk,
                1 => Fate::DiesAfterDisk,
                _ => Fate::Survives,
            };
            if dice.once_in(12) { world.repeat(position) } else { world.deliver(position, fate) }
        }
        60..64 if !world.wire.is_empty() => {
            let position = dice.below(world.wire.len());
            world.wire.remove(position);
            Ok(())
        }
        64..72 => {
            if world.is_up(node) {
                let change = change(dice);
                world.propose(node, change)?;
            }
            Ok(())
        }
        72..75 => world.crash(node),
        75..80 => {
            if world.is_up(node) {
                Ok(())
            } else {
                world.start(node)
            }
        }
        80 => {
            // One lost disk at a time: with two, what they alone held is gone, and no protocol brings it back.
            if world.without_disk() == 0 && dice.once_in(2) { world.wipe(node) } else { Ok(()) }
        }
        81..84 => {
            let other = id(dice.below(members));
            if node != other && world.cut.len() < members {
                world.cut.insert((node, other));
                if dice.once_in(2) {
                    world.cut.insert((other, node));
                }
                // Without this the cut is silent: both ends believe in the link.
                if dice.once_in(2) {
                    world.link()?;
                }
            }
            Ok(())
        }
        84..87 => {
            world.cut.clear();
            world.link()
        }
        87 => {
            world.probes_fail = !world.probes_fail;
            Ok(())
        }
        88..92 => {
            let long = [10, 60, 300, 2_100, 5_100, 10_200];
            world.now = world.now + Duration::from_millis(long[dice.below(long.len())]);
            Ok(())
        }
        92 => world.pass(Duration::from_millis([50, 500, 3_000, 6_000][dice.below(4)])),
        _ => {
            world.now = world.now + Duration::from_millis(dice.below(40) as u64);
            // A paused member does not notice that time passes.
            if dice.once_in(4) { world.wake_due() } else { world.step_if_up(node) }
        }
    }
}

fn change(dice: &mut Dice) -> Change {
    match dice.below(10) {
        0..4 => share([5, 20, 50, 100][dice.below(4)]),
        4..8 => pull_back(),
        8 => Change::Drain(id(dice.below(3))),
        _ => Change::Undrain(id(dice.below(3))),
    }
}

impl World {
    fn step_if_up(&mut self, node: crate::model::NodeId) -> Result<(), Broken> {
        if self.is_up(node) { self.step(node, Input::Timeout, Fate::Survives) } else { Ok(()) }
    }
}

/// Runs the schedules of many seeds on both cores and fails with the first seed that breaks a promise.
fn run_all(members: usize, seeds: std::ops::Range<u64>) {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|part| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    let mut versions = 0;
                    for seed in seeds.filter(|seed| seed % 2 == part) {
                        match run(members, seed, None, Trace::Off) {
                            Ok(stats) => versions += stats.versions,
                            Err(broken) => return Err(format!("seed {seed}: {:?}: {}", broken.promise, broken.how)),
                        }
                    }
                    Ok(versions)
                })
            })
            .collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
        results.filter_map(Result::err).collect()
    });
    assert!(failures.is_empty(), "{members} members, {failures:?}");
}

#[test]
fn random_schedules_of_three_members_break_no_promise() {
    run_all(3, 0..100_000);
}

#[test]
fn random_schedules_of_five_members_break_no_promise() {
    run_all(5, 0..10_000);
}

/// Follows one schedule step by step: `CANARY_SEED=7 CANARY_MEMBERS=3 cargo test --lib follow_a_seed -- --nocapture`.
#[test]
fn follow_a_seed() {
    let Ok(seed) = std::env::var("CANARY_SEED") else { return };
    let members = std::env::var("CANARY_MEMBERS").map_or(3, |members| members.parse().expect("a number of members"));
    let broken = run(members, seed.parse().expect("a seed"), None, Trace::On).map(|_| ());
    assert_eq!(broken, Ok(()));
}
