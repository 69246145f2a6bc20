//! Processes that start, work and fail on one disk, one after the other.

use super::platter::{Fate, Shared};
use super::rules::Rule;
use super::store::{Failures, SimulatedStore};
use crate::dice::Dice;
use model::{Ballot, Incarnation, NodeId};
use service::RoutingState;
use service::{Proposal, Record};
use std::collections::BTreeMap;
use std::sync::Arc;

fn record(number: u64) -> Record {
    let ballot = Ballot { round: number, node: NodeId::A, incarnation: Incarnation(1) };
    let mut state = RoutingState::initial("v1".parse().expect("a model id"));
    state.stable.upstream = Some("x".repeat(900));
    let (votes, evidence) = (BTreeMap::new(), BTreeMap::new());
    Record::Accepted(Arc::new(Proposal { ballot, state: Arc::new(state), by: None, votes, evidence }))
}

/// Starts, works and fails, again and again; says whether every start without trouble succeeds, and knows what was said.
fn lives(seed: u64, omitted: Option<Rule>) -> Result<(), String> {
    let (disk, mut dice) = (Shared::new(seed, 3), Dice::new(seed));
    let (mut number, mut certain) = (0, 0);
    for life in 0..10 {
        let fate = [Fate::DiesBefore, Fate::DiesWithin, Fate::DiesAfter, Fate::Fails][dice.below(4)];
        let last = [24, 60][dice.below(2)];
        disk.lock().arm(dice.below(last), fate);
        let opened = SimulatedStore::open(&disk, NodeId::A, Incarnation(7), (omitted, Failures::Told));
        if let (Err(error), None) = (&opened, disk.lock().spoilt) {
            return Err(format!("life {life} cannot start: {error}"));
        }
        if let Ok((mut store, durable)) = opened {
            if durable.promise.round < certain {
                return Err(format!("life {life} knows {}, and {certain} was said", durable.promise));
            }
            loop {
                number += 1;
                if store.append(&[record(number)]).is_err() {
                    break;
                }
                certain = number;
            }
        }
        let mut disk = disk.lock();
        disk.release();
        if dice.once_in(2) {
            disk.cut_power();
        }
    }
    Ok(())
}

#[test]
fn whatever_fails_the_next_start_succeeds_and_knows_what_was_said() {
    for seed in 0..400 {
        assert_eq!(lives(seed, None), Ok(()), "seed {seed}");
    }
}

#[test]
fn without_any_one_rule_something_is_lost() {
    for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::NewEpoch) {
        let lost = (0..4_000).find_map(|seed| lives(seed, Some(rule)).err());
        assert!(lost.is_some(), "{rule:?} is of no use");
    }
}
