//! Deals connections out to the threads of the HTTPS server, the next to the one that has the fewest.
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
pub struct Dealt {
    pub stream: TcpStream,
    pub remote: SocketAddr,
    pub seat: Seat,
}

/// Counts a connection of a thread for as long as it lives.
pub struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(taken: &Arc<AtomicUsize>) -> Self {
        taken.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(taken))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection between threads: it belongs to no runtime, and is counted where it goes.
struct Passed {
    stream: std::net::TcpStream,
    remote: SocketAddr,
    seat: Seat,
}

/// A thread, as seen by those that deal.
#[derive(Clone)]
struct Table {
    taken: Arc<AtomicUsize>,
    passed: mpsc::Sender<Passed>,
}

/// One thread's share of a socket's connections, before the thread runs.
pub struct Hand {
    listener: TcpListener,
    own: usize,
    tables: Vec<Table>,
    passed: mpsc::Receiver<Passed>,
    closing: Closing,
}

/// The end of dealing.
#[derive(Clone)]
struct Closing {
    asked: CancellationToken,
    /// Threads that may still deal.
    dealing: Arc<AtomicUsize>,
}

/// Shares the connections of `listener` out to as many threads as `threads` says, until `closing` is cancelled.
pub fn deal(listener: &TcpListener, threads: usize, closing: &CancellationToken) -> io::Result<Vec<Hand>> {
    listener.set_nonblocking(true)?;
    let closing = Closing { asked: closing.clone(), dealing: Arc::new(AtomicUsize::new(threads)) };
    let table = |_| {
        let (passed, inbox) = mpsc::channel(ON_THE_WAY);
        (Table { taken: Arc::default(), passed }, inbox)
    };
    let (tables, inboxes): (Vec<Table>, Vec<_>) = (0..threads).map(table).unzip();
    let hand = |(own, passed)| {
        let (listener, tables, closing) = (listener.try_clone()?, tables.clone(), closing.clone());
        Ok(Hand { listener, own, tables, passed, closing })
    };
    inboxes.into_iter().enumerate().map(hand).collect()
}

impl Hand {
    /// The share as the server takes it; to be called on the thread's runtime.
    pub fn take_up(self) -> io::Result<Dealer> {
        let incoming = Incoming {
            listener: Some(AsyncListener::from_std(self.listener)?),
            waiting: VecDeque::new(),
            passed: self.passed,
        };
        Ok(Dealer { own: self.own, tables: self.tables, closing: self.closing, incoming: Mutex::new(incoming) })
    }

    /// What tells when this thread has nothing to do any more.
    pub fn rest(&self) -> Rest {
        Rest { closing: self.closing.clone(), taken: Arc::clone(&self.tables[self.own].taken) }
    }
}

/// Whether a thread has something to do, once connections are taken no more.
pub struct Rest {
    closing: Closing,
    taken: Arc<AtomicUsize>,
}

impl Rest {
    /// Waits until nothing is left to do, but not past `end`.
    pub async fn reach(&self, end: Instant) {
        while !self.is_reached() && Instant::now() < end {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether no connection is here, and none will come.
    fn is_reached(&self) -> bool {
        // In this order: who deals no more has counted before what it dealt.
        self.closing.dealing.load(Ordering::Acquire) == 0 && self.taken.load(Ordering::Acquire) == 0
    }
}

/// Accepts connections for all threads, and gives its own thread those that are dealt to it.
pub struct Dealer {
    own: usize,
    tables: Vec<Table>,
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

impl Dealer {
    /// The thread with the fewest connections; this one, when no other has fewer.
    fn next(&self) -> usize {
        let taken = |index: usize| self.tables[index].taken.load(Ordering::Relaxed);
        (0..self.tables.len()).min_by_key(|&index| (taken(index), index != self.own)).unwrap_or(self.own)
    }

    /// Gives a connection to the thread whose turn it is, or back when that is this one, or has no room.
    fn pass_on(&self, (stream, remote): (TcpStream, SocketAddr)) -> io::Result<Option<Dealt>> {
        let next = self.next();
        if next != self.own
            && !self.closing.asked.is_cancelled()
            && let Ok(room) = self.tables[next].passed.try_reserve()
        {
            room.send(Passed { stream: stream.into_std()?, remote, seat: Seat::take(&self.tables[next].taken) });
            return Ok(None);
        }
        Ok(Some(self.keep(stream, remote)))
    }

    fn keep(&self, stream: TcpStream, remote: SocketAddr) -> Dealt {
        Dealt { stream, remote, seat: Seat::take(&self.tables[self.own].taken) }
    }
}

/// The kind of address whose connections are dealt out, as the server wants to know it. Each [`Dealt`] knows its own.
#[derive(Clone, Debug)]
pub struct Origin;

impl Address for Origin {
    type Stream = Dealt;
    type Listener = Dealer;
}

impl AddrListener<Dealt, Origin> for Dealer {
    async fn bind_to(_: Origin) -> io::Result<Self> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    async fn accept_stream(&self) -> io::Result<(Dealt, Origin)> {
        let mut incoming = self.incoming.lock().await;
        loop {
            if let Some((stream, remote)) = incoming.waiting.pop_front() {
                stream.set_nonblocking(true)?;
                return Ok((self.keep(TcpStream::from_std(stream)?, remote), Origin));
            }
            let Incoming { listener, passed, .. } = &mut *incoming;
            let is_open = listener.is_some();
            tokio::select! {
                // This thread's own sender is among the tables, so the channel does not end.
                Some(Passed { stream, remote, seat }) = passed.recv() => {
                    return Ok((Dealt { stream: TcpStream::from_std(stream)?, remote, seat }, Origin));
                }
                accepted = accept(listener.as_ref()) => {
                    if let Some(dealt) = self.pass_on(accepted?)? {
                        return Ok((dealt, Origin));
                    }
                }
                () = self.closing.asked.cancelled(), if is_open => {
                    let closed = incoming.close();
                    self.closing.dealing.fetch_sub(1, Ordering::Release);
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

    /// Two threads' dealers, in one thread.
    fn two() -> (SocketAddr, Dealer, Dealer) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut hands = deal(&listener, 2, &CancellationToken::new())
            .expect("a listener")
            .into_iter()
            .map(|hand| hand.take_up().expect("a runtime"));
        let mut next = || hands.next().expect("two threads");
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
        assert_eq!(first.tables[1].taken.load(Ordering::Relaxed), ON_THE_WAY);
    }
}
