//! Every interleaving within a budget: over all that can happen next, until nothing new is found.
//!
//! Heartbeats are delivered at once, so that who is connected knows what the others say of themselves; all other messages
//! are delivered in any order, late, or never, and twice as often as the budget says. Time passes in strides long enough
//! that everyone notices who is silent. What the wire holds at the end of a path has been lost on it. A message that came
//! too late to mean anything is taken off it, see [`World::drop_spent`].
//!
//! `CANARY_SEARCH=deep cargo test -p sim --lib exhaustive -- --nocapture` takes the larger budgets.

use super::observer::{Broken, Promise, broken};
use super::rules::Without;
use super::subject::{Subject, Toy};
use super::world::{Fate, Heartbeats, World, id};
use crate::dice::Dice;
use agreement::{Engine, Timing};
use model::NodeId;
use service::RoutingState;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::time::Duration;

/// How often the healing of a state is tried: it takes a thousand times as long as a step.
const HEAL_ONE_IN: u64 = 512;
/// The toy is searched where that takes seconds: each budget is there for what happens to members, not to the register.
const MOST_TOYS: usize = 500_000;
/// Steps of a walk: two transactions with all their messages are some thirty.
const LONGEST_WALK: usize = 60;
/// How soon after the last repair all must be settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// What is asked for, in this order, each at any time.
    pub(super) wishes: &'static [Wish],
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
    /// Coordinators told to stop. Their processes do not end here; how one that ends differs from one that crashes, the
    /// random schedules look at.
    pub(super) stops: u8,
    /// What happens before.
    pub(super) prelude: Prelude,
}

/// A request for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wish {
    /// More for the canary.
    Advance,
    /// Nothing for the canary.
    Retreat,
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
    Request(NodeId, Wish),
    Crash(NodeId),
    Start(NodeId),
    Wipe(NodeId),
    Stride(Silent),
    Stop(NodeId),
}

/// What a search found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    pub(super) healed: usize,
}

/// Timers far apart, so that time means only what a stride makes of it; the lease outlasts the search, because the
/// random schedules look at leases.
pub(super) fn timing() -> Timing {
    Timing { lease: Duration::from_secs(100_000), ..Timing::default() }
}

fn begin<V: Subject>(budget: Budget, rules: Without) -> Result<World<V>, Broken> {
    let mut world = World::new(3, Heartbeats::Instant, timing(), rules)?;
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
pub(super) fn walk(budget: Budget, dice: &mut Dice, rules: Without) -> Result<(), Broken> {
    let (mut world, mut rest): (World, _) = (begin(budget, rules)?, budget);
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
pub(super) fn search<V: Subject>(budget: Budget, rules: Without) -> Result<Found, Broken> {
    let world: World<V> = begin(budget, rules)?;
    let mut seen: HashSet<u64, BuildHasherDefault<super::fingerprint::Fold>> = HashSet::default();
    // One path to its end first: little is in memory at once.
    let mut frontier = vec![(world, budget)];
    let mut found = Found { states: 0, steps: 0, healed: 0 };
    while let Some((world, rest)) = frontier.pop() {
        found.states += 1;
        for action in actions(&world, rest) {
            found.steps += 1;
            let mut next = world.clone();
            let left = rest.spend(&action);
            take(&mut next, &action)?;
            next.drop_spent();
            let print = super::fingerprint::fingerprint(&(next.print(), left));
            if !seen.insert(print) {
                continue;
            }
            if print % HEAL_ONE_IN == 0 {
                found.healed += 1;
                next.clone().heal(SETTLED_WITHIN)?;
            }
            frontier.push((next, left));
        }
    }
    Ok(found)
}

impl Budget {
    fn spend(mut self, action: &Action) -> Self {
        match action {
            Action::Deliver(_, Fate::Survives) | Action::Start(_) => {}
            Action::Deliver(_, Fate::DiesBeforeDisk | Fate::DiesAfterDisk) => self.torn_steps -= 1,
            Action::Repeat(_) => self.repeats -= 1,
            Action::Request(..) => self.wishes = &self.wishes[1..],
            Action::Crash(_) => self.crashes -= 1,
            Action::Wipe(_) => self.wipes -= 1,
            Action::Stride(_) => self.strides -= 1,
            Action::Stop(_) => self.stops -= 1,
        }
        self
    }
}

/// All that can happen next.
fn actions<V: Subject>(world: &World<V>, budget: Budget) -> Vec<Action> {
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
    if budget.wipes > 0 && world.without_disk() == Some(0) {
        actions.extend(up.iter().map(|id| Action::Wipe(*id)));
    }
    if let Some((wish, later)) = budget.wishes.split_first() {
        let may_ask = |id: &&NodeId| match budget.prelude {
            Prelude::Calm => world.engine(**id).is_some_and(Engine::acts),
            Prelude::OneWay => (id.index() == 1) == later.is_empty(),
        };
        actions.extend(up.iter().filter(may_ask).map(|id| Action::Request(*id, *wish)));
    }
    if budget.strides > 0 {
        actions.push(Action::Stride(None));
        actions.extend(up.iter().map(|id| Action::Stride(Some(*id))));
    }
    if budget.stops > 0 {
        let coordinates = |engine: &Engine<V, Without>| engine.acts() && !engine.is_leaving();
        let acting = up.iter().filter(|id| world.engine(**id).is_some_and(coordinates));
        actions.extend(acting.map(|id| Action::Stop(*id)));
    }
    actions
}

fn take<V: Subject>(world: &mut World<V>, action: &Action) -> Result<(), Broken> {
    match action {
        Action::Deliver(position, fate) => world.deliver(*position, *fate)?,
        Action::Repeat(position) => world.repeat(*position)?,
        Action::Request(id, Wish::Advance) => world.propose(*id, V::raise())?,
        Action::Request(id, Wish::Retreat) => world.propose(*id, V::clear())?,
        Action::Crash(id) => world.crash(*id)?,
        Action::Start(id) => world.start(*id)?,
        Action::Wipe(id) => world.wipe(*id)?,
        Action::Stride(silent) => stride(world, *silent)?,
        Action::Stop(id) => world.stop(*id)?,
    }
    world.look()
}

/// Lets so much time pass that a member that is cut off is taken for gone. Its link stays up, as far as anyone knows.
fn stride<V: Subject>(world: &mut World<V>, silent: Silent) -> Result<(), Broken> {
    world.silent = silent;
    for _ in 0..3 {
        world.now = world.now + Duration::from_millis(2_100);
        world.wake_due()?;
    }
    world.silent = None;
    let stays = |id: &NodeId| world.engine(*id).is_some_and(|engine| engine.is_leaving() && !engine.has_left());
    match world.ids().find(stays) {
        Some(id) => broken(Promise::Progress, format!("{id} was told to stop and stays: {}", world.describe())),
        None => Ok(()),
    }
}

/// Looks at the routing state and, where there is little to look at, at the toy, which must have as many states.
fn run(name: &str, quick: Budget, deep: Budget) {
    let is_deep = std::env::var("CANARY_SEARCH").is_ok_and(|depth| depth == "deep");
    let budget = if is_deep { deep } else { quick };
    let states = look::<RoutingState>(name, budget);
    if states <= MOST_TOYS {
        let toys = look::<Toy>(&format!("{name}, toy"), budget);
        assert_eq!(states, toys, "{name}: what is agreed on makes a difference to the agreement");
    }
}

fn look<V: Subject>(name: &str, budget: Budget) -> usize {
    let began = std::time::Instant::now();
    let found = search::<V>(budget, Without(None));
    let Found { states, steps, healed } =
        found.unwrap_or_else(|Broken { promise, how }| panic!("{name}: {promise:?}: {how}"));
    eprintln!("{name}: {states} states, {steps} steps, {healed} healed, complete, {:.0?}: {budget:?}", began.elapsed());
    assert!(states > 1_000, "{name} looked at {states} states: it searches nothing");
    states
}

const NOTHING: Budget = Budget {
    wishes: &[],
    crashes: 0,
    torn_steps: 0,
    wipes: 0,
    strides: 0,
    repeats: 0,
    stops: 0,
    prelude: Prelude::Calm,
};
pub(super) const RETREAT: Budget = Budget { wishes: &[Wish::Retreat], ..NOTHING };
pub(super) const ADVANCE: Budget = Budget { wishes: &[Wish::Advance], ..NOTHING };
pub(super) const BOTH: Budget = Budget { wishes: &[Wish::Advance, Wish::Retreat], ..NOTHING };
/// Two proposers at once.
pub(super) const ONE_WAY: Budget = Budget { prelude: Prelude::OneWay, ..BOTH };
pub(super) const TAKEOVER: Budget = Budget { strides: 1, ..RETREAT };
pub(super) const REPEATS: Budget = Budget { repeats: 2, ..BOTH };
pub(super) const LOST_DISK: Budget = Budget { wipes: 1, ..BOTH };
pub(super) const STOP: Budget = Budget { stops: 1, strides: 1, ..RETREAT };

#[test]
#[ignore = "millions of states, for minutes: tools/nightly.sh searches them"]
fn every_race_of_two_proposers_keeps_every_promise() {
    run("two proposers", Budget { wishes: &[Wish::Retreat, Wish::Retreat], ..ONE_WAY }, ONE_WAY);
}

#[test]
fn every_takeover_in_a_retreat_keeps_every_promise() {
    run("takeover, retreat", TAKEOVER, Budget { strides: 2, ..RETREAT });
}

#[test]
fn every_takeover_in_an_advance_keeps_every_promise() {
    run("takeover, advance", Budget { strides: 1, ..ADVANCE }, Budget { strides: 1, ..BOTH });
}

#[test]
fn every_crash_in_a_retreat_keeps_every_promise() {
    run("crashes, retreat", Budget { crashes: 1, ..RETREAT }, Budget { crashes: 2, ..RETREAT });
}

#[test]
fn every_crash_in_an_advance_keeps_every_promise() {
    run("crashes, advance", Budget { crashes: 1, ..ADVANCE }, Budget { crashes: 2, ..ADVANCE });
}

#[test]
#[ignore = "millions of states, for minutes: tools/nightly.sh searches them"]
fn every_crash_in_two_transactions_keeps_every_promise() {
    let torn = Budget { torn_steps: 1, ..BOTH };
    run("crashes, both", torn, Budget { crashes: 1, ..torn });
}

#[test]
#[ignore = "hundreds of thousands of states, for minutes: tools/nightly.sh searches them"]
fn every_torn_step_in_a_retreat_keeps_every_promise() {
    run("torn steps, retreat", Budget { torn_steps: 2, ..RETREAT }, Budget { torn_steps: 2, strides: 1, ..RETREAT });
}

#[test]
#[ignore = "hundreds of thousands of states, for minutes: tools/nightly.sh searches them"]
fn every_torn_step_in_an_advance_keeps_every_promise() {
    run("torn steps, advance", Budget { torn_steps: 2, ..ADVANCE }, Budget { torn_steps: 2, strides: 1, ..ADVANCE });
}

#[test]
fn every_lost_disk_keeps_every_promise() {
    run("lost disk", LOST_DISK, Budget { wipes: 1, strides: 1, ..RETREAT });
}

#[test]
fn every_repeated_message_keeps_every_promise() {
    run("repeats", REPEATS, Budget { repeats: 3, ..BOTH });
}

#[test]
fn every_stop_in_a_retreat_keeps_every_promise() {
    run("stops, retreat", Budget { stops: 1, ..RETREAT }, Budget { stops: 2, ..RETREAT });
}

#[test]
fn every_stop_in_an_advance_keeps_every_promise() {
    run("stops, advance", Budget { stops: 1, ..ADVANCE }, Budget { stops: 1, ..BOTH });
}
