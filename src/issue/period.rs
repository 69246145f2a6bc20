//! From when until when something is valid.

use jiff::{SignedDuration, Timestamp};

/// The longest that a certificate may live, in days: ten years, as long as the authority by default.
pub const MAX_DAYS: u32 = 3650;
/// The longest that an authority may live, in days: a hundred years.
pub const MAX_CA_DAYS: u32 = 36_500;

/// From when until when a certificate or list is valid, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// A clock that is slow by less than this still accepts a certificate made just now.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

impl Period {
    /// From a little before now until so many days after it.
    pub(super) fn of_days(days: u32, now: Timestamp) -> Self {
        Self::lasting(SignedDuration::from_hours(i64::from(days) * 24), now)
    }

    /// From a little before now until so long after it.
    pub(super) fn lasting(length: SignedDuration, now: Timestamp) -> Self {
        let from = now.checked_sub(BACKDATED).unwrap_or(now);
        Self { from, until: now.checked_add(length).unwrap_or(Timestamp::MAX) }
    }
}
