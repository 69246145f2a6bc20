//! What holds a step up is told once, and again when it is something else; and how long that may go on.

use super::*;
use crate::HeldUp;
use service::{GateName, MARK, Rate};

impl Surroundings {
    /// What is told to hold the step up, looking ten times a second for this long.
    fn told(&mut self, seconds: u64) -> Vec<HeldUp> {
        let mut told = Vec::new();
        for _ in 0..seconds * 10 {
            self.now = self.now + LOOK_EVERY;
            let moves = self.look();
            told.extend(moves.held_up.and_then(|next| next.held_up()));
        }
        told
    }
}

#[test]
fn what_holds_a_step_up_is_told_when_it_begins_to_and_when_it_is_something_else() {
    let mut surroundings = Surroundings::started(|_| {});
    (surroundings.connected, surroundings.serving) = (NodeSet::EMPTY, NodeSet::EMPTY);
    assert_eq!(surroundings.told(9), [], "it is held still");
    assert_eq!(surroundings.told(20), [HeldUp::NoRequests]);
    surroundings.own = samples(30, 0);
    assert_eq!(surroundings.told(5), [HeldUp::Requests]);
    // Four of 64 are 6.3 %, where 5 % are allowed, and may be chance.
    surroundings.own = samples(60, 4);
    assert_eq!(surroundings.told(4), [], "not so soon again");
    assert_eq!(surroundings.told(20), [HeldUp::Gate(GateName::ERROR_RATE)]);
    let status = surroundings.look().status.expect("a trial");
    let Next::Undecided { by, why, .. } = status.next.clone() else { panic!("{:?}", status.next) };
    assert!(by.word() == "max_error_rate" && why.starts_with("error rate 6.2 % of 64 requests, limit 5 %"), "{why}");
}

#[test]
fn the_rate_of_all_nodes_is_known_after_a_while() {
    let mut surroundings = Surroundings::started(|_| {});
    surroundings.own = samples(250, 0);
    surroundings.tell('b', report(1, 250, 0));
    surroundings.pass(4);
    assert_eq!(surroundings.controller.rate(), None);
    surroundings.pass(1);
    assert_eq!(surroundings.controller.rate(), Some(Rate(500_000_000)), "1 000 of stable and 250 of the canary on two");
}

#[test]
fn a_step_has_the_deadline_that_was_agreed_for_it() {
    let mut surroundings = Surroundings::new();
    surroundings.state.wire = Some(MARK);
    let change = Box::new(start(plan(|plan| plan.progress_deadline = None)));
    surroundings.make(&Change::At { rate: Rate(2_000_000), change });
    let _ = surroundings.look();
    let agreed = surroundings.state.rollout.as_ref().and_then(|rollout| rollout.deadline).expect("the plan has none");
    assert!(agreed > Span(600_000), "{agreed:?}");
    surroundings.told(11);
    let status = surroundings.look().status.expect("a trial");
    let Next::Undecided { left, .. } = status.next else { panic!("{:?}", status.next) };
    assert_eq!(left.as_secs(), agreed.0 / 1_000 - 1);
}
