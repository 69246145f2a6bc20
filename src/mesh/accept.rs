//! The incoming half: who may come in, in the order that security demands.
//!
//! The loop that accepts never waits for anybody: every connection is judged in a task of its own, and there are
//! only so many of those.

use super::frame::{Decoder, Greeting};
use super::greet::{receive, reject, send};
use super::link::{End, expiry, read_messages};
use super::registry::Admitted;
use super::{Shared, dial, socket};
use model::{NodeId, Role};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::{
    Claim, ControlPlane, Direction, PeerIdentity, Plane, Reason, Refusal, noting_claims, peer_identity,
    require_control_alpn,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

/// Connections that have not said hello yet. Every peer of the largest mesh may reconnect at once, twice over.
const MAX_HANDSHAKES: usize = 64;
/// Of these, from one address: a restarted peer needs one, several nodes on one machine a few.
const MAX_HANDSHAKES_PER_ADDRESS: usize = 8;
/// How long to wait when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the shutdown.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, tasks: TaskTracker) {
    let places = Arc::new(Places::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.shutdown.cancelled() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "Cannot accept a connection on the control plane");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match places.take(remote.ip()) {
            Ok(place) => {
                tasks.spawn(serve(Arc::clone(&shared), stream, remote, place));
            }
            Err(refusal) => shared.report(Direction::In, remote, &Claim::default(), &refusal),
        }
    }
}

/// A connection that passed all checks but its messages.
struct Admission<'a> {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    peer: NodeId,
    identity: PeerIdentity,
    admitted: Admitted<'a>,
    /// What this node has shown the peer.
    plane: Arc<ControlPlane>,
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, remote: SocketAddr, place: Place) {
    let admission = tokio::select! {
        admission = admit(&shared, stream, remote) => admission,
        () = shared.shutdown.cancelled() => return,
    };
    drop(place);
    let Some(Admission { mut stream, decoder, peer, identity, admitted, plane }) = admission else { return };
    tracing::debug!(%peer, %remote, serial = identity.serial, "Accepted a peer");
    if let Some(link) = shared.peers.get(&peer) {
        link.poke.notify_one();
    }
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let wire = decoder.wire;
    let end = tokio::select! {
        end = read_messages(&mut stream, decoder, peer, &admitted, &shared.events) => end,
        () = admitted.replaced.cancelled() => End::Replaced,
        end = shared.outdated(&chain, &plane) => end,
        end = shared.identity.left_behind(wire) => end,
        () = sleep_until(expiry(identity.not_after)) => End::Expired,
        () = shared.shutdown.cancelled() => End::Stopped,
    };
    drop(admitted);
    if let End::Refused(refusal) = &end {
        shared.report(Direction::In, remote, &Claim::from(&identity), refusal);
        reject(&mut stream, refusal).await;
    }
    tracing::debug!(%peer, %remote, reason = %end, "A peer's connection ended");
}

/// Handshake and checks; none when the connection is over, which is then in the log.
async fn admit<'a>(shared: &'a Shared, stream: TcpStream, remote: SocketAddr) -> Option<Admission<'a>> {
    if let Err(error) = socket::tune(&stream) {
        tracing::debug!(%remote, %error, "A connection was gone at once");
        return None;
    }
    let plane = shared.plane();
    let handshaking = shared.handshakes.begin(Plane::Control);
    let handshake = TlsAcceptor::from(Arc::clone(&plane.server)).accept(stream);
    let (handshake, claim) = noting_claims(timeout(dial::HANDSHAKE_TIMEOUT, handshake)).await;
    let mut stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            match Refusal::in_io(&error) {
                Some(refusal) => shared.report(Direction::In, remote, &claim, &refusal),
                None => tracing::debug!(%remote, %error, "A connection was lost in its handshake"),
            }
            return None;
        }
        Err(_) => {
            let detail = format!("no handshake within {:?}", dial::HANDSHAKE_TIMEOUT);
            shared.report(Direction::In, remote, &claim, &Refusal::new(Reason::HandshakeTimeout, detail));
            return None;
        }
    };
    handshaking.done();
    match judge(shared, &plane.trust_domain, &mut stream, remote).await {
        Ok((peer, identity, decoder, admitted)) => Some(Admission { stream, decoder, peer, identity, admitted, plane }),
        Err(None) => {
            tracing::debug!(%remote, "A connection was lost before its greeting");
            None
        }
        Err(Some(refusal)) => {
            shared.report(Direction::In, remote, &claim, &refusal);
            reject(&mut stream, &refusal).await;
            None
        }
    }
}

/// Everything after the handshake, in order: protocol, identity, address, duplicate, hello.
async fn judge<'a>(
    shared: &'a Shared,
    cluster: &str,
    stream: &mut TlsStream<TcpStream>,
    remote: SocketAddr,
) -> Result<(NodeId, PeerIdentity, Decoder, Admitted<'a>), Option<Refusal>> {
    let (_, tls) = stream.get_ref();
    require_control_alpn(tls.alpn_protocol())?;
    let identity = peer_identity(tls.peer_certificates().unwrap_or_default())?;
    let Role::Node(peer) = identity.spiffe.role else {
        return Err(Some(Refusal::new(Reason::RoleNotAllowed, format!("{} is not a node", identity.spiffe.role))));
    };
    shared.book.judge(peer, remote.ip(), Instant::now())?;
    shared.registry.check(peer, remote.ip(), Instant::now())?;
    let mut decoder = Decoder::default();
    let greeting = receive(stream, &mut decoder).await.map_err(|error| error.refusal())?;
    let Greeting::Hello { to, from } = greeting else {
        return Err(Some(Refusal::new(Reason::FrameMalformed, "the first frame is not a hello")));
    };
    decoder.wire = shared.identity.judge(peer, &from, cluster)?;
    if to != shared.identity.me {
        let detail = format!("{peer} meant to reach {to}, this is {}", shared.identity.me);
        return Err(Some(Refusal::new(Reason::ServerIdentityMismatch, detail)));
    }
    let admitted = shared.registry.admit(peer, remote.ip(), Instant::now())?;
    let welcome = Greeting::Welcome { answers: from.nonce, from: shared.identity.introduce(cluster) };
    match timeout(super::greet::GREETING_TIMEOUT, send(stream, &welcome)).await {
        Ok(Ok(())) => Ok((peer, identity, decoder, admitted)),
        Ok(Err(_)) | Err(_) => Err(None),
    }
}

/// The places for connections that have not proved anything yet.
#[derive(Debug, Default)]
struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place, until dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refusal> {
        let address = address.to_canonical();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.all >= MAX_HANDSHAKES || here >= MAX_HANDSHAKES_PER_ADDRESS {
            let detail = format!(
                "{} handshakes in flight (at most {MAX_HANDSHAKES}), {here} from this address (at most {MAX_HANDSHAKES_PER_ADDRESS})",
                taken.all
            );
            return Err(Refusal::new(Reason::HandshakeLimit, detail));
        }
        taken.all += 1;
        taken.by_address.insert(address, here + 1);
        drop(taken);
        Ok(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_address_cannot_take_every_place() {
        let places = Arc::new(Places::default());
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let held: Vec<Place> = (0..100).filter_map(|_| places.take(address(1)).ok()).collect();
        assert_eq!(held.len(), MAX_HANDSHAKES_PER_ADDRESS);
        let others: Vec<Place> = (2..100).filter_map(|number| places.take(address(number)).ok()).collect();
        assert_eq!(held.len() + others.len(), MAX_HANDSHAKES);
        assert!(places.take(address(200)).is_err());
        drop(held);
        assert!(places.take(address(1)).is_ok());
        drop(others);
        let taken = places.0.lock().expect("no panic");
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
