//! The connections that peers have open to this node: one a peer.
//!
//! A second one from the same address is the same peer, started again, and takes the place of the first. One from
//! another address while the first is alive means that an identity exists twice.

use model::NodeId;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tls::{Reason, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A connection that brought nothing for this long, three heartbeats, no longer speaks for its identity.
const ALIVE: Duration = Duration::from_secs(6);

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Live>);

#[derive(Debug, Default)]
struct Live {
    connections: BTreeMap<NodeId, Connection>,
    admitted: u64,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    remote: IpAddr,
    heard: Instant,
    replaced: CancellationToken,
}

/// The right to speak for a peer, until it is dropped or [replaced](Self::replaced).
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    registry: &'a Registry,
    peer: NodeId,
    number: u64,
    /// Cancelled when another connection of the same peer takes over.
    pub(crate) replaced: CancellationToken,
}

impl Registry {
    /// Whether a connection of `peer` from `remote` could be admitted. Fails when a live one comes from another
    /// address.
    pub(crate) fn check(&self, peer: NodeId, remote: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).check(peer, remote, now)
    }

    /// Admits a connection; an earlier one of the same peer is told to end. Fails when a live one comes from another
    /// address.
    pub(crate) fn admit(&self, peer: NodeId, remote: IpAddr, now: Instant) -> Result<Admitted<'_>, Refusal> {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.check(peer, remote, now)?;
        live.admitted += 1;
        let number = live.admitted;
        let replaced = CancellationToken::new();
        let connection = Connection { number, remote: remote.to_canonical(), heard: now, replaced: replaced.clone() };
        if let Some(earlier) = live.connections.insert(peer, connection) {
            earlier.replaced.cancel();
        }
        Ok(Admitted { registry: self, peer, number, replaced })
    }
}

impl Live {
    fn check(&self, peer: NodeId, remote: IpAddr, now: Instant) -> Result<(), Refusal> {
        let remote = remote.to_canonical();
        match self.connections.get(&peer) {
            Some(first) if first.remote != remote && now.duration_since(first.heard) < ALIVE => Err(Refusal::new(
                Reason::DuplicateIdentity,
                format!("{peer} is connected from {}; now its identity is also used from {remote}", first.remote),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl Admitted<'_> {
    /// The connection has brought something.
    pub(crate) fn heard(&self, now: Instant) {
        let mut live = self.registry.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = live.connections.get_mut(&self.peer).filter(|found| found.number == self.number) {
            connection.heard = now;
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut live = self.registry.0.lock().unwrap_or_else(PoisonError::into_inner);
        if live.connections.get(&self.peer).is_some_and(|connection| connection.number == self.number) {
            live.connections.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_peer_that_comes_again_replaces_itself() {
        let registry = Registry::default();
        let now = Instant::now();
        let first = registry.admit(NodeId::A, HERE, now).expect("the first");
        let second = registry.admit(NodeId::A, HERE, now).expect("from the same address");
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        drop(first);
        assert!(registry.check(NodeId::A, THERE, now).is_err(), "the second still counts when the first has ended");
    }

    #[test]
    fn an_identity_at_two_addresses_is_refused_while_the_first_lives() {
        let registry = Registry::default();
        let now = Instant::now();
        let first = registry.admit(NodeId::A, HERE, now).expect("the first");
        let refusal = registry.admit(NodeId::A, THERE, now).expect_err("from another address");
        assert_eq!(refusal.reason, Reason::DuplicateIdentity);
        first.heard(now + ALIVE);
        assert!(registry.check(NodeId::A, THERE, now + ALIVE).is_err(), "it was heard");
        assert!(registry.check(NodeId::A, THERE, now + ALIVE * 2).is_ok(), "it was silent");
        drop(first);
        assert!(registry.check(NodeId::A, THERE, now).is_ok(), "it is gone");
    }
}
