//! Connections to upstreams that are kept from one plain request to the next.

use super::observe::{SHARDS, own_shard};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Idle connections kept for each upstream: as many as there may be requests at once on a busy small machine.
pub(super) const IDLE_CONNECTIONS: usize = 128;
/// How long they are kept. Common model servers close theirs after 5 s; a request must not meet that moment.
pub(super) const IDLE_FOR: Duration = Duration::from_secs(4);
/// How often it is looked for those that were kept long enough.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Kept connections, apart for each thread: a connection is woken by the thread that opened it.
#[derive(Default)]
pub(super) struct Kept([Shard; SHARDS]);

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

impl Kept {
    /// A connection to `place` that nothing was heard of since it was kept; an upstream that said something meanwhile, or
    /// closed it, is not asked by it.
    pub(super) fn take(&self, place: &str) -> Option<TcpStream> {
        let mut shelf = self.0[own_shard()].lock();
        let kept = shelf.places.iter_mut().find(|kept| *kept.name == *place)?;
        let youngest = Instant::now() - IDLE_FOR;
        while let Some((stream, since)) = kept.idle.pop_back() {
            let silent = stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            if silent && since > youngest {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection to `place` on which nothing is under way.
    pub(super) fn put(&self, place: &Arc<str>, stream: TcpStream) {
        let shard = &self.0[own_shard()];
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
            tokio::spawn(shard.clone().sweep());
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
