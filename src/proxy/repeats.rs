//! Repeats: requests that say no more than another one did shortly before.
//!
//! A client that tries again, and a probe that asks the same all day, are one witness each, however often they ask: else one
//! user's retries of a request that the canary cannot answer would roll it back, and one check that it answers would
//! promote it. So of equal requests only the first counts, whatever its end; that is decided when it begins, for both
//! models alike, and the others are served as if there were no such thing.
//!
//! Two requests are equal by their key, method, target and body. Where there is no key the client's address stands in
//! for it: the users of a service may all send the very same request, and are witnesses of their own. A client that
//! wants to be counted often can do so, by asking something else each time: this is not what keeps it from being heard
//! too much.
//!
//! What is remembered are hashes under a key of this process, so that nobody can choose a request that passes for
//! another's. Of a body longer than what is looked into, the beginning and the length are hashed, and one that is not looked
//! into at all is never a repeat: a model's tensors are all of one length, and nothing else would tell one from another.

use judge::SPAN;
use model::{Time, source};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Lines of the table, and the places in each: so many requests are remembered, a minute of a thousand a second, in 512 KB.
/// A request has one line. When that is full, the oldest in it is forgotten, and if that is asked again it counts as one of the
/// tens of thousands that have come since.
const LINES: usize = 8 * 1024;
const PLACES: usize = 8;
/// The bits of a place that tell the request; the others tell when it began.
const WHO: u64 = !WHEN;
const WHEN: u64 = (1 << 24) - 1;
/// Microseconds in a unit of these are two to this power: 66 ms, of which there are as many as last for twelve days.
const UNIT: u32 = 16;
/// How long a request is remembered: as long as what is observed looks back.
#[allow(clippy::cast_possible_truncation, reason = "a minute in microseconds fits in 64 bits")]
const REMEMBERED: u64 = SPAN.as_micros() as u64 >> UNIT;

/// The requests of late, while there is a trial that they may count for.
#[derive(Default)]
pub(super) struct Repeats {
    is_on: AtomicBool,
    keys: RandomState,
    /// Made for the first trial.
    lines: OnceLock<Box<[Line]>>,
}

/// Some requests, each in one word, or 0; and a cache line, which is all that is touched for a request. There is no lock: a
/// place is only ever exchanged for a younger one, and whoever finds it exchanged looks again.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; PLACES]);

/// All that a request says, in 64 bits that only this process can work out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64);

/// What makes two requests equal.
pub(super) struct Asking<'a> {
    pub(super) asker: Asker<'a>,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Empty without one.
    pub(super) query: &'a str,
    pub(super) body: Beginning<'a>,
}

/// The one who asks: nobody can use up another's request by asking for the same before.
#[derive(Hash)]
pub(super) struct Asker<'a> {
    /// None where it has none.
    key: Option<&'a [u8]>,
    /// Where it comes from; none where that is not known.
    source: Option<IpAddr>,
}

/// What was looked into of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning<'a> {
    pub(super) bytes: &'a [u8],
    /// That of the whole body, where it is known.
    pub(super) length: Option<u64>,
}

impl<'a> Beginning<'a> {
    /// A body that is all there.
    pub(super) const fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, length: Some(bytes.len() as u64) }
    }
}

impl<'a> Asker<'a> {
    /// The one with this key at this address.
    pub(super) fn new(key: Option<&'a [u8]>, client: Option<IpAddr>) -> Self {
        Self { key, source: client.map(source) }
    }
}

impl Repeats {
    /// Whether anything is remembered; else every request counts.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Forgets all requests. Remembers those to come, or none of them.
    pub(super) fn begin_anew(&self, is_on: bool) {
        if is_on {
            self.lines.get_or_init(|| (0..LINES).map(|_| Line::default()).collect());
        }
        self.is_on.store(is_on, Ordering::Relaxed);
        let places = self.lines.get().into_iter().flatten().flat_map(|line| &line.0);
        places.for_each(|place| place.store(0, Ordering::Relaxed));
    }

    /// The print of a request.
    pub(super) fn print(&self, asking: &Asking<'_>) -> Fingerprint {
        let Asking { asker, method, path, query, body } = asking;
        let mut hasher = self.keys.build_hasher();
        asker.hash(&mut hasher);
        // The lengths of all parts come before them, so that none of them can go on as the next.
        [method.len(), path.len(), query.len(), body.bytes.len()].hash(&mut hasher);
        for part in [method.as_bytes(), path.as_bytes(), query.as_bytes(), body.bytes] {
            hasher.write(part);
        }
        body.length.hash(&mut hasher);
        Fingerprint(hasher.finish())
    }

    /// Whether no equal request has begun of late; if so, it is remembered.
    pub(super) fn is_first(&self, print: Fingerprint, now: Time) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is less than the number of lines")]
        let line = self.lines.get().map(|lines| &lines[(print.0 % LINES as u64) as usize]);
        line.is_none_or(|line| line.add(print.0 & WHO, now.as_micros() >> UNIT))
    }
}

impl Line {
    /// Adds a request that begins at `now`, unless it is there.
    fn add(&self, who: u64, now: u64) -> bool {
        loop {
            let Some(vacancy) = self.look_for(who, now) else { return false };
            if self.take(vacancy, who, now) {
                return true;
            }
        }
    }

    /// The place of the oldest; none if the request is there.
    fn look_for(&self, who: u64, now: u64) -> Option<Vacancy> {
        let age = |value: u64| if value == 0 { u64::MAX } else { now.wrapping_sub(value) & WHEN };
        let mut oldest = Vacancy { place: 0, value: self.0[0].load(Ordering::Relaxed) };
        for (place, kept) in self.0.iter().enumerate() {
            let value = kept.load(Ordering::Relaxed);
            if value & WHO == who && age(value) < REMEMBERED {
                return None;
            }
            if age(value) > age(oldest.value) {
                oldest = Vacancy { place, value };
            }
        }
        Some(oldest)
    }

    /// Puts a request into a place, unless that has been taken since. Whoever adds the same at this moment has seen the same
    /// place as the oldest, and only one of them gets it.
    fn take(&self, Vacancy { place, value }: Vacancy, who: u64, now: u64) -> bool {
        let taken = who | (now & WHEN);
        self.0[place].compare_exchange(value, taken, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The place for one more, and what is there.
struct Vacancy {
    place: usize,
    value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const BODY: &[u8] = b"{}";

    fn asking(key: &'static str, query: &'static str) -> Asking<'static> {
        let asker = Asker::new(Some(key.as_bytes()), None);
        Asking { asker, method: "POST", path: "/predict", query, body: Beginning::whole(BODY) }
    }

    fn remembering() -> Repeats {
        let repeats = Repeats::default();
        repeats.begin_anew(true);
        repeats
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn only_the_first_of_equal_requests_is_one() {
        let repeats = remembering();
        let ask = |asking: Asking<'_>| repeats.is_first(repeats.print(&asking), at(100));
        assert!(ask(asking("alice", "")) && !ask(asking("alice", "")) && !ask(asking("alice", "")));
        assert!(ask(asking("bob", "")), "another key");
        assert!(ask(asking("alice", "a=1")), "another target");
        assert!(ask(Asking { method: "PUT", ..asking("alice", "") }), "another method");
        assert!(ask(Asking { path: "/v2/models/m/infer", ..asking("alice", "") }), "another path");
        assert!(ask(Asking { body: Beginning::whole(b"[]"), ..asking("alice", "") }), "another body");
        let longer = Beginning { bytes: BODY, length: Some(3) };
        assert!(ask(Asking { body: longer, ..asking("alice", "") }), "another length");
        assert!(ask(asking("alicea", "=1")), "the parts are told apart");
        let joint = |path: &'static str, query| ask(Asking { path, ..asking("carol", query) });
        assert!(joint("/v2/a", "b") && joint("/v2/", "ab") && !joint("/v2/a", "b"), "wherever they meet");
        assert!(!ask(asking("alice", "a=1")));
    }

    #[test]
    fn the_clients_address_stands_in_for_a_key() {
        let repeats = remembering();
        let ask = |asker: Asker<'_>| repeats.is_first(repeats.print(&Asking { asker, ..asking("", "") }), at(100));
        let from = |address: &str| Asker::new(None, Some(address.parse().expect("an address")));
        assert!(ask(from("192.0.2.1")) && ask(from("192.0.2.2")) && !ask(from("192.0.2.1")));
        assert!(!ask(from("::ffff:192.0.2.1")), "the same address as IPv6 writes it");
        assert!(ask(from("2001:db8:0:1::1")) && !ask(from("2001:db8:0:1:ffff::2")), "one network is one client");
        assert!(ask(from("2001:db8:0:2::1")));
        assert!(ask(Asker::new(None, None)) && !ask(Asker::new(None, None)), "where none is known");
        let keyed = || Asker::new(Some(b"k"), None);
        assert!(ask(keyed()) && !ask(keyed()));
    }

    #[test]
    fn a_request_is_remembered_for_a_minute_and_a_repeat_does_not_make_it_longer() {
        let repeats = remembering();
        let print = repeats.print(&asking("alice", ""));
        assert!(repeats.is_first(print, at(100)));
        assert!(!repeats.is_first(print, at(159)));
        assert!(repeats.is_first(print, at(160)));
        assert!(!repeats.is_first(print, at(200)));
        repeats.begin_anew(true);
        assert!(repeats.is_first(print, at(200)), "another trial");
        repeats.begin_anew(false);
        assert!(!repeats.is_on());
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let repeats = remembering();
        // All of one line.
        let print = |number: u64| Fingerprint((number << 24) | 7);
        let places = PLACES as u64;
        for number in 1..=places {
            assert!(repeats.is_first(print(number), at(100 + number)));
        }
        assert!((1..=places).all(|number| !repeats.is_first(print(number), at(120))), "there is room for all");
        assert!(repeats.is_first(print(places + 1), at(120)));
        assert!((2..=places + 1).all(|number| !repeats.is_first(print(number), at(120))));
        assert!(repeats.is_first(print(1), at(120)), "the oldest is forgotten");
        assert!(repeats.is_first(print(2), at(120)), "and then the next");
        // What is over makes room for others, whatever their number.
        assert!((100..100 + places).all(|number| repeats.is_first(print(number), at(200))));
        assert!((100..100 + places).all(|number| !repeats.is_first(print(number), at(200))));
        let size = repeats.lines.get().expect("there is a trial").iter().map(std::mem::size_of_val).sum::<usize>();
        assert_eq!(size, 512 * 1024, "however many come");
    }

    #[test]
    fn of_equal_requests_at_the_same_moment_one_is_first() {
        let line = Line::default();
        let (who, other) = (1 << 24, 2 << 24);
        for now in 1..20 {
            let look = || line.look_for(who, now * 1_000).expect("it is over");
            let (one, two, three) = (look(), look(), line.look_for(other, now * 1_000).expect("it is over"));
            assert!(line.take(one, who, now * 1_000));
            assert!(!line.take(two, who, now * 1_000) && !line.take(three, other, now * 1_000));
            assert!(line.look_for(who, now * 1_000).is_none(), "the one that comes second finds the first");
            assert!(line.add(other, now * 1_000) && !line.add(other, now * 1_000));
        }
    }

    #[test]
    fn threads_count_each_request_once() {
        const THREADS: usize = 4;
        let repeats = remembering();
        // Few lines, so that they are full and threads meet in them.
        let prints: Vec<_> = (0..20_000).map(|number: u64| Fingerprint(((number + 1) << 24) | (number % 3))).collect();
        let barrier = std::sync::Barrier::new(THREADS);
        let ask = || {
            let ask = |(chunk, round): (&[Fingerprint], u64)| {
                barrier.wait();
                let now = Time::from_micros(round << UNIT);
                chunk.iter().map(|print| usize::from(repeats.is_first(*print, now))).sum::<usize>()
            };
            // As many as there are places: none is forgotten before all threads have asked.
            prints.chunks(3 * PLACES).zip(1..).map(ask).collect::<Vec<_>>()
        };
        let firsts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it only asks")).collect::<Vec<_>>()
        });
        for (at, chunk) in prints.chunks(3 * PLACES).enumerate() {
            assert_eq!(firsts.iter().map(|of_thread| of_thread[at]).sum::<usize>(), chunk.len(), "in round {at}");
        }
    }

    #[test]
    fn no_other_process_can_tell_a_digest() {
        let print = |_| Repeats::default().print(&asking("alice", "")).0;
        assert_eq!((0..100).map(print).collect::<BTreeSet<_>>().len(), 100);
    }
}
