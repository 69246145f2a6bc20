//! The answers of late that count, so that a client may say afterwards how one of its requests ended.
//!
//! A client knows what no router does: that an answer with status 200 was of no use. What it says may only worsen what was seen
//! here, or settle what was not: else whoever may report could make a bad canary look good. It may say so once, for a
//! while, and only where the request was counted.

use crate::repeats::AsItIs;
use judge::Verdict;
use model::{ModelId, RequestId, Time};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a client may take to say how a request ended, from when it began: a user has read the answer by then.
const HEARD_FOR: Duration = Duration::from_secs(600);
/// The most requests that are kept: ten minutes of a hundred a second, or one of a thousand, in about 10 MB. Of more the
/// oldest is forgotten.
const MOST: usize = 64 * 1024;
/// Parts with a lock of their own, more than there are threads, so that two threads rarely want the same.
const PARTS: usize = 16;

/// The requests that count for the present trial, by the names that their answers carry.
#[derive(Default)]
pub(super) struct Given {
    is_on: AtomicBool,
    parts: [Part; PARTS],
}

/// A cache line of its own, so that threads do not slow each other down by being neighbours.
#[derive(Default)]
#[repr(align(64))]
struct Part(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// By the random part of the name.
    requests: HashMap<u64, Request, BuildHasherDefault<AsItIs>>,
    /// The same in the order in which they began.
    order: VecDeque<(Time, u64)>,
}

/// One request of which the answer has, or will have, a name.
struct Request {
    model: ModelId,
    started: Time,
    /// None while it goes on.
    end: Option<End>,
    /// What its client has said of it.
    word: Option<Word>,
}

/// The end of a request as it was seen here, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) verdict: Verdict,
    pub(super) latency: Duration,
    pub(super) at: Time,
    /// Which part of the observer has counted it.
    pub(super) shard: usize,
}

/// What a client says about the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Good,
    Failed,
}

/// What became of a client's word about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// It counts, or agrees with what was counted.
    Counted,
    /// There is no such request of that model: none that counts in the present trial, or none any more.
    UnknownRequest,
    /// Its client has said so before, or something else.
    AlreadyReported,
    /// What was seen here stands: it was no good end, and does not become one.
    Stands,
}

impl Heard {
    /// The word for it in answers and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::UnknownRequest => "unknown_request",
            Self::AlreadyReported => "already_reported",
            Self::Stands => "stands",
        }
    }
}

/// A count to be corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amendment {
    pub(super) model: ModelId,
    pub(super) started: Time,
    pub(super) end: End,
    pub(super) to: Verdict,
}

impl Given {
    /// Forgets all requests. Keeps those to come, or none of them.
    pub(super) fn begin_anew(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
        for part in &self.parts {
            *part.0.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
        }
    }

    /// Keeps a request to `model` that began at `started`. One that goes to another model after the first has failed is from
    /// then on what its name stands for.
    pub(super) fn open(&self, request: RequestId, model: &ModelId, started: Time) {
        if self.is_on.load(Ordering::Relaxed) {
            let request_to = Request { model: model.clone(), started, end: None, word: None };
            self.part(request).add(request.number, request_to);
        }
    }

    /// Notes how a request to `model` ended, which was counted so. If its client has said meanwhile that it ended otherwise,
    /// that is to be corrected.
    pub(super) fn end(&self, request: RequestId, model: &ModelId, end: End) -> Option<Amendment> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let mut part = self.part(request);
        let kept = part.requests.get_mut(&request.number).filter(|kept| kept.model == *model && kept.end.is_none())?;
        kept.end = Some(end);
        kept.amendment()
    }

    /// Forgets a request that was not counted after all.
    pub(super) fn drop(&self, request: RequestId) {
        if self.is_on.load(Ordering::Relaxed) {
            // Its place in the order is given up when its turn comes.
            self.part(request).requests.remove(&request.number);
        }
    }

    /// Takes what a client says at `now` of a request that `model` has answered.
    pub(super) fn hear(
        &self,
        request: RequestId,
        model: &ModelId,
        word: Word,
        now: Time,
    ) -> Result<Option<Amendment>, Heard> {
        let mut part = self.part(request);
        let is_meant = |kept: &&mut Request| kept.model == *model && now.since(kept.started) < HEARD_FOR;
        let kept = part.requests.get_mut(&request.number).filter(is_meant).ok_or(Heard::UnknownRequest)?;
        if kept.word.is_some() {
            return Err(Heard::AlreadyReported);
        }
        kept.word = Some(word);
        let agrees =
            |end: End| matches!((end.verdict, word), (Verdict::Good, Word::Good) | (Verdict::Failed, Word::Failed));
        match (kept.amendment(), kept.end) {
            (None, Some(end)) if !agrees(end) => Err(Heard::Stands),
            (amendment, _) => Ok(amendment),
        }
    }

    fn part(&self, request: RequestId) -> MutexGuard<'_, Kept> {
        // Other bits than those by which a map finds its places.
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is less than the number of parts")]
        let part = &self.parts[((request.number >> 32) % PARTS as u64) as usize];
        part.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, number: u64, request: Request) {
        let started = request.started;
        while self.order.front().is_some_and(|(began, _)| started.since(*began) >= HEARD_FOR) {
            self.forget_oldest();
        }
        if self.order.len() >= MOST / PARTS {
            self.forget_oldest();
        }
        if self.requests.insert(number, request).is_none() {
            self.order.push_back((started, number));
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.requests.remove(&oldest);
        }
    }
}

impl Request {
    /// The correction that follows, when both are known, from what was seen here and what the client says.
    fn amendment(&self) -> Option<Amendment> {
        let (end, word) = (self.end?, self.word?);
        let to = amended(end.verdict, word)?;
        Some(Amendment { model: self.model.clone(), started: self.started, end, to })
    }
}

/// What a request is to count as that was seen to end as `seen`, if that is something else.
const fn amended(seen: Verdict, word: Word) -> Option<Verdict> {
    match (seen, word) {
        (Verdict::Good | Verdict::Unknown, Word::Failed) => Some(Verdict::Failed),
        (Verdict::Unknown, Word::Good) => Some(Verdict::Good),
        (Verdict::Good, Word::Good)
        | (Verdict::Failed | Verdict::Redirect | Verdict::ClientError, Word::Good | Word::Failed) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeId;

    const fn id(number: u64) -> RequestId {
        RequestId { node: NodeId::A, number }
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn v2() -> ModelId {
        "v2".parse().expect("a model id")
    }

    fn end(verdict: Verdict) -> End {
        End { verdict, latency: Duration::from_millis(5), at: at(101), shard: 3 }
    }

    fn keeping() -> Given {
        let given = Given::default();
        given.begin_anew(true);
        given
    }

    #[test]
    fn a_word_may_only_worsen_what_was_seen() {
        use Verdict::{ClientError, Failed, Good, Redirect, Unknown};
        for (seen, word, expected) in [
            (Good, Word::Good, Ok(None)),
            (Good, Word::Failed, Ok(Some(Failed))),
            (Failed, Word::Good, Err(Heard::Stands)),
            (Failed, Word::Failed, Ok(None)),
            (Unknown, Word::Good, Ok(Some(Good))),
            (Unknown, Word::Failed, Ok(Some(Failed))),
            (Redirect, Word::Good, Err(Heard::Stands)),
            (ClientError, Word::Good, Err(Heard::Stands)),
            (ClientError, Word::Failed, Err(Heard::Stands)),
        ] {
            // After the end.
            let given = keeping();
            given.open(id(7), &v2(), at(100));
            assert_eq!(given.end(id(7), &v2(), end(seen)), None);
            let heard = given.hear(id(7), &v2(), word, at(102));
            assert_eq!(heard.map(|amendment| amendment.map(|amendment| amendment.to)), expected, "{seen:?} {word:?}");
            for again in [Word::Good, Word::Failed] {
                assert_eq!(given.hear(id(7), &v2(), again, at(102)), Err(Heard::AlreadyReported));
            }
            // Before it.
            given.open(id(8), &v2(), at(100));
            assert_eq!(given.hear(id(8), &v2(), word, at(100)), Ok(None));
            let amendment = given.end(id(8), &v2(), end(seen));
            assert_eq!(amendment.as_ref().map(|amendment| amendment.to), expected.unwrap_or_default());
            assert!(amendment.is_none_or(|amendment| amendment.end == end(seen) && amendment.started == at(100)));
        }
    }

    #[test]
    fn what_was_not_given_or_is_over_is_unknown() {
        let given = keeping();
        let hear = |number, model: &ModelId, now| given.hear(id(number), model, Word::Failed, now).err();
        assert_eq!(hear(7, &v2(), at(100)), Some(Heard::UnknownRequest));
        for number in 7..10 {
            given.open(id(number), &v2(), at(100));
        }
        assert_eq!(hear(7, &"v1".parse().expect("a model id"), at(100)), Some(Heard::UnknownRequest), "another model");
        assert_eq!(hear(7, &v2(), at(700)), Some(Heard::UnknownRequest), "too late");
        assert_eq!(hear(7, &v2(), at(699)), None);
        given.drop(id(8));
        assert_eq!(hear(8, &v2(), at(100)), Some(Heard::UnknownRequest), "it was not counted");
        given.begin_anew(true);
        assert_eq!(hear(9, &v2(), at(100)), Some(Heard::UnknownRequest), "another trial");
        assert_eq!(given.end(id(9), &v2(), end(Verdict::Good)), None);
        given.begin_anew(false);
        given.open(id(9), &v2(), at(100));
        assert_eq!(hear(9, &v2(), at(100)), Some(Heard::UnknownRequest), "no trial");
    }

    #[test]
    fn a_name_stands_for_the_model_that_has_answered() {
        let given = keeping();
        let v1: ModelId = "v1".parse().expect("a model id");
        given.open(id(7), &v2(), at(100));
        given.end(id(7), &v2(), end(Verdict::Failed));
        given.open(id(7), &v1, at(101));
        // An end of the first that is late to be noted is not the other's.
        assert_eq!(given.end(id(7), &v2(), end(Verdict::Failed)), None);
        given.end(id(7), &v1, end(Verdict::Good));
        assert_eq!(given.hear(id(7), &v2(), Word::Failed, at(102)), Err(Heard::UnknownRequest));
        let amendment = given.hear(id(7), &v1, Word::Failed, at(102)).expect("it is known").expect("it was good");
        assert_eq!((amendment.model, amendment.started), (v1, at(101)));
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let given = keeping();
        // Spread over the parts, as random numbers are.
        let name = |number: u64| id(number << 32 | number);
        for number in 0..2 * MOST as u64 {
            given.open(name(number), &v2(), at(100));
        }
        let hear = |number| given.hear(name(number), &v2(), Word::Good, at(100));
        assert!((0..MOST as u64).all(|number| hear(number) == Err(Heard::UnknownRequest)));
        assert!((MOST as u64..2 * MOST as u64).all(|number| hear(number) == Ok(None)));
        for part in &given.parts {
            let kept = part.0.lock().expect("nothing panicked");
            assert_eq!((kept.requests.len(), kept.order.len()), (MOST / PARTS, MOST / PARTS));
        }
        given.open(name(1), &v2(), at(700));
        let kept = given.part(name(1));
        assert_eq!((kept.requests.len(), kept.order.len()), (1, 1), "what is over makes room");
    }
}
