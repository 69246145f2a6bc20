//! What the answers to real requests add up to, and whether they are what was agreed; pure.

use crate::model::{NodeId, Weight};
use crate::routing::Choice;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many keys there are. Each node is asked for each of them in turn, so that a step that got this many answers has
/// heard every key about once.
pub(super) const USERS: u32 = 2400;
/// How many standard deviations an observed share may be away from the weight. Keys fall to the models like throws of a
/// coin; so far off are less than one run in a hundred thousand.
const DEVIATIONS: f64 = 4.5;
/// Of what went wrong, as much is kept to be shown.
const KEPT: usize = 3;

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) node: NodeId,
    pub(super) user: u32,
    pub(super) result: Result<Answer, Refusal>,
}

/// An answer of a model, by way of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) version: u64,
    pub(super) choice: Choice,
    pub(super) took: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The node was alive and should have answered.
    Failed(String),
    /// The node was killed meanwhile.
    CutOff,
}

/// How a step changes the canary's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trend {
    /// Who was with the canary stays there.
    Rising,
    /// The canary gives keys back.
    Falling,
}

/// The answers of one node during one step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) answers: u32,
    canary: u32,
}

/// All that was observed.
pub(super) struct Ledger {
    version: u64,
    shares: BTreeMap<NodeId, Share>,
    choices: Vec<Option<Choice>>,
    /// The choices of the step before, where the canary has been given more since.
    before: Vec<Option<Choice>>,
    /// Nodes that may not choose the canary, whatever version they are at.
    stable_only: BTreeSet<NodeId>,
    latencies: Histogram<u32>,
    failed: u64,
    cut_off: u64,
    complaints: Vec<String>,
}

impl Share {
    /// The canary's part of the answers, 0 to 1.
    pub(super) fn fraction(self) -> f64 {
        f64::from(self.canary) / f64::from(self.answers.max(1))
    }

    pub(super) fn fits(self, weight: Weight) -> bool {
        (self.fraction() - weight.fraction()).abs() <= tolerance(weight, self.answers)
    }
}

/// How far the share of `answers` for different keys may be from `weight`: nothing for none and all.
pub(super) fn tolerance(weight: Weight, answers: u32) -> f64 {
    let share = weight.fraction();
    DEVIATIONS * (share * (1.0 - share) / f64::from(answers.max(1))).sqrt()
}

impl Ledger {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, 60_000_000, 2).expect("a minute in microseconds is in bounds");
        Self {
            version: 0,
            shares: BTreeMap::new(),
            choices: nobody(),
            before: nobody(),
            stable_only: BTreeSet::new(),
            latencies,
            failed: 0,
            cut_off: 0,
            complaints: Vec::new(),
        }
    }

    /// From now on the answers of `version` are counted.
    pub(super) fn begin(&mut self, version: u64, trend: Trend) {
        let choices = std::mem::replace(&mut self.choices, nobody());
        self.before = match trend {
            Trend::Rising => choices,
            Trend::Falling => nobody(),
        };
        self.version = version;
        self.shares.clear();
    }

    /// From now on `node` must not choose the canary.
    pub(super) fn expect_stable_only(&mut self, node: NodeId) {
        self.stable_only.insert(node);
    }

    pub(super) fn record(&mut self, observation: Observation) {
        let Observation { node, user, result } = observation;
        match result {
            Ok(answer) => self.record_answer(node, user, answer),
            Err(Refusal::CutOff) => self.cut_off += 1,
            Err(Refusal::Failed(reason)) => {
                self.failed += 1;
                self.complain(format!("a request to {node} failed: {reason}"));
            }
        }
    }

    fn record_answer(&mut self, node: NodeId, user: u32, answer: Answer) {
        let micros = u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
        let Answer { version, choice, .. } = answer;
        if choice == Choice::Canary && self.stable_only.contains(&node) {
            self.complain(format!("{node} chose the canary, at version {version}, after it had been pulled back"));
        }
        if version != self.version {
            // It was on its way when the version changed.
            return;
        }
        let share = self.shares.entry(node).or_default();
        share.answers += 1;
        share.canary += u32::from(choice == Choice::Canary);
        let Some(known) = self.choices.get_mut(user as usize) else { return };
        match *known {
            Some(other) if other != choice => {
                self.complain(format!("user-{user} got both models at version {version}, the second from {node}"));
            }
            Some(_) => {}
            None => {
                *known = Some(choice);
                let was = self.before.get(user as usize).copied().flatten();
                if was == Some(Choice::Canary) && choice == Choice::Stable {
                    self.complain(format!(
                        "user-{user} lost the canary at version {version}, which gave it more users"
                    ));
                }
            }
        }
    }

    fn complain(&mut self, text: String) {
        if self.complaints.len() < KEPT {
            self.complaints.push(text);
        }
    }

    /// What `node` answered during this step.
    pub(super) fn share(&self, node: NodeId) -> Share {
        self.shares.get(&node).copied().unwrap_or_default()
    }

    /// The answers of all nodes during this step.
    pub(super) fn step_answers(&self) -> u32 {
        self.shares.values().map(|share| share.answers).sum()
    }

    /// All answers there were.
    pub(super) fn answers(&self) -> u64 {
        self.latencies.len()
    }

    /// Requests that a living node did not answer.
    pub(super) const fn failed(&self) -> u64 {
        self.failed
    }

    /// Requests that a killed node did not answer.
    pub(super) const fn cut_off(&self) -> u64 {
        self.cut_off
    }

    /// What was not as it should be, the first few.
    pub(super) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// How long answers took, of a quantile 0 to 1.
    pub(super) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }
}

fn nobody() -> Vec<Option<Choice>> {
    vec![None; USERS as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Weight {
        Weight::from_percent(text).expect("a weight")
    }

    fn answer(ledger: &mut Ledger, node: NodeId, user: u32, version: u64, choice: Choice) {
        let took = Duration::from_millis(1);
        ledger.record(Observation { node, user, result: Ok(Answer { version, choice, took }) });
    }

    fn b() -> NodeId {
        NodeId::from_letter('b').expect("a letter")
    }

    #[test]
    fn nothing_and_everything_leave_no_room() {
        assert!(tolerance(percent("0"), 100).abs() < f64::EPSILON);
        assert!(tolerance(percent("100"), 100).abs() < f64::EPSILON);
        let of = |canary| Share { answers: USERS, canary };
        assert!(of(120).fits(percent("5")) && of(165).fits(percent("5")) && !of(170).fits(percent("5")));
        assert!(of(0).fits(percent("0")) && !of(1).fits(percent("0")) && !of(USERS - 1).fits(percent("100")));
    }

    #[test]
    fn only_the_answers_of_the_version_count() {
        let mut ledger = Ledger::new();
        ledger.begin(1, Trend::Rising);
        answer(&mut ledger, NodeId::A, 1, 0, Choice::Stable);
        answer(&mut ledger, NodeId::A, 2, 1, Choice::Canary);
        answer(&mut ledger, NodeId::A, 3, 1, Choice::Stable);
        assert_eq!((ledger.share(NodeId::A).answers, ledger.answers()), (2, 3));
        assert!((ledger.share(NodeId::A).fraction() - 0.5).abs() < f64::EPSILON);
        assert_eq!(ledger.complaints(), &[] as &[String]);
    }

    #[test]
    fn a_key_has_one_model_on_all_nodes() {
        let mut ledger = Ledger::new();
        ledger.begin(1, Trend::Rising);
        answer(&mut ledger, NodeId::A, 7, 1, Choice::Canary);
        answer(&mut ledger, b(), 7, 1, Choice::Stable);
        assert!(ledger.complaints()[0].contains("user-7 got both models at version 1"));
    }

    #[test]
    fn who_has_the_canary_keeps_it_while_it_grows() {
        let mut ledger = Ledger::new();
        ledger.begin(1, Trend::Rising);
        answer(&mut ledger, NodeId::A, 7, 1, Choice::Canary);
        ledger.begin(2, Trend::Rising);
        answer(&mut ledger, NodeId::A, 7, 2, Choice::Stable);
        assert!(ledger.complaints()[0].contains("user-7 lost the canary"));
        let mut ledger = Ledger::new();
        ledger.begin(1, Trend::Rising);
        answer(&mut ledger, NodeId::A, 7, 1, Choice::Canary);
        ledger.begin(2, Trend::Falling);
        answer(&mut ledger, NodeId::A, 7, 2, Choice::Stable);
        assert!(ledger.complaints().is_empty());
    }

    #[test]
    fn failures_count_unless_the_node_was_killed() {
        let mut ledger = Ledger::new();
        let failed = |refusal| Observation { node: b(), user: 1, result: Err(refusal) };
        ledger.record(failed(Refusal::CutOff));
        assert_eq!((ledger.failed(), ledger.cut_off(), ledger.complaints().len()), (0, 1, 0));
        (0..10).for_each(|_| ledger.record(failed(Refusal::Failed("it broke".into()))));
        assert_eq!((ledger.failed(), ledger.complaints().len()), (10, KEPT));
    }

    #[test]
    fn a_node_that_came_back_has_no_canary() {
        let mut ledger = Ledger::new();
        ledger.expect_stable_only(b());
        answer(&mut ledger, NodeId::A, 1, 4, Choice::Canary);
        assert!(ledger.complaints().is_empty());
        answer(&mut ledger, b(), 1, 4, Choice::Canary);
        assert!(ledger.complaints()[0].contains("node-b chose the canary"));
    }
}
