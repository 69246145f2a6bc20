//! The HTTPS server of a node: connections in, requests to the handler, a clean stop.

use super::acceptor::{Acceptor, Admission, Entrance};
use super::dispatch::{Origin, Share, dispatch};
use super::handler::{Handler, Until};
use super::limits::Limits;
use super::requests::not_let_in;
use super::sessions::Sessions;
use axum_server::Handle;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

/// A thread decides some 50 000 requests a second; more threads than these only take memory.
const MOST_THREADS: usize = 8;
/// The largest header block: what nginx and most servers allow.
const MAX_HEADERS: u32 = 16 * 1024;
/// Read at once from an HTTP/1 connection; it bounds what a request line and its headers may take, too.
const READ_BUFFER: usize = 64 * 1024;
/// A silent HTTP/2 connection is asked whether anybody is there, and closed when nobody is.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(10);

impl Entrance {
    /// Has `handler` serve the connections of `listener` until `stopping` is cancelled and the requests in flight are
    /// answered. Nothing of it runs any more when it has ended.
    ///
    /// Each core gets a thread with a runtime of its own: a connection never changes threads, which takes a tenth off the
    /// cost of a request, and traffic does not delay the mesh, whose heartbeats keep the lease. Fails when the listener
    /// cannot be used, or no thread can be started.
    pub async fn serve<H: Handler>(self, listener: TcpListener, handler: H) -> io::Result<()> {
        let stopping = self.stopping.child_token();
        // Whoever stops waiting for this, or one thread that fails, stops all of them.
        let _stop = stopping.clone().drop_guard();
        let (limits, tls, rejections) = (self.limits, self.tls.clone(), Arc::clone(&self.rejections));
        let sessions = Arc::new(Sessions::default());
        let judging = sessions.keep_judging(tls, &rejections);
        let until = Until { stopping: stopping.clone(), rest: limits.rest() };
        let admission = Arc::new(Admission::new(self, Arc::clone(&sessions), until));
        let closing = Arc::new(AtomicBool::new(false));
        let mut threads = FuturesUnordered::new();
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        for (index, share) in dispatch(&listener, cores.min(MOST_THREADS), &stopping)?.into_iter().enumerate() {
            let acceptor = Acceptor::new(Arc::clone(&admission), handler.clone(), Arc::clone(&closing));
            let serving = serve_here(share, acceptor, Arc::clone(&closing), stopping.clone(), limits);
            threads.push(start(index, serving)?);
        }
        drop(listener);
        let serving = async {
            let mut served = Ok(());
            while let Some(ended) = threads.next().await {
                if ended.is_err() {
                    stopping.cancel();
                }
                served = served.and(ended);
            }
            served
        };
        tokio::select! {
            served = serving => served,
            never = judging => match never {},
        }
    }
}

/// Starts the thread `index`, with a runtime for `serving`, and gives what waits for its end.
fn start<F>(index: usize, serving: F) -> io::Result<impl Future<Output = io::Result<()>>>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ended, end) = oneshot::channel();
    let thread = thread::Builder::new().name(format!("https-{index}")).spawn(move || {
        let served = runtime.block_on(serving);
        // Ends what is left of the tasks. A name that is being resolved cannot be interrupted, and is not waited for.
        runtime.shutdown_background();
        // Nobody waits any more when the node is gone.
        let _ = ended.send(served);
    })?;
    Ok(async move {
        let served = end.await;
        // Its last act was to say so, so this waits for no longer than a thread takes to go; why it panicked, it has said.
        let _ = thread.join();
        served.map_err(|_| io::Error::other("a thread of the HTTPS server panicked"))?
    })
}

/// Serves this thread's share of the connections.
async fn serve_here<H: Handler>(
    share: Share,
    acceptor: Acceptor<H>,
    closing: Arc<AtomicBool>,
    stopping: CancellationToken,
    limits: Limits,
) -> io::Result<()> {
    let (handle, rest) = (Handle::new(), share.rest());
    let mut server = axum_server::Server::<Origin>::from_listener(share.take_up()?)
        .acceptor(acceptor)
        .handle(handle.clone())
        .first_request_timeout(limits.first_request)
        .accept_error_handler(|remote: Option<&Origin>, error: &io::Error| {
            // With an address, the acceptor has told it already.
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
    let make = service_fn(|_: Origin| std::future::ready(Ok::<_, Infallible>(service_fn(not_let_in))));
    let serving = server.serve(make);
    let stop = async {
        stopping.cancelled().await;
        closing.store(true, Ordering::Relaxed);
        let (begun, grace) = (Instant::now(), limits.grace.min(limits.drain));
        rest.reach(begun + grace).await;
        handle.graceful_shutdown(Some(limits.drain.saturating_sub(grace)));
        begun + limits.drain
    };
    let (served, end) = tokio::join!(serving, stop);
    // The server knows nothing of what goes the fast way; that is finished, too.
    rest.reach(end).await;
    served
}
