//! The requests of one connection, as the HTTP server calls for their answers.

use super::caller::Caller;
use super::dispatch::Counted;
use super::gauges::Counting;
use super::handler::{Answering, Handler};
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;
use tower::Service;

/// One connection that is in; it gives its place back when it is dropped.
pub(crate) struct Connection<B> {
    pub(crate) caller: Arc<Caller>,
    /// What was begun of the first request. The server gives each request a clone of the service and none of them more
    /// than a shared reference, so whoever is first takes it from here.
    begun: Mutex<Option<B>>,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
    _counting: Counting,
}

impl<B> Connection<B> {
    pub(crate) const fn new(
        caller: Arc<Caller>,
        place: OwnedSemaphorePermit,
        counted: Counted,
        counting: Counting,
    ) -> Self {
        Self { caller, begun: Mutex::new(None), _place: place, _counted: counted, _counting: counting }
    }

    /// The same connection after the fast way.
    pub(crate) fn having_begun(self, begun: Option<B>) -> Self {
        Self { begun: Mutex::new(begun), ..self }
    }

    /// What was begun of the first request, once.
    fn begun(&self) -> Option<B> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(crate) struct Requests<H: Handler> {
    handler: H,
    connection: Arc<Connection<H::Begun>>,
    /// Whether the answers are the last on their connections.
    closing: Arc<AtomicBool>,
}

impl<H: Handler> Clone for Requests<H> {
    fn clone(&self) -> Self {
        let (handler, connection) = (self.handler.clone(), Arc::clone(&self.connection));
        Self { handler, connection, closing: Arc::clone(&self.closing) }
    }
}

impl<H: Handler> Requests<H> {
    pub(crate) fn new(handler: H, connection: Connection<H::Begun>, closing: Arc<AtomicBool>) -> Self {
        Self { handler, connection: Arc::new(connection), closing }
    }
}

impl<H: Handler> Service<Request<Incoming>> for Requests<H> {
    type Response = Response<H::Body>;
    type Error = Infallible;
    type Future = Parting<H::Body>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let last = self.closing.load(Ordering::Relaxed) && request.version() <= Version::HTTP_11;
        Parting { answering: self.handler.answer(&self.connection.caller, self.connection.begun(), request), last }
    }
}

/// An answer on its way, which says of the last one of a connection that it is the last.
pub(crate) struct Parting<B> {
    answering: Answering<B>,
    last: bool,
}

impl<B> Future for Parting<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.answering.as_mut().poll(context));
        if self.last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// What the server is given for a connection before that is let in; the acceptor puts the real service in its place.
pub(crate) async fn not_let_in(_: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}
