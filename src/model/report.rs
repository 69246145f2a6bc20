//! What one node measured of the two models since a step began, in the form in which nodes tell it each other.

use std::net::IpAddr;

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
    /// What applications told of requests that no router knows, if they did.
    pub told: Option<Box<Told>>,
    /// The canary in the last seconds, so that a good past does not hide one that turns bad.
    pub recent: Vec<Recent>,
    /// Why the node has stopped serving the canary by itself, if it has.
    pub ejected: Option<String>,
    /// How its node tells good ends from others.
    pub judging: Judging,
}

/// What applications told of both models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// The stable model.
    pub stable: Counts,
    /// The model on trial.
    pub canary: Counts,
}

/// The rules by which a node counts how requests end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Judging {
    /// Those of today.
    #[default]
    Strict,
    /// Those of version 5, which took a request that its client gave up for a good one. Such counts can speak against a
    /// canary and never for it.
    Lenient,
}

/// What was counted of the canary since one second of its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recent {
    /// The second, from when the step began on that node.
    pub second: u32,
    /// Requests that have begun, without those that ended in one of the last three ways.
    pub begun: u64,
    /// Those that failed.
    pub errors: u64,
    /// Good answers, and requests that had none when they had taken longer than the plan allows 95 % to take.
    pub answers: u64,
    /// Those that took longer than that.
    pub slow: u64,
    /// Requests whose client left before it was known how they would end.
    pub unknown: u64,
    /// Requests that were answered with a status 3xx.
    pub redirects: u64,
    /// Requests that were answered with a status 4xx.
    pub client_errors: u64,
}

impl Recent {
    /// These with `others` of the same second.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        self.each(others, u64::saturating_add)
    }

    /// What came of these after `start`, whose second it is then: those of them that were counted before are taken away.
    #[must_use]
    pub fn since(self, start: Self) -> Self {
        Self { second: start.second, ..self.each(start, u64::saturating_sub) }
    }

    fn each(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            second: self.second,
            begun: both(self.begun, other.begun),
            errors: both(self.errors, other.errors),
            answers: both(self.answers, other.answers),
            slow: both(self.slow, other.slow),
            unknown: both(self.unknown, other.unknown),
            redirects: both(self.redirects, other.redirects),
            client_errors: both(self.client_errors, other.client_errors),
        }
    }
}

/// What was counted of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Requests whose end is known and speaks for or against the model: good and failed ones.
    pub requests: u64,
    /// Those that failed: status 5xx, no answer, or none in time.
    pub errors: u64,
    /// Requests beside these whose client left before it was known how they would end.
    pub unknown: u64,
    /// Requests beside these that were answered with a status 3xx.
    pub redirects: u64,
    /// Requests beside these that were answered with a status 4xx.
    pub client_errors: u64,
    /// Requests beside these that are no work of the service, or repeat one that was counted.
    pub uncounted: u64,
    /// Requests that have begun and not ended.
    pub open: u64,
    /// Times to the first byte of good answers: pairs of microseconds and how many took that long, the shortest first.
    /// Microseconds are rounded as histograms do, and each is told as the difference to the one before, which is short.
    pub latencies: Vec<(u32, u32)>,
    /// Times that a first byte was waited for beyond the limit, and in vain so far or for good, in the same form.
    pub late: Vec<(u32, u32)>,
    /// Times below it after which the client left, in the same form: the latency would have been longer.
    pub waits: Vec<(u32, u32)>,
    /// Where the ends came from that a client can bring about by itself.
    pub sources: Vec<Source>,
}

/// An end that a client can bring about by itself, whatever the model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provoked {
    /// It left.
    Unknown,
    /// It was answered with a status 3xx.
    Redirect,
    /// It was answered with a status 4xx.
    ClientError,
}

/// How many requests of one source ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The way.
    pub end: Provoked,
    /// The client's address; for IPv6 that of its network, a /64.
    pub address: IpAddr,
    /// The requests; at most, where more sources came than are kept.
    pub count: u64,
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
    /// Requests whose end is known.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// The 95th percentile of the times to the first byte in microseconds, 0 without any.
    pub p95_us: u64,
}
