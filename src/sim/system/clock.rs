//! The clocks of one machine, against the time of the world.

use model::{Time, UnixMillis};

/// Clocks differ by no more than this from the time of the world, in millionths: two of them by no more than the hundredth
/// that a lease allows for.
pub(super) const MOST_DRIFT_PPM: i64 = 4_000;
const MILLION: i64 = 1_000_000;

/// One machine's clocks: one that only goes forward, at its own rate, and one on the wall that anyone may set.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    since: Time,
    reading: Time,
    drift_ppm: i64,
    wall_offset_ms: i64,
}

impl Clock {
    /// A clock that shows `reading` at `since`.
    pub(super) const fn new(since: Time, reading: Time) -> Self {
        Self { since, reading, drift_ppm: 0, wall_offset_ms: 0 }
    }

    /// What it shows at `at`.
    pub(super) fn reading(&self, at: Time) -> Time {
        let passed = at.as_micros().cast_signed() - self.since.as_micros().cast_signed();
        let shown = passed + passed * self.drift_ppm / MILLION + self.reading.as_micros().cast_signed();
        Time::from_micros(shown.max(0).unsigned_abs())
    }

    /// The first moment at which it shows `reading` or more.
    pub(super) fn when(&self, reading: Time) -> Time {
        // No schedule lasts for days, and beyond that the numbers get too large.
        let Some(ahead) = reading.as_micros().checked_sub(self.reading.as_micros()) else { return self.since };
        if ahead > 1_000_000_000_000 {
            return Time::MAX;
        }
        let passed = ahead.cast_signed() * MILLION / (MILLION + self.drift_ppm);
        let mut at = Time::from_micros((passed + self.since.as_micros().cast_signed() - 2).max(0).unsigned_abs());
        while self.reading(at) < reading {
            at = Time::from_micros(at.as_micros() + 1);
        }
        at
    }

    /// Goes at another rate from `at` on.
    pub(super) fn drift(&mut self, at: Time, ppm: i64) {
        (self.reading, self.since) = (self.reading(at), at);
        self.drift_ppm = ppm.clamp(-MOST_DRIFT_PPM, MOST_DRIFT_PPM);
    }

    /// The clock on the wall is set.
    pub(super) const fn set_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms = by_ms;
    }

    pub(super) fn wall(&self, at: Time) -> UnixMillis {
        let millis = 1_800_000_000_000_u64.saturating_add_signed(self.wall_offset_ms);
        UnixMillis(millis + self.reading(at).as_micros() / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_comes_when_it_is_said_to() {
        for ppm in [-MOST_DRIFT_PPM, -7, 0, 13, MOST_DRIFT_PPM] {
            let mut clock = Clock::new(Time::from_micros(5_000_000), Time::from_micros(77));
            clock.drift(Time::from_micros(6_000_000), ppm);
            for reading in [1_500_000, 1_500_001, 2_345_678, 99_999_999] {
                let at = clock.when(Time::from_micros(reading));
                assert!(clock.reading(at) >= Time::from_micros(reading));
                assert!(clock.reading(Time::from_micros(at.as_micros() - 1)) < Time::from_micros(reading));
            }
        }
    }
}
