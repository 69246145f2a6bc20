//! Where readings of the clocks come from.

use model::{Time, UnixMillis};
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock for deadlines and leases. It counts the time that a machine was suspended, which `Instant` does not, so
/// that a laptop or VM that wakes up knows that its lease is over.
pub fn boottime() -> Time {
    let reading = clock_gettime(ClockId::Boottime);
    let micros = reading.tv_sec.unsigned_abs() * 1_000_000 + reading.tv_nsec.unsigned_abs() / 1_000;
    Time::from_micros(micros)
}

/// The wall clock, for people.
pub fn unix_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
