//! Request bodies, read as far as they are looked into; and the bodies of answers.

use crate::recording::Recording;
use crate::repeats::Beginning;
use crate::upload::{BODY_TIMEOUT, BodyError, Progress, RequestBody, Rest, discard};
use crate::upstream::dialed::Line;
use bytes::{Bytes, BytesMut};
use edge::BoxError;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use member::boottime;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What is known of an answer beside its bytes.
pub(super) struct Source {
    /// The connection that it comes by, where that is known.
    pub(super) line: Option<Line>,
    /// How far the request has come, where it was not all there when it was sent.
    pub(super) upload: Option<Progress>,
    pub(super) end: End,
    /// The longest pause.
    pub(super) idle_timeout: Duration,
    pub(super) tasks: TaskTracker,
}

/// How an answer may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By what its head says of its length, or with the connection.
    Clean,
    /// With a reset, too: it says nothing of its length and refuses a long request, and whoever closes a connection
    /// before it has read all resets it.
    MayBeReset,
}

struct Streamed {
    incoming: Incoming,
    /// Until it is known how the answer ends.
    recording: Option<Recording>,
    /// Whether none of its bytes is here yet.
    awaits_first: bool,
    idle: Option<Pin<Box<Sleep>>>,
    source: Source,
}

impl Body {
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    /// An upstream's body, which must not pause for too long.
    pub(super) fn streamed(incoming: Incoming, recording: Recording, source: Source) -> Self {
        let mut streamed = Streamed { incoming, recording: Some(recording), awaits_first: true, idle: None, source };
        // A body without bytes may never be polled, so it is counted now.
        if streamed.incoming.is_end_stream() {
            streamed.end();
        }
        Self(Kind::Streamed(Box::new(streamed)))
    }
}

impl Drop for Body {
    /// The client may leave with an answer that had broken off before, behind bytes that it had not taken.
    fn drop(&mut self) {
        let Kind::Streamed(streamed) = std::mem::replace(&mut self.0, Kind::Whole(Bytes::new())) else { return };
        let has_ended = streamed.source.line.as_ref().is_some_and(Line::has_ended);
        if streamed.recording.is_some()
            && has_ended
            && let Ok(runtime) = Handle::try_current()
        {
            streamed.source.tasks.clone().spawn_on(streamed.read_out(), &runtime);
        }
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
            self.recording.iter_mut().for_each(Recording::on_wait);
            let idle_timeout = self.source.idle_timeout;
            let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
            std::task::ready!(idle.as_mut().poll(context));
            self.fail();
            return Poll::Ready(Some(Err("the upstream paused for too long".into())));
        };
        self.idle = None;
        self.recording.iter_mut().for_each(Recording::on_piece);
        let frame = match frame {
            Some(Err(error)) if self.source.end == End::MayBeReset && is_reset(&error) => None,
            Some(Err(error)) => {
                self.fail();
                return Poll::Ready(Some(Err(error.into())));
            }
            frame => frame,
        };
        if std::mem::take(&mut self.awaits_first) {
            self.recording.iter_mut().for_each(Recording::on_first_byte);
        }
        if frame.is_none() || self.incoming.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    /// The answer is whole, and with it the request: a model that has all of it keeps its connection.
    fn end(&mut self) {
        if let Some(mut recording) = self.recording.take() {
            recording.on_end();
        }
        if let (Some(upload), Some(line)) = (&self.source.upload, self.source.line.take())
            && !upload.is_whole()
        {
            line.cut();
        }
    }

    /// The answer broke off. Where that is because the client did not send what the model was to answer, it is as if the
    /// client had left.
    fn fail(&mut self) {
        let Some(mut recording) = self.recording.take() else { return };
        let is_clients = |upload: &Progress| upload.has_failed() || upload.is_stalled(boottime());
        if !self.source.upload.as_ref().is_some_and(is_clients) {
            recording.on_failure();
        }
    }

    /// Reads what there is of an answer whose connection has ended, to know how it would have.
    async fn read_out(mut self: Box<Self>) {
        while self.recording.is_some() && poll_fn(|context| self.poll_frame(context)).await.is_some() {}
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset)
}
