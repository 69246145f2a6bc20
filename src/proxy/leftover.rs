//! What a model did not take of a request: it answered early, or failed, while the client was still sending.
//!
//! Over HTTP/1.1 it is read and forgotten beside the answer. Most clients read only when they have sent everything, and a
//! connection that is closed with unread bytes is reset, which may overtake the answer. Over HTTP/2 it is left where it is:
//! the answer is followed by a reset of the stream that is no error (RFC 9113, 8.1).

use crate::body::Client;
use crate::upload::{BodyError, RequestBody, Rest, discard_within};
use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The most that is read and forgotten: an upload that a model refuses for its size may well be this large, and clients
/// that send more than this have long had the chance to read the answer.
const MOST: u64 = 64 * 1024 * 1024;
/// For so long at most: what a client sends after that is of no use to anybody, and its connection is wanted for others.
const LONGEST: Duration = Duration::from_secs(10);

/// What is done with the rest of a request's body when its model takes no more of it.
#[derive(Clone, Debug)]
pub(super) enum Leftover {
    /// It is read and forgotten, by one of these tasks, if the client sends it at all.
    Drained(Client, TaskTracker),
    /// Nothing.
    Left,
}

impl Leftover {
    /// What is right in this version of HTTP.
    pub(super) fn of(version: Version, client: Client, tasks: &TaskTracker) -> Self {
        if version < Version::HTTP_2 { Self::Drained(client, tasks.clone()) } else { Self::Left }
    }
}

/// A request's body on its way to a model.
pub(super) struct Upload<B: RequestBody + Send + 'static> {
    /// Here for as long as this is.
    rest: Option<Rest<B>>,
    leftover: Leftover,
}

impl<B: RequestBody + Send + 'static> Upload<B> {
    pub(super) const fn new(rest: Rest<B>, leftover: Leftover) -> Self {
        Self { rest: Some(rest), leftover }
    }
}

impl<B: RequestBody + Send + 'static> Drop for Upload<B> {
    fn drop(&mut self) {
        let (Some(rest), Leftover::Drained(client, tasks)) = (self.rest.take(), &self.leftover) else { return };
        // Without a runtime, the node ends and so does the connection.
        if rest.is_coming(*client)
            && let Ok(runtime) = Handle::try_current()
        {
            tasks.spawn_on(discard_within(rest.into_body(), MOST, LONGEST), &runtime);
        }
    }
}

impl<B: RequestBody + Send + 'static> HttpBody for Upload<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}
