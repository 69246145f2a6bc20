//! Request bodies, read as far as they are looked into; and the bodies of answers.

use crate::observe::Recording;
use crate::repeats::Beginning;
use crate::upload::{BODY_TIMEOUT, BodyError, RequestBody, Rest, discard};
use bytes::{Bytes, BytesMut};
use edge::BoxError;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};

/// How much of a body is looked into for a key. What is longer carries data that no one wants parsed twice.
const LOOKED_INTO: usize = 64 * 1024;
/// The longest body of `/v2`: any. Tensors are as large as they are, and the model knows what it can take; of what is
/// longer than what is looked into, nothing is kept here.
pub(super) const NO_LIMIT: u64 = u64::MAX;
/// A request's body, as far as it was read.
pub(super) enum Taken<B> {
    /// All of it.
    Whole(Bytes),
    /// Nothing, or a beginning that is longer than what is looked into; and the rest.
    Long(Rest<B>),
}

impl<B: RequestBody> Taken<B> {
    /// What of it was looked into, and its length; none where nothing was.
    pub(super) fn beginning(&self) -> Option<Beginning<'_>> {
        match self {
            Self::Whole(bytes) => Some(Beginning::whole(bytes)),
            // As much of one as of another, however they came.
            Self::Long(rest) => rest
                .beginning()
                .map(|bytes| Beginning { bytes: &bytes[..LOOKED_INTO], length: rest.size_hint().exact() }),
        }
    }

    /// Reads and forgets the rest, for a request that nobody else reads.
    pub(super) async fn drain(self) -> Result<(), BodyError> {
        match self {
            Self::Whole(_) => Ok(()),
            Self::Long(rest) => rest.drain().await,
        }
    }

    /// The same for a request that is refused, as far as that is cheap.
    pub(super) async fn discard(self, client: Client) {
        match self {
            Self::Whole(_) => {}
            Self::Long(rest) => discard_sent(rest, client).await,
        }
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) ahead: Ahead,
    pub(super) limit: u64,
}

/// Whether a body is looked into before it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// It is, whatever its length.
    Always,
    /// Only one that says that it is no longer than what is looked into.
    IfSmall,
}

/// What the client does before it sends its body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// It sends it at once.
    Sends,
    /// It said `expect: 100-continue` and waits to be asked.
    Waits,
}

/// Reads `body` as far as it is looked into.
pub(super) async fn take<B: RequestBody>(mut body: B, client: Client, reading: Reading) -> Result<Taken<B>, BodyError> {
    let Reading { ahead, limit } = reading;
    let length = body.size_hint();
    if length.lower() > limit {
        discard_sent(body, client).await;
        return Err(BodyError::TooLarge);
    }
    if ahead == Ahead::IfSmall && length.exact().is_none_or(|length| length > LOOKED_INTO as u64) {
        return Ok(Taken::Long(Rest::new(None, body, limit)));
    }
    match read_start(&mut body, limit).await {
        Ok(Start::Whole(bytes)) => Ok(Taken::Whole(bytes)),
        Ok(Start::Long(bytes)) => {
            let left = limit - bytes.len() as u64;
            Ok(Taken::Long(Rest::new(Some(bytes), body, left)))
        }
        Err(error) => {
            if matches!(error, BodyError::TooLarge) {
                discard(body).await;
            }
            Err(error)
        }
    }
}

/// Reads and forgets a body that nobody wants, if the client sends it unasked.
pub(super) async fn discard_sent<B: RequestBody>(body: B, client: Client) {
    if client == Client::Sends {
        discard(body).await;
    }
}

enum Start {
    Whole(Bytes),
    Long(Bytes),
}

async fn read_start<B: RequestBody>(body: &mut B, limit: u64) -> Result<Start, BodyError> {
    let mut start = pin!(start(body, limit));
    // Nearly every body came together with its head; those need no timer.
    match poll_fn(|context| Poll::Ready(start.as_mut().poll(context))).await {
        Poll::Ready(start) => start,
        Poll::Pending => timeout(BODY_TIMEOUT, start).await.map_err(|_| BodyError::Slow)?,
    }
}

async fn start<B: RequestBody>(body: &mut B, limit: u64) -> Result<Start, BodyError> {
    let first = next_data(body).await?.unwrap_or_default();
    if body.is_end_stream() && first.len() <= LOOKED_INTO {
        return Ok(Start::Whole(first));
    }
    let mut read = BytesMut::from(first);
    while read.len() <= LOOKED_INTO {
        let Some(data) = next_data(body).await? else { return Ok(Start::Whole(read.freeze())) };
        read.extend_from_slice(&data);
    }
    if read.len() as u64 > limit { Err(BodyError::TooLarge) } else { Ok(Start::Long(read.freeze())) }
}

/// The next bytes; trailers are passed over.
async fn next_data<B: RequestBody>(body: &mut B) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into().to_string()))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The body of an answer: made here, or streamed from an upstream.
pub struct Body(Kind);

enum Kind {
    Whole(Bytes),
    Streamed(Box<Streamed>),
}

struct Streamed {
    incoming: Incoming,
    /// Dropped, and thereby counted, when the upstream's body ends.
    recording: Option<Recording>,
    /// Whether none of its bytes is here yet.
    awaits_first: bool,
    idle: Option<Pin<Box<Sleep>>>,
    idle_timeout: Duration,
}

impl Body {
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    /// An upstream's body, which must not pause for longer than `idle_timeout`.
    pub(super) fn streamed(incoming: Incoming, recording: Recording, idle_timeout: Duration) -> Self {
        // A body without bytes may never be polled, so it is counted now.
        let recording = (!incoming.is_end_stream()).then_some(recording);
        Self(Kind::Streamed(Box::new(Streamed { incoming, recording, awaits_first: true, idle: None, idle_timeout })))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Streamed(streamed) => streamed.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streamed(streamed) => streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streamed(streamed) => streamed.incoming.size_hint(),
        }
    }
}

impl Streamed {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            let idle_timeout = self.idle_timeout;
            let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
            std::task::ready!(idle.as_mut().poll(context));
            self.fail();
            return Poll::Ready(Some(Err("the upstream paused for too long".into())));
        };
        self.idle = None;
        if self.awaits_first {
            self.awaits_first = false;
            self.recording.iter_mut().for_each(Recording::on_first_byte);
        }
        if matches!(frame, Some(Err(_))) {
            self.fail();
        } else if frame.is_none() || self.incoming.is_end_stream() {
            self.recording = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn fail(&mut self) {
        if let Some(mut recording) = self.recording.take() {
            recording.on_failure();
        }
    }
}
