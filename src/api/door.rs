//! Who gets in by the HTTPS port: limits, the TLS handshake, and whom the certificate names.
//!
//! A connection that says nothing costs a file descriptor and nothing else; it takes a place among the handshakes only
//! when its first byte is there. Whoever is turned away leaves one line in the log and one count.

use super::metrics::{Counters, Counting};
use super::serve::Limits;
use super::state::Api;
use axum_server::accept::Accept;
use edge::Prefixed;
use edge::dispatch::{Dealt, Seat};
use edge::sessions::{Guarded, Guests};
use edge::{Caller, Identity};
use model::UnixMillis;
use proxy::{Remote, Shortcut, Underway};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::UNIX_EPOCH;
use tls::{Claim, Direction, Handshakes, HttpsPlane, PeerIdentity, Plane, Reason, Refusal, Rejection, Rejections};
use tls::{noting_claims, peer_identity};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// The name of HTTP/2 in ALPN.
const HTTP_2: &[u8] = b"h2";
/// For those who forgot the s; what a browser or curl shows of it is enough to see why.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 37\r\n\r\nThis port speaks HTTPS: use https://\n";
/// From this many addresses on, those without a connection are forgotten.
const MANY_ADDRESSES: usize = 1024;

/// A connection after its handshake.
type Secured = Guarded<TlsStream<TcpStream>>;

/// Lets connections in. All clones share one account of who is in.
#[derive(Clone)]
pub(super) struct Door(Arc<Shared>);

struct Shared {
    shortcut: Shortcut,
    tls: watch::Receiver<Arc<HttpsPlane>>,
    guests: Arc<Guests>,
    limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    rejections: Arc<Rejections>,
    all_handshakes: Arc<Handshakes>,
    counters: Arc<Counters>,
}

/// One connection that is in; it gives its place back when it is dropped.
pub(super) struct Connection {
    pub(super) caller: Arc<Caller>,
    /// What is under way of the first request that the server sees.
    underway: Mutex<Option<Underway>>,
    _place: OwnedSemaphorePermit,
    _seat: Seat,
    _counting: Counting,
}

impl Connection {
    /// What is under way of the first request, once.
    pub(super) fn underway(&self) -> Option<Underway> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A service that is told, for each request, by which connection it came.
pub(super) trait OfConnection {
    fn of_connection(self, connection: Arc<Connection>) -> Self;
}

impl<S: OfConnection + Send + 'static> Accept<Dealt, S> for Door {
    type Stream = Prefixed<Secured>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, dealt: Dealt, service: S) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let remote = dealt.remote;
            match shared.admit(dealt).await {
                Ok((stream, connection)) => {
                    let (stream, connection) = shared.pass(stream, connection).await?;
                    Ok((stream, service.of_connection(Arc::new(connection))))
                }
                Err(refused) => {
                    shared.report(remote, &refused);
                    Err(refused.error)
                }
            }
        })
    }
}

/// Why a connection is not let in. Without a reason it is nobody's fault: the other side went away.
struct Refused {
    error: io::Error,
    reason: Option<Refusal>,
    claim: Claim,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { error: refusal.clone().into(), reason: Some(refusal), claim: Claim::default() }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let reason = Refusal::in_io(&error);
        Self { error, reason, claim: Claim::default() }
    }
}

impl Door {
    pub(super) fn new(
        tls: watch::Receiver<Arc<HttpsPlane>>,
        guests: Arc<Guests>,
        limits: Limits,
        rejections: Arc<Rejections>,
        api: &Api,
        shortcut: Shortcut,
    ) -> Self {
        Self(Arc::new(Shared {
            shortcut,
            tls,
            guests,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            by_address: Mutex::default(),
            limits,
            rejections,
            all_handshakes: Arc::clone(&api.handshakes),
            counters: Arc::clone(&api.counters),
        }))
    }
}

impl Shared {
    /// Serves the plain predictions that an HTTP/1 connection begins with, and gives it back for everything else. They
    /// are served by a task of their own, because the server's task looks for a stop at every waking. It has the
    /// connection's place, which shows that there is something to do, also when the server no longer waits for it.
    async fn pass(&self, stream: Secured, connection: Connection) -> io::Result<(Prefixed<Secured>, Connection)> {
        if stream.inner().get_ref().1.alpn_protocol() == Some(HTTP_2) {
            return Ok((Prefixed::new(stream, Vec::new()), connection));
        }
        let shortcut = self.shortcut.clone();
        let serving = async move {
            let (stream, underway) = shortcut.serve(stream, Some(Remote(connection.caller.remote))).await;
            (stream, Connection { underway: Mutex::new(underway), ..connection })
        };
        tokio::spawn(serving).await.map_err(io::Error::other)
    }

    async fn admit(&self, Dealt { stream, remote, seat }: Dealt) -> Result<(Secured, Connection), Refused> {
        let deadline = Instant::now() + self.limits.handshake;
        // Small answers must not wait for the acknowledgement of the ones before.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let place = wait(&self.connections, deadline, "too many connections are open").await?;
        let counting = Counting::start(&self.counters, |counters| &counters.connections);
        let stream = self.first_byte(stream, deadline).await?;
        let of_address = self.of_address(remote.ip());
        let _slot = wait(&of_address, deadline, "too many handshakes from this address are in flight").await?;
        let _global = wait(&self.handshakes, deadline, "too many handshakes are in flight").await?;
        let _handshaking = Counting::start(&self.counters, |counters| &counters.handshakes);
        let handshaking = self.all_handshakes.begin(Plane::Https);
        let plane = self.plane();
        let handshake = TlsAcceptor::from(Arc::clone(&plane.server)).accept(stream);
        let (result, claim) = noting_claims(timeout_at(deadline, handshake)).await;
        let Ok(result) = result else { return Err(Refused { claim, ..too_slow("the TLS handshake").into() }) };
        let guarded = match result {
            Ok(stream) => self.guard(stream, remote, &plane).map_err(Refused::from),
            Err(error) => Err(error.into()),
        };
        let (stream, identity) = guarded.map_err(|refused| Refused { claim, ..refused })?;
        handshaking.done();
        let caller = Arc::new(Caller { remote, local, identity });
        Ok((stream, Connection { caller, underway: Mutex::default(), _place: place, _seat: seat, _counting: counting }))
    }

    /// The certificates of this moment.
    fn plane(&self) -> Arc<HttpsPlane> {
        Arc::clone(&self.tls.borrow())
    }

    /// Whom the client's certificate names, if it showed one, and the connection as one that ends with it.
    fn guard(
        &self,
        stream: TlsStream<TcpStream>,
        remote: SocketAddr,
        plane: &Arc<HttpsPlane>,
    ) -> Result<(Secured, Option<Identity>), Refusal> {
        let Some(chain) = stream.get_ref().1.peer_certificates() else { return Ok((Guarded::free(stream), None)) };
        let identity = peer_identity(chain)?;
        let stay = self.guests.enter(remote, chain, &identity);
        // Whoever is among the guests is held against what is loaded from now on. What was loaded during the
        // handshake may have come too early for that.
        let newest = self.plane();
        if !Arc::ptr_eq(&newest, plane) {
            newest.judge(chain)?;
        }
        Ok((Guarded::by(stay, stream), Some(known(identity))))
    }

    /// Waits until the other side says something, and sends those away who do not speak TLS.
    async fn first_byte(&self, mut stream: TcpStream, deadline: Instant) -> Result<TcpStream, Refused> {
        let mut first = [0];
        let Ok(peeked) = timeout_at(deadline, stream.peek(&mut first)).await else {
            return Err(too_slow("the first byte").into());
        };
        if peeked? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let [first] = first;
        if first == TLS_HANDSHAKE {
            return Ok(stream);
        }
        if first.is_ascii_uppercase() {
            // What was sent is read first, because closing with unread bytes would reset the answer away.
            let mut request = [0; 1024];
            let _ = stream.try_read(&mut request);
            let _ = timeout_at(deadline, stream.write_all(PLAIN_HTTP_ANSWER)).await;
            let _ = timeout_at(deadline, stream.shutdown()).await;
        }
        Err(Refusal::new(Reason::NotTls, format!("it begins with byte {first:#04x}, not with a TLS handshake")).into())
    }

    /// The places for handshakes of one address. IPv6 hands out whole networks, so there a network of 64 bits counts.
    fn of_address(&self, address: IpAddr) -> Arc<Semaphore> {
        let key = match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        };
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_address.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        if by_address.len() >= MANY_ADDRESSES {
            by_address.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(self.limits.handshakes_of_address));
        by_address.insert(key, Arc::downgrade(&places));
        places
    }

    fn report(&self, remote: SocketAddr, refused: &Refused) {
        let Some(refusal) = &refused.reason else {
            tracing::debug!(%remote, error = %refused.error, "Connection ended before its first request");
            return;
        };
        self.rejections.report(&Rejection {
            plane: Plane::Https,
            direction: Direction::In,
            remote,
            claim: &refused.claim,
            reason: refusal.reason,
            detail: &refusal.detail,
        });
    }
}

async fn wait(places: &Arc<Semaphore>, deadline: Instant, full: &str) -> Result<OwnedSemaphorePermit, Refused> {
    match timeout_at(deadline, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        // The semaphore is never closed.
        Ok(Err(_)) | Err(_) => Err(Refusal::new(Reason::HandshakeLimit, full).into()),
    }
}

fn too_slow(what: &str) -> Refusal {
    Refusal::new(Reason::HandshakeTimeout, format!("{what} did not come in time"))
}

fn known(identity: PeerIdentity) -> Identity {
    let since = identity.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
    let not_after = UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Identity { spiffe: identity.spiffe, serial: identity.serial, not_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP_ANSWER).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{} bytes", body.len());
    }
}
