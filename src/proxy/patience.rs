//! How long clients of the stable model wait for it: whoever leaves another model sooner says nothing about that.

use judge::window_id;
use model::{ModelId, Time};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is taken for it before anything is known.
const USUAL: Duration = Duration::from_secs(1);

/// The stable model's p95 in the window before, worked out anew with each window.
pub(super) struct Patience {
    micros: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The model, and a limit: whoever waits for longer waits for too long.
    stable: Option<(ModelId, Duration)>,
    /// The window that it was worked out in.
    window: Option<u64>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { micros: AtomicU64::new(micros(USUAL)), known: Mutex::default() }
    }
}

impl Patience {
    /// Goes on with this stable model, and never beyond this limit.
    pub(super) fn begin(&self, stable: Option<(ModelId, Duration)>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known { stable, window: None };
    }

    /// Takes what `p95_before` knows of the stable model at `now`, if a window has begun since that was done.
    pub(super) fn look(&self, now: Time, p95_before: impl FnOnce(&ModelId) -> Option<Duration>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let window = Some(window_id(now));
        if known.window == window {
            return;
        }
        known.window = window;
        let patience = match &known.stable {
            Some((stable, limit)) => p95_before(stable).unwrap_or(USUAL).min(*limit),
            None => USUAL,
        };
        self.micros.store(micros(patience), Ordering::Relaxed);
    }

    /// How long they wait.
    pub(super) fn get(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_window_before_says() {
        let (patience, second) = (Patience::default(), Duration::from_secs(1));
        assert_eq!(patience.get(), second);
        let at = |seconds: u64| Time::from_micros(seconds * 1_000_000);
        patience.look(at(1), |_| panic!("there is no stable model"));
        patience.begin(Some(("v1".parse().expect("a model id"), second * 2)));
        patience.look(at(1), |_| Some(second / 10));
        patience.look(at(2), |_| panic!("it is the same window"));
        assert_eq!(patience.get(), second / 10);
        patience.look(at(6), |_| None);
        assert_eq!(patience.get(), second);
        patience.look(at(11), |_| Some(second * 30));
        assert_eq!(patience.get(), second * 2, "who waits for longer has waited for too long");
    }
}
