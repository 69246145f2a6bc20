//! The pool of connections to upstreams that are kept from one plain request to the next.

use crate::observe::{SHARDS, own_shard};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

/// Idle connections kept for each upstream: as many as there may be requests at once on a busy small machine.
pub(crate) const IDLE_CONNECTIONS: usize = 128;
/// How long they are kept. Common model servers close theirs after 5 s; a request must not meet that moment.
pub(crate) const IDLE_FOR: Duration = Duration::from_secs(4);
/// How often it is looked for those that were kept long enough.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Pool connections, apart for each thread: a connection is woken by the thread that opened it.
pub(crate) struct Pool {
    shards: [Shard; SHARDS],
    tasks: TaskTracker,
}

#[derive(Clone, Default)]
struct Shard(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    places: Vec<Place>,
    /// Whether a task puts away what was kept for long enough.
    swept: bool,
}

/// The connections to one host and port, the newest last.
struct Place {
    name: Arc<str>,
    idle: VecDeque<(TcpStream, Instant)>,
}

impl Pool {
    /// No connections yet; who closes them again is counted in `tasks`.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self { shards: Default::default(), tasks }
    }

    /// A connection to `place` of which nothing was heard since it was kept: one by which the upstream said something
    /// meanwhile, or that it closed, is not used. The system is asked, which knows sooner than the runtime.
    pub(crate) fn take(&self, place: &str) -> Option<TcpStream> {
        let mut shelf = self.shards[own_shard()].lock();
        let kept = shelf.places.iter_mut().find(|kept| *kept.name == *place)?;
        let youngest = Instant::now() - IDLE_FOR;
        while let Some((stream, since)) = kept.idle.pop_back() {
            let heard = || recv(&stream, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            if since > youngest && heard().is_err_and(|error| error == Errno::WOULDBLOCK) {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection to `place` on which nothing is under way.
    pub(crate) fn put(&self, place: &Arc<str>, stream: TcpStream) {
        let shard = &self.shards[own_shard()];
        let mut shelf = shard.lock();
        let at = shelf.places.iter().position(|kept| kept.name == *place).unwrap_or_else(|| {
            shelf.places.push(Place { name: Arc::clone(place), idle: VecDeque::new() });
            shelf.places.len() - 1
        });
        let idle = &mut shelf.places[at].idle;
        if idle.len() >= IDLE_CONNECTIONS {
            idle.pop_front();
        }
        idle.push_back((stream, Instant::now()));
        if !shelf.swept {
            shelf.swept = true;
            self.tasks.spawn(shard.clone().sweep());
        }
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what was kept for long enough, until nothing is left.
    async fn sweep(self) {
        loop {
            sleep(SWEEP_EVERY).await;
            let mut shelf = self.lock();
            let youngest = Instant::now() - IDLE_FOR;
            for place in &mut shelf.places {
                let old = place.idle.partition_point(|(_, since)| *since <= youngest);
                place.idle.drain(..old);
            }
            shelf.places.retain(|place| !place.idle.is_empty());
            if shelf.places.is_empty() {
                shelf.swept = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.24.2.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.expect("it listens"), theirs.expect("it connects").0)
    }

    #[tokio::test]
    async fn the_newest_of_a_place_is_used_first_and_once() {
        let (pool, place) = (Pool::new(TaskTracker::new()), Arc::from("a:1"));
        let ((first, _one), (second, _two)) = (pair().await, pair().await);
        let newest = second.local_addr().expect("a socket");
        pool.put(&place, first);
        pool.put(&place, second);
        assert!(pool.take("a:2").is_none());
        assert_eq!(pool.take("a:1").and_then(|stream| stream.local_addr().ok()), Some(newest));
        assert!(pool.take("a:1").is_some() && pool.take("a:1").is_none());
    }

    #[tokio::test]
    async fn one_that_ended_or_spoke_meanwhile_is_not_used() {
        let (pool, place) = (Pool::new(TaskTracker::new()), Arc::from("a:1"));
        for speaks in [true, false] {
            let (ours, mut theirs) = pair().await;
            if speaks {
                theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("it is open");
            } else {
                drop(theirs);
            }
            timeout(DEADLINE, ours.readable()).await.expect("it arrives").expect("it is open");
            pool.put(&place, ours);
            assert!(pool.take("a:1").is_none(), "{speaks}");
        }
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be() {
        let (pool, place) = (Pool::new(TaskTracker::new()), Arc::from("a:1"));
        let mut others = Vec::new();
        for _ in 0..=IDLE_CONNECTIONS {
            let (ours, theirs) = pair().await;
            pool.put(&place, ours);
            others.push(theirs);
        }
        let closed = timeout(DEADLINE, others[0].read(&mut [0])).await.expect("the oldest is closed");
        assert_eq!(closed.expect("an end is no error"), 0);
        assert_eq!(std::iter::from_fn(|| pool.take("a:1")).count(), IDLE_CONNECTIONS);
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_closed_in_time() {
        let (pool, place) = (Pool::new(TaskTracker::new()), Arc::from("a:1"));
        for _ in 0..2 {
            let (ours, mut theirs) = pair().await;
            pool.put(&place, ours);
            let closed = timeout(DEADLINE, theirs.read(&mut [0])).await.expect("it is closed");
            assert_eq!(closed.expect("an end is no error"), 0);
        }
    }
}
