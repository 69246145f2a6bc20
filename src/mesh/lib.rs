//! Mutually authenticated links to all peers.
//!
//! Every node dials every other. A connection carries messages from the node that dialed it to the one that accepted
//! it, so a pair of nodes has two, and nobody has to decide which of two connections to keep. The link to a peer is up
//! when the peer has welcomed this node, not before: in TLS 1.3 a client has finished before the server has judged it.
//!
//! Whoever connects is judged in a fixed order, each step with its own reason: the certificate's chain, the one
//! identity in it, role, membership, the address it comes from, whether that identity is here already, and its hello.
//! Then every frame. Messages are sent at most once, in order, and dropped when the link is down: repeating them is
//! the engine's affair. Nothing here understands what is agreed.

mod accept;
mod addresses;
pub mod codec;
mod dial;
mod event;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod greet;
mod link;
mod registry;
mod rules;
mod socket;
mod version;

pub use addresses::{AddressCheck, ExtraSources, ExtraSourcesError};
pub use event::Event;
pub use format::Version as WireVersion;

use addresses::AddressBook;
use frame::Payload;
use greet::Identity;
use link::{End, Outbox};
use model::{Host, Incarnation, NodeId, Peers, SpiffeId};
use registry::Registry;
use rustls_pki_types::CertificateDer;
use service::Message;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tls::{Claim, ControlPlane, Direction, Handshakes, Plane, Refusal, Rejection, Rejections};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a mesh is made of.
#[derive(Debug)]
pub struct MeshConfig {
    /// This node.
    pub me: NodeId,
    /// All members and their addresses, this node included.
    pub peers: Peers,
    /// The life of this node's disk.
    pub incarnation: Incarnation,
    /// The newest version of the wire to speak.
    pub wire: WireVersion,
    /// Where to connect from, instead of the address that the listener has; unspecified leaves it to the system.
    pub bind: Option<IpAddr>,
    /// What it means when a peer connects from a foreign address.
    pub address_check: AddressCheck,
    /// Further addresses that peers may connect from.
    pub extra_sources: ExtraSources,
    /// The certificates; may be exchanged at any time. Connections that they no longer admit end then.
    pub tls: watch::Receiver<Arc<ControlPlane>>,
    /// Where refusals are counted.
    pub rejections: Arc<Rejections>,
    /// Where handshakes are counted.
    pub handshakes: Arc<Handshakes>,
}

/// An established link to a peer, as it is shown to people.
#[derive(Clone, Debug)]
pub struct LinkInfo {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Who it is.
    pub spiffe: SpiffeId,
    /// The serial number of its certificate.
    pub serial: String,
    /// When its certificate ends.
    pub not_after: SystemTime,
    /// The version of TLS.
    pub tls_version: String,
    /// How the session's key was agreed.
    pub key_exchange: String,
    /// The version of the wire that both speak.
    pub wire: WireVersion,
    /// By how much its wall clock is ahead, in milliseconds.
    pub skew_ms: i64,
}

/// The running mesh. Clones are the same mesh.
#[derive(Clone, Debug)]
pub struct Mesh {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    identity: Identity,
    source: IpAddr,
    book: Arc<AddressBook>,
    tls: watch::Receiver<Arc<ControlPlane>>,
    rejections: Arc<Rejections>,
    handshakes: Arc<Handshakes>,
    registry: Registry,
    peers: BTreeMap<NodeId, PeerLink>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
}

/// What the mesh holds for one peer.
#[derive(Debug)]
struct PeerLink {
    outbox: Outbox,
    up: AtomicBool,
    info: Mutex<Option<LinkInfo>>,
    /// The peer has just connected, so it can be reached now.
    poke: Notify,
}

impl PeerLink {
    /// The version of the wire on the link; none when there is none.
    fn wire(&self) -> Option<WireVersion> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|info| info.wire)
    }
}

impl Shared {
    /// The certificates of this moment.
    fn plane(&self) -> Arc<ControlPlane> {
        Arc::clone(&self.tls.borrow())
    }

    /// Waits until certificates are loaded that no longer admit the peer with this chain, or are not those that this node
    /// has shown it, and says which. Those of this moment are asked first, because they may be newer than the handshake.
    async fn outdated(&self, chain: &[CertificateDer<'_>], used: &ControlPlane) -> End {
        let mut tls = self.tls.clone();
        loop {
            let plane = Arc::clone(&tls.borrow_and_update());
            if let Err(refusal) = plane.judge(chain) {
                return End::Refused(refusal);
            }
            if plane.signer.serial != used.signer.serial {
                return End::Renewed;
            }
            if tls.changed().await.is_err() {
                // Nobody is left to load any.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Counts and tells that one side of a connection wants nothing of the other.
    fn report(&self, direction: Direction, remote: SocketAddr, claim: &Claim, refusal: &Refusal) {
        let Refusal { reason, detail } = refusal;
        self.rejections.report(&Rejection { plane: Plane::Control, direction, remote, claim, reason: *reason, detail });
    }

    /// Hands an event on. While nobody takes it this waits, but no longer than until the shutdown.
    async fn tell(&self, event: Event) {
        tokio::select! {
            _ = self.events.send(event) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

impl Mesh {
    /// Begins to accept and to dial, on the runtime that this is called in. It ends when `shutdown` is cancelled.
    /// Fails when the listener cannot be used on that runtime.
    pub fn start(
        config: MeshConfig,
        listener: std::net::TcpListener,
        events: mpsc::Sender<Event>,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let MeshConfig { me, ref peers, .. } = config;
        // Where this node listens is where the others expect it to come from.
        let source = config.bind.unwrap_or(listener.local_addr()?.ip().to_canonical());
        if let Some(Host::Ip(configured)) = peers.host(me)
            && !source.is_unspecified()
            && source != *configured
        {
            tracing::warn!(node = %me, %source, %configured, "The others will see another address of this node than the configured one");
        }
        let (links, queues): (BTreeMap<_, _>, Vec<_>) = peers
            .members()
            .without(me)
            .iter()
            .map(|peer| {
                let (outbox, queue) = link::outbox();
                let link = PeerLink { outbox, up: AtomicBool::new(false), info: Mutex::default(), poke: Notify::new() };
                ((peer, link), (peer, queue))
            })
            .unzip();
        let shared = Arc::new(Shared {
            identity: Identity::new(me, peers, config.incarnation, config.wire),
            source,
            book: Arc::new(AddressBook::new(peers, config.address_check, config.extra_sources)),
            tls: config.tls,
            rejections: config.rejections,
            handshakes: config.handshakes,
            registry: Registry::default(),
            peers: links,
            events,
            shutdown,
        });
        let tasks = TaskTracker::new();
        for (id, name) in shared.book.named() {
            let resolving = Arc::clone(&shared.book).keep_resolving(id, name);
            tasks.spawn(shared.shutdown.clone().run_until_cancelled_owned(resolving));
        }
        for (peer, queue) in queues {
            tasks.spawn(dial::keep_linked(Arc::clone(&shared), peer, queue));
        }
        tasks.spawn(accept::accept(Arc::clone(&shared), listener, tasks.clone()));
        tasks.close();
        Ok(Self { shared, tasks })
    }

    /// Sends a message, if the link to the peer is up and its queue has room; else nothing happens. Never waits.
    pub fn send(&self, to: NodeId, message: &Message) {
        let Some(peer) = self.shared.peers.get(&to) else { return };
        if !peer.up.load(Ordering::Acquire) {
            return;
        }
        let Some(wire) = peer.wire() else { return };
        match Payload::new(message, wire) {
            Ok(payload) => peer.outbox.push(payload),
            Err(error) => tracing::error!(peer = %to, kind = message.kind(), %error, "A message cannot be sent"),
        }
    }

    /// Speaks the newest version of the wire only from now on: links of an older one end, and none is made any more.
    pub fn close(&self) {
        self.shared.identity.spoken.send_modify(|spoken| spoken.oldest = WireVersion::NEWEST);
    }

    /// The links that are up.
    pub fn links(&self) -> BTreeMap<NodeId, LinkInfo> {
        let info = |link: &PeerLink| link.info.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.shared.peers.iter().filter_map(|(id, link)| Some((*id, info(link)?))).collect()
    }

    /// How many addresses each peer is known to have.
    pub fn addresses(&self) -> BTreeMap<NodeId, usize> {
        let count = |id: &NodeId| self.shared.book.addresses(*id, Instant::now()).len();
        self.shared.peers.keys().map(|id| (*id, count(id))).collect()
    }

    /// Waits until everything that the mesh started has ended, which it does after the shutdown was asked for.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}
