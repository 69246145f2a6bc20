//! Rollouts on three nodes under random trouble: nodes that die and come back, reports that are lost or late, changes that
//! are refused, coordinators that are replaced. The agreement is a register that decides by its rules; what is searched is
//! what the controllers make of it. A failure names its seed.

use super::rules::{Rule, Without};
use crate::dice::Dice;
use judge::{Samples, Verdict};
use model::{Incarnation, NodeId, NodeSet, Report, Time, TxId, UnixMillis, Weight};
use rollout::{Controller, Facts, LOOK_EVERY, MayPropose};
use service::{Change, Direction, Extent, Model, Outcome, Phase, Plan, RoutingState, Span, Step, WhenOpen};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const MEMBERS: usize = 3;
const SCHEDULES: u64 = 400;
const HOLD: Span = Span(3_000);
/// Trouble ends after this; from then on everything must come to its end.
const TROUBLE: Duration = Duration::from_secs(40);
const LONGEST: Duration = Duration::from_secs(160);
/// As in the agreement: so long is a silent coordinator waited for.
const TAKEOVER: Duration = Duration::from_secs(5);
/// A node needs this long at most to serve what was decided, and a report to arrive.
const LATE_MS: usize = 400;
const LOST: f64 = 0.1;
/// With three failures in ten, so many requests leave no doubt, though a node that dies takes some of them with it.
const ENOUGH: u64 = 150;

struct Node {
    id: NodeId,
    controller: Controller<Without>,
    alive: bool,
    /// The version that it serves.
    version: usize,
    measured: Samples,
    counts: bool,
    ejected: bool,
}

struct Flight {
    at: Time,
    to: usize,
    what: What,
}

enum What {
    Report(NodeId, Box<Report>),
    Decision(usize),
    Question(Change),
    Answer(Change, Option<String>),
    Rise,
}

struct World {
    dice: Dice,
    rules: Without,
    now: Time,
    began: Time,
    nodes: Vec<Node>,
    decided: Vec<(Time, RoutingState)>,
    flights: Vec<Flight>,
    acting: usize,
    takes_over: Option<Time>,
    /// The chance that a request to the canary fails, and to the stable model.
    errors: f64,
    /// Requests that each node gets between two looks.
    rate: usize,
    /// Requests to the canary, and when there were enough of them to know.
    canary_requests: u64,
    known: Option<Time>,
    gone: Option<Time>,
    /// How many of them there were when the last step was decided.
    canary_requests_before: u64,
    /// Who was decided to have approved which step.
    approved: BTreeSet<(usize, String)>,
    /// What happened that must not.
    broken: Option<String>,
}

fn model(id: &str) -> Model {
    Model { id: id.parse().expect("a model id"), upstream: None }
}

/// Who asks for a change.
fn by(change: &Change) -> &str {
    if let Change::Approve { operator } = change { operator } else { "rollout/node-a" }
}

impl World {
    fn new(seed: u64, errors: f64, rules: Without) -> Self {
        let mut dice = Dice::new(seed);
        let node = |id| Node {
            id,
            controller: Controller::with(rules, id),
            alive: true,
            version: 0,
            measured: Samples::default(),
            counts: false,
            ejected: false,
        };
        let now = Time::from_micros(1_000_000_000);
        let rate = 1 + dice.below(19);
        let mut world = Self {
            dice,
            rules,
            now,
            began: now,
            nodes: NodeSet::first(MEMBERS).iter().map(node).collect(),
            decided: vec![(now, RoutingState::initial(model("v1").id))],
            flights: Vec::new(),
            acting: 0,
            takes_over: None,
            errors,
            rate,
            canary_requests: 0,
            canary_requests_before: 0,
            known: None,
            gone: None,
            approved: BTreeSet::new(),
            broken: None,
        };
        let step = |percent| Step::new(Weight::from_percent(percent).expect("a weight"), HOLD);
        let mut steps: Vec<Step> = ["10", "30", "60", "100"].map(step).into();
        (steps[1].approvals, steps[3].approvals) = (1, 2);
        let plan = Plan::of(steps).expect("a plan");
        let start = Change::Start { canary: model("v2"), plan: Arc::new(plan), when_open: WhenOpen::Refuse };
        world.decide(&start).expect("nothing is open");
        world
    }

    fn latest(&self) -> &RoutingState {
        &self.decided.last().expect("there is a first").1
    }

    fn later(&mut self) -> Time {
        self.now + Duration::from_millis(1 + self.dice.below(LATE_MS) as u64)
    }

    /// What the agreement does: an advance needs everybody, a retreat a majority.
    fn decide(&mut self, change: &Change) -> Result<(), String> {
        let base = self.latest().clone();
        let version = base.version + 1;
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: version };
        let next =
            change.apply(&base, NodeSet::first(MEMBERS), txid, UnixMillis(0)).map_err(|error| error.to_string())?;
        let alive = self.nodes.iter().filter(|node| node.alive);
        if base.direction_to(&next) == Direction::Advance {
            base.plan_allows(&next, by(change))?;
            let current = self.decided.len() - 1;
            if alive.clone().count() < MEMBERS || alive.clone().any(|node| node.version != current) {
                return Err("not every member votes for it".into());
            }
            if alive.clone().any(|node| node.ejected) {
                return Err("its measurements speak against it".into());
            }
            self.check_step(&base, change);
        } else if alive.count() < MEMBERS / 2 + 1 {
            return Err("no majority".into());
        }
        self.check_approvals(&base, &next, change);
        self.decided.push((self.now, next));
        let newest = self.decided.len() - 1;
        for to in 0..MEMBERS {
            let at = self.later();
            self.flights.push(Flight { at, to, what: What::Decision(newest) });
        }
        Ok(())
    }

    /// A step is never shorter than its plan says, and never passed on fewer requests of its own.
    fn check_step(&mut self, base: &RoutingState, change: &Change) {
        let (Change::Next { epoch }, Some(rollout)) = (change, &base.rollout) else { return };
        let begun = self.decided.iter().find(|(_, state)| state.version == *epoch).map(|(at, _)| *at);
        let held = self.now.since(begun.expect("the step was decided"));
        self.must(held >= HOLD.duration(), || format!("step {} was held for {held:?} only", rollout.step));
        let requests = self.canary_requests - self.canary_requests_before;
        let enough = requests >= rollout.plan.min_sample;
        self.must(enough, || format!("step {} was passed on {requests} requests", rollout.step));
        self.canary_requests_before = self.canary_requests;
    }

    /// Takes note of the first promise that is broken.
    fn must(&mut self, holds: bool, how: impl FnOnce() -> String) {
        if !holds {
            self.broken.get_or_insert_with(how);
        }
    }

    /// No step that names approvals is entered without so many distinct ones, asked for before.
    fn check_approvals(&mut self, base: &RoutingState, next: &RoutingState, change: &Change) {
        let (Some(from), Some(to)) = (&base.rollout, &next.rollout) else { return };
        if let Change::Approve { operator } = change {
            self.approved.extend(from.step_to_approve().map(|step| (step, operator.clone())));
        }
        for (step, named) in to.plan.steps.iter().enumerate().take(to.step + 1) {
            let who = self.approved.iter().filter(|(of, _)| *of == step).count();
            if who < usize::from(named.approvals) {
                let how = format!("step {step} was entered with {:?}", self.approved);
                self.broken.get_or_insert(how);
            }
        }
    }

    /// Now and then an operator approves what comes next, or tries to go on without.
    fn operators(&mut self) {
        if !self.dice.chance(0.02) {
            return;
        }
        let operator = ["operator/a", "operator/b", "operator/c"][self.dice.below(3)];
        let lacks = self.latest().open_rollout().is_some_and(|rollout| rollout.lacks_for_all().is_some());
        if lacks && self.dice.chance(0.1) {
            let refused = self.decide(&Change::Promote(Extent::Full)).is_err();
            self.must(refused, || "promoted though it lacks approvals".into());
        }
        // Nothing may be missing any more, or a member be away: then it is not decided.
        let _ = self.decide(&Change::Approve { operator: operator.into() });
    }

    fn trouble(&mut self) {
        if self.now.since(self.began) > TROUBLE {
            return;
        }
        if self.dice.chance(0.02) {
            let victim = self.dice.below(MEMBERS);
            self.nodes[victim].alive = false;
            if victim == self.acting {
                self.takes_over = Some(self.now + TAKEOVER);
            }
            let back = self.now + Duration::from_millis(200 + self.dice.below(8_800) as u64);
            self.flights.push(Flight { at: back, to: victim, what: What::Rise });
        }
    }

    fn coordinate(&mut self) {
        let due = self.takes_over.is_some_and(|at| self.now >= at) || self.nodes[0].alive;
        if let Some(first) = self.nodes.iter().position(|node| node.alive).filter(|_| due) {
            (self.acting, self.takes_over) = (first, None);
        }
    }

    fn land(&mut self) {
        let (due, later) = std::mem::take(&mut self.flights).into_iter().partition(|flight| flight.at <= self.now);
        self.flights = later;
        let due: Vec<Flight> = due;
        for Flight { to, what, .. } in due {
            match what {
                What::Rise => self.rise(to),
                What::Question(change) => {
                    let told = self.decide(&change).err();
                    let at = self.later();
                    self.flights.push(Flight { at, to, what: What::Answer(change, told) });
                }
                What::Report(from, report) if self.nodes[to].alive => {
                    self.nodes[to].controller.on_report(self.now, from, *report);
                }
                What::Decision(version) if self.nodes[to].alive => {
                    self.nodes[to].version = self.nodes[to].version.max(version);
                }
                What::Answer(change, told) if self.nodes[to].alive => {
                    self.nodes[to].controller.on_answer(self.now, &change, told);
                }
                What::Report(..) | What::Decision(_) | What::Answer(..) => {}
            }
        }
    }

    /// A node that comes back has forgotten what it measured, and catches up.
    fn rise(&mut self, node: usize) {
        let (newest, rules) = (self.decided.len() - 1, self.rules);
        let node = &mut self.nodes[node];
        (node.alive, node.version, node.counts, node.ejected) = (true, newest, false, false);
        (node.controller, node.measured) = (Controller::with(rules, node.id), Samples::default());
    }

    fn traffic(&mut self) {
        for index in 0..MEMBERS {
            let state = &self.decided[self.nodes[index].version].1;
            let share = if self.nodes[index].ejected { 0.0 } else { state.canary_weight().fraction() };
            for _ in 0..self.rate {
                let to_canary = self.dice.chance(share);
                let fails = self.dice.chance(if to_canary { self.errors } else { 0.002 });
                let node = &mut self.nodes[index];
                if !node.alive {
                    continue;
                }
                self.canary_requests += u64::from(to_canary);
                if self.canary_requests >= ENOUGH {
                    self.known.get_or_insert(self.now);
                }
                if node.counts {
                    let arms = &mut node.measured.routed;
                    let measured = if to_canary { &mut arms.canary } else { &mut arms.stable };
                    let verdict = if fails { Verdict::Failed } else { Verdict::Good };
                    measured.record(Duration::from_millis(5), verdict, None);
                }
            }
        }
    }

    fn look(&mut self, index: usize) {
        let alive: NodeSet = self.nodes.iter().filter(|node| node.alive).map(|node| node.id).collect();
        let state = self.decided[self.nodes[index].version].1.clone();
        let epoch = state.rollout.as_ref().map_or(0, |rollout| rollout.epoch);
        let serves = |node: &&Node| node.alive && self.decided[node.version].1.version >= epoch;
        let id = self.nodes[index].id;
        let may_propose = match (self.acting == index, self.nodes[self.acting].alive || self.takes_over.is_some()) {
            (true, _) => MayPropose::All,
            (false, true) => MayPropose::Nothing,
            (false, false) => MayPropose::Retreats,
        };
        let own = self.nodes[index].measured.clone();
        let facts = Facts {
            state: &state,
            may_propose,
            connected: alive.without(id),
            serving: self.nodes.iter().filter(serves).map(|node| node.id).collect(),
            members: NodeSet::first(MEMBERS),
            own: &own,
        };
        let node = &mut self.nodes[index];
        let moves = node.controller.look(self.now, &facts);
        node.ejected = node.controller.ejected().is_some();
        if let Some(count) = moves.count {
            (node.counts, node.measured) = (count.is_some(), Samples::default());
        }
        if let Some(report) = moves.report {
            for to in (0..MEMBERS).filter(|to| *to != index) {
                if !self.dice.chance(LOST) {
                    let at = self.later();
                    self.flights.push(Flight { at, to, what: What::Report(id, Box::new(report.clone())) });
                }
            }
        }
        if let Some(change) = moves.propose {
            let at = self.later();
            self.flights.push(Flight { at, to: index, what: What::Question(change) });
        }
    }

    /// Whether nothing was broken, and the rollout ended as it must.
    fn ended(&self, outcome: Option<Outcome>, wanted: Outcome) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let why = self.latest().rollout.as_ref().map(|rollout| rollout.why.clone());
        if outcome == Some(wanted) { Ok(()) } else { Err(format!("ended as {outcome:?}: {why:?}")) }
    }

    /// Runs until the rollout has ended on all nodes, or time is up; gives its outcome.
    fn run(&mut self) -> Option<Outcome> {
        while self.now.since(self.began) < LONGEST && self.broken.is_none() {
            self.now = self.now + LOOK_EVERY;
            self.trouble();
            self.operators();
            self.coordinate();
            self.land();
            self.traffic();
            for index in 0..MEMBERS {
                if self.nodes[index].alive {
                    self.look(index);
                }
            }
            let served = |node: &Node| self.decided[node.version].1.canary_weight() == Weight::ZERO || node.ejected;
            if self.known.is_some() && self.gone.is_none() && self.nodes.iter().all(|node| !node.alive || served(node))
            {
                self.gone = Some(self.now);
            }
            let ended = self.latest().rollout.as_ref().is_some_and(|rollout| !rollout.is_open());
            if ended && self.nodes.iter().all(|node| node.alive && node.version == self.decided.len() - 1) {
                break;
            }
        }
        match self.latest().rollout.as_ref()?.phase {
            Phase::Ended(outcome) => Some(outcome),
            Phase::Progressing | Phase::Paused => None,
        }
    }
}

/// Runs the rollout of a good canary: it is promoted, and no node ever held it to be bad.
fn good(seed: u64, rules: Without) -> Result<(), String> {
    let mut world = World::new(seed, 0.002, rules);
    let mut outcome = world.run();
    // A node whose measurements were missing for long pauses the rollout; an operator looks, and lets it go on.
    while outcome.is_none() && world.latest().rollout.as_ref().is_some_and(|rollout| rollout.phase == Phase::Paused) {
        world.decide(&Change::Resume)?;
        world.began = world.now;
        outcome = world.run();
    }
    world.ended(outcome, Outcome::Promoted)?;
    if world.nodes.iter().any(|node| node.ejected) { Err("a node held it to be bad".into()) } else { Ok(()) }
}

/// Runs the rollout of a bad canary: it is rolled back; gives how long after it could be known it was gone, if it could.
fn bad(seed: u64, rules: Without) -> Result<Option<Duration>, String> {
    let mut world = World::new(seed, 0.3, rules);
    let outcome = world.run();
    world.ended(outcome, Outcome::RolledBack)?;
    let Some(known) = world.known else { return Ok(None) };
    Ok(Some(world.gone.ok_or("it is not gone")?.since(known)))
}

#[test]
fn a_good_canary_is_promoted_whatever_happens() {
    for seed in 0..SCHEDULES {
        assert_eq!(good(seed, Without(None)), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_bad_canary_is_gone_whatever_happens() {
    let mut slowest = Duration::ZERO;
    for seed in 0..SCHEDULES {
        let took = bad(seed, Without(None)).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        slowest = slowest.max(took.unwrap_or_default());
    }
    // A takeover, a report, and the way of the decision to all.
    assert!(slowest < TAKEOVER + Duration::from_secs(4), "{slowest:?}");
}

#[test]
fn without_any_one_rule_a_rollout_goes_wrong() {
    // No step of the plan waits for a promotion: what that rule is for shows in the simulation of the whole system.
    for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::AwaitPromotion) {
        let without = Without(Some(rule));
        let broken = (0..SCHEDULES).find_map(|seed| good(seed, without).err().or_else(|| bad(seed, without).err()));
        assert!(broken.is_some(), "{rule:?} is of no use");
    }
}
