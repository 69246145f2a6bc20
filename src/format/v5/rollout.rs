//! A rollout: a plan, and how far it has come.

use super::state::Model;
use super::{Map, Plan, Text};
use serde::{Deserialize, Serialize};

/// The rollout that is open, or the one that ended last, with a plan of the form `P`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout<'a, P = Plan<'a>> {
    /// The version that started it.
    pub started: u64,
    /// When, in milliseconds since 1970.
    pub started_at: u64,
    /// The way up.
    pub plan: P,
    /// The model on trial.
    #[serde(borrow)]
    pub canary: Model<'a>,
    /// The stable model that it set out from.
    pub stable: Model<'a>,
    /// The present step, from 0.
    pub step: u64,
    /// The version that the present measurements belong to.
    pub epoch: u64,
    /// Its phase.
    pub phase: Phase,
    /// Why it is paused, or ended as it did.
    pub why: Text<'a>,
    /// Who approved which step; missing in what programs wrote that knew none.
    #[serde(default)]
    pub approvals: Approvals<'a>,
}

/// The operators who approved each step.
pub type Approvals<'a> = Map<'a, StepNumber, Vec<Text<'a>>>;

/// A step, from 0, as a key.
///
/// Keys of JSON are text, and serde makes numbers of them only where it reads JSON directly: not within a value whose kind
/// it has to know first, such as a line of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StepNumber(pub u64);

impl<'de> Deserialize<'de> for StepNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let text = Text::deserialize(deserializer)?;
        text.as_str().parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The phase of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The present step is held and judged.
    Progressing,
    /// It waits for an operator.
    Paused,
    /// It is over.
    Ended(Outcome),
}

/// The end of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The canary went all the way.
    Promoted,
    /// An operator made it stable before.
    FastPromoted,
    /// An operator, or the deadline, ended it.
    Aborted,
    /// The canary failed.
    RolledBack,
    /// Another rollout took its place.
    Superseded,
}
