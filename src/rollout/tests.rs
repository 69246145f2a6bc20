//! The controller's answers to what it sees, over whole rollouts.

mod approvals;
mod held_up;

use super::*;
use judge::{Arms, Measured, Samples, Verdict};
use model::{Counts, Incarnation, Judging, NodeId, NodeSet, Report, Time, TxId, UnixMillis, Weight};
use service::{
    Change, Direction, GateName, Gates, Mode, Model, Outcome, Phase, Plan, RoutingState, Span, Step, Then, WhenOpen,
};
use std::sync::Arc;
use std::time::Duration;

/// A node's controller, the state that its changes make, and a clock.
struct Surroundings {
    controller: Controller,
    state: RoutingState,
    now: Time,
    connected: NodeSet,
    serving: NodeSet,
    may_propose: MayPropose,
    own: Samples,
    counting: bool,
    made: Vec<Change>,
    /// Why its votes speak against more, if they do.
    against: Option<String>,
    reports: Vec<Report>,
}

fn node(letter: char) -> NodeId {
    NodeId::from_letter(letter).expect("a letter")
}

fn model(id: &str) -> Model {
    Model { id: id.parse().expect("a model id"), upstream: None }
}

fn plan(change: fn(&mut Plan)) -> Arc<Plan> {
    let step = |percent| Step::new(Weight::from_percent(percent).expect("a weight"), Span(10_000));
    let mut plan = Plan::of(["5", "20", "50", "100"].map(step).into()).expect("a plan");
    change(&mut plan);
    Arc::new(plan)
}

/// Who asks for a change.
fn by(change: &Change) -> &str {
    if let Change::Approve { operator } = change { operator } else { "rollout/node-a" }
}

fn start(plan: Arc<Plan>) -> Change {
    Change::Start { canary: model("v2"), plan, when_open: WhenOpen::Refuse }
}

fn counted(good: u64, failed: u64) -> Measured {
    let mut measured = Measured::default();
    for _ in 0..good {
        measured.record(Duration::from_millis(5), Verdict::Good, None);
    }
    for _ in 0..failed {
        measured.record(Duration::from_millis(5), Verdict::Failed, None);
    }
    measured
}

fn samples(good: u64, failed: u64) -> Samples {
    let routed = Arms { stable: counted(1_000, 0), canary: counted(good, failed) };
    Samples { routed, ..Samples::default() }
}

fn report(epoch: u64, good: u64, failed: u64) -> Report {
    let routed = samples(good, failed).routed;
    let (stable, canary) = (routed.stable.to_counts(), routed.canary.to_counts());
    Report { epoch, stable, canary, ..Report::default() }
}

impl Surroundings {
    fn new() -> Self {
        let others = NodeSet::first(3).without(NodeId::A);
        Self {
            controller: Controller::new(NodeId::A),
            state: RoutingState::initial(model("v1").id),
            now: Time::from_micros(1_000_000),
            connected: others,
            serving: others,
            may_propose: MayPropose::All,
            own: Samples::default(),
            counting: false,
            made: Vec::new(),
            against: None,
            reports: Vec::new(),
        }
    }

    fn started(change: fn(&mut Plan)) -> Self {
        let mut surroundings = Self::new();
        surroundings.make(&start(plan(change)));
        let _ = surroundings.look();
        surroundings
    }

    /// Makes a change as the agreement would.
    fn make(&mut self, change: &Change) {
        let version = self.state.version + 1;
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: version };
        let next = change.apply(&self.state, NodeSet::first(3), txid, UnixMillis(0)).expect("the change fits");
        if self.state.direction_to(&next) == Direction::Advance {
            assert_eq!(self.state.plan_allows(&next, by(change)), Ok(()), "{change:?}");
        }
        self.state = next;
        self.own = Samples::default();
    }

    fn look(&mut self) -> Moves {
        let facts = Facts {
            state: &self.state,
            may_propose: self.may_propose,
            connected: self.connected,
            serving: self.serving,
            members: NodeSet::first(3),
            own: &self.own,
        };
        let moves = self.controller.look(self.now, &facts);
        if let Some(count) = &moves.count {
            self.counting = count.is_some();
            self.own = Samples::default();
        }
        self.reports.extend(moves.report.clone());
        if let Some((_, against)) = &moves.measured {
            self.against.clone_from(against);
        }
        moves
    }

    /// Looks ten times a second for this long, with what is asked for made at once.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now = self.now + LOOK_EVERY;
            if let Some(change) = self.look().propose {
                self.make(&change);
                self.controller.on_answer(self.now, &change, None);
                self.made.push(change);
            }
        }
    }

    /// The others report what they have measured, every two seconds for this long.
    fn pass_with_reports(&mut self, seconds: u64, good: u64, failed: u64) {
        for _ in 0..seconds.div_ceil(2) {
            let epoch = self.epoch();
            self.tell('b', report(epoch, good, failed));
            self.tell('c', report(epoch, good, failed));
            self.pass(2);
        }
    }

    fn tell(&mut self, from: char, report: Report) {
        self.controller.on_report(self.now, node(from), report);
    }

    fn epoch(&self) -> u64 {
        self.state.rollout.as_ref().map_or(0, |rollout| rollout.epoch)
    }

    fn phase(&self) -> Phase {
        self.state.rollout.as_ref().expect("a rollout").phase
    }

    fn why(&self) -> &str {
        &self.state.rollout.as_ref().expect("a rollout").why
    }
}

#[test]
fn a_good_canary_goes_all_the_way() {
    let mut surroundings = Surroundings::started(|_| {});
    assert!(surroundings.counting, "the step has begun with all members");
    for _ in 0..6 {
        surroundings.own = samples(200, 0);
        surroundings.pass_with_reports(12, 200, 0);
    }
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::Promoted));
    assert_eq!(surroundings.state.stable, model("v2"));
    let steps: Vec<u64> =
        surroundings.made.iter().map(|change| if let Change::Next { epoch } = change { *epoch } else { 0 }).collect();
    assert_eq!(steps, [1, 2, 3, 4]);
    assert!(!surroundings.controller.is_watching());
}

#[test]
fn a_step_is_held_as_long_as_its_plan_says() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(1_000, 0);
    surroundings.pass_with_reports(8, 1_000, 0);
    assert!(surroundings.made.is_empty(), "{:?}", surroundings.made);
    surroundings.pass(3);
    assert_eq!(surroundings.made, [Change::Next { epoch: 1 }]);
}

#[test]
fn its_clock_starts_with_the_last_connected_member_that_serves_it() {
    let mut surroundings = Surroundings::new();
    surroundings.serving = NodeSet::EMPTY.with(node('b'));
    surroundings.make(&start(plan(|_| {})));
    surroundings.pass(0);
    let _ = surroundings.look();
    assert!(!surroundings.counting && surroundings.controller.is_watching());
    surroundings.serving = surroundings.serving.with(node('c'));
    let _ = surroundings.look();
    assert!(surroundings.counting);
    // One that is connected and silent is waited for only so long, and one that is gone not at all.
    let mut silent = Surroundings::new();
    silent.serving = NodeSet::EMPTY;
    silent.make(&start(plan(|_| {})));
    let _ = silent.look();
    silent.now = silent.now + Duration::from_millis(1_100);
    let _ = silent.look();
    assert!(silent.counting);
    let mut gone = Surroundings::new();
    (gone.serving, gone.connected) = (NodeSet::EMPTY.with(node('b')), NodeSet::EMPTY.with(node('b')));
    gone.make(&start(plan(|_| {})));
    let _ = gone.look();
    assert!(gone.counting);
}

#[test]
fn a_node_with_bad_evidence_ejects_and_rolls_back() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(40, 40);
    surroundings.now = surroundings.now + LOOK_EVERY;
    let moves = surroundings.look();
    assert!(
        moves.ejection_changed
            && surroundings.controller.ejected().is_some_and(|why| why.contains("error rate 50.0 %"))
    );
    assert!(moves.report.is_some_and(|report| report.ejected.is_some()), "the others are told at once");
    assert!(moves.measured.is_some_and(|(_, failing)| failing.is_some()), "and it votes against more");
    assert!(matches!(moves.propose, Some(Change::RollBack { started: 1, .. })));
}

#[test]
fn the_word_of_one_other_node_is_enough() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(1_000, 0);
    surroundings.tell('c', Report { ejected: Some("errors".into()), ..report(1, 10, 0) });
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
    assert_eq!(surroundings.why(), "node-c: errors");
    assert_eq!(surroundings.controller.ejected(), None, "this node's own evidence was good");
}

#[test]
fn what_none_could_tell_alone_the_pool_does() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(24, 6);
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Progressing, "{}", surroundings.why());
    surroundings.tell('b', report(1, 24, 6));
    surroundings.tell('c', report(1, 24, 6));
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
    assert!(surroundings.why().contains("of 90 requests"), "{}", surroundings.why());
}

#[test]
fn only_who_coordinates_asks_and_everybody_ejects() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.may_propose = MayPropose::Nothing;
    surroundings.own = samples(0, 100);
    surroundings.pass(5);
    assert!(surroundings.made.is_empty() && surroundings.controller.ejected().is_some());
    // When nobody coordinates, what takes traffic away is asked for all the same.
    surroundings.may_propose = MayPropose::Retreats;
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
    let mut good = Surroundings::started(|_| {});
    good.may_propose = MayPropose::Retreats;
    good.own = samples(1_000, 0);
    good.pass_with_reports(20, 1_000, 0);
    assert!(good.made.is_empty(), "{:?}", good.made);
}

#[test]
fn no_traffic_is_neither_a_pass_nor_a_failure() {
    let mut surroundings = Surroundings::started(|plan| plan.progress_deadline = Some(Span(60_000)));
    surroundings.pass_with_reports(60, 0, 0);
    assert_eq!(surroundings.phase(), Phase::Progressing);
    let status = surroundings.look().status.expect("a trial");
    assert_eq!((status.missing, status.missing_for), (59, None));
    assert!(matches!(status.next, Next::Undecided { .. }));
    surroundings.pass_with_reports(12, 0, 0);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::Aborted));
    assert!(surroundings.why().contains("59 requests to the canary are missing"), "{}", surroundings.why());
}

#[test]
fn too_little_says_when_it_is_enough() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(10, 0);
    surroundings.pass(1);
    let status = surroundings.look().status.expect("a trial");
    assert_eq!(status.missing, 49);
    let left = status.missing_for.expect("there is traffic").as_secs_f64();
    assert!((3.0..7.0).contains(&left), "{left}");
}

#[test]
fn a_manual_step_waits_for_an_operator() {
    let mut surroundings = Surroundings::started(|plan| plan.steps[0].then = Then::AwaitPromotion);
    surroundings.own = samples(200, 0);
    surroundings.pass_with_reports(12, 200, 0);
    assert_eq!(surroundings.phase(), Phase::Paused);
    assert!(surroundings.why().contains("promote it"), "{}", surroundings.why());
    surroundings.pass_with_reports(1_000, 200, 0);
    assert_eq!(surroundings.phase(), Phase::Paused, "no deadline runs meanwhile");
    // One that fails while it waits is rolled back all the same.
    surroundings.own = samples(0, 200);
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
}

#[test]
fn a_gate_that_pauses_pauses_and_one_that_observes_does_nothing() {
    fn with_mode(gates: &Gates, mode: Mode) -> Gates {
        let errors = [GateName::ERROR_RATE, GateName::ERROR_RATE_DIFFERENCE];
        errors.into_iter().fold(gates.clone(), |gates, name| gates.changed(name, |gate| gate.mode = mode))
    }
    let bad = |mode: fn(&mut Plan)| {
        let mut surroundings = Surroundings::started(mode);
        surroundings.own = samples(50, 50);
        surroundings.pass(1);
        surroundings
    };
    let paused = bad(|plan| {
        plan.gates = with_mode(&plan.gates, Mode::Pause);
    });
    assert_eq!(paused.phase(), Phase::Paused);
    assert!(paused.why().contains("error rate 50.0 %"), "{}", paused.why());
    let observed = bad(|plan| {
        plan.gates = with_mode(&plan.gates, Mode::Observe);
    });
    assert_eq!(observed.phase(), Phase::Progressing);
}

#[test]
fn who_cannot_be_measured_pauses_the_rollout() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(1_000, 0);
    surroundings.tell('b', report(1, 1_000, 0));
    let mut seconds = 0;
    while surroundings.phase() == Phase::Progressing && seconds < 60 {
        // node-c is connected and says nothing; the plan holds for longer than that is borne.
        let epoch = surroundings.epoch();
        surroundings.tell('b', report(epoch, 1_000, 0));
        surroundings.state.rollout = surroundings.state.rollout.take().map(|rollout| {
            let mut rollout = (*rollout).clone();
            Arc::make_mut(&mut rollout.plan).steps[0].hold = Span(600_000);
            Arc::new(rollout)
        });
        surroundings.pass(1);
        seconds += 1;
    }
    assert_eq!(surroundings.phase(), Phase::Paused);
    assert!(surroundings.why().contains("no report of node-c"), "{}", surroundings.why());
}

#[test]
fn a_change_that_is_not_made_is_asked_for_again() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(1_000, 0);
    for _ in 0..6 {
        surroundings.tell('b', report(1, 1_000, 0));
        surroundings.tell('c', report(1, 1_000, 0));
        surroundings.now = surroundings.now + Duration::from_secs(2);
        let _ = surroundings.look();
    }
    let asked = surroundings.controller.clone();
    let next = Change::Next { epoch: 1 };
    surroundings.controller.on_answer(surroundings.now, &next, Some("node-c: it is unreachable".into()));
    let mut again = None;
    for _ in 0..10 {
        surroundings.now = surroundings.now + LOOK_EVERY;
        let moves = surroundings.look();
        let status = moves.status.expect("a trial");
        assert_eq!(status.refused.as_deref(), Some("node-c: it is unreachable"));
        again = again.or(moves.propose);
    }
    assert_eq!(again, Some(Change::Next { epoch: 1 }));
    // One that is not answered yet is not asked for twice, but a rollback does not wait for it.
    surroundings.controller = asked;
    surroundings.now = surroundings.now + Duration::from_secs(5);
    assert_eq!(surroundings.look().propose, None);
    surroundings.tell('c', Report { ejected: Some("errors".into()), ..report(1, 10, 0) });
    let rollback = surroundings.look().propose.expect("at once");
    assert!(matches!(rollback, Change::RollBack { .. }));
    // What became of the step is of no interest any more, and the rollback is asked for once.
    surroundings.controller.on_answer(surroundings.now, &next, Some("a retreat came first".into()));
    surroundings.now = surroundings.now + Duration::from_secs(5);
    assert_eq!(surroundings.look().propose, None);
    surroundings.controller.on_answer(surroundings.now, &rollback, Some("busy".into()));
    surroundings.now = surroundings.now + Duration::from_secs(5);
    assert_eq!(surroundings.look().propose, Some(rollback));
}

#[test]
fn a_weight_set_by_hand_is_measured_and_nothing_follows() {
    let mut surroundings = Surroundings::new();
    let weight = Weight::from_percent("20").expect("a weight");
    surroundings.make(&Change::Weight { weight, canary: Some(model("v2")) });
    let _ = surroundings.look();
    assert!(surroundings.counting && !surroundings.controller.is_judging());
    surroundings.own = samples(0, 100);
    surroundings.now = surroundings.now + Duration::from_secs(1);
    let moves = surroundings.look();
    assert!(moves.measured.is_some_and(|(_, failing)| failing.is_some()), "it votes against more");
    assert_eq!((moves.propose, surroundings.controller.ejected()), (None, None));
    assert_eq!(moves.status.expect("a trial").next, Next::Manual);
}

#[test]
fn what_was_measured_of_another_step_does_not_count() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.tell('b', Report { ejected: Some("errors".into()), ..report(7, 0, 100) });
    surroundings.tell('c', report(0, 0, 100));
    surroundings.own = samples(100, 0);
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Progressing, "{}", surroundings.why());
    let counts =
        Counts { requests: u64::MAX, errors: u64::MAX, latencies: vec![(u32::MAX, u32::MAX); 9], ..Counts::default() };
    surroundings.tell('b', Report { epoch: 1, stable: counts.clone(), canary: counts, ..Report::default() });
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack), "absurd counts are bad ones, and no panic");
}

#[test]
fn a_window_begun_anew_lets_nothing_pass_at_once() {
    let mut surroundings = Surroundings::started(|plan| plan.steps[0].hold = Span(70_000));
    surroundings.own = samples(50_000, 0);
    surroundings.pass_with_reports(62, 1_000, 0);
    surroundings.own = samples(1_000, 0);
    surroundings.pass_with_reports(20, 1_000, 0);
    assert!(surroundings.made.is_empty(), "{:?}", surroundings.made);
    surroundings.pass_with_reports(14, 1_000, 0);
    assert_eq!(surroundings.made, [Change::Next { epoch: 1 }]);
}

#[test]
fn counts_that_one_member_made_up_make_no_step_pass() {
    // Two nodes have too few requests to object alone, and enough together.
    for (failed, objects) in [(5, true), (0, false)] {
        let mut surroundings = Surroundings::started(|_| ());
        surroundings.pass(1);
        surroundings.own = samples(40, failed);
        let epoch = surroundings.epoch();
        surroundings.tell('b', report(epoch, 40, failed));
        surroundings.tell('c', report(epoch, 20_000, 0));
        let (_, against) = surroundings.look().measured.expect("it has news");
        let why = against.as_deref().unwrap_or_default();
        assert_eq!(why == "error rate 11.1 % of 90 requests, limit 5 % on all nodes but node-c", objects, "{why}");
    }
}

#[test]
fn an_old_good_past_is_forgotten() {
    let mut surroundings = Surroundings::started(|plan| plan.steps[0].hold = Span(3_600_000));
    surroundings.own = samples(50_000, 0);
    surroundings.pass_with_reports(62, 10, 0);
    assert_eq!(surroundings.own, Samples::default(), "the window was begun anew");
    assert!(surroundings.reports.iter().any(|report| report.window == 1) || surroundings.look().report.is_none());
    surroundings.own = samples(100, 60);
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
}

#[test]
fn a_good_past_does_not_hide_a_canary_that_turns_bad() {
    let mut surroundings = Surroundings::started(|plan| plan.steps[0].hold = Span(3_600_000));
    surroundings.own = samples(1_500, 0);
    surroundings.pass_with_reports(30, 1_000, 0);
    surroundings.own = samples(1_570, 30);
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
    assert!(surroundings.why().contains("of the last 100 requests, limit 5 %"), "{}", surroundings.why());
}

#[test]
fn failures_that_are_told_of_afterwards_are_none_of_the_present() {
    let mut surroundings = Surroundings::started(|plan| plan.steps[0].hold = Span(3_600_000));
    surroundings.own = samples(1_500, 0);
    surroundings.pass_with_reports(30, 1_000, 0);
    // 2 % failed over the whole step, within the limit of 5 %, and the node is told of all of them at once.
    surroundings.own = samples(1_600, 0);
    for _ in 0..32 {
        surroundings.own.routed.canary.amend(Verdict::Good, Verdict::Failed);
    }
    surroundings.pass(1);
    assert_eq!((surroundings.phase(), surroundings.own.routed.canary.errors()), (Phase::Progressing, 32));
    for _ in 0..300 {
        surroundings.own.routed.canary.amend(Verdict::Good, Verdict::Failed);
    }
    surroundings.pass(1);
    assert_eq!(
        surroundings.phase(),
        Phase::Ended(Outcome::RolledBack),
        "in what was counted since the step began they are"
    );
}

#[test]
fn a_step_that_is_never_agreed_to_ends_at_the_deadline() {
    let mut surroundings = Surroundings::started(|plan| plan.progress_deadline = Some(Span(20_000)));
    surroundings.own = samples(1_000, 0);
    let mut asked = Vec::new();
    for second in 0..40 {
        if second % 2 == 0 {
            surroundings.tell('b', report(1, 1_000, 0));
            surroundings.tell('c', report(1, 1_000, 0));
        }
        for _ in 0..10 {
            surroundings.now = surroundings.now + LOOK_EVERY;
            if let Some(change) = surroundings.look().propose {
                surroundings.controller.on_answer(surroundings.now, &change, Some("node-c: it is unreachable".into()));
                asked.push(change);
            }
        }
    }
    assert!(asked.contains(&Change::Next { epoch: 1 }));
    let Some(Change::Abort { why, .. }) = asked.last() else { panic!("{:?}", asked.last()) };
    assert!(why.contains("20 s") && why.contains("node-c: it is unreachable"), "{why}");
}

#[test]
fn a_member_whose_own_counts_are_beyond_a_limit_votes_against_the_next_step() {
    let against = |own: Samples| {
        let mut surroundings = Surroundings::started(|_| {});
        // The others tell of more good requests than there can be.
        surroundings.own = own;
        surroundings.tell('b', report(1, 1_000_000, 0));
        surroundings.tell('c', report(1, 1_000_000, 0));
        surroundings.pass(1);
        surroundings.against
    };
    let why = against(samples(60, 4)).expect("6 % of its own failed");
    assert!(why.contains("error rate 6.2 % of 64 requests") && why.ends_with("on this node"), "{why}");
    assert_eq!(against(samples(64, 0)), None);
    assert_eq!(against(samples(30, 2)), None, "too few to say anything");
}

#[test]
fn what_an_older_member_counts_fails_a_step_and_passes_none() {
    let lenient = |report: Report| Report { judging: Judging::Lenient, ..report };
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(20, 0);
    for _ in 0..20 {
        surroundings.tell('b', lenient(report(1, 1_000, 0)));
        surroundings.tell('c', report(1, 20, 0));
        surroundings.pass(2);
    }
    assert!(surroundings.made.is_empty(), "{:?}", surroundings.made);
    let status = surroundings.look().status.expect("a trial");
    assert_eq!((status.missing, status.lenient), (19, [node('b')].into_iter().collect()));
    surroundings.tell('b', lenient(report(1, 10, 60)));
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
}

#[test]
fn stable_is_compared_by_the_last_step_that_had_enough_of_it() {
    let mut surroundings =
        Surroundings::started(|plan| plan.steps = vec![plan.steps[0], Step::new(Weight::FULL, Plan::HOLD)]);
    surroundings.own = samples(1_000, 0);
    surroundings.pass_with_reports(12, 100, 0);
    assert_eq!(surroundings.state.open_rollout().map(|rollout| rollout.step), Some(1), "{}", surroundings.why());
    // At 100 % the canary is worse than stable ever was, and within the absolute limit.
    let mut all = samples(0, 0);
    all.routed = Arms { stable: Measured::default(), canary: counted(19_200, 800) };
    surroundings.own = all;
    surroundings.pass(1);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
    assert!(surroundings.why().contains("error rate difference to stable"), "{}", surroundings.why());
}
