//! The versions, and the numbers that they have in the places that name one.

use super::Inexpressible;
use service::{Rollout, RoutingState};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A version of all forms together, on the wire and on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What canary 0.1.0 writes. No older one is spoken: whoever comes from further back upgrades in two steps.
    V5,
    /// What this program speaks where it is not held back.
    #[default]
    V6,
}

impl Version {
    /// The newest.
    pub const NEWEST: Self = Self::V6;

    /// The oldest that has words for all of `state`.
    pub fn of(state: &RoutingState) -> Self {
        let is_old = |rollout: &Arc<Rollout>| rollout.is_said_by_5();
        if state.wire.is_none() && state.rollout.as_ref().is_none_or(is_old) { Self::V5 } else { Self::V6 }
    }

    /// Whether this one has words for all of `state`.
    pub(crate) fn check(self, state: &RoutingState) -> Result<(), Inexpressible> {
        let what = match state.wire {
            Some(_) => "the mark of a version of the wire",
            None => "the plan of the rollout",
        };
        if Self::of(state) <= self { Ok(()) } else { Err(Inexpressible { what }) }
    }

    /// The number in a greeting, for the messages that follow.
    pub const fn wire(self) -> u16 {
        match self {
            Self::V5 => 5,
            Self::V6 => 6,
        }
    }

    /// The one with this number in a greeting.
    pub fn of_wire(number: u16) -> Option<Self> {
        [Self::V5, Self::V6].into_iter().find(|version| version.wire() == number)
    }

    /// The oldest format on disk that is read: that of version 5 without
    /// [`AcceptedIsCommitted`](crate::v5::log::Record::AcceptedIsCommitted).
    pub const OLDEST_DISK: u64 = 1;

    /// The number in a snapshot and in the file that says whose memory it is.
    pub const fn disk(self) -> u64 {
        match self {
            Self::V5 => 2,
            Self::V6 => 3,
        }
    }

    /// The number in a line of the history and of the audit.
    pub const fn line(self) -> u64 {
        match self {
            Self::V5 => 1,
            Self::V6 => 2,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire().fmt(f)
    }
}

/// The text names no version that this program speaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version that this program speaks: {older} or {newest}", older = Version::V5, newest = Version::V6)]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = text.parse().ok().and_then(Self::of_wire);
        version.ok_or_else(|| VersionError(text.chars().take(16).collect()))
    }
}
