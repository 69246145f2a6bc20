//! One request that went to an upstream, from when it is chosen to how it ends.
//!
//! A request says what its model did. Whoever sends it slowly, reads the answer slowly, or leaves early says nothing about the
//! model by that: only the time counts in which the model owed something.

use crate::given::End;
use crate::observe::{Counted, Observer, own_shard};
use crate::upload::Progress;
use judge::{Sample, Verdict};
use member::boottime;
use model::{ModelId, RequestId, Time};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One request that went to an upstream. It is counted when it ends, or its client leaves and this is dropped.
pub(super) struct Recording(Option<Open>);

/// A request that is to be counted.
struct Open {
    observer: Arc<Observer>,
    /// The name of its answer.
    request: RequestId,
    /// Where it came from.
    source: Option<IpAddr>,
    model: ModelId,
    started: Time,
    /// How far its body has come, where that was not all there when it started.
    upload: Option<Progress>,
    answered_after: Option<Duration>,
    /// Whether the model has given anything of its answer's body.
    has_begun: bool,
    /// Since when the model owes the next byte of its answer; none while bytes wait for the client to take them.
    owing_since: Option<Time>,
    /// None when it says nothing about the model.
    verdict: Option<Verdict>,
}

/// Whose request it is, and for which model.
pub(super) struct Asked {
    /// The name of its answer.
    pub(super) request: RequestId,
    /// Where it came from.
    pub(super) source: Option<IpAddr>,
    pub(super) model: ModelId,
    pub(super) started: Time,
}

impl Recording {
    /// A request whose body is all there. Where it is not, [`on_upload`](Self::on_upload) follows at once.
    pub(super) fn new(observer: Arc<Observer>, asked: Asked) -> Self {
        let Asked { request, source, model, started } = asked;
        observer.given.open(request, &model, started);
        Self(Some(Open {
            observer,
            request,
            source,
            model,
            started,
            upload: None,
            answered_after: None,
            has_begun: false,
            owing_since: None,
            verdict: Some(Verdict::Good),
        }))
    }

    pub(super) const fn kept_out() -> Self {
        Self(None)
    }

    /// Its body is all there.
    pub(super) fn on_whole(&mut self) {
        if let Some(open) = &self.0 {
            open.observer.open(&open.model, open.started);
        }
    }

    /// Its body is still coming: what the client takes for that is not the model's time, and only when all is there does the
    /// model owe an answer.
    pub(super) fn on_upload(&mut self, progress: Progress) {
        if let Some(open) = &mut self.0 {
            let (observer, model) = (Arc::clone(&open.observer), open.model.clone());
            progress.on_whole(move |now| observer.open(&model, now));
            open.upload = Some(progress);
        }
    }

    /// The head of the upstream's answer is there. If that says that the upstream failed, nothing more is awaited.
    pub(super) fn on_answer(&mut self, verdict: Verdict) {
        if let Some(open) = &mut self.0 {
            open.answered_after = Some(open.models_time(boottime()));
            open.verdict = Some(verdict);
        }
        match verdict {
            Verdict::Failed => self.end(Ending::Known),
            // How fast it refuses is no latency.
            Verdict::Redirect | Verdict::ClientError => self.on_first_byte(),
            Verdict::Good | Verdict::Unknown => {}
        }
    }

    /// The first byte of its body is there, which is when the answer begins for whom it is: some servers send the head at
    /// once and think after it. How fast a client reads the rest says nothing about the model.
    pub(super) fn on_first_byte(&mut self) {
        if let Some(open) = &mut self.0 {
            open.begin(boottime());
        }
    }

    /// The client has taken all that there is, and waits for more.
    pub(super) fn on_wait(&mut self) {
        if let Some(open) = &mut self.0 {
            open.owing_since.get_or_insert_with(boottime);
        }
    }

    /// More of the answer is there.
    pub(super) const fn on_piece(&mut self) {
        if let Some(open) = &mut self.0 {
            open.owing_since = None;
        }
    }

    /// The answer is whole.
    pub(super) fn on_end(&mut self) {
        self.end(Ending::Known);
    }

    /// The model did not answer, or its answer broke off.
    pub(super) fn on_failure(&mut self) {
        if let Some(open) = &mut self.0 {
            open.verdict = Some(Verdict::Failed);
        }
        self.end(Ending::Known);
    }

    /// The client failed: that says nothing about the model, and is not counted.
    pub(super) fn on_client_failure(&mut self) {
        if let Some(open) = &mut self.0 {
            open.verdict = None;
        }
        self.end(Ending::Known);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(Ending::ClientLeft);
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As its verdict says.
    Known,
    /// Its client left before that was known.
    ClientLeft,
}

impl Recording {
    fn end(&mut self, ending: Ending) {
        let Some(mut open) = self.0.take() else { return };
        let now = boottime();
        let verdict = match ending {
            Ending::Known => open.verdict,
            Ending::ClientLeft => open.verdict_when_left(now),
        };
        if verdict == Some(Verdict::Good) && ending == Ending::Known {
            // An answer without a body begins with its head.
            open.begin_after_head(now);
        }
        let waited = open.waited(now).filter(|_| verdict == Some(Verdict::Unknown));
        let request = open.counted();
        if !open.has_begun {
            open.observer.gave_up(request, now, waited);
        }
        let full = now.since(open.started);
        let latency = open.answered_after.unwrap_or_else(|| open.models_time(now));
        let sample = verdict.map(|verdict| Sample { latency, full, verdict });
        open.observer.over(request, now, sample.map(|sample| (sample, open.source)));
        let Some(verdict) = verdict else { return open.observer.given.drop(open.request, &open.model) };
        let end = End { verdict, latency, at: now, shard: own_shard() };
        if let Some(amendment) = open.observer.given.end(open.request, &open.model, end) {
            open.observer.amend(&amendment);
        }
    }
}

impl Open {
    /// How much of the time until `now` was the model's.
    fn models_time(&self, now: Time) -> Duration {
        let clients = self.upload.as_ref().map_or(Duration::ZERO, |upload| upload.clients_time(now));
        now.since(self.started).saturating_sub(clients)
    }

    /// The request, of which nothing more opens from now on.
    fn counted(&self) -> Counted<'_> {
        let opened = match &self.upload {
            None => Some(self.started),
            Some(upload) => upload.settle(),
        };
        Counted { model: &self.model, started: self.started, opened }
    }

    fn begin(&mut self, now: Time) {
        self.answered_after = Some(self.models_time(now));
        self.begin_after_head(now);
    }

    fn begin_after_head(&mut self, now: Time) {
        if !std::mem::replace(&mut self.has_begun, true)
            && let (Some(latency), Some(verdict)) = (self.answered_after, self.verdict)
        {
            self.observer.answered(self.counted(), now, latency, verdict);
        }
    }

    /// The verdict on a request whose client left at `now`. A model that had all its time has failed. Else nobody knows how it
    /// would have ended, if the client had waited for longer than clients of the stable model have to; if not, nothing follows
    /// but what the model has said so far; and nothing at all where the client had not sent all, or something waits for the
    /// client to take it.
    fn verdict_when_left(&self, now: Time) -> Option<Verdict> {
        let waited = self.waited(now)?;
        let has_all = self.upload.as_ref().is_none_or(Progress::is_whole);
        let is_long = waited > self.observer.patience();
        match (self.answered_after, self.verdict) {
            (Some(_), _) if self.owed(now) >= self.observer.timeouts.idle => Some(Verdict::Failed),
            (None, _) if waited >= self.observer.timeouts.answer => Some(Verdict::Failed),
            (None, _) if !has_all => None,
            (None, _) | (Some(_), Some(Verdict::Good)) if is_long => Some(Verdict::Unknown),
            (Some(_), verdict) if self.has_begun => verdict,
            (None | Some(_), _) => None,
        }
    }

    /// For how long the model has owed more of an answer that it has begun.
    fn owed(&self, now: Time) -> Duration {
        self.owing_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// For how long the client has waited at `now` for the model's next byte; none when it is the client that is waited for.
    /// Bytes that wait for the model to read them are the model's time; bytes that wait for the client are not.
    fn waited(&self, now: Time) -> Option<Duration> {
        match (self.answered_after, &self.upload) {
            (Some(_), _) if self.has_begun => Some(self.owed(now)),
            (None, Some(upload)) if !upload.is_whole() => upload.unread(now),
            // The head alone is nothing to its client.
            (Some(_) | None, _) => Some(self.models_time(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::client::Timeouts;

    fn recording(observer: &Arc<Observer>) -> Recording {
        begun_at(observer, boottime())
    }

    fn begun_at(observer: &Arc<Observer>, started: Time) -> Recording {
        let request = RequestId { node: model::NodeId::A, number: 7 };
        let asked = Asked { request, source: None, model: "v1".parse().expect("v1 is a model id"), started };
        let mut recording = Recording::new(Arc::clone(observer), asked);
        recording.on_whole();
        recording
    }

    #[test]
    fn a_recording_counts_when_it_ends() {
        let observer = Arc::new(Observer::default());
        let mut recording = recording(&observer);
        let counts = || {
            let overall = observer.observations(boottime(), []).overall;
            (overall.requests, overall.errors)
        };
        recording.on_answer(Verdict::Good);
        assert_eq!(counts(), (0, 0));
        recording.on_failure();
        assert_eq!(counts(), (1, 1));
        drop(recording);
        assert_eq!(counts(), (1, 1));
    }

    #[test]
    fn what_is_kept_out_or_the_clients_fault_is_not_counted() {
        let observer = Arc::new(Observer::default());
        recording(&observer).on_client_failure();
        let mut tester = Recording::kept_out();
        tester.on_answer(Verdict::Good);
        tester.on_failure();
        drop(tester);
        assert_eq!(observer.observations(boottime(), []).overall.requests, 0);
    }

    #[test]
    fn a_model_that_had_its_time_has_failed_though_the_client_left() {
        let (second, limit) = (Duration::from_secs(1), Timeouts::default().idle);
        let observer = Arc::new(Observer::default());
        let errors = || observer.observations(boottime(), []).overall.errors;
        for (begun, owing, failed) in
            [(limit + second, None, 0), (limit + second, Some(limit - second), 0), (limit + second, Some(limit), 1)]
        {
            let now = boottime() + limit + second;
            let mut recording = begun_at(&observer, now - begun);
            recording.on_answer(Verdict::Good);
            recording.on_first_byte();
            let open = recording.0.as_mut().expect("it is open");
            open.owing_since = owing.map(|owing| now - owing);
            assert_eq!(open.waited(now), Some(owing.unwrap_or_default()));
            let verdict = match owing {
                None => Verdict::Good,
                Some(_) if failed > 0 => Verdict::Failed,
                Some(_) => Verdict::Unknown,
            };
            assert_eq!(open.verdict_when_left(now), Some(verdict));
            open.owing_since = owing.map(|owing| boottime() - owing);
            drop(recording);
            assert_eq!(errors(), failed);
        }
        drop(begun_at(&observer, boottime() - Timeouts::default().answer));
        assert_eq!(errors(), 2, "it never answered");
    }

    #[test]
    fn the_time_in_which_bytes_wait_for_the_client_is_not_owed() {
        let observer = Arc::new(Observer::default());
        let mut recording = recording(&observer);
        recording.on_answer(Verdict::Good);
        let owing = |recording: &Recording| recording.0.as_ref().and_then(|open| open.owing_since);
        assert_eq!(owing(&recording), None);
        recording.on_wait();
        let since = owing(&recording);
        recording.on_wait();
        assert!(since.is_some() && owing(&recording) == since, "it is owed since it was first awaited");
        recording.on_piece();
        assert_eq!(owing(&recording), None);
    }

    #[test]
    fn whoever_leaves_after_a_long_wait_leaves_an_unknown_end_and_sooner_nothing() {
        let observer = Arc::new(Observer::default());
        let seen = || {
            let overall = observer.observations(boottime(), []).overall;
            (overall.requests, overall.errors, overall.unknown)
        };
        let patience = observer.patience();
        drop(begun_at(&observer, boottime() - patience / 2));
        assert_eq!(seen(), (0, 0, 0), "it says nothing");
        drop(begun_at(&observer, boottime() - patience * 2));
        assert_eq!(seen(), (0, 0, 1));
        // The head alone is nothing to its client.
        let mut recording = begun_at(&observer, boottime() - patience * 2);
        recording.on_answer(Verdict::Good);
        drop(recording);
        assert_eq!(seen(), (0, 0, 2));
        // What it was refused with is known.
        let mut recording = begun_at(&observer, boottime() - patience * 2);
        recording.on_answer(Verdict::ClientError);
        drop(recording);
        assert_eq!((seen(), observer.observations(boottime(), []).overall.client_errors), ((0, 0, 2), 1));
    }

    #[test]
    fn a_stream_that_its_client_has_enough_of_is_good_and_one_that_pauses_is_unknown() {
        let observer = Arc::new(Observer::default());
        let streaming = |owed: Option<Duration>| {
            let mut recording = begun_at(&observer, boottime() - Duration::from_secs(9));
            recording.on_answer(Verdict::Good);
            recording.on_first_byte();
            recording.0.as_mut().expect("it is open").owing_since = owed.map(|owed| boottime() - owed);
            drop(recording);
            let overall = observer.observations(boottime(), []).overall;
            (overall.requests, overall.unknown)
        };
        assert_eq!(streaming(None), (1, 0));
        assert_eq!(streaming(Some(observer.patience() / 2)), (2, 0));
        assert_eq!(streaming(Some(observer.patience() * 2)), (2, 1));
    }
}
