//! The HTTPS server of a node: connections in, requests to the routes, a clean stop.

use super::door::{Connection, Door, OfConnection};
use super::router::{COMMON_HEADERS, router};
use super::state::Api;
use axum::Router;
use axum_server::Handle;
use edge::dispatch::{Hand, Origin, deal};
use edge::sessions::Guests;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tls::{HttpsPlane, Rejections};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

/// What one address or all together may take of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from the TCP connection to the end of the TLS handshake. A slow mobile link needs one or two seconds.
    pub handshake: Duration,
    /// Time from there to the end of the first request's headers.
    pub first_request: Duration,
    /// Time for the headers of each later request, the silence before it included: how long an idle connection is kept.
    /// A little over the minute after which most clients give theirs up, so that the client is the one to close it.
    pub idle: Duration,
    /// Connections that are open. Each takes about 50 KiB, and a file descriptor of the 1024 that many systems give.
    pub connections: usize,
    /// Handshakes under way. Each takes a core for a third of a millisecond, so even these are worked off in 50 ms.
    pub handshakes: usize,
    /// Of those, from one address; more of them wait. Below the number above, so that one address cannot take all.
    pub handshakes_of_address: usize,
    /// Streams of one HTTP/2 connection that are open, as many as nginx allows.
    pub streams: u32,
    /// How long requests in flight may take when the node stops. Operators are promised a stop within 2 s.
    pub drain: Duration,
    /// Of that, how long connections stay open that have no request in flight: the next one may be on its way. It is
    /// answered, and the client told to make another connection elsewhere.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            connections: 900,
            handshakes: 256,
            handshakes_of_address: 128,
            streams: 128,
            drain: Duration::from_millis(1_800),
            grace: Duration::from_millis(1_000),
        }
    }
}

/// A thread decides some 50 000 requests a second; more threads than these only take memory.
const MOST_THREADS: usize = 8;
/// The largest header block: what nginx and most servers allow.
const MAX_HEADERS: u32 = 16 * 1024;
/// Read at once from an HTTP/1 connection; it bounds what a request line and its headers may take, too.
const READ_BUFFER: usize = 64 * 1024;
/// A silent HTTP/2 connection is asked whether anybody is there, and closed when nobody is.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(10);

/// Serves `api` on `listener` until `api.stopping` is cancelled and the requests in flight are answered.
///
/// Each core gets a thread with a runtime of its own: a connection never changes threads, which takes a tenth off the
/// cost of a request, and traffic does not delay the mesh, whose heartbeats keep the lease.
///
/// `tls` is read for every connection, so that what is sent there counts from the next one on; live connections whose
/// certificate it no longer admits end.
///
/// # Errors
/// When the listener cannot be used, or no thread can be started.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<HttpsPlane>>,
    rejections: Arc<Rejections>,
    api: Arc<Api>,
    limits: Limits,
) -> io::Result<()> {
    let stopping = api.stopping.child_token();
    // Whoever stops waiting for this, or one thread that fails, stops all of them.
    let _stop = stopping.clone().drop_guard();
    // Whoever has rested there gets the time for a first request once more, from the server.
    let rest = limits.idle.saturating_sub(limits.first_request);
    let shortcut = proxy::Shortcut::new(api.proxy.clone(), &COMMON_HEADERS, stopping.clone(), rest);
    let guests = Arc::new(Guests::default());
    let judging = guests.keep_judging(tls.clone(), &rejections);
    let door = Door::new(tls, Arc::clone(&guests), limits, Arc::clone(&rejections), &api, shortcut);
    let closing = Arc::new(AtomicBool::new(false));
    let entry = Entry { router: router(Arc::clone(&api)), proxy: api.proxy.clone(), closing, connection: None };
    let mut threads = FuturesUnordered::new();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    for (index, hand) in deal(&listener, cores.min(MOST_THREADS), &stopping)?.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = serve_here(hand, door.clone(), entry.clone(), stopping.clone(), limits);
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name(format!("https-{index}")).spawn(move || {
            // Nobody waits any more when the node is gone.
            let _ = ended.send(runtime.block_on(serving));
        })?;
        threads.push(end);
    }
    drop(listener);
    let serving = async {
        while let Some(end) = threads.next().await {
            end.map_err(|_| io::Error::other("a thread of the HTTPS server panicked"))??;
        }
        Ok(())
    };
    tokio::select! {
        served = serving => served,
        never = judging => match never {},
    }
}

/// Serves this thread's share of the connections.
async fn serve_here(
    hand: Hand,
    door: Door,
    entry: Entry,
    stopping: CancellationToken,
    limits: Limits,
) -> io::Result<()> {
    let handle = Handle::new();
    let (rest, closing) = (hand.rest(), Arc::clone(&entry.closing));
    let mut server = axum_server::Server::<Origin>::from_listener(hand.take_up()?)
        .acceptor(door)
        .handle(handle.clone())
        .first_request_timeout(limits.first_request)
        .accept_error_handler(|remote: Option<&Origin>, error: &io::Error| {
            // With an address, the door has told it already.
            if remote.is_none() {
                tracing::warn!(%error, "Cannot accept connections");
            }
        });
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(READ_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME);
    let serving = server.serve(service_fn(move |_: Origin| std::future::ready(Ok::<_, Infallible>(entry.clone()))));
    let stop = async {
        stopping.cancelled().await;
        closing.store(true, Ordering::Relaxed);
        let (begun, grace) = (Instant::now(), limits.grace.min(limits.drain));
        rest.reach(begun + grace).await;
        handle.graceful_shutdown(Some(limits.drain.saturating_sub(grace)));
        begun + limits.drain
    };
    let (served, end) = tokio::join!(serving, stop);
    // The server knows nothing of what goes the short way; that is finished, too.
    rest.reach(end).await;
    served
}

/// Where every request comes in. Those to the models are answered here, because they are most of the traffic.
#[derive(Clone)]
struct Entry {
    router: Router,
    proxy: proxy::Proxy,
    /// Whether the answers are the last on their connections.
    closing: Arc<AtomicBool>,
    /// None only before the connection is accepted.
    connection: Option<Arc<Connection>>,
}

impl OfConnection for Entry {
    fn of_connection(self, connection: Arc<Connection>) -> Self {
        Self { connection: Some(connection), ..self }
    }
}

impl Service<Request<Incoming>> for Entry {
    type Response = Response<Either<proxy::Body, axum::body::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let last = self.closing.load(Ordering::Relaxed) && request.version() <= Version::HTTP_11;
        if let Some(route) = proxy::Route::of(request.method(), request.uri().path()) {
            let proxy = self.proxy.clone();
            let remote = self.connection.as_ref().map(|connection| proxy::Remote(connection.caller.remote));
            let underway = self.connection.as_ref().and_then(|connection| connection.underway());
            return Box::pin(async move {
                let response = match underway {
                    Some(underway) => proxy.carry_on(underway, route, remote, request).await,
                    None => proxy.answer(route, remote, request).await,
                };
                let mut response = response.map(Either::Left);
                response.headers_mut().extend(COMMON_HEADERS);
                Ok(parting(response, last))
            });
        }
        if let Some(connection) = &self.connection {
            request.extensions_mut().insert(Arc::clone(&connection.caller));
        }
        let answer = self.router.call(request);
        Box::pin(async move { Ok(parting(answer.await?.map(Either::Right), last)) })
    }
}

/// The answer, and on the last one of a connection that it is the last.
fn parting<B>(mut response: Response<B>, last: bool) -> Response<B> {
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
