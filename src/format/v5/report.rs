//! What one node measured, as it tells it to the others.

use super::{List, Text};
use serde::{Deserialize, Serialize};

/// Measurements since a window began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// The version whose step was measured.
    pub epoch: u64,
    /// Counts the windows of the step.
    pub window: u32,
    /// Milliseconds since the window began.
    pub open_ms: u64,
    /// The stable model.
    pub stable: Counts<'a>,
    /// The model on trial.
    pub canary: Counts<'a>,
    /// The canary in the last seconds.
    pub recent: List<'a, Recent>,
    /// Why the node has stopped serving the canary by itself.
    #[serde(borrow)]
    pub ejected: Option<Text<'a>>,
}

/// The counts of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts<'a> {
    /// Requests that ended.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that the model refused.
    pub client_errors: u64,
    /// Requests that have not ended.
    pub open: u64,
    /// Pairs of microseconds, as differences, and how many took that long.
    pub latencies: std::borrow::Cow<'a, [(u32, u32)]>,
}

/// The counts since one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// The second of the step.
    pub second: u32,
    /// Requests that have begun.
    pub begun: u64,
    /// Those that failed.
    pub errors: u64,
    /// Answers.
    pub answers: u64,
    /// Those that were too slow.
    pub slow: u64,
}
