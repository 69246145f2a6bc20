//! The rules of the controller that nothing but themselves can replace, by name, as in the agreement.
//!
//! The controller asks [`Controller::keeps`](super::Controller) where one is applied. Outside of tests the answer is the
//! constant "yes". The tests leave each rule out in turn and show that a simulation then finds a broken promise.

/// One rule. The sentence says what the controller does because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A step is held as long as its plan says.
    HoldEachStep,
    /// Only what has passed goes on.
    PassBeforeNext,
    /// Each step is counted from nothing.
    CountAnew,
    /// A node that finds the canary to be bad stops serving it.
    EjectWhatFails,
    /// A canary that was found to be bad is rolled back.
    RollBackWhatFails,
    /// A step that an operator has to promote waits for her.
    AwaitPromotion,
    /// What was refused is asked for again.
    AskAgain,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::HoldEachStep,
        Self::PassBeforeNext,
        Self::CountAnew,
        Self::EjectWhatFails,
        Self::RollBackWhatFails,
        Self::AwaitPromotion,
        Self::AskAgain,
    ];
}
