//! The rest of a request's body, which is still to come, on its way to an upstream, and how far it has got.

use crate::body::Client;
use bytes::Bytes;
use edge::BoxError;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use member::boottime;
use model::Time;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};

/// The longest body of `/predict`: enough for an image or a long text, little enough for a thousand at once.
pub(super) const BODY_LIMIT: u64 = 1024 * 1024;
/// A body must arrive as far as it is looked into within this time, and must not pause for longer after that: 64 KiB over
/// a slow phone link take a few seconds, and a phone that changes networks is back by then.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// From when on a client is what a request waits for: no network makes it pause for so long between two pieces often.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// What is read past the limit, and for how long, so that the client is still there for the answer: many clients see
/// a reset instead of the answer when the connection is closed before they have sent everything.
const DISCARDED: u64 = 16 * BODY_LIMIT;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request, whoever reads it from the connection.
pub trait RequestBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin {}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> RequestBody for B {}

/// Why a request's body could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is longer than {BODY_LIMIT} bytes; send at most that")]
    TooLarge,
    #[error("the body did not arrive within {} s, or paused for as long", BODY_TIMEOUT.as_secs())]
    Slow,
    /// The client or the connection failed.
    #[error("the body ended early: {0}")]
    Broken(String),
}

/// The beginning of a body that was read, then what comes, up to a limit and without long pauses.
pub(super) struct Rest<B> {
    start: Option<Bytes>,
    body: B,
    left: u64,
    pause: Option<Pin<Box<Sleep>>>,
    pause_timeout: Duration,
    /// Whether the client has been asked for it: one that expects that sends nothing before.
    is_asked_for: bool,
    progress: Progress,
}

impl<B: RequestBody> Rest<B> {
    /// What `start` begins and `body` goes on with; at most `left` bytes of the latter.
    pub(super) fn new(start: Option<Bytes>, body: B, left: u64) -> Self {
        let progress = Progress::new(boottime());
        Self { start, body, left, pause: None, pause_timeout: BODY_TIMEOUT, is_asked_for: false, progress }
    }

    /// What was read of it before.
    pub(super) fn beginning(&self) -> Option<&[u8]> {
        self.start.as_deref()
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Whether something of it is still to come that the client sends unasked.
    pub(super) fn is_coming(&self, client: Client) -> bool {
        let is_sent = client == Client::Sends || self.is_asked_for;
        is_sent && !self.progress.is_whole() && !self.body.is_end_stream()
    }

    /// What is still to come.
    pub(super) fn into_body(self) -> B {
        self.body
    }

    /// Reads and forgets the rest, for a request that nobody else reads. Fails as every body does.
    pub(super) async fn drain(mut self) -> Result<(), BodyError> {
        let drained = async {
            while let Some(frame) = self.frame().await {
                frame?;
            }
            Ok(())
        };
        let drained = timeout(BODY_TIMEOUT, drained).await.map_err(|_| BodyError::Slow)?;
        if matches!(drained, Err(BodyError::TooLarge)) {
            discard(self.body).await;
        }
        drained
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.is_asked_for = true;
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return self.on_pause(context).map(|error| Some(Err(error)));
        };
        self.pause = None;
        self.progress.on_piece(boottime());
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Broken(error.into().to_string())))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left.checked_sub(length) else { return Poll::Ready(Some(Err(BodyError::TooLarge))) };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    /// The client has sent nothing more; an error when it has paused for too long.
    fn on_pause(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        self.progress.on_pause(boottime());
        let pause_timeout = self.pause_timeout;
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(pause_timeout)));
        pause.as_mut().poll(context).map(|()| BodyError::Slow)
    }
}

impl<B: RequestBody> HttpBody for Rest<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(start) = self.start.take() {
            self.progress.on_piece(boottime());
            // Whoever knows that this is all does not ask for the end.
            if self.body.is_end_stream() {
                self.progress.on_end();
            }
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        let next = std::task::ready!(self.next(context));
        if matches!(next, Some(Err(_))) {
            self.progress.on_failure();
        }
        // Whoever knows the length does not ask for the end.
        if next.is_none() || self.body.is_end_stream() {
            self.progress.on_end();
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(start));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(start));
        }
        hint
    }
}

/// Reads on and forgets what it reads, within bounds.
pub(super) async fn discard<B: RequestBody>(body: B) {
    discard_within(body, DISCARDED, DISCARD_TIMEOUT).await;
}

/// The same within other bounds.
pub(super) async fn discard_within<B: RequestBody>(mut body: B, length: u64, time: Duration) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len) as u64;
            if read > length {
                return;
            }
        }
    };
    // Whether it ended or not, the answer is the same.
    let _ = timeout(time, reading).await;
}

/// How far the client has come with sending its body, and how much of the time was its own: an upstream's time to answer runs
/// while it has bytes to read, and not while the client is what everybody waits for.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Upload>);

/// Times are in microseconds of the boot-time clock.
#[derive(Debug, Default)]
struct Upload {
    /// Since when the upstream has had all that the client has sent.
    since: AtomicU64,
    /// Since when everybody waits for the client; 0 when nobody does.
    pause: AtomicU64,
    /// How long that was before.
    paused: AtomicU64,
    /// Whether the client has sent all.
    whole: AtomicBool,
    /// Whether it will never send all.
    failed: AtomicBool,
    then: Mutex<Then>,
}

/// What is to be done when the client has sent all.
#[derive(Default)]
enum Then {
    /// Nothing, or nothing any more.
    #[default]
    Nothing,
    /// This.
    Do(Box<dyn FnOnce(Time) + Send>),
    /// That was done, at this time.
    Done(Time),
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Do(_) => "to do",
            Self::Done(_) => "done",
        })
    }
}

impl Progress {
    /// Nothing was passed on at `now`.
    fn new(now: Time) -> Self {
        Self(Arc::new(Upload { since: now.as_micros().into(), ..Upload::default() }))
    }

    fn on_piece(&self, now: Time) {
        let Upload { since, pause, paused, .. } = &*self.0;
        since.store(now.as_micros(), Ordering::Relaxed);
        let began = pause.swap(0, Ordering::Relaxed);
        if began > 0 {
            paused.fetch_add(now.as_micros().saturating_sub(began), Ordering::Relaxed);
        }
    }

    fn on_pause(&self, now: Time) {
        if self.0.pause.load(Ordering::Relaxed) == 0 {
            self.0.pause.store(now.as_micros().max(1), Ordering::Relaxed);
        }
    }

    fn on_end(&self) {
        let is_whole = !self.has_failed();
        self.0.whole.store(is_whole, Ordering::Relaxed);
        if is_whole {
            self.now_whole();
        }
    }

    /// Has this done when the client has sent all: at once, if it has.
    pub(super) fn on_whole(&self, act: impl FnOnce(Time) + Send + 'static) {
        *self.then() = Then::Do(Box::new(act));
        if self.is_whole() {
            self.now_whole();
        }
    }

    /// When that was done; if it was not, it never will be.
    pub(super) fn settle(&self) -> Option<Time> {
        let mut then = self.then();
        match *then {
            Then::Done(at) => Some(at),
            Then::Nothing | Then::Do(_) => {
                *then = Then::Nothing;
                None
            }
        }
    }

    fn now_whole(&self) {
        let (now, mut then) = (boottime(), self.then());
        match std::mem::take(&mut *then) {
            Then::Do(act) => {
                act(now);
                *then = Then::Done(now);
            }
            before @ (Then::Nothing | Then::Done(_)) => *then = before,
        }
    }

    fn then(&self) -> MutexGuard<'_, Then> {
        self.0.then.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_failure(&self) {
        self.0.failed.store(true, Ordering::Relaxed);
    }

    /// What is left at `now` of the time `limit` that the upstream has.
    pub(super) fn left(&self, limit: Duration, now: Time) -> Duration {
        if self.0.pause.load(Ordering::Relaxed) > 0 {
            return limit;
        }
        limit.saturating_sub(now.since(Time::from_micros(self.0.since.load(Ordering::Relaxed))))
    }

    /// How much of the time until `now` was the client's.
    pub(super) fn clients_time(&self, now: Time) -> Duration {
        let began = self.0.pause.load(Ordering::Relaxed);
        let present = if began > 0 { now.since(Time::from_micros(began)) } else { Duration::ZERO };
        Duration::from_micros(self.0.paused.load(Ordering::Relaxed)) + present
    }

    /// For how long bytes that the client has sent have waited at `now` for the upstream to read them; none while it is
    /// the client that everybody waits for.
    pub(super) fn unread(&self, now: Time) -> Option<Duration> {
        let waits_for_client = self.0.pause.load(Ordering::Relaxed) > 0;
        (!waits_for_client).then(|| now.since(Time::from_micros(self.0.since.load(Ordering::Relaxed))))
    }

    /// Whether everybody waits for the client, and has for long: whoever gives up on it then is not to blame.
    pub(super) fn is_stalled(&self, now: Time) -> bool {
        let began = self.0.pause.load(Ordering::Relaxed);
        !self.is_whole() && began > 0 && now.since(Time::from_micros(began)) >= LONG_PAUSE
    }

    /// Whether the client has sent all.
    pub(super) fn is_whole(&self) -> bool {
        self.0.whole.load(Ordering::Relaxed)
    }

    /// Whether the client will never send all: it left, paused for too long, or sends more than it may.
    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    const LIMIT: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_upstreams_time_stands_still_while_the_client_pauses() {
        let progress = Progress::new(at(100));
        assert_eq!(progress.left(LIMIT, at(110)), Duration::from_secs(20));
        progress.on_pause(at(110));
        progress.on_pause(at(200));
        assert_eq!(
            (progress.left(LIMIT, at(1_000)), progress.clients_time(at(1_000))),
            (LIMIT, Duration::from_secs(890))
        );
        progress.on_piece(at(1_000));
        assert_eq!(progress.clients_time(at(1_031)), Duration::from_secs(890));
        assert_eq!(progress.left(LIMIT, at(1_029)), Duration::from_secs(1));
        assert_eq!(progress.left(LIMIT, at(1_031)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_client_that_pauses_for_too_long_is_given_up() {
        let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"piece")));
        let pieces = stream::iter([piece(), piece()]).chain(stream::pending());
        let mut rest = Rest::new(Some(Bytes::from_static(b"start")), StreamBody::new(pieces), u64::MAX);
        rest.pause_timeout = Duration::from_millis(50);
        for _ in 0..3 {
            assert!(rest.frame().await.is_some_and(|frame| frame.is_ok()));
        }
        assert!(matches!(rest.frame().await, Some(Err(BodyError::Slow))));
        assert_eq!(
            rest.progress().left(LIMIT, boottime() + LIMIT),
            LIMIT,
            "it was not the upstream that was waited for"
        );
    }
}
