//! One log line and one count for everybody who was refused.
//!
//! A line says who it was, from where, and the stable reason. One that repeats is written once a second, with the
//! number of those left out, so that a flood of refusals cannot fill a disk.

use super::{Claim, Reason, Refusal};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line for one address and reason in this time.
const QUIET: Duration = Duration::from_secs(1);
/// How many pairs of address and reason are remembered: a few for every machine of a network, 100 KiB at most. When
/// more come, the quietest are forgotten, and if none is quiet the line is counted but not written.
const MAX_REMEMBERED: usize = 1024;

/// The port at which a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// Between members.
    Control,
    /// For clients.
    Https,
}

/// The side that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The other side.
    In,
    /// This node.
    Out,
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// One refusal.
#[derive(Clone, Debug)]
pub struct Rejection<'a> {
    /// Where.
    pub plane: Plane,
    /// Which way.
    pub direction: Direction,
    /// The other side's address.
    pub remote: SocketAddr,
    /// What its certificate said, if it got so far.
    pub claim: &'a Claim,
    /// Why.
    pub reason: Reason,
    /// The particulars.
    pub detail: &'a str,
}

impl<'a> Rejection<'a> {
    /// A client that is refused at the HTTPS port.
    pub const fn of_client(remote: SocketAddr, claim: &'a Claim, refusal: &'a Refusal) -> Self {
        let Refusal { reason, detail } = refusal;
        Self { plane: Plane::Https, direction: Direction::In, remote, claim, reason: *reason, detail: detail.as_str() }
    }
}

/// Counts refusals and writes them to the log.
#[derive(Debug, Default)]
pub struct Rejections {
    book: Mutex<Book>,
    watcher: Option<Watcher>,
}

/// Told of every refusal that is written to the log.
struct Watcher(Box<dyn Fn(&Rejection<'_>) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watcher")
    }
}

#[derive(Debug, Default)]
struct Book {
    counts: BTreeMap<(Plane, Direction, Reason), u64>,
    recent: HashMap<(IpAddr, Reason), Recent>,
}

#[derive(Debug)]
struct Recent {
    written: Instant,
    suppressed: u64,
}

impl Rejections {
    /// Refusals that `watch` is told of, too, each time one is written to the log.
    pub fn watched(watch: impl Fn(&Rejection<'_>) + Send + Sync + 'static) -> Self {
        Self { book: Mutex::default(), watcher: Some(Watcher(Box::new(watch))) }
    }

    /// Counts a refusal, and writes its line unless the same was written within the last second.
    pub fn report(&self, rejection: &Rejection<'_>) {
        let suppressed = {
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            *book.counts.entry((rejection.plane, rejection.direction, rejection.reason)).or_default() += 1;
            book.may_write(rejection.remote.ip().to_canonical(), rejection.reason, Instant::now())
        };
        let Some(suppressed) = suppressed else { return };
        if let Some(Watcher(watch)) = &self.watcher {
            watch(rejection);
        }
        let claimed = rejection.claim.spiffe.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        tracing::warn!(
            target: "canary::security",
            event = "peer_rejected",
            plane = %rejection.plane,
            dir = %rejection.direction,
            remote = %rejection.remote,
            claimed,
            serial = rejection.claim.serial.as_deref().unwrap_or("-"),
            reason = %rejection.reason,
            detail = rejection.detail,
            suppressed,
            "Refused a connection"
        );
    }

    /// All that was counted since the start: `canary_tls_rejections_total{plane,dir,reason}`.
    pub fn counts(&self) -> BTreeMap<(Plane, Direction, Reason), u64> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }

    /// Count how often an identity was seen where it does not belong, `canary_identity_conflicts_total`: each one means a
    /// copied key or a wrong address, and is worth waking somebody.
    pub fn identity_conflicts(&self) -> u64 {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = book.counts.iter().filter(|((_, _, reason), _)| reason.is_identity_conflict());
        counts.map(|(_, count)| count).sum()
    }

    /// Count how often this was the reason.
    pub fn count(&self, plane: Plane, direction: Direction, reason: Reason) -> u64 {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.counts.get(&(plane, direction, reason)).copied().unwrap_or_default()
    }
}

impl Book {
    /// How many lines were left out since the last one, if this one may be written.
    fn may_write(&mut self, remote: IpAddr, reason: Reason, now: Instant) -> Option<u64> {
        if let Some(recent) = self.recent.get_mut(&(remote, reason)) {
            if now.duration_since(recent.written) < QUIET {
                recent.suppressed += 1;
                return None;
            }
            recent.written = now;
            return Some(std::mem::take(&mut recent.suppressed));
        }
        if self.recent.len() >= MAX_REMEMBERED {
            self.recent.retain(|_, recent| now.duration_since(recent.written) < QUIET);
        }
        if self.recent.len() >= MAX_REMEMBERED {
            return None;
        }
        self.recent.insert((remote, reason), Recent { written: now, suppressed: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_line_is_written_once_a_second_and_says_what_was_left_out() {
        let mut book = Book::default();
        let start = Instant::now();
        assert_eq!(book.may_write(HERE, Reason::Revoked, start), Some(0));
        assert_eq!(book.may_write(HERE, Reason::Revoked, start + QUIET / 2), None);
        assert_eq!(book.may_write(HERE, Reason::Revoked, start + QUIET / 2), None);
        assert_eq!(book.may_write(HERE, Reason::Expired, start + QUIET / 2), Some(0));
        assert_eq!(book.may_write(HERE, Reason::Revoked, start + QUIET), Some(2));
        assert_eq!(book.may_write(HERE, Reason::Revoked, start + QUIET * 2), Some(0));
    }

    #[test]
    fn a_flood_from_many_addresses_is_counted_in_bounded_memory() {
        let mut book = Book::default();
        let start = Instant::now();
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let written = (0..5_000).filter_map(|number| book.may_write(address(number), Reason::NotTls, start)).count();
        assert_eq!((written, book.recent.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        assert_eq!(book.may_write(address(9_999), Reason::NotTls, start + QUIET), Some(0));
        assert_eq!(book.recent.len(), 1);
    }
}
