//! What one node measured of the two models since a step began, in the form in which nodes tell it each other.

/// A node's measurements. Each report says everything since its window began, so that a lost one costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// The version whose step was measured.
    pub epoch: u64,
    /// How often the node has begun a new window in this step.
    pub window: u32,
    /// How long the window is open, in milliseconds.
    pub open_ms: u64,
    /// The stable model.
    pub stable: Counts,
    /// The model on trial.
    pub canary: Counts,
    /// The canary in the last seconds, so that a good past does not hide one that turns bad.
    pub recent: Vec<Recent>,
    /// Why the node has stopped serving the canary by itself, if it has.
    pub ejected: Option<String>,
}

/// What was counted of the canary since one second of its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recent {
    /// The second, from when the step began on that node.
    pub second: u32,
    /// Requests that have begun.
    pub begun: u64,
    /// Those that failed.
    pub errors: u64,
    /// Answers.
    pub answers: u64,
    /// Those that took longer than the plan allows 95 % to take.
    pub slow: u64,
}

/// What was counted of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Requests that ended.
    pub requests: u64,
    /// Those that failed: status 5xx, no answer, or none in time.
    pub errors: u64,
    /// Those that the model refused with a status 4xx.
    pub client_errors: u64,
    /// Requests that have begun and not ended.
    pub open: u64,
    /// Times to the first byte: pairs of microseconds and how many took that long, the shortest first. Microseconds are
    /// rounded as histograms do, and each is told as the difference to the one before, which is short.
    pub latencies: Vec<(u32, u32)>,
}

/// The little of a report that a vote carries, for those who read the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The stable model on the voter.
    pub stable: Summary,
    /// The model on trial on the voter.
    pub canary: Summary,
}

/// One model in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Summary {
    /// Requests that ended.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// The 95th percentile of the times to the first byte in microseconds, 0 without any.
    pub p95_us: u64,
}
