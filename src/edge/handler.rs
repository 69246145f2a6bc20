//! The contract between the entrance and what serves the requests of those who got in.

use super::caller::Caller;
use super::prefixed::Prefixed;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer that is on its way.
pub type Answering<B> = Pin<Box<dyn Future<Output = Response<B>> + Send>>;

/// On every answer, whoever makes it: no browser may take it for anything else than it says it is.
pub const COMMON_HEADERS: [(HeaderName, HeaderValue); 1] =
    [(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];

/// The end of a connection's stay on the fast way.
#[derive(Clone, Debug)]
pub struct Until {
    /// Cancelled when the port closes.
    pub stopping: CancellationToken,
    /// For about how long a client may be silent that has had an answer. The HTTP server takes it for a new one after
    /// that, and gives it less time.
    pub rest: Duration,
}

/// Serves the requests of connections that were let in. Each connection has a clone, so clones are to be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// A request that the fast way has begun to carry out, and whose client is still to be answered.
    type Begun: Send + 'static;
    /// The body of an answer.
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Serves what it can of an HTTP/1.1 connection by itself. Gives back the connection as the HTTP server is to see it
    /// when something else comes, with what was begun of the first request that the server will see.
    fn fast<S>(
        &self,
        stream: S,
        remote: SocketAddr,
        until: Until,
    ) -> impl Future<Output = (Prefixed<S>, Option<Self::Begun>)> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send;

    /// Answers a request that the HTTP server has read; `begun` is what the fast way has begun of it.
    fn answer(
        &mut self,
        caller: &Arc<Caller>,
        begun: Option<Self::Begun>,
        request: Request<Incoming>,
    ) -> Answering<Self::Body>;
}
