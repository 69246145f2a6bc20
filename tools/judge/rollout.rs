//! One rollout on three nodes, second by second, judged by the very code that ships.

use crate::traffic::{Behaviour, Chance, Moment};
use judge::{Ruling, Samples, Scope, Terms, judge};
use rand::RngExt;
use rand_distr::{Distribution, Poisson};
use service::{Gates, Plan, min_sample};

const NODES: usize = 3;
/// The canary's share in each step.
pub(crate) const STEPS: [f64; 4] = [0.05, 0.2, 0.5, 1.0];
/// How long each step is held at least, in seconds.
pub(crate) const HOLD: u64 = 30;
/// How long a step may stay undecided after its hold, in seconds.
const DEADLINE: u64 = 600;
/// A node begins its window anew when it is older than this, in seconds, ...
const WINDOW: u64 = 60;
/// ... and has as many requests to the canary of its own.
const WINDOW_REQUESTS: u64 = 2_000;
/// A pass counts when each node's window has been open for this long, in seconds: in the few requests of one that was just
/// begun anew a bad canary is lucky sooner or later.
const SETTLED: u64 = 30;

/// What is rolled out, and with how much traffic.
pub(crate) struct Setting {
    /// Requests a second on all nodes together.
    pub(crate) rate: f64,
    pub(crate) stable: Behaviour,
    pub(crate) canary: Behaviour,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Rolled back in this step, from 0.
    RolledBack { step: usize },
    /// The deadline came in this step.
    Aborted { step: usize },
    /// All steps were passed.
    Promoted,
}

impl Ended {
    /// Whether it never got all the traffic.
    pub(crate) const fn is_before_the_whole(self) -> bool {
        match self {
            Self::RolledBack { step } | Self::Aborted { step } => step + 1 < STEPS.len(),
            Self::Promoted => false,
        }
    }
}

#[derive(Clone, Default)]
struct Node {
    samples: Samples,
    open: u64,
}

impl Node {
    fn serve(&mut self, setting: &Setting, weight: f64, moment: &Moment, chance: &mut Chance) {
        let mean = setting.rate / NODES as f64;
        let requests: f64 = Poisson::new(mean).expect("a rate is positive").sample(chance);
        let mut left = requests;
        while left >= 1.0 {
            left -= 1.0;
            let (model, measured) = match chance.random_bool(weight) {
                true => (&setting.canary, &mut self.samples.routed.canary),
                false => (&setting.stable, &mut self.samples.routed.stable),
            };
            let (latency, ended) = model.answer(moment, chance);
            measured.record(latency, ended, None);
        }
        self.open += 1;
    }

    fn begin_anew_if_due(&mut self) {
        if self.open > WINDOW && self.samples.routed.canary.requests() >= WINDOW_REQUESTS {
            self.samples.routed.stable.clear();
            self.samples.routed.canary.clear();
            self.samples.restarts += 1;
            self.open = 0;
        }
    }
}

/// Runs it to its end.
pub(crate) fn run(setting: &Setting, chance: &mut Chance) -> Ended {
    let mut moment = Moment::start(chance);
    for (step, weight) in STEPS.into_iter().enumerate() {
        if let Some(ended) = hold(setting, step, weight, &mut moment, chance) {
            return ended;
        }
    }
    Ended::Promoted
}

/// One step: none if it is passed.
fn hold(setting: &Setting, step: usize, weight: f64, moment: &mut Moment, chance: &mut Chance) -> Option<Ended> {
    let terms = terms(&Gates::default());
    let mut nodes = vec![Node::default(); NODES];
    let mut pooled = Samples { step: u32::try_from(step).expect("four steps"), ..Samples::default() };
    let begin = moment.second();
    for node in &mut nodes {
        node.samples.step = pooled.step;
    }
    loop {
        moment.advance(chance);
        let held = moment.second() - begin;
        for node in &mut nodes {
            node.begin_anew_if_due();
            node.serve(setting, weight, moment, chance);
            let own = judge(&terms, &node.samples, Scope::Node);
            if let Ruling::Fail(_) = own.ruling {
                return Some(Ended::RolledBack { step });
            }
        }
        pool(&mut pooled, &nodes);
        match judge(&terms, &pooled, Scope::Pooled).ruling {
            Ruling::Fail(_) => return Some(Ended::RolledBack { step }),
            Ruling::Pass if held >= HOLD && nodes.iter().all(|node| node.open >= SETTLED) => return None,
            Ruling::Pass | Ruling::Pause(_) | Ruling::NotEnough => {}
        }
        if held >= HOLD + DEADLINE {
            return Some(Ended::Aborted { step });
        }
    }
}

fn pool(pooled: &mut Samples, nodes: &[Node]) {
    pooled.routed.stable.clear();
    pooled.routed.canary.clear();
    pooled.restarts = 0;
    for Node { samples, .. } in nodes {
        pooled.routed.merge(&samples.routed);
        pooled.restarts += samples.restarts;
    }
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
pub(crate) fn requests_to_fail(setting: &Setting, gates: &Gates, most: u64, chance: &mut Chance) -> Option<u64> {
    let mut samples = Samples::default();
    let moment = Moment::start(chance);
    let terms = terms(gates);
    for request in 1..=most {
        while !chance.random_bool(STEPS[0]) {
            let (latency, ended) = setting.stable.answer(&moment, chance);
            samples.routed.stable.record(latency, ended, None);
        }
        let (latency, ended) = setting.canary.answer(&moment, chance);
        samples.routed.canary.record(latency, ended, None);
        let judged = judge(&terms, &samples, Scope::Pooled);
        if matches!(judged.ruling, Ruling::Fail(_)) {
            return Some(request);
        }
    }
    None
}
