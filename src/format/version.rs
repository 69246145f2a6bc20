//! The versions, and the numbers that they have in the places that name one.

use super::Inexpressible;
use service::RoutingState;
use std::fmt;

/// A version of all forms together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What canary 0.1.0 writes.
    V5,
    /// What follows.
    V6,
}

impl Version {
    /// The newest.
    pub const NEWEST: Self = Self::V6;

    /// The oldest that has words for all of `state`.
    pub const fn of(state: &RoutingState) -> Self {
        if state.wire.is_none() { Self::V5 } else { Self::V6 }
    }

    /// Whether this one has words for all of `state`.
    pub(crate) fn check(self, state: &RoutingState) -> Result<(), Inexpressible> {
        let what = "the mark of a version of the wire";
        if Self::of(state) <= self { Ok(()) } else { Err(Inexpressible { what }) }
    }

    /// The number in a greeting, for the messages that follow.
    pub const fn wire(self) -> u16 {
        match self {
            Self::V5 => 5,
            Self::V6 => 6,
        }
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
