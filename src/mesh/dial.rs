//! The outgoing half: one task a peer, which dials it, keeps the link, and dials again.

use super::frame::{Decoder, Greeting, printable};
use super::greet::{GREETING_TIMEOUT, receive, send, skew_ms};
use super::link::{End, Queue, expiry, write_messages};
use super::{Event, LinkInfo, Shared, socket};
use format::Version as WireVersion;
use jiff::Timestamp;
use model::{Host, NodeId};
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tls::{
    Claim, ControlPlane, Direction, PeerIdentity, Plane, Reason, Refusal, noting_claims, peer_identity,
    require_control_alpn,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A peer that does not answer the first packet in this time is not there now.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// TLS is one round trip and a millisecond of arithmetic; this is for lost packets and busy machines.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first wait after a failure is at most this long.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// And no wait is longer, so that a peer that comes back is used within 2 s.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Except after a refusal that only an operator can end: then every wait is this long, to spare both logs.
const OPERATOR_WAIT: Duration = Duration::from_secs(5);
/// A peer that stays unreachable is mentioned this often.
const REMIND: Duration = Duration::from_secs(60);

/// Why there is no link.
#[derive(Debug)]
enum Failure {
    /// Nobody there, or the connection broke.
    Unreachable(String),
    /// Somebody there, and one of the two does not want the other.
    Refused { remote: SocketAddr, claim: Claim, refusal: Refusal },
}

/// A link that is up.
struct Linked {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    identity: PeerIdentity,
    info: LinkInfo,
    /// What this node has shown the peer.
    plane: Arc<ControlPlane>,
}

/// Keeps a link to `peer` until the shutdown.
pub(super) async fn keep_linked(shared: Arc<Shared>, peer: NodeId, mut queue: Queue) {
    let Some(link) = shared.peers.get(&peer) else { return };
    let mut pause = Pause::default();
    let mut complaint = Complaint::default();
    let mut tls = shared.tls.clone();
    while !shared.shutdown.is_cancelled() {
        tls.mark_unchanged();
        let dialed = tokio::select! {
            dialed = dial(&shared, peer) => dialed,
            () = shared.shutdown.cancelled() => return,
        };
        let floor = match dialed {
            Ok(linked) => {
                pause.reset();
                complaint = Complaint::default();
                let Some(floor) = run(&shared, peer, linked, &mut queue).await else { return };
                floor
            }
            Err(Failure::Unreachable(why)) => {
                complaint.make(peer, &why);
                Duration::ZERO
            }
            Err(Failure::Refused { remote, claim, refusal }) => {
                shared.report(Direction::Out, remote, &claim, &refusal);
                wait_after(refusal.reason)
            }
        };
        tokio::select! {
            () = sleep(pause.next().max(floor)) => {}
            // With other certificates the peer may think otherwise.
            Ok(()) = tls.changed() => {}
            () = link.poke.notified() => {}
            () = shared.shutdown.cancelled() => return,
        }
    }
}

/// Uses the link until it ends; the least time to wait then, or none when this node is stopping.
async fn run(shared: &Shared, peer: NodeId, linked: Linked, queue: &mut Queue) -> Option<Duration> {
    let link = shared.peers.get(&peer)?;
    let Linked { stream, decoder, identity, info, plane } = linked;
    let (remote, wire) = (info.remote, info.wire);
    tracing::info!(
        node = %shared.identity.me,
        %peer,
        %remote,
        tls = info.tls_version,
        key_exchange = info.key_exchange,
        %wire,
        "Connected to peer"
    );
    *link.info.lock().unwrap_or_else(PoisonError::into_inner) = Some(info);
    queue.clear();
    link.up.store(true, Ordering::Release);
    shared.tell(Event::Up(peer, wire)).await;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let end = tokio::select! {
        end = write_messages(stream, decoder, queue, expiry(identity.not_after), &shared.shutdown) => end,
        end = shared.outdated(&chain, &plane) => end,
        end = shared.identity.left_behind(wire) => end,
    };
    link.up.store(false, Ordering::Release);
    *link.info.lock().unwrap_or_else(PoisonError::into_inner) = None;
    queue.clear();
    if matches!(end, End::Stopped) || shared.shutdown.is_cancelled() {
        return None;
    }
    if matches!(end, End::Renewed) {
        tracing::info!(node = %shared.identity.me, %peer, %remote, reason = %end, "The link to a peer is made anew");
    } else {
        tracing::warn!(node = %shared.identity.me, %peer, %remote, reason = %end, "Lost the link to a peer");
    }
    shared.tell(Event::Down(peer)).await;
    match end {
        End::Refused(refusal) | End::RefusedByPeer(refusal) => {
            shared.report(Direction::Out, remote, &Claim::from(&identity), &refusal);
            Some(wait_after(refusal.reason))
        }
        End::Stopped | End::Closed | End::Broken(_) | End::Stalled | End::Expired | End::Replaced | End::Renewed => {
            Some(Duration::ZERO)
        }
    }
}

fn wait_after(reason: Reason) -> Duration {
    if reason.needs_operator() { OPERATOR_WAIT } else { Duration::ZERO }
}

async fn dial(shared: &Shared, peer: NodeId) -> Result<Linked, Failure> {
    let not_after = shared.plane().not_after;
    if not_after < Timestamp::now() {
        return Err(Failure::Unreachable(format!("this node's own certificate expired at {not_after}")));
    }
    let stream = connect(shared, peer).await?;
    let remote = stream.peer_addr().map_err(|error| Failure::Unreachable(error.to_string()))?;
    let plane = shared.plane();
    let (Some(config), Some(name)) = (plane.clients.get(&peer), shared.book.host(peer).and_then(server_name)) else {
        return Err(Failure::Unreachable(format!("there is no configuration for {peer}")));
    };
    let handshaking = shared.handshakes.begin(Plane::Control);
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    let (handshake, claim) = noting_claims(timeout(HANDSHAKE_TIMEOUT, handshake)).await;
    let refused = |refusal| Failure::Refused { remote, claim: claim.clone(), refusal };
    let mut stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Refusal::in_io(&error).map_or_else(|| lost(remote, &error), refused)),
        Err(_) => {
            let detail = format!("no handshake within {HANDSHAKE_TIMEOUT:?}");
            return Err(refused(Refusal::new(Reason::HandshakeTimeout, detail)));
        }
    };
    handshaking.done();
    let (_, tls) = stream.get_ref();
    require_control_alpn(tls.alpn_protocol()).map_err(refused)?;
    let identity = peer_identity(tls.peer_certificates().unwrap_or_default()).map_err(refused)?;
    let tls_version = tls.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
    let key_exchange =
        tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())).unwrap_or_default();
    let mut decoder = Decoder::default();
    let (wire, skew_ms) = match greet(shared, &plane.trust_domain, peer, &mut stream, &mut decoder).await {
        Ok(greeted) => greeted,
        Err(Greeted::Refused(refusal)) => return Err(refused(refusal)),
        Err(Greeted::Lost(why)) => return Err(Failure::Unreachable(format!("{remote}: {why}"))),
    };
    let PeerIdentity { spiffe, serial, not_after } = identity.clone();
    let info = LinkInfo { remote, spiffe, serial, not_after, tls_version, key_exchange, wire, skew_ms };
    Ok(Linked { stream, decoder, identity, info, plane })
}

fn lost(remote: SocketAddr, error: &io::Error) -> Failure {
    Failure::Unreachable(format!("{remote}: {error}"))
}

fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Ip(address) => Some(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.clone()).ok(),
    }
}

/// Tries the peer's addresses in turn. A peer that connects meanwhile is up now: the attempt begins anew.
async fn connect(shared: &Shared, peer: NodeId) -> Result<TcpStream, Failure> {
    let addresses = shared.book.addresses(peer, Instant::now());
    if addresses.is_empty() {
        let host = shared.book.host(peer).map(ToString::to_string).unwrap_or_default();
        return Err(Failure::Unreachable(format!("{}: no address is known for {host}", Reason::AddressUnresolvable)));
    }
    let mut why = String::new();
    for address in addresses {
        let target = SocketAddr::new(address, peer.control_port());
        let attempt = timeout(CONNECT_TIMEOUT, socket::connect(shared.source, target));
        let poke = async {
            match shared.peers.get(&peer) {
                Some(link) => link.poke.notified().await,
                None => std::future::pending().await,
            }
        };
        let attempt = tokio::select! {
            attempt = attempt => attempt,
            () = poke => timeout(CONNECT_TIMEOUT, socket::connect(shared.source, target)).await,
        };
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{target}: {error}"),
            Err(_) => why = format!("{target}: no answer within {CONNECT_TIMEOUT:?}"),
        }
    }
    Err(Failure::Unreachable(why))
}

enum Greeted {
    Refused(Refusal),
    Lost(String),
}

/// Says hello and waits for the welcome. What went wrong in the peer's view of the handshake also arrives here.
async fn greet(
    shared: &Shared,
    cluster: &str,
    peer: NodeId,
    stream: &mut TlsStream<TcpStream>,
    decoder: &mut Decoder,
) -> Result<(WireVersion, i64), Greeted> {
    let introduction = shared.identity.introduce(cluster);
    let nonce = introduction.nonce;
    let hello = Greeting::Hello { to: peer, from: introduction };
    // Should the write fail, the reason is there to be read.
    let sent = timeout(GREETING_TIMEOUT, send(stream, &hello)).await;
    let answer = receive(stream, decoder).await.map_err(|error| match (error.refusal(), sent) {
        (Some(refusal), _) => Greeted::Refused(refusal),
        (None, Ok(Err(error))) => Greeted::Lost(error.to_string()),
        (None, _) => Greeted::Lost(error.to_string()),
    })?;
    match answer {
        Greeting::Welcome { answers, from } if answers == nonce => {
            decoder.wire = shared.identity.judge(peer, &from, cluster).map_err(Greeted::Refused)?;
            Ok((decoder.wire, skew_ms(peer, from.clock)))
        }
        Greeting::Welcome { .. } | Greeting::Hello { .. } => {
            Err(Greeted::Refused(Refusal::new(Reason::FrameMalformed, "the answer is not a welcome to this hello")))
        }
        Greeting::Reject { reason, detail } => {
            let detail = format!("{peer} refused this node: {}", printable(&detail));
            Err(Greeted::Refused(Refusal::new(Reason::from_word(&reason), detail)))
        }
    }
}

/// How long to wait before the next attempt: a random time below a limit that doubles.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        let limit = FIRST_WAIT.saturating_mul(1 << self.failures.min(8)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        // Without randomness the longest wait is as good as any.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        limit.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// Mentions an unreachable peer when it begins, when the reason changes, and once a minute.
#[derive(Debug, Default)]
struct Complaint(Option<(Instant, String)>);

impl Complaint {
    fn make(&mut self, peer: NodeId, why: &str) {
        let now = Instant::now();
        match &self.0 {
            Some((at, last)) if last == why && now.duration_since(*at) < REMIND => {}
            Some(_) | None => {
                tracing::warn!(%peer, reason = why, "Cannot reach a peer");
                self.0 = Some((now, why.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_short() {
        let mut pause = Pause::default();
        assert!(pause.next() <= FIRST_WAIT);
        assert!((0..100).all(|_| pause.next() <= LONGEST_WAIT));
        pause.reset();
        assert!(pause.next() <= FIRST_WAIT);
    }
}
