//! Every interleaving within a budget: over all that can happen next, until nothing new is found or the bound on states
//! is reached; each search says which.
//!
//! Heartbeats are delivered at once, and only when the world lets time pass; all other messages are delivered in any
//! order, late, or never, and twice as often as the budget says. Time passes in strides long enough that everyone
//! notices who is silent. What the wire holds at the end of a path has been lost on it.

use super::ghost::Broken;
use super::random::Dice;
use super::world::{Fate, Heartbeats, World, id, pull_back, share};
use crate::commit::Timing;
use crate::commit::rule::Rule;
use crate::model::{Change, NodeId};
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

/// How often the healing of a state is tried: it takes a thousand times as long as a step.
const HEAL_ONE_IN: u64 = 512;
/// Steps of a walk: two transactions with all their messages are some thirty.
const LONGEST_WALK: usize = 60;
/// How soon after the last repair all must be settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Requests for a change: an advance first, then whatever else.
    pub(super) requests: u8,
    /// Crashes, each followed by a restart at any time later; what was not forced is lost.
    pub(super) crashes: u8,
    /// Crashes in the middle of a step.
    pub(super) torn_steps: u8,
    /// Disks lost.
    pub(super) wipes: u8,
    /// Strides of time, in which one member may be cut off.
    pub(super) strides: u8,
    /// Messages delivered twice.
    pub(super) repeats: u8,
    /// The most states to look at.
    pub(super) states: usize,
    /// What happens before.
    pub(super) prelude: Prelude,
    /// In which order states are looked at.
    pub(super) order: Order,
}

/// In which order states are looked at: it matters for memory, and for which ones a bound leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// The nearest first: a bound leaves out the longest paths.
    Wide,
    /// One path to its end first: little is in memory, for searches that come to their end.
    Deep,
}

/// What happens before everything is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Prelude {
    /// All members have booted, and the first one coordinates.
    Calm,
    /// The second one has not heard the first for long, so that it may propose a retreat though the first coordinates.
    OneWay,
}

/// A member that is cut off while time passes, or none.
type Silent = Option<NodeId>;

/// One thing that can happen.
#[derive(Clone, Debug)]
enum Action {
    Deliver(usize, Fate),
    Repeat(usize),
    Request(NodeId, Change),
    Crash(NodeId),
    Start(NodeId),
    Wipe(NodeId),
    Stride(Silent),
}

/// What a search found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    pub(super) healed: usize,
    /// Whether everything within the budget was looked at.
    pub(super) complete: bool,
}

/// Timers far apart, so that time means only what a stride makes of it; the lease outlasts the search, because the
/// random schedules look at leases.
pub(super) fn timing() -> Timing {
    Timing { lease: Duration::from_secs(100_000), ..Timing::default() }
}

fn begin(budget: Budget, omitted: Option<Rule>) -> Result<World, Broken> {
    let mut world = World::new(3, Heartbeats::Instant, timing(), omitted)?;
    world.deliver_all()?;
    world.pass(Duration::from_millis(200))?;
    world.wire.clear();
    if budget.prelude == Prelude::OneWay {
        world.cut.insert((id(0), id(1)));
        stride(&mut world, None)?;
        world.cut.clear();
        world.wire.clear();
    }
    Ok(world)
}

/// Takes one path within `budget`, drawn by `dice`: deeper than a search of everything gets.
pub(super) fn walk(budget: Budget, dice: &mut Dice, omitted: Option<Rule>) -> Result<(), Broken> {
    let (mut world, mut rest) = (begin(budget, omitted)?, budget);
    for _ in 0..LONGEST_WALK {
        let mut actions = actions(&world, rest);
        if actions.is_empty() {
            break;
        }
        let action = actions.swap_remove(dice.below(actions.len()));
        rest = rest.spend(&action);
        take(&mut world, &action)?;
    }
    Ok(())
}

/// Looks at every state within `budget`.
pub(super) fn search(budget: Budget, omitted: Option<Rule>) -> Result<Found, Broken> {
    let world = begin(budget, omitted)?;
    let mut seen: HashSet<u64, BuildHasherDefault<super::world::Fold>> = HashSet::default();
    let mut frontier = VecDeque::from([(world, budget)]);
    let mut found = Found { states: 0, steps: 0, healed: 0, complete: true };
    while let Some((world, rest)) = next_of(&mut frontier, budget.order) {
        found.states += 1;
        for action in actions(&world, rest) {
            found.steps += 1;
            let mut next = world.clone();
            let left = rest.spend(&action);
            take(&mut next, &action)?;
            let print = super::world::fingerprint(&(next.print(), left));
            if !seen.insert(print) {
                continue;
            }
            if print % HEAL_ONE_IN == 0 {
                found.healed += 1;
                next.clone().heal(SETTLED_WITHIN)?;
            }
            if seen.len() < budget.states {
                frontier.push_back((next, left));
            } else {
                found.complete = false;
            }
        }
    }
    Ok(found)
}

fn next_of(frontier: &mut VecDeque<(World, Budget)>, order: Order) -> Option<(World, Budget)> {
    match order {
        Order::Wide => frontier.pop_front(),
        Order::Deep => frontier.pop_back(),
    }
}

impl Budget {
    const fn spend(mut self, action: &Action) -> Self {
        match action {
            Action::Deliver(_, Fate::Survives) | Action::Start(_) => {}
            Action::Deliver(_, Fate::DiesBeforeDisk | Fate::DiesAfterDisk) => self.torn_steps -= 1,
            Action::Repeat(_) => self.repeats -= 1,
            Action::Request(..) => self.requests -= 1,
            Action::Crash(_) => self.crashes -= 1,
            Action::Wipe(_) => self.wipes -= 1,
            Action::Stride(_) => self.strides -= 1,
        }
        self
    }
}

/// All that can happen next.
fn actions(world: &World, budget: Budget) -> Vec<Action> {
    let mut actions = Vec::new();
    for position in 0..world.wire.len() {
        actions.push(Action::Deliver(position, Fate::Survives));
        if budget.repeats > 0 {
            actions.push(Action::Repeat(position));
        }
        if budget.torn_steps > 0 {
            actions.push(Action::Deliver(position, Fate::DiesBeforeDisk));
        }
    }
    let up: Vec<NodeId> = world.ids().filter(|id| world.is_up(*id)).collect();
    for id in world.ids().filter(|id| !world.is_up(*id)) {
        actions.push(Action::Start(id));
    }
    if budget.crashes > 0 {
        actions.extend(up.iter().map(|id| Action::Crash(*id)));
    }
    if budget.wipes > 0 && world.without_disk() == 0 {
        actions.extend(up.iter().map(|id| Action::Wipe(*id)));
    }
    if budget.requests > 0 {
        let last = budget.requests == 1;
        let may_ask = |id: &&NodeId| match budget.prelude {
            Prelude::Calm => world.engine(**id).is_some_and(crate::commit::Engine::acts),
            Prelude::OneWay => (id.index() == 1) == last,
        };
        let change = if last { pull_back() } else { share(20) };
        actions.extend(up.iter().filter(may_ask).map(|id| Action::Request(*id, change.clone())));
    }
    if budget.strides > 0 {
        actions.push(Action::Stride(None));
        actions.extend(up.iter().map(|id| Action::Stride(Some(*id))));
    }
    actions
}

fn take(world: &mut World, action: &Action) -> Result<(), Broken> {
    match action {
        Action::Deliver(position, fate) => world.deliver(*position, *fate)?,
        Action::Repeat(position) => world.repeat(*position)?,
        Action::Request(id, change) => world.propose(*id, change.clone())?,
        Action::Crash(id) => world.crash(*id)?,
        Action::Start(id) => world.start(*id)?,
        Action::Wipe(id) => world.wipe(*id)?,
        Action::Stride(silent) => stride(world, *silent)?,
    }
    world.look()
}

/// Lets so much time pass that a member that is cut off is taken for gone. Its link stays up, as far as anyone knows.
fn stride(world: &mut World, silent: Silent) -> Result<(), Broken> {
    world.silent = silent;
    for _ in 0..3 {
        world.now = world.now + Duration::from_millis(2_100);
        world.wake_due()?;
    }
    world.silent = None;
    Ok(())
}

/// `CANARY_STATES=20000000 cargo test --lib exhaustive -- --nocapture` looks further than the bound of each search.
fn run(name: &str, budget: Budget) {
    let asked = std::env::var("CANARY_STATES").ok().and_then(|states| states.parse().ok());
    let budget = Budget { states: asked.unwrap_or(budget.states), ..budget };
    let found = search(budget, None).unwrap_or_else(|Broken { promise, how }| panic!("{name}: {promise:?}: {how}"));
    eprintln!(
        "{name}: {} states, {} steps, {} of them healed{}",
        found.states,
        found.steps,
        found.healed,
        if found.complete { ", complete" } else { ", cut off by the bound on states" }
    );
    assert!(found.states > 1_000, "{name} looked at {} states: it searches nothing", found.states);
}

const NOTHING: Budget = Budget {
    requests: 0,
    crashes: 0,
    torn_steps: 0,
    wipes: 0,
    strides: 0,
    repeats: 0,
    states: 100_000,
    prelude: Prelude::Calm,
    order: Order::Wide,
};

/// A retreat, with a takeover at any moment.
pub(super) const ONE_TAKEOVER: Budget = Budget { requests: 1, strides: 1, ..NOTHING };
/// An advance and a retreat, with a crash at any moment.
pub(super) const ONE_CRASH: Budget = Budget { requests: 2, crashes: 1, ..NOTHING };
/// One advance, then one retreat, in any order of messages, with takeovers.
pub(super) const TAKEOVER: Budget = Budget { requests: 2, strides: 2, ..NOTHING };
/// The same with crashes.
pub(super) const CRASHES: Budget = Budget { requests: 2, crashes: 2, strides: 1, ..NOTHING };
/// Crashes in the middle of steps.
pub(super) const TORN: Budget = Budget { requests: 2, torn_steps: 2, strides: 1, ..NOTHING };
/// A disk lost at any moment.
pub(super) const WIPES: Budget = Budget { requests: 2, wipes: 1, strides: 1, ..NOTHING };
/// An advance and a retreat with every order of messages, any of them lost, one of them repeated: searched to the end.
pub(super) const REPEATS: Budget = Budget { requests: 2, repeats: 1, states: 1_000_000, order: Order::Deep, ..NOTHING };

/// Two proposers at once.
pub(super) const ONE_WAY: Budget = Budget { requests: 2, prelude: Prelude::OneWay, ..NOTHING };

#[test]
fn every_race_of_two_proposers_keeps_every_promise() {
    run("two proposers", ONE_WAY);
}

#[test]
fn every_single_takeover_keeps_every_promise() {
    run("one takeover", ONE_TAKEOVER);
}

#[test]
fn every_single_crash_keeps_every_promise() {
    run("one crash", ONE_CRASH);
}

#[test]
fn every_takeover_within_the_budget_keeps_every_promise() {
    run("takeover", TAKEOVER);
}

#[test]
fn every_crash_within_the_budget_keeps_every_promise() {
    run("crashes", CRASHES);
}

#[test]
fn every_torn_step_within_the_budget_keeps_every_promise() {
    run("torn steps", TORN);
}

#[test]
fn every_lost_disk_within_the_budget_keeps_every_promise() {
    run("lost disks", WIPES);
}

#[test]
fn every_repeated_message_within_the_budget_keeps_every_promise() {
    run("repeats", REPEATS);
}
