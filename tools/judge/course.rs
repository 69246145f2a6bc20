//! The course of one request from when its model has all of it, and what a node makes of it: the same moments are counted in
//! the same way as by a router.

use judge::{Measured, Verdict};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How long a request may take until it counts as slow, though it has not ended: the usual limit of the p95, in seconds.
pub(crate) const LATE: f64 = 0.2;
/// How long a model has for its answer.
pub(crate) const ANSWER: f64 = 30.0;

/// How a model answers a request, if its client waits for all of it. All times are seconds from its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// When the first byte of the body is there.
    pub(crate) first_byte: f64,
    /// Since when the next one is owed, after the first.
    pub(crate) owes: f64,
    /// When it ends.
    pub(crate) ends: f64,
    /// How it ends.
    pub(crate) verdict: Verdict,
}

impl Course {
    /// An answer that is whole as soon as it begins.
    pub(crate) const fn at_once(after: f64, verdict: Verdict) -> Self {
        Self { first_byte: after, owes: f64::INFINITY, ends: after, verdict }
    }

    /// No answer within the time that there is.
    pub(crate) const fn none() -> Self {
        Self { first_byte: f64::INFINITY, owes: f64::INFINITY, ends: ANSWER, verdict: Verdict::Failed }
    }
}

/// A client of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) source: u32,
    /// After so many seconds it leaves.
    pub(crate) patience: f64,
}

/// A request that is counted, whose end is still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    began: f64,
    first_byte: f64,
    /// Whether what began well so far has a latency.
    is_good: bool,
    has_begun: bool,
    over: f64,
    end: Option<Verdict>,
    source: u32,
}

impl Pending {
    /// One that began at `began`; `usual` is how long clients of the stable model wait.
    pub(crate) fn new(began: f64, course: Course, client: Client, usual: f64) -> Self {
        let Course { first_byte, owes, ends, verdict } = course;
        let leaves = client.patience < ends;
        let over = if leaves { client.patience } else { ends };
        let has_begun = first_byte <= over;
        let (is_refusal, fails_at_once) = match verdict {
            Verdict::Redirect | Verdict::ClientError => (true, false),
            Verdict::Failed => (false, first_byte >= ends),
            Verdict::Good | Verdict::Unknown => (false, false),
        };
        let waited = if has_begun { (over - owes).max(0.0) } else { over };
        let end = match (leaves, has_begun) {
            (false, _) => Some(verdict),
            (true, _) if waited > usual => Some(Verdict::Unknown),
            (true, true) => Some(if is_refusal { verdict } else { Verdict::Good }),
            (true, false) => None,
        };
        let first_byte = if fails_at_once { f64::INFINITY } else { began + first_byte };
        Self {
            began,
            first_byte,
            is_good: !is_refusal,
            has_begun: false,
            over: began + over,
            end,
            source: client.source,
        }
    }

    /// Counts what has happened until `now`, and says whether it is over.
    pub(crate) fn settle(&mut self, now: f64, measured: &mut Measured) -> bool {
        if !self.has_begun && self.first_byte <= now.min(self.over) {
            self.has_begun = true;
            if self.is_good {
                measured.answered(seconds(self.first_byte - self.began));
            }
        }
        if self.over > now {
            return false;
        }
        let waited = self.over - self.began;
        if !self.has_begun && waited > LATE {
            measured.late(seconds(LATE), seconds(waited), 1);
        } else if !self.has_begun && self.end == Some(Verdict::Unknown) {
            measured.left_after(seconds(waited));
        }
        if let Some(verdict) = self.end {
            measured.ended_as(verdict, Some(IpAddr::V4(Ipv4Addr::from_bits(self.source))));
        }
        true
    }

    /// Whether it waits for its first byte at `now`, and has for too long.
    pub(crate) fn is_late(&self, now: f64) -> bool {
        !self.has_begun && now - self.began > LATE
    }

    /// Whether it has ended well.
    pub(crate) fn is_well(&self) -> bool {
        self.end == Some(Verdict::Good)
    }
}

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 60.0))
}
