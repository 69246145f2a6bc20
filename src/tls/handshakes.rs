//! Counts of the TLS handshakes: under way, by their ends, and by how long the good ones took.

use super::Plane;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper ends of the classes of durations, in milliseconds: from one on an idle machine in the same room to the five
/// seconds after which a handshake is given up.
pub const HANDSHAKE_CLASSES_MS: [u64; 9] = [1, 2, 5, 10, 25, 100, 500, 1_000, 5_000];

/// Counts the handshakes of both ports.
#[derive(Debug, Default)]
pub struct Handshakes {
    control: Counts,
    https: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicU64,
    failed: AtomicU64,
    /// The good ones by class; the last is for what took longer than all of them.
    classes: [AtomicU64; HANDSHAKE_CLASSES_MS.len() + 1],
    micros: AtomicU64,
}

/// The counts of one port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HandshakeCounts {
    /// Under way now.
    pub in_flight: u64,
    /// Those that led to a connection.
    pub good: u64,
    /// Those that did not.
    pub failed: u64,
    /// Of the good ones, those that took no longer than each of [`HANDSHAKE_CLASSES_MS`].
    pub within: Vec<u64>,
    /// How long the good ones took together.
    pub took: Duration,
}

/// One handshake that is under way. It failed unless it is said to be [done](Self::done).
#[derive(Debug)]
pub struct Handshake {
    all: Arc<Handshakes>,
    plane: Plane,
    since: Instant,
    done: Option<Duration>,
}

impl Handshakes {
    /// A handshake begins.
    #[must_use]
    pub fn begin(self: &Arc<Self>, plane: Plane) -> Handshake {
        self.of(plane).in_flight.fetch_add(1, Ordering::Relaxed);
        Handshake { all: Arc::clone(self), plane, since: Instant::now(), done: None }
    }

    /// The counts since the start.
    pub fn counts(&self, plane: Plane) -> HandshakeCounts {
        let counts = self.of(plane);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut within: Vec<u64> = counts.classes.iter().map(load).collect();
        for class in 1..within.len() {
            within[class] += within[class - 1];
        }
        let good = within.pop().unwrap_or_default();
        let (in_flight, failed) = (load(&counts.in_flight), load(&counts.failed));
        HandshakeCounts { in_flight, good, failed, within, took: Duration::from_micros(load(&counts.micros)) }
    }

    const fn of(&self, plane: Plane) -> &Counts {
        match plane {
            Plane::Control => &self.control,
            Plane::Https => &self.https,
        }
    }
}

impl Handshake {
    /// It led to a connection.
    pub fn done(mut self) {
        self.done = Some(self.since.elapsed());
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let counts = self.all.of(self.plane);
        counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        let Some(took) = self.done else {
            counts.failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let class = HANDSHAKE_CLASSES_MS.iter().position(|most| took <= Duration::from_millis(*most));
        counts.classes[class.unwrap_or(HANDSHAKE_CLASSES_MS.len())].fetch_add(1, Ordering::Relaxed);
        counts.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_have_a_class_and_all_others_have_failed() {
        let all = Arc::new(Handshakes::default());
        let (mut quick, mut slow) = (all.begin(Plane::Https), all.begin(Plane::Https));
        let under_way = all.begin(Plane::Https);
        drop(all.begin(Plane::Https));
        quick.done = Some(Duration::from_millis(2));
        slow.done = Some(Duration::from_secs(6));
        drop((quick, slow));
        let counts = all.counts(Plane::Https);
        assert_eq!((counts.in_flight, counts.good, counts.failed), (1, 2, 1));
        assert_eq!(counts.within, [0, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(counts.took, Duration::from_millis(6_002));
        assert_eq!(all.counts(Plane::Control), HandshakeCounts { within: vec![0; 9], ..HandshakeCounts::default() });
        under_way.done();
        assert_eq!(all.counts(Plane::Https).good, 3);
    }
}
