//! The sum of the answers to real requests, compared with what was agreed; pure.

use super::models::Model;
use hdrhistogram::Histogram;
use model::{NodeId, Weight};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many keys there are. Each node is asked for each of them in turn, so that a version that got this many answers has
/// heard every key about once.
pub(super) const USERS: u32 = 1500;
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
    pub(super) asked: Instant,
    pub(super) result: Result<Answer, Refusal>,
}

/// An answer of a model, by way of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) version: u64,
    pub(super) model: Model,
    pub(super) worth: Worth,
    pub(super) took: Duration,
}

/// What a user makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// What was asked for.
    Good,
    /// An error of the model, status 5xx.
    Error,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The node was alive and should have answered.
    Failed(String),
    /// The node was killed meanwhile.
    CutOff,
}

/// What is held against the answers from some moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// This model's share only grows: a key has one model on all nodes, and keeps this one once it has it.
    Grows(Model),
    /// This model is taken back by each node for itself, so that a key may meet both for a moment.
    TakenBack(Model),
}

/// The answers of one node at one version, to at most each user once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) answers: u32,
    canary: u32,
}

/// What was seen of a user since the rule holds.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The lowest version at which it had the canary.
    canary_from: Option<u64>,
    /// The highest version at which it had another model.
    other_until: Option<u64>,
}

/// All that was observed.
pub(super) struct Ledger {
    rule: Rule,
    shares: BTreeMap<(u64, NodeId), Share>,
    users: Vec<Seen>,
    /// Users who saw an error of the canary.
    pub(super) met_error: BTreeSet<u32>,
    /// For each node, when the last request was sent that the canary answered.
    last_canary: BTreeMap<NodeId, Instant>,
    latencies: Histogram<u32>,
    /// Requests that a living node or a good model did not answer as it should.
    pub(super) failed: u64,
    /// Errors of a model that is there to give some.
    pub(super) expected_errors: u64,
    /// Requests that a killed node did not answer.
    pub(super) cut_off: u64,
    /// What was not as it should be, the first few.
    pub(super) complaints: Vec<String>,
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

impl Rule {
    const fn canary(self) -> Model {
        match self {
            Self::Grows(model) | Self::TakenBack(model) => model,
        }
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, 60_000_000, 2).expect("a minute in microseconds is in bounds");
        Self {
            rule: Rule::Grows(Model::V1),
            shares: BTreeMap::new(),
            users: nobody(),
            met_error: BTreeSet::new(),
            last_canary: BTreeMap::new(),
            latencies,
            failed: 0,
            expected_errors: 0,
            cut_off: 0,
            complaints: Vec::new(),
        }
    }

    /// From now on `rule` holds, and its model is the canary.
    pub(super) fn begin(&mut self, rule: Rule) {
        self.rule = rule;
        self.shares.clear();
        self.users = nobody();
        self.met_error.clear();
        self.last_canary.clear();
    }

    /// Counts the answers of each version from nothing.
    pub(super) fn count_anew(&mut self) {
        self.shares.clear();
    }

    pub(super) fn record(&mut self, observation: Observation) {
        let Observation { node, user, asked, result } = observation;
        match result {
            Ok(answer) => self.record_answer(node, user, asked, answer),
            Err(Refusal::CutOff) => self.cut_off += 1,
            Err(Refusal::Failed(reason)) => self.fail(format!("a request to {node} failed: {reason}")),
        }
    }

    fn record_answer(&mut self, node: NodeId, user: u32, asked: Instant, answer: Answer) {
        let micros = u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
        let Answer { version, model, worth, .. } = answer;
        match (worth, model.may_fail()) {
            (Worth::Error, false) => {
                self.fail(format!("{model} answered user-{user} with an error, by way of {node}"));
            }
            (Worth::Error, true) => self.expected_errors += 1,
            (Worth::Good, _) => {}
        }
        let is_canary = model == self.rule.canary();
        let share = self.shares.entry((version, node)).or_default();
        if share.answers < USERS {
            share.answers += 1;
            share.canary += u32::from(is_canary);
        }
        if is_canary {
            let last = self.last_canary.entry(node).or_insert(asked);
            *last = asked.max(*last);
            if worth == Worth::Error {
                self.met_error.insert(user);
            }
        }
        if let Rule::Grows(canary) = self.rule {
            self.follow(user, version, model, canary, node);
        }
    }

    /// Holds an answer against what this user got before. Answers of two versions may come in any order.
    fn follow(&mut self, user: u32, version: u64, model: Model, canary: Model, node: NodeId) {
        let Some(seen) = self.users.get_mut(user as usize) else { return };
        if model == canary {
            seen.canary_from = Some(seen.canary_from.map_or(version, |known| known.min(version)));
        } else {
            seen.other_until = Some(seen.other_until.map_or(version, |known| known.max(version)));
        }
        let Seen { canary_from: Some(had), other_until: Some(lost) } = *seen else { return };
        if had == lost {
            self.complain(format!("user-{user} got both models at version {had}, the second from {node}"));
        } else if had < lost {
            self.complain(format!("user-{user} had {canary} at version {had} and lost it at version {lost}"));
        }
    }

    fn fail(&mut self, text: String) {
        self.failed += 1;
        self.complain(text);
    }

    fn complain(&mut self, text: String) {
        if self.complaints.len() < KEPT {
            self.complaints.push(text);
        }
    }

    pub(super) fn share(&self, version: u64, node: NodeId) -> Share {
        self.shares.get(&(version, node)).copied().unwrap_or_default()
    }

    /// When the last request was sent to `node` that the canary answered.
    pub(super) fn last_canary(&self, node: NodeId) -> Option<Instant> {
        self.last_canary.get(&node).copied()
    }

    pub(super) fn answers(&self) -> u64 {
        self.latencies.len()
    }

    /// How long answers took, of a quantile 0 to 1.
    pub(super) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(quantile))
    }
}

fn nobody() -> Vec<Seen> {
    vec![Seen::default(); USERS as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Weight {
        Weight::from_percent(text).expect("a weight")
    }

    fn observe(ledger: &mut Ledger, node: NodeId, user: u32, answer: (u64, Model, Worth)) {
        let (version, model, worth) = answer;
        let answer = Answer { version, model, worth, took: Duration::from_millis(1) };
        ledger.record(Observation { node, user, asked: Instant::now(), result: Ok(answer) });
    }

    fn answer(ledger: &mut Ledger, node: NodeId, user: u32, version: u64, model: Model) {
        observe(ledger, node, user, (version, model, Worth::Good));
    }

    fn growing() -> Ledger {
        let mut ledger = Ledger::new();
        ledger.begin(Rule::Grows(Model::V2));
        ledger
    }

    fn b() -> NodeId {
        NodeId::from_letter('b').expect("a letter")
    }

    #[test]
    fn nothing_and_everything_leave_no_room() {
        assert!(tolerance(percent("0"), 100).abs() < f64::EPSILON);
        assert!(tolerance(percent("100"), 100).abs() < f64::EPSILON);
        let of = |canary| Share { answers: USERS, canary };
        assert!(of(75).fits(percent("5")) && of(112).fits(percent("5")) && !of(114).fits(percent("5")));
        assert!(of(0).fits(percent("0")) && !of(1).fits(percent("0")) && !of(USERS - 1).fits(percent("100")));
    }

    #[test]
    fn each_version_is_counted_for_itself_and_each_user_once() {
        let mut ledger = growing();
        answer(&mut ledger, NodeId::A, 1, 0, Model::V1);
        answer(&mut ledger, NodeId::A, 2, 1, Model::V2);
        answer(&mut ledger, NodeId::A, 3, 1, Model::V1);
        assert_eq!((ledger.share(1, NodeId::A).answers, ledger.share(1, b()).answers, ledger.answers()), (2, 0, 3));
        assert!((ledger.share(1, NodeId::A).fraction() - 0.5).abs() < f64::EPSILON);
        (0..USERS + 10).for_each(|user| answer(&mut ledger, b(), user % USERS, 2, Model::V2));
        assert_eq!(ledger.share(2, b()).answers, USERS);
        assert_eq!(ledger.complaints, &[] as &[String]);
    }

    #[test]
    fn a_key_has_one_model_on_all_nodes() {
        let mut ledger = growing();
        answer(&mut ledger, NodeId::A, 7, 1, Model::V2);
        answer(&mut ledger, b(), 7, 1, Model::V1);
        assert!(ledger.complaints[0].contains("user-7 got both models at version 1"));
    }

    #[test]
    fn who_has_the_canary_keeps_it_while_it_grows() {
        for order in [[1, 2], [2, 1]] {
            let mut ledger = growing();
            for version in order {
                answer(&mut ledger, NodeId::A, 7, version, if version == 1 { Model::V2 } else { Model::V1 });
            }
            assert!(ledger.complaints[0].contains("user-7 had v2 at version 1 and lost it at version 2"));
        }
        let mut ledger = growing();
        answer(&mut ledger, NodeId::A, 7, 2, Model::V2);
        answer(&mut ledger, NodeId::A, 7, 1, Model::V1);
        ledger.begin(Rule::TakenBack(Model::V3));
        answer(&mut ledger, NodeId::A, 7, 3, Model::V3);
        answer(&mut ledger, b(), 7, 3, Model::V2);
        assert!(ledger.complaints.is_empty());
    }

    #[test]
    fn failures_count_unless_the_node_was_killed() {
        let mut ledger = Ledger::new();
        let failed = |refusal| Observation { node: b(), user: 1, asked: Instant::now(), result: Err(refusal) };
        ledger.record(failed(Refusal::CutOff));
        assert_eq!((ledger.failed, ledger.cut_off, ledger.complaints.len()), (0, 1, 0));
        (0..10).for_each(|_| ledger.record(failed(Refusal::Failed("it broke".into()))));
        assert_eq!((ledger.failed, ledger.complaints.len()), (10, KEPT));
    }

    #[test]
    fn only_a_bad_canary_may_fail_and_its_users_are_counted_once() {
        let mut ledger = Ledger::new();
        ledger.begin(Rule::TakenBack(Model::V3));
        (0..2).for_each(|_| observe(&mut ledger, b(), 7, (6, Model::V3, Worth::Error)));
        assert_eq!((ledger.failed, ledger.expected_errors, ledger.met_error.len()), (0, 2, 1));
        assert!(ledger.last_canary(b()).is_some() && ledger.last_canary(NodeId::A).is_none());
        observe(&mut ledger, b(), 7, (6, Model::V2, Worth::Error));
        assert_eq!((ledger.failed, ledger.met_error.len()), (1, 1));
        assert!(ledger.complaints[0].contains("v2 answered user-7 with an error"));
    }
}
