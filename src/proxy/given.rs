//! The answers of late that count, so that a client may say afterwards how one of its requests ended.
//!
//! A client knows what no router does: that an answer with status 200 was of no use. What it says may only worsen what
//! was seen here, or settle what was not: else whoever may report could make a bad canary look good. It may say so once,
//! for a while, and only where the request was counted.

use judge::Verdict;
use model::{ModelId, RequestId, Time};
use rollout::Trial;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a client may take to say how a request ended, from when it began: a user has read the answer by then.
const HEARD_FOR: Duration = Duration::from_secs(600);
/// Parts with a lock of their own, many more than there are threads, so that two threads rarely want the same.
const PARTS: usize = 64;
/// Lines of each part, and the places in each: so many requests are kept, ten minutes of a hundred a second or one of a
/// thousand, in 4 MB. A request has one line. When that is full, the oldest in it is forgotten.
const LINES: usize = 128;
const PLACES: usize = 8;

/// The requests that count for the present trial, by the names that their answers carry.
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
    /// The models of the trial; none when there is none.
    models: Option<[ModelId; 2]>,
    /// All lines one after the other; none before they are needed.
    places: Vec<Request>,
}

/// One request of which the answer has, or will have, a name. Without one, it is none.
#[derive(Clone, Debug)]
struct Request {
    /// The random part of the name.
    number: u64,
    started: Time,
    /// Which of the two models.
    model: u8,
    /// Whether the answer was the choice of the model, and nothing of a model.
    is_decision: bool,
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

/// What follows from a client's word that is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it is what was counted, or the request goes on.
    Nothing,
    /// A count is to be corrected.
    Amends(Amendment),
    /// It is to be counted itself: of the request nothing is known here but which model it was for, and when it began.
    Counts { started: Time },
}

/// A count to be corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amendment {
    pub(super) model: ModelId,
    pub(super) started: Time,
    pub(super) end: End,
    pub(super) to: Verdict,
}

impl Default for Given {
    fn default() -> Self {
        Self { is_on: AtomicBool::default(), parts: std::array::from_fn(|_| Part::default()) }
    }
}

impl Given {
    /// Forgets all requests. Keeps those to come to the models of `trial`.
    pub(super) fn begin_anew(&self, trial: Option<&Trial>) {
        let models = trial.map(|trial| [trial.stable.clone(), trial.canary.clone()]);
        self.is_on.store(models.is_some(), Ordering::Relaxed);
        for part in &self.parts {
            *part.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Kept { models: models.clone(), places: Vec::new() };
        }
    }

    /// Keeps a request to `model` that began at `started`. One that goes to another model after the first has failed is
    /// from then on what its name stands for.
    pub(super) fn open(&self, request: RequestId, model: &ModelId, started: Time) {
        if self.is_on.load(Ordering::Relaxed) {
            self.part(request).add(request.number, model, started);
        }
    }

    /// Notes how a request to `model` ended, which was counted so. If its client has said meanwhile that it ended
    /// otherwise, that is to be corrected.
    pub(super) fn end(&self, request: RequestId, model: &ModelId, end: End) -> Option<Amendment> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let mut part = self.part(request);
        let kept = part.find(request.number, model).filter(|kept| kept.end.is_none())?;
        kept.end = Some(end);
        kept.amendment(model)
    }

    /// Keeps a request that was answered with the choice of `model` alone, at `started`: how it ended is what its client says.
    pub(super) fn decide(&self, request: RequestId, model: &ModelId, started: Time) {
        if self.is_on.load(Ordering::Relaxed) {
            let mut part = self.part(request);
            part.add(request.number, model, started);
            part.find(request.number, model).into_iter().for_each(|kept| kept.is_decision = true);
        }
    }

    /// Forgets a request to `model` that was not counted after all.
    pub(super) fn drop(&self, request: RequestId, model: &ModelId) {
        if self.is_on.load(Ordering::Relaxed)
            && let Some(kept) = self.part(request).find(request.number, model)
        {
            *kept = Request::NONE;
        }
    }

    /// Takes what a client says at `now` of a request that `model` has answered.
    pub(super) fn hear(&self, request: RequestId, model: &ModelId, word: Word, now: Time) -> Result<Effect, Heard> {
        let mut part = self.part(request);
        let is_late = |kept: &&mut Request| now.since(kept.started) >= HEARD_FOR;
        let kept = part.find(request.number, model).filter(|kept| !is_late(kept)).ok_or(Heard::UnknownRequest)?;
        if kept.word.is_some() {
            return Err(Heard::AlreadyReported);
        }
        kept.word = Some(word);
        let agrees =
            |end: End| matches!((end.verdict, word), (Verdict::Good, Word::Good) | (Verdict::Failed, Word::Failed));
        match (kept.amendment(model), kept.end) {
            _ if kept.is_decision => Ok(Effect::Counts { started: kept.started }),
            (None, Some(end)) if !agrees(end) => Err(Heard::Stands),
            (amendment, _) => Ok(amendment.map_or(Effect::Nothing, Effect::Amends)),
        }
    }

    fn part(&self, request: RequestId) -> MutexGuard<'_, Kept> {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is less than the number of parts")]
        let part = &self.parts[(request.number % PARTS as u64) as usize];
        part.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, number: u64, model: &ModelId, started: Time) {
        let Some(model) = self.index_of(model) else { return };
        if self.places.is_empty() {
            self.places = vec![Request::NONE; LINES * PLACES];
        }
        let line = self.line(number);
        let place = line.iter().position(|kept| kept.number == number);
        let oldest = || (0..line.len()).min_by_key(|place| line[*place].started);
        if let Some(place) = place.or_else(oldest) {
            line[place] = Request { number, started, model, is_decision: false, end: None, word: None };
        }
    }

    fn find(&mut self, number: u64, model: &ModelId) -> Option<&mut Request> {
        let model = self.index_of(model).filter(|_| !self.places.is_empty())?;
        self.line(number).iter_mut().find(|kept| kept.number == number && kept.model == model)
    }

    fn index_of(&self, model: &ModelId) -> Option<u8> {
        let [stable, canary] = self.models.as_ref()?;
        if model == canary { Some(1) } else { (model == stable).then_some(0) }
    }

    /// The places that a request may have.
    fn line(&mut self, number: u64) -> &mut [Request] {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is less than the number of lines")]
        let line = (number / PARTS as u64 % LINES as u64) as usize;
        &mut self.places[line * PLACES..(line + 1) * PLACES]
    }
}

impl Request {
    const NONE: Self =
        Self { number: 0, started: Time::ZERO, model: u8::MAX, is_decision: false, end: None, word: None };

    /// The correction that follows, when both are known, from what was seen here and what the client says.
    fn amendment(&self, model: &ModelId) -> Option<Amendment> {
        let (end, word) = (self.end?, self.word?);
        let to = amended(end.verdict, word)?;
        Some(Amendment { model: model.clone(), started: self.started, end, to })
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
    use model::{NodeId, Weight};
    use service::{Canary, Model, RoutingState};

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

    fn trial() -> Trial {
        let mut state = RoutingState::initial("v1".parse().expect("a model id"));
        let model = Model { id: v2(), upstream: None };
        state.canary = Some(Canary { model, weight: Weight::FULL, salt: "rollout-1".into() });
        Trial::of(&state, None).expect("a canary has some weight")
    }

    fn keeping() -> Given {
        let given = Given::default();
        given.begin_anew(Some(&trial()));
        given
    }

    fn to(effect: Effect) -> Option<Verdict> {
        match effect {
            Effect::Amends(amendment) => Some(amendment.to),
            Effect::Nothing | Effect::Counts { .. } => None,
        }
    }

    #[test]
    fn of_a_choice_alone_the_word_is_all_there_is_and_counts_once() {
        let given = keeping();
        given.decide(id(7), &v2(), at(100));
        assert_eq!(given.hear(id(7), &v2(), Word::Good, at(101)), Ok(Effect::Counts { started: at(100) }));
        assert_eq!(given.hear(id(7), &v2(), Word::Good, at(101)), Err(Heard::AlreadyReported));
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
            assert_eq!(heard.map(to), expected, "{seen:?} {word:?}");
            for again in [Word::Good, Word::Failed] {
                assert_eq!(given.hear(id(7), &v2(), again, at(102)), Err(Heard::AlreadyReported));
            }
            // Before it.
            given.open(id(8), &v2(), at(100));
            assert_eq!(given.hear(id(8), &v2(), word, at(100)), Ok(Effect::Nothing));
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
        given.drop(id(8), &v2());
        assert_eq!(hear(8, &v2(), at(100)), Some(Heard::UnknownRequest), "it was not counted");
        given.begin_anew(Some(&trial()));
        assert_eq!(hear(9, &v2(), at(100)), Some(Heard::UnknownRequest), "another trial");
        assert_eq!(given.end(id(9), &v2(), end(Verdict::Good)), None);
        let v3 = "v3".parse().expect("a model id");
        given.open(id(9), &v3, at(100));
        assert_eq!(hear(9, &v3, at(100)), Some(Heard::UnknownRequest), "none of the two models");
        given.begin_anew(None);
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
        let heard = given.hear(id(7), &v1, Word::Failed, at(102)).expect("it is known");
        let Effect::Amends(amendment) = heard else { panic!("it was good: {heard:?}") };
        assert_eq!((amendment.model, amendment.started), (v1, at(101)));
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let given = keeping();
        // All of one line.
        let name = |number: u64| id((number << 32) | 7);
        let places = PLACES as u64;
        for number in 1..=places + 2 {
            given.open(name(number), &v2(), at(100 + number));
        }
        let hear = |number| given.hear(name(number), &v2(), Word::Good, at(150));
        assert!((1..=2).all(|number| hear(number) == Err(Heard::UnknownRequest)));
        assert!((3..=places + 2).all(|number| hear(number) == Ok(Effect::Nothing)));
        for number in 0..10_000_u64 {
            given.open(id(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &v2(), at(100));
        }
        for part in &given.parts {
            let places = part.0.lock().expect("nothing panicked").places.len();
            assert_eq!(places, LINES * PLACES, "however many come");
        }
        let most = PARTS * LINES * PLACES;
        assert!(most == 64 * 1024 && most * size_of::<Request>() <= 4 << 20, "{}", size_of::<Request>());
    }
}
