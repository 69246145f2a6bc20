//! What approvals hold up, and what they do not: each rule, and every way through a small plan.

use super::*;
use crate::{Change, Direction, Extent, Model, Plan, Step, WhenOpen};
use model::{Incarnation, NodeId, NodeSet, TxId, UnixMillis};
use std::collections::HashSet;
use std::sync::Arc;

const ALICE: &str = "operator/alice";
const BOB: &str = "operator/bob";
const CAROL: &str = "operator/carol";
const NODE: &str = "rollout/node-a";

fn model(id: &str) -> Model {
    Model { id: id.parse().expect("a model id"), upstream: None }
}

/// 5 %, then 20 % with two approvals, then 100 % with as many as are said.
fn start(last: u8) -> Change {
    let step = |percent, approvals| Step {
        approvals,
        ..Step::new(Weight::from_percent(percent).expect("a weight"), Plan::HOLD)
    };
    let plan = Plan::of(vec![step("5", 0), step("20", 2), step("100", last)]).expect("a plan");
    Change::Start { canary: model("v2"), plan: Arc::new(plan), when_open: WhenOpen::Supersede }
}

fn after(base: &RoutingState, change: &Change) -> Result<RoutingState, ChangeError> {
    let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: base.version + 1 };
    change.apply(base, NodeSet::first(3), txid, UnixMillis(0))
}

fn begun(last: u8) -> RoutingState {
    after(&RoutingState::initial(model("v1").id), &start(last)).expect("nothing is open")
}

fn approve(operator: &str) -> Change {
    Change::Approve { operator: operator.into() }
}

/// What becomes of `base` when these operators approve, one after the other, with every member's vote.
fn approved(base: &RoutingState, operators: &[&str]) -> RoutingState {
    operators.iter().fold(base.clone(), |base, operator| {
        let next = after(&base, &approve(operator)).expect("an approval is missing");
        assert_eq!(base.direction_to(&next), Direction::Advance, "every member has to look at it");
        assert_eq!(base.plan_allows(&next, operator), Ok(()));
        next
    })
}

fn rollout(state: &RoutingState) -> &Rollout {
    state.rollout.as_ref().expect("a rollout")
}

fn edited(state: &RoutingState, change: impl Fn(&mut Rollout)) -> RoutingState {
    let mut rollout = rollout(state).clone();
    change(&mut rollout);
    RoutingState { rollout: Some(Arc::new(rollout)), ..state.clone() }
}

fn next(state: &RoutingState) -> Change {
    Change::Next { epoch: rollout(state).epoch }
}

/// The state in which the next step was taken, whatever it lacks: what a coordinator would send that does not look.
fn forced(base: &RoutingState) -> RoutingState {
    let mut enough = edited(base, |rollout| {
        let step = rollout.step + 1;
        rollout.approvals = [ALICE, BOB, CAROL].iter().fold(Approvals::default(), |all, by| all.with(step, by));
    });
    enough = after(&enough, &next(base)).expect("approved by enough");
    edited(&enough, |rollout_| rollout_.approvals = rollout(base).approvals.clone())
}

#[test]
fn a_step_is_entered_when_enough_different_operators_approved_it() {
    let first = begun(0);
    let refused = |state: &RoutingState, change: &Change| after(state, change).expect_err("it waits").to_string();
    let told = "it waits for 2 more approvals of step 2 (20 %): nobody approved";
    assert!(refused(&first, &next(&first)).starts_with(told), "who started it has not approved it");
    assert!(refused(&first, &Change::Promote(Extent::Step)).starts_with(told), "a promotion skips a hold, not this");
    let one = approved(&first, &[ALICE]);
    assert!(refused(&one, &next(&one)).starts_with("it waits for 1 more approval of step 2 (20 %): alice approved"));
    assert_eq!(refused(&one, &approve(ALICE)), "operator/alice has approved step 2 (20 %) already");
    let two = approved(&one, &[BOB]);
    assert_eq!(refused(&two, &approve(CAROL)), "step 2 (20 %) has all the approvals that are asked for");
    let second = after(&two, &next(&two)).expect("two operators approved it");
    assert_eq!(two.plan_allows(&second, NODE), Ok(()));
    assert_eq!((rollout(&second).step, rollout(&second).lacks(2)), (1, None));
    assert_eq!(refused(&second, &approve(CAROL)), "no step to come of rollout-1 asks for approvals");
}

#[test]
fn an_approval_is_of_one_step_and_of_one_canary() {
    let two = approved(&begun(1), &[ALICE, BOB]);
    let second = after(&two, &next(&two)).expect("two operators approved it");
    let lacks = |state: &RoutingState| rollout(state).lacks(2).map(|missing| missing.count);
    assert_eq!(lacks(&second), Some(1), "what was approved was step 2");
    let one = approved(&second, &[ALICE]);
    assert_eq!(lacks(&one), None);
    let elsewhere = Model { upstream: Some("http://10.0.0.1:9/".into()), ..model("v2") };
    let moved = after(&one, &Change::Model(elsewhere)).expect("v2 is the canary");
    assert_eq!((lacks(&moved), one.plan_allows(&moved, ALICE)), (Some(1), Ok(())), "another server is another canary");
    let kept = edited(&moved, |moved| moved.approvals = rollout(&one).approvals.clone());
    assert!(one.approvals_allow(&kept, ALICE).is_err());
    let same = after(&one, &Change::Model(model("v2"))).expect("v2 is the canary");
    assert_eq!(lacks(&same), None);
}

#[test]
fn to_the_end_at_once_takes_as_many_as_the_strictest_step() {
    let full = Change::Promote(Extent::Full);
    let two = approved(&begun(3), &[ALICE, BOB]);
    let told = after(&two, &full).expect_err("step 3 names three").to_string();
    assert!(told.starts_with("it waits for 1 more approval of step 2 (20 %): alice, bob approved"), "{told}");
    let three = approved(&two, &[CAROL]);
    let end = after(&three, &full).expect("three approved");
    assert_eq!((three.plan_allows(&end, CAROL), end.stable.id.as_str()), (Ok(()), "v2"));
    let lie = RoutingState { rollout: two.rollout.clone(), ..end };
    let lie = edited(&lie, |rollout| rollout.phase = Phase::Ended(Outcome::FastPromoted));
    assert!(two.plan_allows(&lie, CAROL).expect_err("two of three").starts_with("it waits for 1 more approval"));
    let lie = edited(&lie, |rollout| rollout.phase = Phase::Ended(Outcome::Promoted));
    assert!(two.plan_allows(&lie, CAROL).is_err());
}

#[test]
fn what_takes_traffic_away_waits_for_nobody_and_begins_anew_without_approvals() {
    let one = approved(&begun(0), &[ALICE]);
    let why = || "because".to_owned();
    for change in [
        Change::Abort { why: why(), started: None },
        Change::RollBack { why: why(), started: 1 },
        Change::Pause { why: why(), epoch: None },
        Change::Weight { weight: Weight::ZERO, canary: None },
    ] {
        let next = after(&one, &change).expect("it fits");
        assert_eq!(one.direction_to(&next), Direction::Retreat, "{change:?}");
        assert_eq!(one.approvals_allow(&next, NODE), Ok(()), "{change:?}");
    }
    let paused = after(&one, &Change::Pause { why: why(), epoch: None }).expect("it is open");
    let resumed = after(&approved(&paused, &[BOB]), &Change::Resume).expect("it is paused");
    assert_eq!(rollout(&resumed).lacks(1), None, "a pause takes no approval away");
    let over = after(&one, &Change::Abort { why: why(), started: None }).expect("it is open");
    assert_eq!(after(&over, &approve(BOB)), Err(ChangeError::NoRollout));
    let again = after(&over, &Change::Retry).expect("it was aborted");
    assert!(rollout(&again).approvals.is_empty());
    assert_eq!(over.plan_allows(&again, NODE), Ok(()));
    let kept = edited(&again, |again| again.approvals = rollout(&over).approvals.clone());
    assert!(over.plan_allows(&kept, NODE).is_err());
    let other = after(&one, &start(1)).expect("it takes the place of the open one");
    assert!(rollout(&other).approvals.is_empty());
    let kept = edited(&other, |other| other.approvals = rollout(&one).approvals.clone());
    assert!(one.plan_allows(&kept, NODE).is_err());
}

/// What it is, and what it does to an honest approval.
type Lie<'a> = (&'static str, &'a dyn Fn(&mut Rollout));

#[test]
fn members_refuse_a_coordinator_that_lies() {
    let first = begun(1);
    let one = approved(&first, &[ALICE]);
    for base in [&first, &one] {
        let told = base.plan_allows(&forced(base), NODE).expect_err("it lacks approvals");
        assert!(told.starts_with("it waits for"), "{told}");
    }
    let honest = after(&one, &approve(BOB)).expect("one is missing");
    let lies: [Lie<'_>; 7] = [
        ("one more", &|rollout| rollout.approvals = rollout.approvals.with(1, CAROL)),
        ("also for a later step", &|rollout| rollout.approvals = rollout.approvals.with(2, BOB)),
        ("another's", &|rollout_| rollout_.approvals = rollout(&one).approvals.with(1, CAROL)),
        ("in another's place", &|rollout| rollout.approvals = Approvals::default().with(1, BOB).with(1, CAROL)),
        ("taken away", &|rollout| rollout.approvals = Approvals::default().with(1, BOB)),
        ("and another phase", &|rollout| rollout.phase = Phase::Paused),
        ("and the step", &|rollout| rollout.step = 1),
    ];
    assert_eq!(one.approvals_allow(&honest, BOB), Ok(()));
    assert!(one.approvals_allow(&honest, CAROL).is_err(), "the approval of one at the word of another");
    assert!(one.approvals_allow(&honest, NODE).is_err(), "nor does a node approve");
    for (what, lie) in lies {
        let told = one.approvals_allow(&edited(&honest, lie), BOB).expect_err(what);
        assert!(told.starts_with("an approval adds the operator"), "{what}: {told}");
    }
    let more = RoutingState { stable: model("v9"), ..honest };
    assert!(one.approvals_allow(&more, BOB).is_err(), "and another model");
    // A step forward without more traffic needs no vote: whoever is asked to accept it looks all the same.
    let last_is_free = begun(0);
    let creeps = edited(&last_is_free, |rollout| rollout.step = 2);
    assert_eq!(last_is_free.direction_to(&creeps), Direction::Retreat);
    let told = last_is_free.approvals_allow(&creeps, NODE).expect_err("it leaves step 2 out");
    assert!(told.starts_with("it waits for 2 more approvals of step 2"), "{told}");
    let over = after(&one, &Change::Abort { why: String::new(), started: None }).expect("it is open");
    let reopened = edited(&over, |rollout| (rollout.phase, rollout.step) = (Phase::Paused, 1));
    assert!(over.approvals_allow(&reopened, NODE).is_err());
}

#[test]
fn approvals_change_the_digest() {
    let one = approved(&begun(0), &[ALICE]);
    let none = RoutingState { rollout: begun(0).rollout, ..one.clone() };
    assert_ne!(one.digest(), none.digest(), "approvals are agreed on");
}

/// A state, and who approved which step since its rollout began, told by the requests alone.
struct Place {
    state: RoutingState,
    approved: BTreeSet<(usize, &'static str)>,
}

/// Every way through the plan with these words of operators and of the controller, up to a depth: no step that names
/// approvals is ever entered without that many different operators who asked to approve it.
#[test]
fn no_way_through_a_plan_enters_a_step_without_its_approvals() {
    const DEPTH: usize = 9;
    let why = || "because".to_owned();
    let fixed = [
        Change::Promote(Extent::Step),
        Change::Promote(Extent::Full),
        Change::Pause { why: why(), epoch: None },
        Change::Resume,
        Change::Abort { why: why(), started: None },
        Change::Retry,
        Change::Weight { weight: Weight::from_percent("1").expect("a weight"), canary: None },
    ];
    let mut places = vec![Place { state: begun(3), approved: BTreeSet::new() }];
    let (mut seen, mut entered) = (HashSet::new(), [0; 4]);
    for _ in 0..DEPTH {
        let mut later = Vec::new();
        for Place { state, approved } in &places {
            let mut ask = |change: &Change, by: Option<&'static str>| {
                let Ok(next) = after(state, change) else { return };
                let told = by.unwrap_or(NODE);
                assert_eq!(state.approvals_allow(&next, told), Ok(()), "{change:?}");
                let (from, to) = (rollout(state), rollout(&next));
                let mut approved = approved.clone();
                if let (Some(by), Some(step)) = (by, from.step_to_approve()) {
                    approved.insert((step, by));
                }
                if !from.is_open() && to.is_open() {
                    approved.clear();
                }
                check_entry(from, to, &approved, &mut entered);
                let phase = (to.phase, to.step, next.canary_weight(), to.approvals.clone());
                if seen.insert((phase, approved.clone())) {
                    later.push(Place { state: next, approved });
                }
            };
            fixed.iter().for_each(|change| ask(change, None));
            ask(&next(state), None);
            [ALICE, BOB, CAROL].into_iter().for_each(|by| ask(&approve(by), Some(by)));
        }
        places = later;
    }
    assert!(entered.iter().all(|count| *count > 0), "every end was reached: {entered:?}");
}

/// `entered` counts the steps and, last, the promotions to the end at once.
fn check_entry(from: &Rollout, to: &Rollout, approved: &BTreeSet<(usize, &str)>, entered: &mut [usize; 4]) {
    let who = |step: usize| approved.iter().filter(|(of, _)| *of == step).count();
    if to.phase == Phase::Ended(Outcome::FastPromoted) {
        entered[3] += 1;
        let strictest = to.plan.steps[from.step + 1..].iter().map(|step| usize::from(step.approvals)).max();
        let most = (from.step + 1..to.plan.steps.len()).map(who).max();
        assert!(most >= strictest, "{approved:?} at step {}", from.step);
        return;
    }
    if !to.is_open() {
        return;
    }
    entered[to.step] += 1;
    for (step, named) in to.plan.steps.iter().enumerate().take(to.step + 1) {
        assert!(who(step) >= usize::from(named.approvals), "step {step} was entered with {approved:?}");
    }
}
