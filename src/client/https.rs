//! HTTPS, compiled once for all who ask by it: a future of hyper's that is handed on is made anew in every crate that
//! awaits it, and it is large.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

/// The reason for which a request was not answered, or not to its end.
pub type HttpsError = Box<dyn Error + Send + Sync>;
/// What comes of a request or of the rest of its answer.
pub type Coming<T> = Pin<Box<dyn Future<Output = Result<T, HttpsError>> + Send>>;

/// Sends requests over HTTPS alone. Cheap to clone: clones share connections.
#[derive(Clone)]
pub struct Https(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Https {
    /// Connections by `tls`, each made within `patience`.
    pub fn new(tls: ClientConfig, patience: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(patience));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(connector);
        Self(legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
    }

    /// Sends a request; the answer has begun.
    pub fn send(&self, request: Request<Bytes>) -> Coming<Response<Incoming>> {
        let answer = self.0.request(request.map(Full::new));
        Box::pin(async { Ok(answer.await?) })
    }
}

/// Reads an answer's body to its end. Fails when it breaks off, or is longer than `most` bytes.
pub fn whole(body: Incoming, most: usize) -> Coming<Bytes> {
    Box::pin(async move { Ok(Limited::new(body, most).collect().await?.to_bytes()) })
}
