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

use model::{Time, source};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a request is remembered: as long as what is observed looks back.
const REMEMBERED: Duration = judge::SPAN;
/// The most requests that are remembered: a minute of a thousand a second, in less than 3 MB. Of more the oldest is
/// forgotten, and its repeat counts as one of the tens of thousands that have come since.
const MOST: usize = 64 * 1024;
/// Parts with a lock of their own, more than there are threads, so that two threads rarely want the same.
const PARTS: usize = 16;

/// The requests of late, while there is a trial that they may count for.
#[derive(Default)]
pub(super) struct Repeats {
    is_on: AtomicBool,
    keys: RandomState,
    parts: [Part; PARTS],
}

/// A cache line of its own, so that threads do not slow each other down by being neighbours.
#[derive(Default)]
#[repr(align(64))]
struct Part(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    prints: HashSet<Fingerprint, BuildHasherDefault<AsItIs>>,
    /// The same in the order in which they came.
    order: VecDeque<(Time, Fingerprint)>,
}

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

/// The one who asks.
#[derive(Hash)]
pub(super) enum Asker<'a> {
    /// The one with this key.
    Key(&'a [u8]),
    /// One without a key, who has an address of this source; none where that is not known.
    From(Option<IpAddr>),
}

/// What was looked into of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The one with this key, or else at the address that `client` gives.
    pub(super) fn new(key: Option<&'a [u8]>, client: impl FnOnce() -> Option<IpAddr>) -> Self {
        key.map_or_else(|| Self::From(client().map(source)), Self::Key)
    }
}

impl Repeats {
    /// Whether anything is remembered; else every request counts.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Forgets all requests. Remembers those to come, or none of them.
    pub(super) fn begin_anew(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
        for part in &self.parts {
            *part.0.lock().unwrap_or_else(PoisonError::into_inner) = Remembered::default();
        }
    }

    /// The print of a request.
    pub(super) fn print(&self, asking: &Asking<'_>) -> Fingerprint {
        let Asking { asker, method, path, query, body } = asking;
        // Each part is hashed with its length, so that none of them can go on as the next.
        Fingerprint(self.keys.hash_one((asker, method, path, query, body)))
    }

    /// Whether no equal request has begun of late; if so, it is remembered.
    pub(super) fn is_first(&self, print: Fingerprint, now: Time) -> bool {
        // Other bits than those by which a set finds its places.
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is less than the number of parts")]
        let part = &self.parts[((print.0 >> 32) % PARTS as u64) as usize];
        part.0.lock().unwrap_or_else(PoisonError::into_inner).add(print, now)
    }
}

impl Remembered {
    /// Adds a request, unless it is there.
    fn add(&mut self, print: Fingerprint, now: Time) -> bool {
        while self.order.front().is_some_and(|(began, _)| now.since(*began) >= REMEMBERED) {
            self.forget_oldest();
        }
        if self.prints.contains(&print) {
            return false;
        }
        if self.order.len() >= MOST / PARTS {
            self.forget_oldest();
        }
        self.prints.insert(print);
        self.order.push_back((now, print));
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.prints.remove(&oldest);
        }
    }
}

/// The hash of a value that is one.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const BODY: &[u8] = b"{}";

    fn asking(key: &'static str, query: &'static str) -> Asking<'static> {
        let asker = Asker::Key(key.as_bytes());
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

    fn kept(repeats: &Repeats) -> Vec<(usize, usize)> {
        let lengths = |part: &Part| {
            let remembered = part.0.lock().expect("nothing panicked");
            (remembered.prints.len(), remembered.order.len())
        };
        repeats.parts.iter().map(lengths).collect()
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
        assert!(!ask(asking("alice", "a=1")));
    }

    #[test]
    fn the_clients_address_stands_in_for_a_key() {
        let repeats = remembering();
        let ask = |asker: Asker<'_>| repeats.is_first(repeats.print(&Asking { asker, ..asking("", "") }), at(100));
        let from = |address: &str| Asker::new(None, || Some(address.parse().expect("an address")));
        assert!(ask(from("192.0.2.1")) && ask(from("192.0.2.2")) && !ask(from("192.0.2.1")));
        assert!(!ask(from("::ffff:192.0.2.1")), "the same address as IPv6 writes it");
        assert!(ask(from("2001:db8:0:1::1")) && !ask(from("2001:db8:0:1:ffff::2")), "one network is one client");
        assert!(ask(from("2001:db8:0:2::1")));
        assert!(ask(Asker::new(None, || None)) && !ask(Asker::new(None, || None)), "where none is known");
        let keyed = || Asker::new(Some(b"k"), || unreachable!("a key is enough"));
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
        let prints = (0..2 * MOST as u64).map(|number| Fingerprint(repeats.keys.hash_one(number))).collect::<Vec<_>>();
        for print in &prints {
            assert!(repeats.is_first(*print, at(100)));
        }
        for (known, ordered) in kept(&repeats) {
            assert!(known == ordered && known <= MOST / PARTS, "{known} of at most {}", MOST / PARTS);
        }
        // The parts are filled by chance, so the newest are there for sure, and the first for sure are not.
        assert!(prints.iter().rev().take(MOST / 2).all(|print| !repeats.is_first(*print, at(100))));
        assert!(prints.iter().take(MOST / 2).all(|print| repeats.is_first(*print, at(100))));
        // What is over makes room.
        assert!(repeats.is_first(repeats.print(&asking("alice", "")), at(160)));
        assert!(kept(&repeats).contains(&(1, 1)));
    }

    #[test]
    fn no_other_process_can_tell_a_digest() {
        let print = |_| remembering().print(&asking("alice", "")).0;
        assert_eq!((0..100).map(print).collect::<BTreeSet<_>>().len(), 100);
    }
}
