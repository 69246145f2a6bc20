//! The versions, and the numbers that they have in the places that name one.

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

    /// The number in a greeting, for the messages that follow.
    #[must_use]
    pub const fn wire(self) -> u16 {
        match self {
            Self::V5 => 5,
            Self::V6 => 6,
        }
    }

    /// The number in a snapshot and in the file that says whose memory it is.
    #[must_use]
    pub const fn disk(self) -> u64 {
        match self {
            Self::V5 => super::v5::log::FORMAT,
            Self::V6 => super::v6::log::FORMAT,
        }
    }

    /// The number in a line of the history and of the audit.
    #[must_use]
    pub const fn line(self) -> u64 {
        match self {
            Self::V5 => super::v5::history::FORMAT,
            Self::V6 => super::v6::history::FORMAT,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire().fmt(f)
    }
}
