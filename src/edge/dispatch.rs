//! Dispatch of connections to the threads of the HTTPS server: the next goes to the one that has the fewest.
//!
//! All threads listen on one socket, and whoever is awake first takes everything that waits there: a client that opens
//! its connections at once would have them all on one thread, with the others idle.

use axum_server::{AddrListener, Address};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often a thread that stops looks whether its last connection is gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Connections on their way from the thread that accepted them to another. A thread that is so far behind gets no more.
const ON_THE_WAY: usize = 64;

/// A connection, and that its thread has it.
pub(crate) struct Dispatched {
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) counted: Counted,
}

/// Counts a connection of a thread for as long as it lives.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn among(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection between threads: it belongs to no runtime, and is counted where it goes.
struct Passed {
    stream: std::net::TcpStream,
    remote: SocketAddr,
    counted: Counted,
}

/// A thread, as seen by those that dispatch.
#[derive(Clone)]
struct Worker {
    connections: Arc<AtomicUsize>,
    passed: mpsc::Sender<Passed>,
}

/// One thread's share of a socket's connections, before the thread runs.
pub(crate) struct Share {
    listener: TcpListener,
    own: usize,
    workers: Vec<Worker>,
    passed: mpsc::Receiver<Passed>,
    closing: Closing,
}

/// The end of the dispatch.
#[derive(Clone)]
struct Closing {
    asked: CancellationToken,
    /// Threads that may still dispatch.
    dispatching: Arc<AtomicUsize>,
}

/// Shares the connections of `listener` out to as many threads as `threads` says, until `closing` is cancelled.
pub(crate) fn dispatch(listener: &TcpListener, threads: usize, closing: &CancellationToken) -> io::Result<Vec<Share>> {
    listener.set_nonblocking(true)?;
    let closing = Closing { asked: closing.clone(), dispatching: Arc::new(AtomicUsize::new(threads)) };
    let worker = |_| {
        let (passed, inbox) = mpsc::channel(ON_THE_WAY);
        (Worker { connections: Arc::default(), passed }, inbox)
    };
    let (workers, inboxes): (Vec<Worker>, Vec<_>) = (0..threads).map(worker).unzip();
    let share = |(own, passed)| {
        let (listener, workers, closing) = (listener.try_clone()?, workers.clone(), closing.clone());
        Ok(Share { listener, own, workers, passed, closing })
    };
    inboxes.into_iter().enumerate().map(share).collect()
}

impl Share {
    /// The share as the server takes it; to be called on the thread's runtime.
    pub(crate) fn take_up(self) -> io::Result<Dispatcher> {
        let incoming = Incoming {
            listener: Some(AsyncListener::from_std(self.listener)?),
            waiting: VecDeque::new(),
            passed: self.passed,
        };
        Ok(Dispatcher { own: self.own, workers: self.workers, closing: self.closing, incoming: Mutex::new(incoming) })
    }

    /// What tells when this thread has nothing to do any more.
    pub(crate) fn rest(&self) -> Rest {
        Rest { closing: self.closing.clone(), connections: Arc::clone(&self.workers[self.own].connections) }
    }
}

/// Whether a thread has something to do, once connections are taken no more.
pub(crate) struct Rest {
    closing: Closing,
    connections: Arc<AtomicUsize>,
}

impl Rest {
    /// Waits until nothing is left to do, but not past `end`.
    pub(crate) async fn reach(&self, end: Instant) {
        while !self.is_reached() && Instant::now() < end {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether no connection is here, and none will come.
    fn is_reached(&self) -> bool {
        // In this order: who dispatches no more has counted before what it dispatched.
        self.closing.dispatching.load(Ordering::Acquire) == 0 && self.connections.load(Ordering::Acquire) == 0
    }
}

/// Accepts connections for all threads, and gives its own thread those that are dispatched to it.
pub(crate) struct Dispatcher {
    own: usize,
    workers: Vec<Worker>,
    closing: Closing,
    incoming: Mutex<Incoming>,
}

/// Where this thread's connections come from.
struct Incoming {
    /// None once the port is closed.
    listener: Option<AsyncListener>,
    /// Connections that waited at the port when it was closed.
    waiting: VecDeque<(std::net::TcpStream, SocketAddr)>,
    passed: mpsc::Receiver<Passed>,
}

impl Incoming {
    /// Closes the port for this thread. Connections that were made and not taken yet are taken first: their clients may
    /// have sent something, and whoever closes the port last would reset them.
    fn close(&mut self) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let listener = listener.into_std()?;
        loop {
            match listener.accept() {
                Ok(connection) => self.waiting.push_back(connection),
                // That one went away by itself.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // None is left, or whatever is cannot be accepted now, and ends with the port.
                Err(_) => return Ok(()),
            }
        }
    }
}

/// The next connection of a port that is open.
async fn accept(listener: Option<&AsyncListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

impl Dispatcher {
    /// The thread with the fewest connections; this one, when no other has fewer.
    fn next(&self) -> usize {
        let load = |index: usize| self.workers[index].connections.load(Ordering::Relaxed);
        (0..self.workers.len()).min_by_key(|&index| (load(index), index != self.own)).unwrap_or(self.own)
    }

    /// Gives a connection to the thread whose turn it is, or back when that is this one, or has no room.
    fn pass_on(&self, (stream, remote): (TcpStream, SocketAddr)) -> io::Result<Option<Dispatched>> {
        let next = self.next();
        if next != self.own
            && !self.closing.asked.is_cancelled()
            && let Ok(room) = self.workers[next].passed.try_reserve()
        {
            room.send(Passed {
                stream: stream.into_std()?,
                remote,
                counted: Counted::among(&self.workers[next].connections),
            });
            return Ok(None);
        }
        Ok(Some(self.keep(stream, remote)))
    }

    fn keep(&self, stream: TcpStream, remote: SocketAddr) -> Dispatched {
        Dispatched { stream, remote, counted: Counted::among(&self.workers[self.own].connections) }
    }
}

/// The kind of address whose connections are dispatched, as the server wants to know it. Each [`Dispatched`] knows its
/// own.
#[derive(Clone, Debug)]
pub(crate) struct Origin;

impl Address for Origin {
    type Stream = Dispatched;
    type Listener = Dispatcher;
}

impl AddrListener<Dispatched, Origin> for Dispatcher {
    async fn bind_to(_: Origin) -> io::Result<Self> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    async fn accept_stream(&self) -> io::Result<(Dispatched, Origin)> {
        let mut incoming = self.incoming.lock().await;
        loop {
            if let Some((stream, remote)) = incoming.waiting.pop_front() {
                stream.set_nonblocking(true)?;
                return Ok((self.keep(TcpStream::from_std(stream)?, remote), Origin));
            }
            let Incoming { listener, passed, .. } = &mut *incoming;
            let is_open = listener.is_some();
            tokio::select! {
                // This thread's own sender is among the workers, so the channel does not end.
                Some(Passed { stream, remote, counted }) = passed.recv() => {
                    return Ok((Dispatched { stream: TcpStream::from_std(stream)?, remote, counted }, Origin));
                }
                accepted = accept(listener.as_ref()) => {
                    if let Some(dispatched) = self.pass_on(accepted?)? {
                        return Ok((dispatched, Origin));
                    }
                }
                () = self.closing.asked.cancelled(), if is_open => {
                    let closed = incoming.close();
                    self.closing.dispatching.fetch_sub(1, Ordering::Release);
                    closed?;
                }
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Origin> {
        Ok(Origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream as Client;

    /// Two threads' dispatchers, in one thread.
    fn two() -> (SocketAddr, Dispatcher, Dispatcher) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut shares = dispatch(&listener, 2, &CancellationToken::new())
            .expect("a listener")
            .into_iter()
            .map(|share| share.take_up().expect("a runtime"));
        let mut next = || shares.next().expect("two threads");
        (listener.local_addr().expect("bound"), next(), next())
    }

    #[tokio::test]
    async fn the_thread_with_the_fewest_connections_gets_the_next() {
        let (address, first, second) = two();
        let mut clients = Vec::new();
        let mut connect = async || {
            let client = Client::connect(address).await.expect("somebody listens");
            let own = client.local_addr().expect("connected");
            clients.push(client);
            own
        };
        // Only the first is awake: it takes the first for itself and the second for the other.
        let own = connect().await;
        let (kept, _) = first.accept_stream().await.expect("a connection");
        assert_eq!(kept.remote, own);
        let (other, later) = (connect().await, connect().await);
        let (kept_too, _) = first.accept_stream().await.expect("a connection");
        assert_eq!(kept_too.remote, later, "the one between was passed on");
        let passed = second.incoming.lock().await.passed.recv().await.expect("it was passed on");
        assert_eq!(passed.remote, other);
        // One has two, the other has one; when both of the first are gone, it is its turn again.
        assert_eq!(first.next(), 1);
        drop((kept, kept_too));
        assert_eq!((first.next(), second.next()), (0, 0));
    }

    #[tokio::test]
    async fn a_thread_that_is_behind_gets_no_more() {
        let (address, first, _second) = two();
        let connect = async {
            let mut clients = Vec::new();
            for _ in 0..2 * ON_THE_WAY + 10 {
                clients.push(Client::connect(address).await.expect("somebody listens"));
            }
            clients
        };
        // The second never looks: what finds no room on the way to it stays here.
        let accept = async {
            let mut kept = Vec::new();
            while kept.len() < ON_THE_WAY + 10 {
                kept.push(first.accept_stream().await.expect("a connection"));
            }
            kept
        };
        let (_clients, _kept) = tokio::join!(connect, accept);
        assert_eq!(first.workers[1].connections.load(Ordering::Relaxed), ON_THE_WAY);
    }
}
