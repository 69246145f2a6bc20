//! From what a node sees to what it does about it.

use super::pool::{Heed, Pool};
use super::present::{Clock, Present, REPORT_STALE, deadline, obstacle, reason};
use super::rules::{All, Rules};
use super::status::{HeldUp, ModelFigures, Next, NodeFigures, Status};
use super::trial::{Kind, Trial};
use super::verdict::{doubt, objection, of_all};
use judge::{Judgement, Measured, Ruling, Samples, Scope, judge, judge_recent, stable_to_keep};
use model::{Evidence, NodeId, NodeSet, Recent, Report, Time};
use service::{Change, Missing, Phase, Rate, Rollout, RoutingState, Then};
use std::sync::Arc;
use std::time::Duration;

/// The time between two looks at a trial. The tests allow looking as often as one likes; ten times a second is soon enough.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The step begins without a member that is connected and does not acknowledge it for this long.
const ACKNOWLEDGE_TIME: Duration = Duration::from_secs(1);
/// A window that was begun anew lets nothing pass before it is open for this long: the first few hundred requests after
/// each new beginning would be another chance to look good by luck.
const WINDOW_SETTLED: Duration = Duration::from_secs(30);
/// The wait after a change that was not made, before it is asked for again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The same for what takes traffic away.
const RETRY_RETREAT_AFTER: Duration = Duration::from_millis(100);

/// The facts that a node sees at one moment.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The committed state.
    pub state: &'a RoutingState,
    /// Whether this node may ask for changes now: it coordinates, or nobody that it hears does.
    pub may_propose: MayPropose,
    /// The other members that there are links to.
    pub connected: NodeSet,
    /// Of those, the ones that serve the committed epoch or a later version.
    pub serving: NodeSet,
    /// All members.
    pub members: NodeSet,
    /// What this node has measured since its window began.
    pub own: &'a Samples,
}

/// The changes that a node may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayPropose {
    /// Everything: it coordinates.
    All,
    /// What takes traffic away: nobody that it hears coordinates.
    Retreats,
    /// Nothing: another member coordinates.
    Nothing,
}

/// The moves that the controller's owner must make.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moves {
    /// Begin to count for this trial from nothing; stop counting where it is none.
    pub count: Option<Option<Trial>>,
    /// Tell the other members.
    pub report: Option<Report>,
    /// Ask for this change, and bring the answer.
    pub propose: Option<Change>,
    /// What a vote of this node says, and why it speaks against more, if it does.
    pub measured: Option<(Evidence, Option<String>)>,
    /// Whether this node has stopped serving the canary by itself, or serves it again, just now.
    pub ejection_changed: bool,
    /// What holds the step up, where people are to be told.
    pub held_up: Option<Next>,
    /// What people are shown.
    pub status: Option<Arc<Status>>,
}

/// The controller of one node, by the rules `R`.
#[derive(Clone, Debug)]
pub struct Controller<R = All> {
    me: NodeId,
    trial: Option<Present>,
    pool: Pool,
    /// The rollout, and what was counted of its stable model in the last steps that had enough of it to compare with.
    stable_before: Option<(Kind, Box<Measured>)>,
    /// The change that was asked for and is not answered yet.
    asked: Option<Change>,
    retry_at: Time,
    refused: Option<String>,
    rules: R,
}

impl Controller {
    /// The controller of `me`, which has seen nothing yet.
    pub fn new(me: NodeId) -> Self {
        Self::with(All, me)
    }
}

impl<R: Rules> Controller<R> {
    /// The same by other rules.
    pub fn with(rules: R, me: NodeId) -> Self {
        Self {
            me,
            trial: None,
            pool: Pool::default(),
            stable_before: None,
            asked: None,
            retry_at: Time::ZERO,
            refused: None,
            rules,
        }
    }

    /// The reason for which this node has stopped serving the canary by itself, if it has.
    pub fn ejected(&self) -> Option<&str> {
        self.trial.as_ref()?.ejected.as_deref()
    }

    /// The rate of the requests to both models on all nodes, if it is known.
    pub fn rate(&self) -> Option<Rate> {
        self.trial.as_ref()?.rate
    }

    /// Whether there is something to look at from time to time.
    pub const fn is_watching(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether something follows from what is measured, so that it is looked at often.
    pub fn is_judging(&self) -> bool {
        self.trial.as_ref().is_some_and(|present| present.trial.kind != Kind::Manual)
    }

    /// Takes another node's measurements.
    pub fn on_report(&mut self, now: Time, from: NodeId, report: Report) {
        self.pool.keep(now, from, report);
    }

    /// Takes the answer to a change that was asked for: none when it was made, else why it was not.
    pub fn on_answer(&mut self, now: Time, change: &Change, refused: Option<String>) {
        if self.asked.take_if(|asked| self.rules.settles(asked, change)).is_none() {
            // A rollback has taken the place of a step: what became of that is of no interest any more.
            return;
        }
        let wait = if is_step(change) { RETRY_AFTER } else { RETRY_RETREAT_AFTER };
        if refused.is_some() {
            self.retry_at = now + wait;
        }
        self.refused = refused;
    }

    /// Looks at everything.
    pub fn look(&mut self, now: Time, facts: &Facts<'_>) -> Moves {
        let mut moves = Moves::default();
        self.follow(now, facts, &mut moves);
        let Some(mut present) = self.trial.take() else { return moves };
        self.begin(now, facts, &mut present, &mut moves);
        // What was counted before the window began belongs to no window.
        let nothing = Samples::default();
        let counted = present.began.is_some() && moves.count.is_none();
        let measured = if counted { facts.own.clone() } else { nothing };
        let stable_before = self.stable_before.as_ref().filter(|(kind, _)| *kind == present.trial.kind);
        let stable_before = stable_before.map(|(_, measured)| measured.clone());
        let own = Samples { stable_before, step: present.trial.step, restarts: present.window, ..measured };
        let pooled = self.pool.sum(present.trial.epoch, &own, Heed::All);
        let verdict = of_all(&present.trial, &self.pool, &pooled, &own);
        let own_verdict = judge(&present.trial.terms, &own, Scope::Node);
        let was_ejected = present.ejected.is_some();
        let own_recent = present.recent(now, &own);
        let recent = self.failure_of_late(&present, (&pooled, &own), &own_recent);
        let failing = present.condemn(&self.rules, &verdict, &own_verdict, recent);
        moves.ejection_changed |= present.ejected.is_some() != was_ejected;
        let silent = self.silent(now, facts, &present);
        present.watch(now, silent);
        present.pace(now, &pooled);
        present.wait_for_people(now, facts.state.open_rollout().and_then(|rollout| awaited(rollout)).as_ref());
        // A rollback does not wait for the votes on a step.
        let overtakes = self.asked.as_ref().is_some_and(is_step) && self.failure(&present).is_some();
        if overtakes || (self.asked.is_none() && now >= self.retry_at) {
            moves.propose = self.proposal(now, facts, &present, &pooled, [&verdict, &own_verdict]);
            self.asked = moves.propose.clone().or(self.asked.take());
        }
        moves.report = present.report(now, &own, &own_verdict, own_recent, moves.ejection_changed);
        let objects = || objection(&present.trial, &own_verdict);
        let against = failing.or_else(objects).or_else(|| doubt(&present.trial, &self.pool, &own, &verdict));
        moves.measured = present.news(&own, against).or(moves.measured);
        let status = self.status(now, facts, &present, &pooled, &own, verdict);
        moves.held_up = present.is_held_up_anew(now, &status.next).then(|| status.next.clone());
        moves.status = Some(Arc::new(status));
        if present.renew_window(now, &own) {
            moves.count = Some(Some(present.trial.clone()));
        }
        self.trial = Some(present);
        moves
    }

    /// Goes over to the trial under `state`.
    fn follow(&mut self, now: Time, facts: &Facts<'_>, moves: &mut Moves) {
        let trial = Trial::of(facts.state, self.trial.as_ref().map(|present| &present.trial));
        let same = match (&trial, &self.trial) {
            (Some(trial), Some(present)) => *trial == present.trial,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        self.keep_stable(facts.own);
        moves.ejection_changed = self.ejected().is_some();
        moves.count = self.rules.counts(self.trial.as_ref().map(|present| &present.trial), None);
        moves.measured = Some((Evidence::default(), None));
        (self.retry_at, self.refused) = (Time::ZERO, None);
        self.trial = trial.map(|trial| Present::new(trial, now));
    }

    /// Keeps what was counted of the stable model in the step that is over, with what was kept before where that is little: in
    /// a step of 100 % there is none.
    fn keep_stable(&mut self, own: &Samples) {
        let Some(Present { trial: Trial { epoch, kind, .. }, began: Some(_), .. }) = self.trial else { return };
        let counted = self.pool.sum(epoch, own, Heed::Strict).routed.stable;
        if kind != Kind::Manual {
            let before = self.stable_before.take().filter(|(before, _)| *before == kind);
            let kept = stable_to_keep(counted, before.as_ref().map(|(_, measured)| &**measured));
            self.stable_before = kept.map(|measured| (kind, Box::new(measured)));
        }
    }

    /// Starts the step's clock when the last connected member that is not drained serves it.
    fn begin(&self, now: Time, facts: &Facts<'_>, present: &mut Present, moves: &mut Moves) {
        if present.began.is_some() {
            return;
        }
        let awaited = facts.connected.minus(facts.state.drained).minus(facts.serving);
        if awaited.is_empty() || now >= present.seen + ACKNOWLEDGE_TIME {
            present.begin(now);
            moves.count = self.rules.counts(None, Some(&present.trial));
        }
    }

    /// The connected members whose measurements are missing.
    fn silent(&self, now: Time, facts: &Facts<'_>, present: &Present) -> NodeSet {
        let is_new =
            |id: NodeId| self.pool.of(id, present.trial.epoch).is_some_and(|reported| now < reported.at + REPORT_STALE);
        facts.connected.minus(facts.state.drained).iter().filter(|id| !is_new(*id)).collect()
    }

    /// What should change, if this node may say so.
    fn proposal(
        &self,
        now: Time,
        facts: &Facts<'_>,
        present: &Present,
        pooled: &Samples,
        [verdict, own]: [&Judgement; 2],
    ) -> Option<Change> {
        let rollout = facts.state.open_rollout()?;
        let epoch = rollout.epoch;
        if facts.may_propose == MayPropose::Nothing {
            return None;
        }
        if let Some(remedy) = self.failure(present).and_then(|why| self.rules.remedy(why, rollout)) {
            return Some(remedy);
        }
        if rollout.phase != Phase::Progressing {
            return None;
        }
        let pause = |why: String| Some(Change::Pause { why, epoch: Some(epoch) });
        for (judgement, whose) in [(verdict, "on all nodes"), (own, "on one node")] {
            if let Ruling::Pause(_) = judgement.ruling {
                return pause(format!("{whose}: {}", reason(judgement)));
            }
        }
        if present.unmeasured >= rollout.plan.consecutive_error_limit.max(1) {
            let silent = self.silent(now, facts, present);
            return pause(format!("it cannot be measured: no report of {silent} for {} s", REPORT_STALE.as_secs()));
        }
        let clock = present.clock(now, rollout)?;
        if self.rules.is_held(clock.holds) {
            return None;
        }
        if self.rules.passes(verdict.ruling) && self.has_settled(now, present) && !clock.deadline.is_zero() {
            let step = rollout.plan.steps.get(rollout.step)?;
            if self.rules.awaits_promotion(step) {
                return pause(format!("held at {} and passed: promote it", step.weight));
            }
            let may_go_on = facts.may_propose == MayPropose::All && awaited(rollout).is_none();
            return may_go_on.then_some(Change::Next { epoch });
        }
        let limit = deadline(rollout);
        clock.deadline.is_zero().then(|| Change::Abort {
            why: format!(
                "not passed within {} s after the hold: {}",
                limit.as_secs(),
                self.obstacle(verdict, &pooled.canary()).1
            ),
            started: Some(rollout.started),
        })
    }

    /// What holds the step up, and the same in words.
    fn obstacle(&self, verdict: &Judgement, canary: &Measured) -> (HeldUp, String) {
        match (&self.refused, verdict.ruling) {
            (Some(refused), Ruling::Pass) => (HeldUp::Settling, refused.clone()),
            (_, Ruling::Pass | Ruling::Fail(_) | Ruling::Pause(_) | Ruling::NotEnough) => {
                obstacle(verdict, canary.requests(), canary.uncounted())
            }
        }
    }

    /// Whether every window that was begun anew is open for a while.
    fn has_settled(&self, now: Time, present: &Present) -> bool {
        let own = present.window == 0 || now >= present.window_began + WINDOW_SETTLED;
        own && self.pool.shortest_renewed(now, present.trial.epoch).is_none_or(|open| open >= WINDOW_SETTLED)
    }

    /// Why the last seconds prove the canary to be bad, if they do: on all nodes together, or here.
    fn failure_of_late(&self, present: &Present, whole: (&Samples, &Samples), own: &[Recent]) -> Option<String> {
        let Trial { epoch, terms, .. } = &present.trial;
        let pooled = self.pool.recent(*epoch, own);
        let of = |recents: &[Recent], samples, scope, whose: &str| {
            let why = recents.iter().find_map(|recent| judge_recent(terms, samples, recent, scope))?;
            Some(format!("{why} {whose}"))
        };
        let of_all = of(&pooled, whole.0, Scope::Pooled, "on all nodes");
        of_all.or_else(|| of(own, whole.1, Scope::Node, "on this node"))
    }

    /// Why the canary has failed, if it has: on all nodes together, or on one.
    fn failure(&self, present: &Present) -> Option<String> {
        if let Some(why) = &present.ejected {
            return Some(format!("{}: {why}", self.me));
        }
        self.pool.ejected(present.trial.epoch).map(|(node, why)| format!("{node}: {why}"))
    }

    fn status(
        &self,
        now: Time,
        facts: &Facts<'_>,
        present: &Present,
        pooled: &Samples,
        own: &Samples,
        verdict: Judgement,
    ) -> Status {
        let open = now.since(present.window_began);
        let on_trial = pooled.canary();
        let canary = ModelFigures::of(&on_trial, open);
        #[allow(clippy::cast_precision_loss, reason = "a minimum sample has at most seven digits")]
        let missing_for = (canary.rate > 0.0 && verdict.missing > 0)
            .then(|| Duration::from_secs_f64((verdict.missing as f64 / canary.rate).min(1e9)));
        let node = |id: NodeId| {
            if id == self.me {
                let canary = own.canary();
                let (requests, errors) = (canary.requests(), canary.errors());
                return NodeFigures { age: Some(Duration::ZERO), requests, errors, ejected: present.ejected.clone() };
            }
            self.pool.of(id, present.trial.epoch).map_or_else(NodeFigures::default, |reported| NodeFigures {
                age: Some(now.since(reported.at)),
                requests: reported.report.canary.requests,
                errors: reported.report.canary.errors,
                ejected: reported.report.ejected.clone(),
            })
        };
        Status {
            epoch: present.trial.epoch,
            held: present.began.map(|began| now.since(began)),
            stable: ModelFigures::of(&pooled.stable(), open),
            canary,
            next: self.next(now, facts, present, &verdict, &on_trial),
            ruling: verdict.ruling,
            missing: verdict.missing,
            findings: verdict.findings,
            lenient: self.pool.lenient(present.trial.epoch),
            missing_for,
            rate: present.rate,
            nodes: facts.members.iter().map(|id| (id, node(id))).collect(),
            refused: self.refused.clone(),
        }
    }

    fn next(&self, now: Time, facts: &Facts<'_>, present: &Present, verdict: &Judgement, canary: &Measured) -> Next {
        let Some(rollout) = facts.state.open_rollout() else { return Next::Manual };
        if self.failure(present).is_some() {
            return Next::RollsBack;
        }
        if rollout.phase != Phase::Progressing {
            return Next::Waits;
        }
        let then = rollout.plan.steps.get(rollout.step + 1).map(|step| step.weight);
        match (present.clock(now, rollout), awaited(rollout)) {
            (None, _) => Next::Begins,
            (Some(Clock { holds: Some(left), .. }), _) => Next::Holds { left, then },
            (Some(_), Some(missing)) => Next::AwaitsApproval(missing),
            (Some(_), None) if verdict.ruling == Ruling::Pass && self.has_settled(now, present) => Next::Advances,
            (Some(clock), None) => {
                let (by, why) = self.obstacle(verdict, canary);
                Next::Undecided { left: clock.deadline, by, why }
            }
        }
    }
}

/// The approvals that keep the next step from following by itself. Where an operator has to promote it anyway, she is who
/// looks after them.
fn awaited(rollout: &Rollout) -> Option<Missing> {
    let then = rollout.plan.steps.get(rollout.step)?.then;
    (then == Then::Continue).then(|| rollout.lacks(rollout.step + 1)).flatten()
}

/// Whether a change needs the votes of all.
const fn is_step(change: &Change) -> bool {
    matches!(change, Change::Next { .. })
}
