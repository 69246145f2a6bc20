//! The controller without one of its rules: what it does instead.

use judge::Ruling;
use rollout::{All, Rules, Trial};
use service::{Change, Rollout, Step};
use std::time::Duration;

/// A rule of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    HoldEachStep,
    PassBeforeNext,
    CountAnew,
    EjectWhatFails,
    RollBackWhatFails,
    AwaitPromotion,
    AskAgain,
}

impl Rule {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::HoldEachStep,
        Self::PassBeforeNext,
        Self::CountAnew,
        Self::EjectWhatFails,
        Self::RollBackWhatFails,
        Self::AwaitPromotion,
        Self::AskAgain,
    ];
}

/// The rules but one, or all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Without(pub(crate) Option<Rule>);

impl Without {
    fn omits(self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }
}

impl Rules for Without {
    fn is_held(&self, left: Option<Duration>) -> bool {
        !self.omits(Rule::HoldEachStep) && All.is_held(left)
    }

    fn passes(&self, ruling: Ruling) -> bool {
        self.omits(Rule::PassBeforeNext) || All.passes(ruling)
    }

    /// Only the first step is counted from nothing.
    fn counts(&self, left: Option<&Trial>, trial: Option<&Trial>) -> Option<Option<Trial>> {
        let goes_on = left.is_some() || trial.is_some_and(|trial| trial.step > 0);
        if self.omits(Rule::CountAnew) && goes_on { None } else { All.counts(left, trial) }
    }

    fn ejects(&self, trial: &Trial) -> bool {
        !self.omits(Rule::EjectWhatFails) && All.ejects(trial)
    }

    fn remedy(&self, why: String, rollout: &Rollout) -> Option<Change> {
        if self.omits(Rule::RollBackWhatFails) { None } else { All.remedy(why, rollout) }
    }

    fn awaits_promotion(&self, step: &Step) -> bool {
        !self.omits(Rule::AwaitPromotion) && All.awaits_promotion(step)
    }

    fn settles(&self, asked: &Change, answered: &Change) -> bool {
        !self.omits(Rule::AskAgain) && All.settles(asked, answered)
    }
}
