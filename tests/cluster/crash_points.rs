//! Every node, killed before and after everything it writes, forces, renames, sends, shows and answers: nothing that was told is
//! lost, and all go on.
//!
//! What runs always kills one node of each role at its first passing. `CANARY_CRASH_POINTS=all` kills every node, at every
//! passing until one comes to the end of the situation alive.
#![allow(clippy::print_stderr, reason = "what was done is worth reading")]

use super::deaths::{Cause, Fate, Mortals, Situation};
use super::needs::Need;
use super::world::{A, B, C};
use crash::{Step, When};
use model::NodeId;

/// The first start of a node in an empty directory.
const MAKING: [Step; 8] = [
    Step::DirectoryMake,
    Step::DirectoryForce,
    Step::LockWrite,
    Step::SegmentMake,
    Step::SegmentForce,
    Step::IdentityWrite,
    Step::IdentityForce,
    Step::IdentityRename,
];
/// Whatever is decided.
const DECIDING: [Step; 7] = [
    Step::RecordWrite,
    Step::RecordForce,
    Step::Publish,
    Step::Send,
    Step::LinkWrite,
    Step::HistoryWrite,
    Step::AuditWrite,
];
/// What only a node's stop or the passing of time brings.
const ENDING: [Step; 2] = [Step::AuditForce, Step::AuditRename];
/// What only a long life brings.
const AGING: [Step; 3] = [Step::HistoryRename, Step::HistoryRemove, Step::AuditRemove];
const TAKING_OVER: [Step; 5] = [Step::RecordWrite, Step::RecordForce, Step::Publish, Step::Send, Step::LinkWrite];
const JOINING: [Step; 5] = [Step::RecordWrite, Step::RecordForce, Step::Publish, Step::Send, Step::LinkWrite];

fn is_everything() -> bool {
    std::env::var_os("CANARY_CRASH_POINTS").is_some_and(|what| what == "all")
}

/// Kills the victims at each of `steps`, on both sides.
fn kill_at(number: u8, victims: &[NodeId], situation: Situation, steps: &[Step]) {
    let mut mortals = Mortals::new(number);
    let (passings, victims) = if is_everything() { (u32::MAX, victims) } else { (1, &victims[..1]) };
    let (mut died, mut survived) = (0, 0);
    for victim in victims {
        for step in steps {
            for when in When::BOTH {
                for passing in 1..=passings {
                    let cause = Cause::Point(*step, when, passing);
                    match mortals.kill(*victim, situation, cause) {
                        Fate::Died => died += 1,
                        Fate::Survived if passing > 1 => {
                            survived += 1;
                            break;
                        }
                        Fate::Survived => panic!("{victim} never came to {cause} in {situation:?}"),
                    }
                }
            }
        }
    }
    mortals.finish();
    eprintln!("{situation:?}: {died} deaths, and {survived} that were not reached");
}

#[test]
fn a_coordinator_that_dies_in_an_advance() {
    let steps = [&DECIDING[..], &[Step::Reply]].concat();
    kill_at(74, &[A], Situation::Advance, &steps);
}

#[test]
fn a_participant_that_dies_in_a_retreat() {
    kill_at(75, &[B, C], Situation::Retreat, &DECIDING);
}

#[test]
fn a_node_that_dies_while_it_takes_over() {
    kill_at(76, &[B, C], Situation::Takeover, &TAKING_OVER);
}

#[test]
fn a_node_that_dies_while_it_joins_again() {
    let steps = [&MAKING[..], &JOINING].concat();
    kill_at(77, &[C, B, A], Situation::Rejoin, &steps);
}

#[test]
fn a_node_that_dies_while_it_stops_or_puts_its_records_aside() {
    kill_at(78, &[B, A], Situation::Stop, &ENDING);
    kill_at(79, &[C, A], Situation::Start, &AGING);
}

#[test]
fn the_other_roles_of_a_change() {
    if !is_everything() {
        return;
    }
    let steps = [&DECIDING[..], &[Step::Reply]].concat();
    kill_at(80, &[A], Situation::Retreat, &steps);
    kill_at(81, &[B, C], Situation::Advance, &DECIDING);
}

#[test]
fn every_step_is_tried() {
    let tried = [&MAKING[..], &DECIDING, &ENDING, &AGING, &TAKING_OVER, &JOINING, &[Step::Reply]].concat();
    let left = Step::ALL.into_iter().find(|step| !tried.contains(step));
    assert_eq!(left, None, "no test ends a node there");
}

#[test]
fn a_node_that_dies_at_any_of_its_forced_writes() {
    if !Need::Strace.is_met() {
        return;
    }
    let mut mortals = Mortals::new(82);
    let all = [
        (A, Situation::Advance),
        (B, Situation::Advance),
        (A, Situation::Retreat),
        (C, Situation::Retreat),
        (B, Situation::Takeover),
        (C, Situation::Rejoin),
    ];
    for (victim, situation) in all {
        let number = (1..).find(|number| mortals.kill(victim, situation, Cause::Force(*number)) == Fate::Survived);
        let number = number.expect("it survives at last");
        assert!(number > 1, "{victim} forced nothing in {situation:?}");
        eprintln!("{situation:?}: {victim} died at each of {} forced writes", number - 1);
    }
    mortals.finish();
}
