//! One rollout on three nodes, second by second, judged by the very code that ships.

use crate::node::Node;
use crate::traffic::{Chance, Moment};
use crate::world::{Step, World};
use judge::{Judgement, Measured, Ruling, Samples, Scope, Terms, judge, judge_recent, stable_to_keep};
use model::Recent;
use rand::RngExt;
use service::{Gates, Plan, min_sample};

const NODES: usize = 3;
/// The canary's share in each step.
pub(crate) const STEPS: [f64; 4] = [0.05, 0.2, 0.5, 1.0];
/// How long each step is held at least, in seconds.
pub(crate) const HOLD: u64 = 30;
/// How long a step may stay undecided after its hold, in seconds.
const DEADLINE: u64 = 600;
/// A look a second may find what is there only one second later.
const LOOK: u64 = 1;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Rolled back in this step, from 0.
    RolledBack { step: usize },
    /// An operator has to decide.
    Paused,
    /// The deadline came in this step, with so many requests to the canary that count.
    Aborted { step: usize, requests: u64 },
    /// All steps were passed.
    Promoted,
}

/// How it ended, and whether a step was held for longer than it and the samples that the plan names took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) was_held_up: bool,
}

impl Ended {
    /// Whether it never got all the traffic.
    pub(crate) const fn is_before_the_whole(self) -> bool {
        match self.end {
            End::RolledBack { step } | End::Aborted { step, .. } => step + 1 < STEPS.len(),
            End::Paused | End::Promoted => false,
        }
    }
}

/// A rollout on its way.
struct Rollout<'a> {
    world: &'a World,
    terms: Terms,
    moment: Moment,
    patience: f64,
    stable_before: Option<Box<Measured>>,
    was_held_up: bool,
}

/// Runs it to its end.
pub(crate) fn run(world: &World, chance: &mut Chance) -> Ended {
    let (terms, moment) = (terms(&Gates::default()), Moment::start(chance));
    let patience = world.stable.p95_seconds(chance);
    let mut rollout = Rollout { world, terms, moment, patience, stable_before: None, was_held_up: false };
    let end = (0..STEPS.len()).find_map(|step| rollout.hold(step, chance));
    Ended { end: end.unwrap_or(End::Promoted), was_held_up: rollout.was_held_up }
}

impl Rollout<'_> {
    /// One step: none if it is passed.
    fn hold(&mut self, step: usize, chance: &mut Chance) -> Option<End> {
        let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::new(self.patience)).collect();
        let mut enough_at = None;
        for held in 1.. {
            self.moment.advance(chance);
            let at = Step { step, weight: STEPS[step], held };
            for node in &mut nodes {
                #[allow(clippy::cast_precision_loss, reason = "three")]
                self.world.serve(node, NODES as f64, at, &self.moment, chance);
            }
            let own: Vec<Samples> = nodes.iter().map(|node| self.own(node, step)).collect();
            let pooled = self.pool(&own);
            let canary = &pooled.routed.canary;
            let answers = self.terms.compare_sample.is_none_or(|enough| canary.answers() >= enough);
            if enough_at.is_none() && answers && canary.requests() >= self.terms.min_sample {
                enough_at = Some(held);
            }
            let verdict = judge(&self.terms, &pooled, Scope::Pooled);
            let verdicts = self.honest(&own).iter().map(|own| judge(&self.terms, own, Scope::Node)).collect::<Vec<_>>();
            if is_failure(&verdict) || verdicts.iter().any(is_failure) || self.fails_of_late(&mut nodes, &own, &pooled)
            {
                return Some(End::RolledBack { step });
            }
            if [&verdict, &verdicts[0]].iter().any(|judged| matches!(judged.ruling, Ruling::Pause(_))) {
                return Some(End::Paused);
            }
            let passes = held >= HOLD && verdict.ruling == Ruling::Pass;
            if passes && self.is_voted(&own, &verdicts) && nodes.iter().all(Node::has_settled) {
                self.was_held_up |= enough_at.is_some_and(|enough| held > enough.max(HOLD) + LOOK);
                let kept = stable_to_keep(pooled.routed.stable, self.stable_before.as_deref());
                self.stable_before = kept.map(Box::new);
                self.patience = nodes[0].patience;
                return None;
            }
            if held >= HOLD + DEADLINE {
                self.was_held_up |= enough_at.is_some();
                return Some(End::Aborted { step, requests: canary.requests() });
            }
            nodes.iter_mut().zip(&own).for_each(|(node, own)| node.begin_anew_if_due(own));
        }
        None
    }

    fn own(&self, node: &Node, step: usize) -> Samples {
        let step = u32::try_from(step).expect("four steps");
        Samples { stable_before: self.stable_before.clone(), step, ..node.samples(self.moment.now()) }
    }

    /// Whether no node that says the truth objects, by its own counts or by those of all but one other.
    fn is_voted(&self, own: &[Samples], verdicts: &[Judgement]) -> bool {
        let without = |left_out: usize| {
            let all = self.pool_of(own, |node| node != left_out);
            judge(&self.terms, &all, Scope::Pooled).objection().is_some()
        };
        verdicts.iter().all(|own| own.objection().is_none()) && !(0..NODES).any(without)
    }

    /// The nodes that say what they count.
    fn honest<'a>(&self, all: &'a [Samples]) -> &'a [Samples] {
        if self.world.has_liar { &all[..NODES - 1] } else { all }
    }

    fn pool(&self, own: &[Samples]) -> Samples {
        self.pool_of(own, |_| true)
    }

    /// What these nodes say.
    fn pool_of(&self, own: &[Samples], is_heeded: impl Fn(usize) -> bool) -> Samples {
        let mut pooled = Samples { stable_before: self.stable_before.clone(), step: own[0].step, ..Samples::default() };
        for (_, samples) in self.honest(own).iter().enumerate().filter(|(node, _)| is_heeded(*node)) {
            pooled.routed.merge(&samples.routed);
            pooled.told.merge(&samples.told);
            pooled.restarts += samples.restarts;
        }
        if self.world.has_liar && is_heeded(NODES - 1) {
            pooled.routed.merge(&invented());
        }
        pooled
    }

    /// Whether the last seconds prove that the canary is bad.
    fn fails_of_late(&self, nodes: &mut [Node], own: &[Samples], pooled: &Samples) -> bool {
        let recents: Vec<Vec<Recent>> = nodes.iter_mut().zip(own).map(|(node, own)| node.recent(own)).collect();
        let honest = self.honest(own).len();
        let fails = |recents: &[Recent], samples: &Samples, scope| {
            recents.iter().any(|recent| judge_recent(&self.terms, samples, recent, scope).is_some())
        };
        let alone = recents[..honest].iter().zip(own).any(|(recents, own)| fails(recents, own, Scope::Node));
        alone || fails(&sum(&recents[..honest]), pooled, Scope::Pooled)
    }
}

/// What the nodes' last seconds add up to, for each that the first has.
fn sum(recents: &[Vec<Recent>]) -> Vec<Recent> {
    let add = |sum: Recent, other: &Recent| Recent {
        second: sum.second,
        begun: sum.begun + other.begun,
        errors: sum.errors + other.errors,
        answers: sum.answers + other.answers,
        slow: sum.slow + other.slow,
        unknown: sum.unknown + other.unknown,
        redirects: sum.redirects + other.redirects,
        client_errors: sum.client_errors + other.client_errors,
    };
    let of = |own: &Recent| {
        let others = recents[1..].iter().filter_map(|other| other.iter().find(|recent| recent.second == own.second));
        others.fold(*own, add)
    };
    recents[0].iter().map(of).collect()
}

/// What a member makes up that wants the canary promoted.
fn invented() -> judge::Arms {
    let counts = |micros| model::Counts {
        requests: 1_000_000,
        latencies: vec![(micros, 1_000_000)],
        ..model::Counts::default()
    };
    judge::Arms { stable: Measured::from_counts(&counts(100_000)), canary: Measured::from_counts(&counts(1_000)) }
}

fn is_failure(judged: &Judgement) -> bool {
    matches!(judged.ruling, Ruling::Fail(_))
}

/// What a plan with these gates asks for, where it says nothing else.
fn terms(gates: &Gates) -> Terms {
    Terms {
        gates: gates.clone(),
        min_sample: min_sample(gates),
        compare_sample: Some(Plan::COMPARE_SAMPLE),
        ..Terms::default()
    }
}

/// How many requests the canary of a first step gets until it fails, looked at after each: none within `most`.
pub(crate) fn requests_to_fail(world: &World, gates: &Gates, most: u64, chance: &mut Chance) -> Option<u64> {
    let mut samples = Samples::default();
    let moment = Moment::start(chance);
    let terms = terms(gates);
    for request in 1..=most {
        while !chance.random_bool(STEPS[0]) {
            let (latency, ended) = world.stable.answer(&moment, chance);
            samples.routed.stable.record(latency, ended, None);
        }
        let (latency, ended) = world.canary.answer(&moment, chance);
        samples.routed.canary.record(latency, ended, None);
        let judged = judge(&terms, &samples, Scope::Pooled);
        if matches!(judged.ruling, Ruling::Fail(_)) {
            return Some(request);
        }
    }
    None
}
