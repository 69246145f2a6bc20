//! The rules of the controller that nothing but themselves can replace: each is a method, and its body is the rule.
//!
//! The program runs with [`All`] of them. A test replaces one in a type of its own, and shows that a simulation then finds
//! a broken promise: so what the controller does without a rule stands with the tests, and no part of it in the program.

use super::trial::{Kind, Trial};
use judge::Ruling;
use service::{Change, Rollout, Step, Then};
use std::time::Duration;

/// The rules by which a controller decides.
pub trait Rules {
    /// A step is held as long as its plan says; `left` is how much of that is to come.
    fn is_held(&self, left: Option<Duration>) -> bool {
        left.is_some()
    }

    /// Only what has passed goes on.
    fn passes(&self, ruling: Ruling) -> bool {
        ruling == Ruling::Pass
    }

    /// Each step is counted from nothing: what is to be counted from now on, `trial` or nothing, where `left` was before.
    fn counts(&self, _left: Option<&Trial>, trial: Option<&Trial>) -> Option<Option<Trial>> {
        Some(trial.cloned())
    }

    /// A node that finds the canary of a rollout to be bad stops serving it.
    fn ejects(&self, trial: &Trial) -> bool {
        trial.kind != Kind::Manual
    }

    /// A canary that was found to be bad is rolled back.
    fn remedy(&self, why: String, rollout: &Rollout) -> Option<Change> {
        Some(Change::RollBack { why, started: rollout.started })
    }

    /// A step that an operator has to promote waits for her.
    fn awaits_promotion(&self, step: &Step) -> bool {
        step.then == Then::AwaitPromotion
    }

    /// An answer settles the change that was asked for, so that what was refused is asked for again.
    fn settles(&self, asked: &Change, answered: &Change) -> bool {
        asked == answered
    }
}

/// Every rule, kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct All;

impl Rules for All {}
