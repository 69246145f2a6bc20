//! The counts of both models that are judged together.

use super::measured::Measured;
use model::Recent;

/// Whose counts are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of all nodes together. They decide.
    Pooled,
    /// Those of one node, which may veto what the others find good. It is sure before it does, as there are many.
    Node,
}

/// The counts of both models on the same nodes in the same window.
///
/// The chance of a rollback in vain is kept over a whole rollout, whatever the number of steps and windows, if each step
/// begins a new window, and if windows within a step are begun anew by time and numbers of requests only, never by how
/// requests ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// The requests that the routers passed on.
    pub routed: Arms,
    /// What applications told of requests that no router knows. It is judged by itself, so that neither dilutes the other.
    pub told: Arms,
    /// The stable model in the last step that had enough of it to compare with; what stands in where there is too little now.
    pub stable_before: Option<Box<Measured>>,
    /// Which step of the plan, from 0.
    pub step: u32,
    /// How often a window was begun anew in this step, by all nodes whose counts are in it.
    pub restarts: u32,
}

/// The counts of both models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arms {
    /// The stable model.
    pub stable: Measured,
    /// The model on trial.
    pub canary: Measured,
}

impl Arms {
    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.stable.merge(&other.stable);
        self.canary.merge(&other.canary);
    }
}

impl Samples {
    /// All requests to the canary, whoever told of them.
    pub fn canary(&self) -> Measured {
        let mut all = self.routed.canary.clone();
        all.merge(&self.told.canary);
        all
    }

    /// All requests to the stable model, whoever told of them.
    pub fn stable(&self) -> Measured {
        let mut all = self.routed.stable.clone();
        all.merge(&self.told.stable);
        all
    }

    /// What was counted of the canary up to this second of its step, whoever told of it; slow is what took longer than the limit.
    pub fn canary_at(&self, second: u32, limit_micros: u64) -> Recent {
        let of = |canary: &Measured| Recent {
            second,
            begun: canary.begun(),
            // A failure that a client has told of afterwards is none of the present second's.
            errors: canary.errors().saturating_sub(canary.amended()),
            answers: canary.answers(),
            slow: canary.exceeding(limit_micros),
            unknown: canary.unknown(),
            redirects: canary.redirects(),
            client_errors: canary.client_errors(),
        };
        of(&self.routed.canary).with(of(&self.told.canary))
    }
}
