//! Admission by the HTTPS port: limits, the TLS handshake, and whom the certificate names.
//!
//! A connection that says nothing costs a file descriptor and nothing else; it takes a place among the handshakes only
//! when its first byte is there. Whoever is turned away leaves one line in the log and one count.

use super::caller::{Caller, Identity};
use super::dispatch::Dispatched;
use super::gauges::Gauges;
use super::handler::{Handler, Until};
use super::limits::Limits;
use super::prefixed::Prefixed;
use super::requests::{Connection, Requests};
use super::sessions::{SessionStream, Sessions};
use axum_server::accept::Accept;
use model::UnixMillis;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::UNIX_EPOCH;
use tls::{Claim, Handshakes, HttpsPlane, PeerIdentity, Plane, Reason, Refusal, Rejection, Rejections};
use tls::{noting_claims, peer_identity};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The first byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// The name of HTTP/2 in ALPN.
const HTTP_2: &[u8] = b"h2";
/// For those who forgot the s; what a browser or curl shows of it is enough to see why.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 37\r\n\r\nThis port speaks HTTPS: use https://\n";
/// From this many addresses on, those without a connection are forgotten.
const MANY_ADDRESSES: usize = 1024;

/// The entrance for connections: what it goes by, and what it counts in.
pub struct Entrance {
    /// The certificates. They are read for every connection, so that what is sent there counts from the next one on; live
    /// connections whose certificate it no longer admits end.
    pub tls: watch::Receiver<Arc<HttpsPlane>>,
    /// Where refusals are told.
    pub rejections: Arc<Rejections>,
    /// Handshakes of all ports.
    pub handshakes: Arc<Handshakes>,
    /// What is open here.
    pub gauges: Arc<Gauges>,
    /// What anybody may take.
    pub limits: Limits,
    /// Cancelled when the port is to close.
    pub stopping: CancellationToken,
    /// Tasks of connections are counted here.
    pub tasks: TaskTracker,
}

/// A connection after its handshake.
type Secured = SessionStream<TlsStream<TcpStream>>;

/// Lets connections in, and gives each the service of its requests. All clones share one account of who is in.
pub(crate) struct Acceptor<H> {
    admission: Arc<Admission>,
    handler: H,
    closing: Arc<AtomicBool>,
}

impl<H: Clone> Clone for Acceptor<H> {
    fn clone(&self) -> Self {
        let (admission, closing) = (Arc::clone(&self.admission), Arc::clone(&self.closing));
        Self { admission, handler: self.handler.clone(), closing }
    }
}

/// What all threads share of the entrance.
pub(crate) struct Admission {
    entrance: Entrance,
    sessions: Arc<Sessions>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    until: Until,
}

impl<H: Handler, S> Accept<Dispatched, S> for Acceptor<H> {
    type Stream = Prefixed<Secured>;
    type Service = Requests<H>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, dispatched: Dispatched, _: S) -> Self::Future {
        let Self { admission, handler, closing } = self.clone();
        Box::pin(async move {
            let remote = dispatched.remote;
            match admission.admit(dispatched).await {
                Ok((stream, connection)) => {
                    let (stream, connection) = admission.pass(stream, connection, handler.clone()).await?;
                    Ok((stream, Requests::new(handler, connection, closing)))
                }
                Err(refused) => {
                    admission.report(remote, &refused);
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

impl<H> Acceptor<H> {
    pub(crate) const fn new(admission: Arc<Admission>, handler: H, closing: Arc<AtomicBool>) -> Self {
        Self { admission, handler, closing }
    }
}

impl Admission {
    /// Who may be in at `entrance`, and how long on the fast way.
    pub(crate) fn new(entrance: Entrance, sessions: Arc<Sessions>, until: Until) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        let (connections, handshakes) = (places(entrance.limits.connections), places(entrance.limits.handshakes));
        Self { entrance, sessions, connections, handshakes, by_address: Mutex::default(), until }
    }

    /// Has an HTTP/1.1 connection served on the fast way first. A task of its own does it, because the server's task
    /// looks for a stop at every waking. That task has the connection's place, which shows that there is something to do,
    /// also when the server no longer waits for it.
    async fn pass<H: Handler>(
        &self,
        stream: Secured,
        connection: Connection<H::Begun>,
        handler: H,
    ) -> io::Result<(Prefixed<Secured>, Connection<H::Begun>)> {
        if stream.inner().get_ref().1.alpn_protocol() == Some(HTTP_2) {
            return Ok((Prefixed::new(stream, Vec::new()), connection));
        }
        let until = self.until.clone();
        let serving = async move {
            let (stream, begun) = handler.fast(stream, connection.caller.remote, until).await;
            (stream, connection.having_begun(begun))
        };
        self.entrance.tasks.spawn(serving).await.map_err(io::Error::other)
    }

    async fn admit<B>(&self, dispatched: Dispatched) -> Result<(Secured, Connection<B>), Refused> {
        let Dispatched { stream, remote, counted } = dispatched;
        let deadline = Instant::now() + self.entrance.limits.handshake;
        // Small answers must not wait for the acknowledgement of the ones before.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let place = wait(&self.connections, deadline, "too many connections are open").await?;
        let counting = self.entrance.gauges.connection();
        let stream = self.first_byte(stream, deadline).await?;
        let of_address = self.of_address(remote.ip());
        let _slot = wait(&of_address, deadline, "too many handshakes from this address are in flight").await?;
        let _global = wait(&self.handshakes, deadline, "too many handshakes are in flight").await?;
        let _handshaking = self.entrance.gauges.handshake();
        let handshaking = self.entrance.handshakes.begin(Plane::Https);
        let plane = self.plane();
        let handshake = TlsAcceptor::from(Arc::clone(&plane.server)).accept(stream);
        let (result, claim) = noting_claims(timeout_at(deadline, handshake)).await;
        let Ok(result) = result else { return Err(Refused { claim, ..too_slow("the TLS handshake").into() }) };
        let opened = match result {
            Ok(stream) => self.open(stream, remote, &plane).map_err(Refused::from),
            Err(error) => Err(error.into()),
        };
        let (stream, identity) = opened.map_err(|refused| Refused { claim, ..refused })?;
        handshaking.done();
        let caller = Arc::new(Caller { remote, local, identity });
        Ok((stream, Connection::new(caller, place, counted, counting)))
    }

    /// The certificates of this moment.
    fn plane(&self) -> Arc<HttpsPlane> {
        Arc::clone(&self.entrance.tls.borrow())
    }

    /// Whom the client's certificate names, if it showed one, and the connection as one that ends with it.
    fn open(
        &self,
        stream: TlsStream<TcpStream>,
        remote: SocketAddr,
        plane: &Arc<HttpsPlane>,
    ) -> Result<(Secured, Option<Identity>), Refusal> {
        let Some(chain) = stream.get_ref().1.peer_certificates() else {
            return Ok((SessionStream::anonymous(stream), None));
        };
        let identity = peer_identity(chain)?;
        let session = self.sessions.open(remote, chain, &identity);
        // A session that is open is held against what is loaded from now on. What was loaded during the
        // handshake may have come too early for that.
        let newest = self.plane();
        if !Arc::ptr_eq(&newest, plane) {
            newest.judge(chain)?;
        }
        Ok((SessionStream::of(session, stream), Some(known(identity))))
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
        let places = Arc::new(Semaphore::new(self.entrance.limits.handshakes_of_address));
        by_address.insert(key, Arc::downgrade(&places));
        places
    }

    fn report(&self, remote: SocketAddr, refused: &Refused) {
        let Some(refusal) = &refused.reason else {
            tracing::debug!(%remote, error = %refused.error, "Connection ended before its first request");
            return;
        };
        self.entrance.rejections.report(&Rejection::of_client(remote, &refused.claim, refusal));
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
