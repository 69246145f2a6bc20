//! A sliding window per model, as a ring of slots.

use super::tally::{Sample, Tally, Verdict};
use model::{ModelId, Time};
use std::time::Duration;

/// The time that a window looks back.
pub const SPAN: Duration = Duration::from_secs(60);
/// Twelve slots of five seconds: a window covers between 55 and 60 s, and takes 260 KB a model.
const SLOTS: u64 = 12;
#[allow(clippy::cast_possible_truncation, reason = "sixty seconds in microseconds fit in 64 bits")]
const SLOT_MICROS: u64 = SPAN.as_micros() as u64 / SLOTS;
/// Two models have traffic at a time; others are remembered until their last minute is over, or more than this many are
/// known, whichever comes first. It bounds the memory.
const MAX_MODELS: usize = 6;

/// The number of the slot that `now` falls in; it changes every five seconds and never goes back.
pub const fn window_id(now: Time) -> u64 {
    now.as_micros() / SLOT_MICROS
}

/// The windows of all models that had requests lately.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    models: Vec<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    model: ModelId,
    newest: u64,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    id: u64,
    tally: Tally,
}

impl Windows {
    /// Counts one request to `model` that ended at `now`.
    pub fn record(&mut self, model: &ModelId, now: Time, sample: Sample) {
        let id = window_id(now);
        self.window(model, id).slot(id).record(sample);
    }

    /// Counts a request to `model` as `to` that ended at `ended` and was counted as `from`, unless that is forgotten.
    pub fn amend(&mut self, model: &ModelId, ended: Time, from: Verdict, to: Verdict) {
        let id = window_id(ended);
        let window = self.models.iter_mut().find(|window| window.model == *model);
        if let Some(slot) = window.and_then(|window| window.slots.iter_mut().find(|slot| slot.id == id)) {
            slot.tally.amend(from, to);
        }
    }

    /// Counts one request to `model` at `now` that says nothing about it.
    pub fn pass_over(&mut self, model: &ModelId, now: Time) {
        let id = window_id(now);
        self.window(model, id).slot(id).uncounted += 1;
    }

    /// The counts of `model` in the window that ends at `now`.
    pub fn tally(&self, model: &ModelId, now: Time) -> Tally {
        let mut sum = Tally::default();
        for slot in self.models.iter().filter(|window| window.model == *model).flat_map(|window| window.live(now)) {
            sum.merge(&slot.tally);
        }
        sum
    }

    /// The counts of `model` in that window without what is being counted just now: whoever is counted does not move what it is
    /// held against.
    pub fn tally_before(&self, model: &ModelId, now: Time) -> Tally {
        let (mut sum, present) = (Tally::default(), window_id(now));
        let live = self.models.iter().filter(|window| window.model == *model).flat_map(|window| window.live(now));
        live.filter(|slot| slot.id < present).for_each(|slot| sum.merge(&slot.tally));
        sum
    }

    /// The models that had requests in the window that ends at `now`.
    pub fn models(&self, now: Time) -> impl Iterator<Item = &ModelId> {
        self.models.iter().filter(move |window| window.live(now).next().is_some()).map(|window| &window.model)
    }

    fn window(&mut self, model: &ModelId, id: u64) -> &mut Window {
        if let Some(known) = self.models.iter().position(|window| window.model == *model) {
            return &mut self.models[known];
        }
        self.models.retain(|window| window.newest + SLOTS > id);
        if self.models.len() == MAX_MODELS {
            let oldest = (0..MAX_MODELS).min_by_key(|index| self.models[*index].newest);
            self.models.swap_remove(oldest.expect("there are models"));
        }
        self.models.push(Window { model: model.clone(), newest: id, slots: Vec::new() });
        self.models.last_mut().expect("a window was just added")
    }
}

impl Window {
    fn live(&self, now: Time) -> impl Iterator<Item = &Slot> {
        let id = window_id(now);
        self.slots.iter().filter(move |slot| slot.id + SLOTS > id && slot.id <= id)
    }

    /// The tally of slot `id`: the one that is there, a new one, or the oldest one emptied.
    fn slot(&mut self, id: u64) -> &mut Tally {
        self.newest = self.newest.max(id);
        let index = match self.slots.iter().position(|slot| slot.id == id) {
            Some(index) => index,
            None => self.vacant(id),
        };
        &mut self.slots[index].tally
    }

    fn vacant(&mut self, id: u64) -> usize {
        if let Some(index) = self.slots.iter().position(|slot| slot.id + SLOTS <= id) {
            self.slots[index].id = id;
            self.slots[index].tally.clear();
            return index;
        }
        self.slots.push(Slot { id, tally: Tally::default() });
        self.slots.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: Sample =
        Sample { latency: Duration::from_millis(5), full: Duration::from_millis(6), verdict: Verdict::Good };
    const FAILED: Sample = Sample { verdict: Verdict::Failed, ..GOOD };

    fn model(name: &str) -> ModelId {
        name.parse().expect("tests use plain names")
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_request_is_forgotten_after_a_minute() {
        let (mut windows, v1) = (Windows::default(), model("v1"));
        windows.record(&v1, at(100), FAILED);
        windows.record(&v1, at(130), GOOD);
        let counts = |now| {
            let tally = windows.tally(&v1, now);
            (tally.requests, tally.errors)
        };
        assert_eq!(counts(at(130)), (2, 1));
        assert_eq!(counts(at(154)), (2, 1));
        assert_eq!(counts(at(160)), (1, 0));
        assert_eq!(counts(at(190)), (0, 0));
        assert_eq!(windows.models(at(190)).count(), 0);
    }

    #[test]
    fn models_are_counted_apart() {
        let (mut windows, v1, v2) = (Windows::default(), model("v1"), model("v2"));
        windows.record(&v1, at(1), GOOD);
        windows.record(&v2, at(1), FAILED);
        assert_eq!(windows.tally(&v1, at(1)).error_rate(), Some(0.0));
        assert_eq!(windows.tally(&v2, at(1)).error_rate(), Some(1.0));
        windows.pass_over(&v2, at(2));
        let seen = windows.tally(&v2, at(2));
        assert_eq!((seen.requests, seen.uncounted, windows.tally(&v2, at(62)).uncounted), (1, 1, 0));
        assert_eq!(windows.tally(&model("v3"), at(1)).requests, 0);
        assert_eq!(windows.tally_before(&v1, at(4)).requests, 0, "it is being counted just now");
        assert_eq!(windows.tally_before(&v1, at(5)).requests, 1);
    }

    #[test]
    fn a_request_is_amended_where_it_was_counted() {
        let (mut windows, v1) = (Windows::default(), model("v1"));
        windows.record(&v1, at(100), GOOD);
        windows.record(&v1, at(110), GOOD);
        windows.amend(&v1, at(100), Verdict::Good, Verdict::Failed);
        let counts = |now| (windows.tally(&v1, now).requests, windows.tally(&v1, now).errors);
        assert_eq!((counts(at(120)), counts(at(165))), ((2, 1), (1, 0)));
        windows.amend(&v1, at(30), Verdict::Good, Verdict::Failed);
        windows.amend(&model("v2"), at(100), Verdict::Good, Verdict::Failed);
        assert_eq!(windows.tally(&v1, at(120)).errors, 1, "of others nothing is known");
    }

    #[test]
    fn memory_is_bounded_in_models_and_slots() {
        let mut windows = Windows::default();
        for n in 0..50 {
            windows.record(&model(&format!("v{n}")), at(n), GOOD);
        }
        assert!(windows.models.len() <= MAX_MODELS);
        assert!(windows.models(at(49)).any(|known| *known == model("v49")));
        for second in 50..500 {
            windows.record(&model("v49"), at(second), GOOD);
        }
        assert!(windows.models.iter().all(|window| window.slots.len() <= 12));
    }

    #[test]
    fn the_window_id_never_goes_back() {
        assert_eq!(window_id(at(4)), 0);
        assert_eq!(window_id(at(5)), 1);
    }

    proptest! {
        #[test]
        fn the_window_counts_what_a_list_would(mut times in proptest::collection::vec(0_u64..200_000, 0..60), until in 0_u64..60_000) {
            times.sort_unstable();
            let (mut windows, v1) = (Windows::default(), model("v1"));
            for millis in &times {
                windows.record(&v1, Time::from_micros(millis * 1_000), GOOD);
            }
            let now = Time::from_micros((times.last().copied().unwrap_or(0) + until) * 1_000);
            let expected = times.iter().filter(|t| *t / 5_000 + 12 > window_id(now)).count();
            prop_assert_eq!(windows.tally(&v1, now).requests, expected as u64);
        }
    }
}
