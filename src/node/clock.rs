//! Notices when the wall clock jumps. Nothing here goes by it but certificates and dates: deadlines and leases count on
//! the clock of the machine's boot, which nobody sets.

use model::{Time, UnixMillis};

/// A change of the wall clock against the other one that is worth a line; clocks that are slewed change by half a
/// millisecond a second at most, and certificates are dated back by more than this.
const JUMP_MS: u64 = 5_000;

/// How far the two clocks were apart when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    apart_ms: Option<i128>,
}

impl ClockWatch {
    /// Looks at both clocks; by how many milliseconds the wall clock has jumped since the last look, if it has.
    pub(super) fn look(&mut self, boot: Time, wall: UnixMillis) -> Option<i64> {
        let apart = i128::from(wall.0) - i128::from(boot.as_micros() / 1_000);
        let before = self.apart_ms.replace(apart)?;
        let jump = apart - before;
        let is_jump = jump.unsigned_abs() > u128::from(JUMP_MS);
        is_jump.then(|| i64::try_from(jump).unwrap_or(if jump < 0 { i64::MIN } else { i64::MAX }))
    }
}

/// Says that the wall clock has jumped, and what follows from that.
pub(super) fn say_jump(jump_ms: i64, now: jiff::Timestamp) {
    tracing::warn!(
        event = "clock_jump",
        jump_ms,
        local_clock = %now,
        "The wall clock of this machine has jumped: certificates are judged by it, deadlines and leases are not"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_jump_is_told_once_and_what_both_clocks_count_is_none() {
        let mut watch = ClockWatch::default();
        let mut boot = Time::from_micros(1_000_000_000);
        let mut look = |seconds: u64, wall: u64| {
            boot = boot + Duration::from_secs(seconds);
            watch.look(boot, UnixMillis(wall))
        };
        let start = 1_800_000_000_000;
        assert_eq!(look(0, start), None, "the first look has nothing to compare with");
        assert_eq!(look(10, start + 10_000), None);
        assert_eq!(look(10, start + 24_990), None, "slewed, or a second that leaps");
        assert_eq!(look(10, start + 3_634_990), Some(3_600_000));
        assert_eq!(look(10, start + 3_644_990), None, "it is told once");
        assert_eq!(look(10, start), Some(-3_654_990));
        assert_eq!(look(36_000, start + 36_000_000), None, "a machine that slept has not jumped");
        assert_eq!(look(10, u64::MAX), Some(i64::MAX));
    }
}
