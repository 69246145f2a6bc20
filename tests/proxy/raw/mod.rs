//! Clients that speak HTTP byte by byte to a proxy behind real sockets, and model servers that do so, too.

pub(crate) mod http1;
pub(crate) mod http2;

use crate::world::{CLIENT, view};
use bytes::Bytes;
use edge::{Prefixed, Until};
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use member::{Handle, View};
use proxy::{FastPath, Observations, Proxy, Route, Settings, Timeouts, Underway, Upstreams};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A node's proxy behind a port for each kind of HTTP.
pub(crate) struct Node {
    pub(crate) proxy: Proxy,
    http1: SocketAddr,
    http2: SocketAddr,
}

impl Node {
    /// A node of which every model is served at `model`.
    pub(crate) async fn of(model: SocketAddr, timeouts: Timeouts) -> Self {
        Self::with(model, view(3_408), Settings { timeouts, ..Settings::default() }).await
    }

    /// The same, that sees the agreement so.
    pub(crate) async fn with(model: SocketAddr, view: View, settings: Settings) -> Self {
        let (handle, _publisher, _requests) = Handle::new(view);
        let upstreams: Upstreams = format!("v1=http://{model}/,v2=http://{model}/").parse().expect("a good list");
        let proxy = Proxy::new(handle, Settings { upstreams, ..settings }, TaskTracker::new());
        let (http1, http2) = (listen(&proxy, Speaks::Http1).await, listen(&proxy, Speaks::Http2).await);
        Self { proxy, http1, http2 }
    }

    pub(crate) async fn connect(&self, speaks: Speaks) -> TcpStream {
        let place = match speaks {
            Speaks::Http1 => self.http1,
            Speaks::Http2 => self.http2,
        };
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(LITTLE).expect("a socket");
        socket.connect(place).await.expect("the node listens")
    }

    pub(crate) fn observations(&self) -> Observations {
        self.proxy.observations()
    }

    /// Requests, client errors and errors.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let overall = self.observations().overall;
        (overall.requests, overall.client_errors, overall.errors)
    }

    /// Waits until so many requests were counted in whatever way: they are when they end, which may be after their answer.
    pub(crate) async fn counted(&self, ends: u64) -> (u64, u64, u64) {
        let counted = || {
            let overall = self.observations().overall;
            overall.requests + overall.client_errors + overall.redirects + overall.unknown
        };
        let waiting = async {
            while counted() < ends {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        crate::world::within(waiting).await;
        self.counts()
    }
}

/// Little, so that bytes that a client does not take soon wait in the node.
const LITTLE: u32 = 16 * 1024;

async fn listen(proxy: &Proxy, speaks: Speaks) -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(LITTLE).expect("a socket");
    socket.bind(SocketAddr::from(([127, 24, 3, 1], 0))).expect("loopback has free ports");
    let listener = socket.listen(64).expect("a bound socket");
    let address = listener.local_addr().expect("a bound socket has an address");
    let proxy = proxy.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(proxy.clone(), stream, speaks));
        }
    });
    address
}

/// What clients do to a connection is part of the tests, so how it ends is not looked at.
async fn serve(proxy: Proxy, stream: TcpStream, speaks: Speaks) {
    stream.set_nodelay(true).expect("a socket");
    match speaks {
        Speaks::Http1 => {
            let fast = FastPath::new(proxy.clone(), &[]);
            let until = Until { stopping: CancellationToken::new(), rest: Duration::ZERO };
            let (stream, underway) = fast.serve(stream, Some(CLIENT), until).await;
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answering(proxy, underway)))
                .await;
        }
        Speaks::Http2 => {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(Prefixed::new(stream, Vec::new())), service_fn(answering(proxy, None)))
                .await;
        }
    }
}

type Answer = Response<Either<proxy::Body, Full<Bytes>>>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

fn answering(proxy: Proxy, underway: Option<Underway>) -> impl Fn(Request<Incoming>) -> Answering {
    let underway = Arc::new(Mutex::new(underway));
    move |request| {
        let (proxy, underway) = (proxy.clone(), underway.lock().expect("nothing panicked").take());
        Box::pin(async move {
            Ok(match (Route::of(request.method(), request.uri().path()), underway) {
                (Some(route), Some(underway)) => {
                    proxy.carry_on(underway, route, Some(CLIENT), request).await.map(Either::Left)
                }
                (Some(route), None) => proxy.answer(route, Some(CLIENT), request).await.map(Either::Left),
                (None, _) => Response::new(Either::Right(Full::from("another route"))),
            })
        })
    }
}

/// Reads a request's head, and gives what came after it.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            return Some(read.split_off(end + 4));
        }
        match stream.read_buf(&mut read).await {
            Ok(length) if length > 0 => {}
            _ => return None,
        }
    }
}

/// Reads on and forgets it, to the end.
pub(crate) async fn read_out(stream: &mut TcpStream) {
    let mut piece = vec![0; 64 * 1024];
    while matches!(stream.read(&mut piece).await, Ok(length) if length > 0) {}
}

/// Closes a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a socket");
    drop(stream);
}

/// Writes, whoever reads it.
pub(crate) async fn say(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
}
