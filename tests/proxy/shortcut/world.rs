//! A node's connections, each served by the short way or by the real server.

use crate::world::{CLIENT, trial, view, within};
use bytes::Bytes;
use edge::{Prefixed, Until};
use http::header::{HeaderName, HeaderValue, SERVER};
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use member::Handle;
use model::{NodeId, RequestId};
use proxy::{FastPath, Proxy, Route, Settings, Timeouts, Underway, Upstreams};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const COMMON: (HeaderName, HeaderValue) = (SERVER, HeaderValue::from_static("test"));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Short,
    Real,
}

/// A node whose connections the test makes.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) fast: FastPath,
    pub(crate) until: Until,
    /// Requests that the real server saw.
    seen: Arc<AtomicUsize>,
}

impl Bench {
    pub(crate) fn new(upstreams: &str) -> Self {
        Self::with_timeouts(upstreams, Timeouts::default())
    }

    pub(crate) fn with_timeouts(upstreams: &str, timeouts: Timeouts) -> Self {
        let (handle, _publisher, _requests) = Handle::new(view(3_408));
        let upstreams: Upstreams = upstreams.parse().expect("tests give good upstreams");
        let settings = Settings { upstreams, timeouts, ..Settings::default() };
        let proxy = Proxy::new(handle, settings, TaskTracker::new());
        let until = Until { stopping: CancellationToken::new(), rest: Duration::ZERO };
        Self { fast: FastPath::new(proxy.clone(), &[COMMON]), proxy, until, seen: Arc::default() }
    }

    /// The same, where clients may rest for so long between requests.
    pub(crate) fn resting(self, rest: Duration) -> Self {
        Self { until: Until { rest, ..self.until }, ..self }
    }

    /// Counts for the trial of the canary from now on.
    pub(crate) fn begin_trial(&self) {
        self.proxy.count(Some(&trial(&view(3_408))));
    }

    /// A connection that is served one way or the other.
    pub(crate) fn connect(&self, way: Way) -> DuplexStream {
        let (client, server) = duplex(1024 * 1024);
        let (proxy, fast, seen) = (self.proxy.clone(), self.fast.clone(), Arc::clone(&self.seen));
        let until = self.until.clone();
        tokio::spawn(async move {
            let (stream, underway) = match way {
                Way::Short => fast.serve(server, Some(CLIENT), until).await,
                Way::Real => (Prefixed::new(server, Vec::new()), None),
            };
            let underway = Mutex::new(underway);
            let service = service_fn(move |request| {
                seen.fetch_add(1, Ordering::SeqCst);
                answer(proxy.clone(), underway.lock().expect("nothing panicked").take(), request)
            });
            // Broken requests are part of the tests; what the client saw of it is what counts.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        client
    }

    /// What comes back for `bytes`, sent in pieces of `piece` bytes, up to `answers` answers or the connection's end.
    pub(crate) async fn talk(&self, way: Way, bytes: &[u8], piece: usize, answers: usize) -> Vec<Answer> {
        let mut client = self.connect(way);
        for piece in bytes.chunks(piece) {
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut received = Vec::new();
        let mut read = Vec::new();
        while read.len() < answers {
            match within(next_answer(&mut client, &mut received)).await {
                Some(answer) => read.push(answer),
                None => break,
            }
        }
        read
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

async fn answer(
    proxy: Proxy,
    underway: Option<Underway>,
    request: Request<Incoming>,
) -> Result<Response<Either<proxy::Body, Full<Bytes>>>, Infallible> {
    let mut answer = match (Route::of(request.method(), request.uri().path()), underway) {
        (Some(route), Some(underway)) => proxy.carry_on(underway, route, Some(CLIENT), request).await.map(Either::Left),
        (Some(route), None) => proxy.answer(route, Some(CLIENT), request).await.map(Either::Left),
        (None, _) => Response::new(Either::Right(Full::from("another route"))),
    };
    answer.headers_mut().insert(COMMON.0, COMMON.1);
    Ok(answer)
}

/// Status line and headers in order of their text, without the values of the date and of the name; and the body.
pub(crate) type Answer = (Vec<String>, String);

pub(crate) async fn next_answer(client: &mut DuplexStream, received: &mut Vec<u8>) -> Option<Answer> {
    loop {
        if let Some(answer) = parse(received) {
            return Some(answer);
        }
        if client.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

pub(crate) fn parse(received: &mut Vec<u8>) -> Option<Answer> {
    let crate::answer::Answer { head: mut lines, body } = crate::answer::Answer::take(received)?;
    for line in &mut lines {
        if line.starts_with("date: ") {
            assert_eq!(line.len(), "date: Mon, 23 Nov 2026 02:05:23 GMT".len());
            line.truncate(4);
        }
        if let Some(name) = line.strip_prefix("x-canary-request: ") {
            assert!(name.parse::<RequestId>().is_ok_and(|name| name.node == NodeId::A), "{name}");
            line.truncate("x-canary-request".len());
        }
    }
    lines.sort();
    Some((lines, body))
}

pub(crate) fn post(headers: &str, body: &str) -> String {
    format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}
