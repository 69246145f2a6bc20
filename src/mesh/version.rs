//! The versions of what is said after TLS: this one, and the one before it, so that a mesh can be upgraded, and taken back,
//! one node after the other.
//!
//! A greeting names a span, the oldest and the newest version that its sender speaks; a connection uses the newest that
//! both know.

use std::fmt;
use std::str::FromStr;
use tls::{Reason, Refusal};

/// The version that this program speaks when it is not held back.
const NEWEST: u16 = 6;
/// The one before. No older one is spoken: whoever comes from further back upgrades in two steps.
const OLDEST: u16 = NEWEST - 1;

/// A version that this program speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WireVersion {
    /// That of 0.1.0.
    V5,
    /// What this program speaks by itself.
    V6,
}

impl WireVersion {
    /// The newest.
    pub const NEWEST: Self = Self::V6;

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::V5 => OLDEST,
            Self::V6 => NEWEST,
        }
    }

    const fn of(number: u16) -> Option<Self> {
        match number {
            OLDEST => Some(Self::V5),
            NEWEST => Some(Self::V6),
            _ => None,
        }
    }
}

impl From<WireVersion> for format::Version {
    fn from(version: WireVersion) -> Self {
        match version {
            WireVersion::V5 => Self::V5,
            WireVersion::V6 => Self::V6,
        }
    }
}

impl Default for WireVersion {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// The text names no version that this program speaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version that this program speaks: {OLDEST} or {NEWEST}")]
pub struct WireVersionError(String);

impl FromStr for WireVersion {
    type Err = WireVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().and_then(Self::of);
        number.ok_or_else(|| WireVersionError(text.chars().take(16).collect()))
    }
}

/// The versions that a greeting of a node names that speaks none newer than `newest`.
pub(super) const fn spoken(newest: WireVersion) -> (u16, u16) {
    (OLDEST, newest.number())
}

/// The version for a connection between a node that speaks none newer than `ours` and one whose greeting names `theirs`.
///
/// # Errors
/// When there is none that both speak.
pub(super) fn agree(ours: WireVersion, theirs: (u16, u16)) -> Result<WireVersion, Refusal> {
    let (oldest, newest) = theirs;
    let version = WireVersion::of(newest.min(ours.number())).filter(|version| version.number() >= oldest);
    version.ok_or_else(|| {
        let spoken = if oldest < newest { format!("{oldest} to {newest}") } else { oldest.to_string() };
        let detail = format!("the other side speaks version {spoken} of the protocol, this node {OLDEST} to {ours}");
        Refusal::new(Reason::WireVersion, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_both_speak_is_used() {
        use WireVersion::{V5, V6};
        for (ours, theirs, wanted) in [
            (V6, (5, 6), Some(V6)),
            (V6, (5, 5), Some(V5)),
            (V6, (4, 5), Some(V5)),
            (V5, (5, 6), Some(V5)),
            (V5, (4, 5), Some(V5)),
            (V6, (6, 7), Some(V6)),
            (V5, (6, 7), None),
            (V6, (7, 8), None),
            (V6, (4, 4), None),
            (V6, (6, 5), None),
            (V6, (0, 0), None),
            (V6, (0, u16::MAX), Some(V6)),
        ] {
            let agreed = agree(ours, theirs);
            assert_eq!(agreed.as_ref().ok(), wanted.as_ref(), "{ours} with {theirs:?}: {agreed:?}");
        }
        assert_eq!(agree(V6, (7, 8)).map_err(|refusal| refusal.reason), Err(Reason::WireVersion));
    }

    #[test]
    fn both_sides_come_to_the_same() {
        for ours in [WireVersion::V5, WireVersion::V6] {
            for theirs in [WireVersion::V5, WireVersion::V6] {
                assert_eq!(agree(ours, spoken(theirs)).ok(), agree(theirs, spoken(ours)).ok());
            }
        }
    }

    #[test]
    fn a_setting_names_a_version_that_is_spoken() {
        assert_eq!("5".parse(), Ok(WireVersion::V5));
        for wrong in ["4", "7", "", "v5", "5.0"] {
            assert!(wrong.parse::<WireVersion>().is_err(), "{wrong:?} must be refused");
        }
    }
}
