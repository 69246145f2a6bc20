//! Three members on loopback addresses of one test, with certificates of their own authority.

use super::log;
use issue::InitPlan;
use mesh::{AddressCheck, Event, ExtraSources, Mesh, MeshConfig, WireVersion};
use model::{Ballot, Incarnation, NodeId, Peers};
use service::Message;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tls::{ControlPlane, CrlPolicy, Direction, Plane, Reason, Rejections};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use trust::NodeFiles;

/// Nothing here takes a tenth of it on an idle machine; tests share theirs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const A: NodeId = NodeId::A;
pub(crate) const B: NodeId = node('b');
pub(crate) const C: NodeId = node('c');

pub(crate) const fn node(letter: char) -> NodeId {
    match NodeId::from_letter(letter) {
        Some(id) => id,
        None => panic!("a letter"),
    }
}

/// One authority and its members' certificates.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) peers: Peers,
    net: u8,
}

/// A running member.
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) mesh: Mesh,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) rejections: Arc<Rejections>,
    shutdown: CancellationToken,
}

impl World {
    /// Members at 127.22.`net`.1 to .3; every test has its own net.
    pub(crate) fn new(net: u8) -> Self {
        Self::with(net, |_| ())
    }

    pub(crate) fn with(net: u8, change: impl FnOnce(&mut InitPlan)) -> Self {
        log::keep();
        let dir = tempfile::tempdir().expect("a directory");
        let peers = peers(net);
        let mut plan = InitPlan::for_peers(dir.path(), &peers);
        change(&mut plan);
        issue::init(&plan).expect("certificates");
        Self { dir, peers, net }
    }

    pub(crate) fn certs(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn ip(&self, id: NodeId) -> IpAddr {
        ip(self.net, id.index() + 1)
    }

    /// An address of nobody.
    pub(crate) fn stranger(&self) -> IpAddr {
        ip(self.net, 99)
    }

    pub(crate) fn address(&self, id: NodeId) -> SocketAddr {
        SocketAddr::new(self.ip(id), id.control_port())
    }

    pub(crate) fn files(&self, id: NodeId) -> NodeFiles {
        NodeFiles::load(self.certs(), id).expect("the files of a member")
    }

    pub(crate) fn trust_domain(&self) -> String {
        self.files(A).bundle.trust_domain
    }

    pub(crate) fn plane(&self, id: NodeId) -> ControlPlane {
        ControlPlane::new(&self.files(id), id, self.peers.members(), CrlPolicy::Warn).expect("a configuration")
    }

    pub(crate) fn config(&self, id: NodeId) -> MeshConfig {
        MeshConfig {
            me: id,
            peers: self.peers.clone(),
            incarnation: Incarnation(u64::from(id.index()) + 1),
            wire: WireVersion::NEWEST,
            bind: None,
            address_check: AddressCheck::Enforce,
            extra_sources: ExtraSources::default(),
            tls: watch::Sender::new(Arc::new(self.plane(id))).subscribe(),
            rejections: Arc::default(),
            handshakes: Arc::default(),
        }
    }

    pub(crate) fn start(&self, id: NodeId) -> Member {
        self.start_with(id, |_| ())
    }

    pub(crate) fn start_with(&self, id: NodeId, change: impl FnOnce(&mut MeshConfig)) -> Member {
        let mut config = self.config(id);
        change(&mut config);
        let listener = TcpListener::bind(self.address(id)).expect("the port is free");
        Member::start(config, listener)
    }
}

pub(crate) fn peers(net: u8) -> Peers {
    let host = |id: NodeId| (id, ip(net, id.index() + 1).to_string().parse().expect("an address"));
    Peers::new([A, B, C].map(host)).expect("three members")
}

fn ip(net: u8, last: u8) -> IpAddr {
    Ipv4Addr::new(127, 22, net, last).into()
}

impl Member {
    pub(crate) fn start(config: MeshConfig, listener: TcpListener) -> Self {
        let (events, inbox) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let (id, rejections) = (config.me, Arc::clone(&config.rejections));
        let mesh = Mesh::start(config, listener, events, shutdown.clone()).expect("a mesh");
        Self { id, mesh, events: inbox, rejections, shutdown }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        within(self.events.recv()).await.expect("the mesh runs")
    }

    /// Waits until the links to these peers are up; other events are thrown away.
    pub(crate) async fn wait_up(&mut self, peers: &[NodeId]) {
        let mut missing = peers.to_vec();
        while !missing.is_empty() {
            if let Event::Up(peer, _) = self.event().await {
                missing.retain(|wanted| *wanted != peer);
            }
        }
    }

    pub(crate) async fn wait_down(&mut self, wanted: NodeId) {
        loop {
            if let Event::Down(peer) = self.event().await
                && peer == wanted
            {
                return;
            }
        }
    }

    /// The next message, and who sent it.
    pub(crate) async fn message(&mut self) -> (NodeId, Message) {
        loop {
            if let Event::Message(from, message) = self.event().await {
                return (from, message);
            }
        }
    }

    /// Waits until somebody was refused for this reason.
    pub(crate) async fn wait_rejection(&self, direction: Direction, reason: Reason) {
        self.wait_rejections(direction, reason, 1).await;
    }

    /// Waits until so many were.
    pub(crate) async fn wait_rejections(&self, direction: Direction, reason: Reason, count: u64) {
        let counted = async {
            while self.rejections.count(Plane::Control, direction, reason) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, counted).await.is_err() {
            panic!("{} refused nobody as {reason} but {:?}", self.id, self.rejections.counts());
        }
    }

    /// Whether nobody was refused.
    pub(crate) fn refused_nobody(&self) -> bool {
        self.rejections.counts().is_empty()
    }

    /// Stops and waits until everything has ended.
    pub(crate) async fn stop(self) {
        let Self { mesh, shutdown, .. } = self;
        shutdown.cancel();
        within(mesh.stopped()).await;
    }
}

/// The value, unless it takes too long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("this should long be over")
}

/// A message that tells `round`.
pub(crate) fn message(node: NodeId, round: u64) -> Message {
    Message::Campaign { ballot: Ballot { round, node, incarnation: Incarnation(7) } }
}
