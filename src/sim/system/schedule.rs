//! One schedule: a cluster at work, so many faults in the moments that count, then rest; and what must be true by then.

use super::event::{Event, Trouble};
use super::omitted::Omitted;
use super::sometimes::{Seen, Sometimes};
use super::surroundings::Quality;
use super::trouble::Lasting;
use super::upgrade;
use super::world::{World, id, operator};
use crate::dice::Dice;
use crate::search::observer::{Broken, Promise, broken};
use agreement::OnEmptyDisk;
use model::{NodeId, Weight};
use service::{Change, Extent, Model, Outcome, Phase, Plan, Span, Step, Then, WhenOpen};
use std::sync::Arc;
use std::time::Duration;

/// How soon after the last fault all must be settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// No disk takes longer for what it was asked for.
const SLOWEST: Duration = Duration::from_secs(30);
/// How long a cluster without trouble may take to boot.
const BOOT_WITHIN: Duration = Duration::from_secs(6);
/// A rollout in which nothing goes wrong any more ends within this.
const ROLLOUT_WITHIN: Duration = Duration::from_secs(40);

/// What a schedule is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A few faults, each in the worst moment, then repair: what must never happen does not, and what must happen does.
    Faults(u8),
    /// Trouble without end: what must never happen does not.
    Weather,
    /// A rollout among a few faults, then repair: a good canary goes all the way, a bad one is gone.
    Rollout(u8),
    /// Nodes that are replaced by those that speak version 6 of the wire, and back, among a few faults; then repair: all
    /// speak it, and leave version 5 behind.
    Upgrade(u8),
}

/// Where schedules of so many members begin.
pub(super) struct Start {
    members: usize,
    booted: World,
    plan: Arc<Plan>,
}

/// What came of one schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) seen: Seen,
    pub(super) steps: u64,
    pub(super) versions: usize,
    pub(super) print: u32,
    pub(super) story: Option<String>,
}

/// A schedule that broke a promise.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) broken: Broken,
    pub(super) story: Option<String>,
}

/// Whether a schedule is told in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Story {
    Told,
    Untold,
}

pub(super) const CALM: Quality = Quality { rate: 0, fails_one_in: 0 };
const GOOD: Quality = Quality { rate: 3_000, fails_one_in: 0 };
const BAD: Quality = Quality { rate: 3_000, fails_one_in: 3 };

impl Start {
    pub(super) fn new(members: usize) -> Result<Self, Broken> {
        let mut booted = World::new(members, 0, Omitted::Nothing, CALM);
        boot(&mut booted)?;
        Ok(Self { members, booted, plan: Arc::new(plan()) })
    }

    /// Runs the schedule of one seed.
    pub(super) fn run(&mut self, seed: u64, mode: Mode, omitted: Omitted, story: Story) -> Result<Outcomes, Failure> {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let blank = dice.once_in(24);
        let mut world =
            if blank { World::new(self.members, seed, omitted, CALM) } else { self.booted.branch(seed, omitted, CALM) };
        world.story = (story == Story::Told).then(String::new);
        let result = play(&mut world, &mut dice, mode, blank, &self.plan);
        let story = world.story.take();
        match result {
            Ok(()) => Ok(Outcomes {
                print: world.print(),
                seen: world.watch.seen,
                steps: world.steps,
                versions: world.watch.observer.versions(),
                story,
            }),
            Err(broken) => Err(Failure { broken, story }),
        }
    }
}

fn play(world: &mut World, dice: &mut Dice, mode: Mode, blank: bool, plan: &Arc<Plan>) -> Result<(), Broken> {
    for index in 0..world.nodes.len() {
        let now = world.now;
        let ppm = i64::try_from(dice.below(7_001)).unwrap_or(0) - 3_500;
        world.nodes[index].clock.drift(now, ppm);
    }
    if blank {
        for node in world.ids() {
            let waits = dice.below(300_000) as u64;
            world.after_us(waits, Event::Start(node, OnEmptyDisk::AwaitFirstBoot));
        }
    }
    match mode {
        Mode::Faults(budget) => {
            let end = faults(world, dice, budget, blank, None);
            world.run_until(world.now + end, |_| false)?;
            rest(world)?;
            decide(world, dice)
        }
        Mode::Weather => weather(world, dice),
        Mode::Upgrade(budget) => upgrade::play(world, dice, budget, blank),
        Mode::Rollout(budget) => rollout(world, dice, budget, blank, plan),
    }
}

/// Starts everyone and waits until all agree that nothing is agreed yet.
pub(super) fn boot(world: &mut World) -> Result<(), Broken> {
    for node in world.ids() {
        world.after_us(1_000, Event::Start(node, OnEmptyDisk::AwaitFirstBoot));
    }
    world.run_until(world.now + BOOT_WITHIN, World::is_settled)?;
    if !world.is_settled() {
        return broken(Promise::Progress, format!("no first boot: {}", world.describe()));
    }
    // Until nothing is on its way any more.
    world.run_until(world.now + Duration::from_millis(300), |_| false)
}

/// Draws what operators want, and the faults, most of them in the moments after that; says when it is over.
pub(super) fn faults(world: &mut World, dice: &mut Dice, budget: u8, blank: bool, first: Option<Change>) -> Duration {
    let members = world.nodes.len();
    let lasting = if dice.once_in(8) { Lasting::Long } else { Lasting::Short };
    let mut at = if blank { 400_000 } else { dice.below(60_000) as u64 };
    let mut moments = vec![at];
    for number in 0..2 + dice.below(3) {
        let change = match (number, &first) {
            (0, Some(first)) => first.clone(),
            (_, None) => change(dice, members),
            (_, Some(_)) => interference(dice, members),
        };
        ask(world, dice, at, change);
        if dice.once_in(5) {
            // Another operator has another mind at the same time.
            let change = self::change(dice, members);
            let node = id(dice.below(members));
            world.watch.seen.note(Sometimes::OperatorsRaced);
            world.after_us(at + dice.below(1_500) as u64, Event::Ask { node, change, by: 1, tries: 1 });
        }
        moments.push(at);
        let waits = [1_500, 8_000, 60_000, 600_000, 2_500_000];
        at += if lasting == Lasting::Long && number == 1 { 6_500_000 } else { waits[dice.below(waits.len())] };
    }
    let mut last = at;
    for _ in 0..budget {
        let moment = moments[if lasting == Lasting::Long { dice.below(2) } else { dice.below(moments.len()) }];
        let spread = [2_000, 6_000, 60_000, 1_000_000][dice.below(4)];
        let strikes = moment + dice.below(spread) as u64;
        let trouble = Trouble::draw(dice, members, lasting);
        world.watch.seen.note_if(blank && strikes < 500_000, Sometimes::FirstBootDisturbed);
        world.after_us(strikes, Event::Trouble(trouble));
        last = last.max(strikes);
    }
    // Time for trouble to have consequences: sometimes for leases to end.
    let more = match lasting {
        Lasting::Short => [100_000, 400_000, 3_600_000][dice.below(3)],
        Lasting::Long => [1_000_000, 6_000_000, 12_500_000][dice.below(3)],
    };
    Duration::from_micros(last + more)
}

fn ask(world: &mut World, dice: &mut Dice, after_us: u64, change: Change) {
    let acting = world.acting().filter(|_| !dice.once_in(4));
    let node = acting.unwrap_or_else(|| id(dice.below(world.nodes.len())));
    let tries = u8::from(!dice.once_in(4)) * 2;
    let own = if let Change::Approve { operator } = &change { operator.bytes().last() } else { None };
    let by = own.map_or_else(|| u8::try_from(dice.below(3)).unwrap_or(0), |letter| letter - b'a');
    world.after_us(after_us, Event::Ask { node, change, by, tries });
}

/// Repairs everything, and looks whether all is settled in time.
pub(super) fn rest(world: &mut World) -> Result<(), Broken> {
    world.repair();
    // The last fault is over when the slowest disk has done what it was asked for before.
    // Who was told to stop is back by then, too.
    let at_rest = |world: &World| world.nodes.iter().all(|node| node.rest.is_none() && node.leaving.is_none());
    world.run_until(world.now + SLOWEST, at_rest)?;
    let deadline = world.now + SETTLED_WITHIN;
    world.run_until(deadline, World::is_settled)?;
    if !world.is_settled() {
        return broken(Promise::Progress, format!("not settled in time: {}", world.describe()));
    }
    Ok(())
}

/// Asks for a change as a patient operator does, of whoever coordinates: with everything repaired it must be decided.
pub(super) fn decide(world: &mut World, dice: &mut Dice) -> Result<(), Broken> {
    let before = world.watch.observer.versions();
    let newest = world.watch.observer.newest.clone();
    let open = newest.as_ref().is_some_and(|newest| newest.open_rollout().is_some());
    let weight = newest.map_or(Weight::ZERO, |newest| newest.canary_weight());
    let change = match dice.below(2) {
        0 if !open && weight < Weight::FULL => share(10_000),
        _ => pull_back(),
    };
    for _ in 0..4 {
        let node = world.acting().unwrap_or(NodeId::A);
        world.after_us(0, Event::Ask { node, change: change.clone(), by: 0, tries: 2 });
        let decided = |world: &World| world.watch.observer.versions() > before && world.is_settled();
        world.run_until(world.now + Duration::from_millis(1_200), decided)?;
        if decided(world) {
            return Ok(());
        }
    }
    broken(Promise::Progress, format!("nothing can be decided: {}", world.describe()))
}

/// Trouble, one after the other, for long.
fn weather(world: &mut World, dice: &mut Dice) -> Result<(), Broken> {
    if dice.once_in(3) {
        world.set_quality(BAD);
        world.watch.is_good = false;
    }
    let members = world.nodes.len();
    for _ in 0..60 {
        match dice.below(3) {
            0 => {
                let change = change(dice, members);
                ask(world, dice, 0, change);
            }
            _ => {
                let lasting = if dice.once_in(6) { Lasting::Long } else { Lasting::Short };
                world.after_us(0, Event::Trouble(Trouble::draw(dice, members, lasting)));
            }
        }
        let passes = [500, 3_000, 40_000, 900_000][dice.below(4)];
        world.run_until(world.now + Duration::from_micros(passes), |_| false)?;
    }
    Ok(())
}

/// A rollout in trouble.
fn rollout(world: &mut World, dice: &mut Dice, budget: u8, blank: bool, plan: &Arc<Plan>) -> Result<(), Broken> {
    let good = dice.once_in(2);
    world.watch.is_good = good;
    world.set_quality(if good { GOOD } else { BAD });
    if !good && dice.once_in(2) {
        // Only one node's canary is bad.
        let bad = dice.below(world.nodes.len());
        world.set_quality(GOOD);
        world.nodes[bad].surroundings.traffic.quality = BAD;
    }
    let canary = Model { id: "v2".parse().expect("a model id"), upstream: None };
    let start = Change::Start { canary, plan: Arc::clone(plan), when_open: WhenOpen::Refuse };
    let end = faults(world, dice, budget, blank, Some(start.clone()));
    world.run_until(world.now + end, |_| false)?;
    rest(world)?;
    let began = world.now;
    let mut started = false;
    while world.now.since(began) < ROLLOUT_WITHIN {
        let newest = world.watch.observer.newest.clone();
        let last = newest.as_ref().and_then(|newest| newest.rollout.clone());
        let ended = last.as_ref().filter(|rollout| !rollout.is_open());
        // Operators may have ended it; then it begins again.
        if ended.is_some_and(|rollout| started && judged(rollout.phase, good)) && world.is_settled() {
            return Ok(());
        }
        let drained = newest.as_ref().map_or_else(Default::default, |newest| newest.drained);
        let node = world.acting().unwrap_or(NodeId::A);
        let wish = match last.filter(|rollout| rollout.is_open()) {
            _ if !drained.is_empty() => drained.iter().next().map(Change::Undrain),
            // A bad canary that has traffic already gets no votes for more.
            None if !good && newest.as_ref().is_some_and(|newest| newest.canary_weight() > Weight::ZERO) => {
                Some(pull_back())
            }
            None => {
                started = true;
                let clean = newest.as_ref().is_none_or(|newest| newest.stable.id.as_str() != "v2");
                Some(if clean { start.clone() } else { Change::Undo { to: None } })
            }
            Some(rollout) => {
                started = true;
                let missing = rollout.lacks(rollout.step + 1).is_some();
                let by = u8::try_from(dice.below(3)).unwrap_or(0);
                let approval = Change::Approve { operator: operator(by) };
                let held = rollout.plan.steps.get(rollout.step).is_some_and(|step| step.then == Then::AwaitPromotion);
                match rollout.phase {
                    _ if missing => {
                        world.after_us(0, Event::Ask { node, change: approval, by, tries: 2 });
                        None
                    }
                    Phase::Paused if held && rollout.why.starts_with("held at") => {
                        let extent = if good && dice.once_in(4) { Extent::Full } else { Extent::Step };
                        Some(Change::Promote(extent))
                    }
                    Phase::Paused => Some(Change::Resume),
                    Phase::Progressing | Phase::Ended(_) => None,
                }
            }
        };
        if let Some(change) = wish {
            world.after_us(0, Event::Ask { node, change, by: 0, tries: 2 });
        }
        world.run_until(world.now + Duration::from_millis(500), |_| false)?;
    }
    let newest = world.watch.observer.newest.as_ref();
    let phase = newest.and_then(|newest| newest.rollout.as_ref()).map(|rollout| (rollout.phase, rollout.why.clone()));
    broken(Promise::Plan, format!("good: {good}, but the rollout stands at {phase:?}: {}", world.describe()))
}

const fn judged(phase: Phase, good: bool) -> bool {
    match phase {
        Phase::Ended(Outcome::Promoted | Outcome::FastPromoted) => good,
        Phase::Ended(Outcome::RolledBack) => !good,
        Phase::Ended(Outcome::Aborted | Outcome::Superseded) | Phase::Progressing | Phase::Paused => false,
    }
}

/// Three steps: the second is approved and promoted by operators.
fn plan() -> Plan {
    let step = |points, hold| Step::new(Weight::from_basis_points(points).expect("a weight"), Span(hold));
    let mut steps = vec![step(2_000, 300), step(6_000, 200), step(10_000, 200)];
    steps[1].then = Then::AwaitPromotion;
    steps[1].approvals = 1;
    Plan::of(steps).expect("a plan")
}

fn change(dice: &mut Dice, members: usize) -> Change {
    let node = id(dice.below(members));
    match dice.below(20) {
        0..7 => share([500, 2_000, 5_000, 10_000][dice.below(4)]),
        7..13 => pull_back(),
        13 | 14 => Change::Drain(node),
        15 | 16 => Change::Undrain(node),
        17 => Change::Pause { why: "an operator looks".into(), epoch: None },
        18 => Change::Abort { why: "an operator has seen enough".into(), started: None },
        _ => Change::Promote(if dice.once_in(2) { Extent::Full } else { Extent::Step }),
    }
}

/// What operators do to a rollout.
fn interference(dice: &mut Dice, members: usize) -> Change {
    let by = u8::try_from(dice.below(3)).unwrap_or(0);
    match dice.below(9) {
        0 | 8 => Change::Promote(Extent::Full),
        1 => Change::Promote(Extent::Step),
        2 => Change::Pause { why: "an operator looks".into(), epoch: None },
        3 => Change::Resume,
        4 => Change::Approve { operator: operator(by) },
        5 => Change::Abort { why: "an operator has seen enough".into(), started: None },
        6 => Change::Retry,
        _ => change(dice, members),
    }
}

/// Gives v2 this share.
pub(super) fn share(points: u16) -> Change {
    let canary = Some(Model { id: "v2".parse().expect("a model id"), upstream: None });
    Change::Weight { weight: Weight::from_basis_points(points).expect("a share"), canary }
}

/// Takes all traffic back.
fn pull_back() -> Change {
    Change::Weight { weight: Weight::ZERO, canary: None }
}
