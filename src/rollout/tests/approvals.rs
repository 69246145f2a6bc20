//! The controller's patience while people are awaited.

use super::*;

/// A plan whose last step two operators have to approve.
fn approved_at_last() -> Surroundings {
    Surroundings::started(|plan| plan.steps[3].approvals = 2)
}

fn approve(operator: &str) -> Change {
    Change::Approve { operator: format!("operator/{operator}") }
}

impl Surroundings {
    /// Goes on with good measurements for this long.
    fn pass_well(&mut self, seconds: u64) {
        self.own = samples(200, 0);
        self.pass_with_reports(seconds, 200, 0);
        self.own = samples(200, 0);
    }

    /// Makes a change that changes nothing of what is measured.
    fn approve(&mut self, operator: &str) {
        let own = self.own.clone();
        self.make(&approve(operator));
        self.own = own;
    }

    /// Goes on until the step before the last is held and passed.
    fn pass_to_the_wait(&mut self) {
        for _ in 0..3 {
            self.pass_well(12);
        }
        assert_eq!((self.made.len(), self.state.canary_weight().to_string().as_str()), (2, "50 %"));
    }
}

#[test]
fn a_step_that_asks_for_approvals_waits_for_them_as_long_as_people_take() {
    let mut surroundings = approved_at_last();
    surroundings.pass_to_the_wait();
    let next = |surroundings: &mut Surroundings| surroundings.look().status.expect("a trial").next.clone();
    let Next::AwaitsApproval(missing) = next(&mut surroundings) else { panic!("{:?}", next(&mut surroundings)) };
    assert_eq!(missing.to_string(), "2 more approvals of step 4 (100 %): nobody approved");
    // Longer than the deadline of a step that nobody has to approve.
    surroundings.pass_well(2 * 600);
    assert_eq!((surroundings.made.len(), surroundings.phase()), (2, Phase::Progressing));
    surroundings.approve("alice");
    surroundings.pass_well(12);
    let Next::AwaitsApproval(missing) = next(&mut surroundings) else { panic!("{:?}", next(&mut surroundings)) };
    assert_eq!(missing.to_string(), "1 more approval of step 4 (100 %): alice approved");
    surroundings.approve("bob");
    surroundings.pass_well(2);
    assert_eq!(surroundings.state.canary_weight(), Weight::FULL, "the hold was over and the measurements good");
}

#[test]
fn the_time_to_pass_begins_with_the_last_approval() {
    let mut surroundings = approved_at_last();
    surroundings.pass_to_the_wait();
    // Nobody asks the canary any more, so that no verdict comes; a wait for people is not what ends it.
    surroundings.own = Samples::default();
    surroundings.pass_with_reports(700, 0, 0);
    assert_eq!(surroundings.phase(), Phase::Progressing);
    surroundings.approve("alice");
    surroundings.approve("bob");
    surroundings.own = Samples::default();
    surroundings.pass_with_reports(590, 0, 0);
    assert_eq!(surroundings.phase(), Phase::Progressing);
    assert!(matches!(surroundings.look().status.expect("a trial").next, Next::Undecided { .. }));
    surroundings.pass_with_reports(20, 0, 0);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::Aborted));
}

#[test]
fn a_canary_that_fails_while_people_are_awaited_is_rolled_back() {
    let mut surroundings = approved_at_last();
    surroundings.pass_to_the_wait();
    surroundings.approve("alice");
    surroundings.own = samples(200, 60);
    surroundings.pass_with_reports(2, 200, 60);
    assert_eq!(surroundings.phase(), Phase::Ended(Outcome::RolledBack));
}
