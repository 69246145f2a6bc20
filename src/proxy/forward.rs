//! The way to an upstream and back: what is passed on, and what becomes of failures.

use super::answer::Problem;
use super::body::BodyError;
use super::upstreams::Upstream;
use crate::model::ModelId;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tokio::time::timeout;

/// Idle connections kept for each upstream: as many as there may be requests at once on a busy small machine.
const IDLE_CONNECTIONS: usize = 128;
/// How long they are kept. Common model servers close theirs after 5 s; a request must not meet that moment.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// How long a probe may take, connecting included.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To accept a connection. Upstreams are near: one that needs longer is as good as gone.
    pub connect: Duration,
    /// To begin its answer, from the moment that the request is passed on. Models think for seconds, not for minutes.
    pub answer: Duration,
    /// To go on with its answer, after any part of it.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), answer: Duration::from_secs(30), idle: Duration::from_secs(30) }
    }
}

/// A request's body on its way to an upstream.
pub(super) type Outgoing = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BodyError>>;

/// A pooled client for plain HTTP.
pub(super) struct Forwarder {
    client: Client<HttpConnector, Outgoing>,
    /// Its connections are not kept: a probe tries one of its own, and the thread that probes serves no traffic.
    prober: Client<HttpConnector, Outgoing>,
    timeouts: Timeouts,
}

impl Forwarder {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector.clone());
        let prober = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, prober, timeouts }
    }

    pub(super) const fn idle_timeout(&self) -> Duration {
        self.timeouts.idle
    }

    /// Posts `body` with the end-to-end ones of `headers` and gives the answer as soon as its head is there.
    pub(super) async fn call(
        &self,
        model: &ModelId,
        upstream: &Upstream,
        headers: HeaderMap,
        body: Outgoing,
    ) -> Result<Response<Incoming>, Problem> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = upstream.uri().clone();
        *request.headers_mut() = headers;
        strip_request(request.headers_mut());
        let answer = timeout(self.timeouts.answer, self.client.request(request)).await;
        let mut response = match answer {
            Err(_) => return Err(Problem::UpstreamSlow { model: model.to_string(), after: self.timeouts.answer }),
            Ok(Err(error)) => return Err(self.problem_of(model, error)),
            Ok(Ok(response)) => response,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let error = "it switched protocols unasked".to_owned();
            return Err(Problem::UpstreamBroken { model: model.to_string(), error });
        }
        strip_hop_by_hop(response.headers_mut());
        Ok(response)
    }

    /// Whether the upstream answers a GET with a status below 500 in time; else why not.
    pub(super) async fn probe(&self, upstream: &Upstream) -> Result<(), String> {
        let mut request = Request::new(Either::Left(Full::default()));
        *request.uri_mut() = upstream.uri().clone();
        match timeout(PROBE_TIMEOUT, self.prober.request(request)).await {
            Err(_) => Err(format!("{} did not answer within {} ms", upstream.uri(), PROBE_TIMEOUT.as_millis())),
            Ok(Err(error)) => Err(format!("{} cannot be reached: {}", upstream.uri(), reason(&error))),
            Ok(Ok(response)) if response.status().is_server_error() => {
                Err(format!("{} answered {}", upstream.uri(), response.status()))
            }
            Ok(Ok(_)) => Ok(()),
        }
    }

    fn problem_of(&self, model: &ModelId, error: Error) -> Problem {
        let model = model.to_string();
        match own_body_error(&error) {
            Some(BodyError::TooLarge) => return Problem::BodyTooLarge,
            Some(BodyError::Slow) => return Problem::BodySlow,
            Some(BodyError::Broken(reason)) => return Problem::BodyBroken(reason.clone()),
            None => {}
        }
        let connecting = error.is_connect();
        let error = reason(&error);
        match connecting {
            true if error.contains("timed out") => Problem::UpstreamSlow { model, after: self.timeouts.connect },
            true => Problem::UpstreamUnreachable { model, error },
            false => Problem::UpstreamBroken { model, error },
        }
    }
}

/// A body that is all there, on its way.
pub(super) fn outgoing_whole(bytes: Bytes) -> Outgoing {
    Either::Left(Full::new(bytes))
}

/// A body that is streamed, on its way.
pub(super) fn outgoing_stream<B>(body: B) -> Outgoing
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
{
    Either::Right(body.boxed_unsync())
}

/// The innermost reason, which names what happened; the layers above only say who noticed.
fn reason(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn own_body_error(error: &Error) -> Option<&BodyError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(own) = error.downcast_ref() {
            return Some(own);
        }
        source = error.source();
    }
    None
}

/// The client sets host and length itself; `expect` was settled with our own client.
fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
}

/// Removes what belongs to one connection only (RFC 9110, 7.6.1), that which `connection` names included.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_end_to_end_headers_are_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("connection", "x-second"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("x-second", "2"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("host", "front.example"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("content-type", "application/json"),
            ("authorization", "Bearer kept"),
            ("x-canary-key", "alice"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_request(&mut headers);
        let mut kept: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["authorization", "content-type", "x-canary-key"]);
    }
}
