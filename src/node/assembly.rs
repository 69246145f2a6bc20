//! The parts of a node: opened, bound and recovered one after the other, and put together as a whole.

use super::agreement::{Agreement, Bound};
use super::bind::{listen, own_address};
use super::certificates::{Certificates, open_files};
use super::config::NodeConfig;
use super::error::NodeError;
use super::stages::Stages;
use super::traffic::ProxyTraffic;
use super::{descriptors, metrics};
use api::{Api, Counters, LinkShown, WallClock, router};
use audit::{Log, Outgoing};
use axum::Router;
use edge::{Entrance, Gauges, Limits};
use member::{Config, Driver, Engine, Handle, Inbox, Timing, boottime, oldest_spoken};
use mesh::{LinkInfo, Mesh, MeshConfig};
use model::{Incarnation, NodeId, Peers};

use proxy::{Entry, Proxy, Settings, Timeouts};
use service::RoutingState;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use store::{History, Store, StoreIdentity};
use tls::{Handshakes, Rejections};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use trust::{FileWatch, NodeFiles};

/// Who this node is, and who the others are.
pub(super) struct Certified {
    pub(super) peers: Peers,
    pub(super) certificates: Certificates,
    cluster: String,
}

impl Certified {
    /// Reads the certificates, and refuses to go on with any that would not do.
    pub(super) fn open(config: &NodeConfig) -> Result<Self, NodeError> {
        let me = config.me;
        let watch = FileWatch::new(&config.certs, me);
        let files = open_files(config, config.peers.as_ref())?;
        let peers = config.peers.clone().unwrap_or_else(|| files.bundle.peers.clone());
        let Some(host) = peers.host(me) else {
            return Err(NodeError::NotAMember { me, variable: me.variable(), members: peers.members().to_string() });
        };
        files.check_address(host)?;
        if let Some(path) = files.ca_key.clone().filter(|_| config.strict) {
            return Err(NodeError::AuthorityKey(path));
        }
        descriptors::take_what_is_allowed();
        warn_about(config, &peers, &files);
        let mut certificates = Certificates::new(&files, watch, config, &peers)?;
        certificates.remind(config.crl_policy);
        Ok(Self { peers, certificates, cluster: files.bundle.trust_domain.clone() })
    }
}

/// The two ports.
pub(super) struct Ports {
    control: TcpListener,
    data: TcpListener,
    /// Where they are.
    at: [SocketAddr; 2],
}

impl Ports {
    pub(super) fn bind(config: &NodeConfig, peers: &Peers) -> Result<Self, NodeError> {
        let me = config.me;
        let host = peers.host(me).expect("who is no member was refused");
        let address = own_address(me, config.bind, host)?;
        let at = [me.control_port(), me.data_port()].map(|port| SocketAddr::new(address, port));
        let [control, data] = at;
        Ok(Self { control: listen(control)?, data: listen(data)?, at })
    }
}

/// What the disk remembers.
pub(super) struct Recovered {
    store: Store,
    history: (History, Vec<String>),
    engine: Engine,
    incarnation: Incarnation,
}

impl Recovered {
    pub(super) fn from_disk(config: &NodeConfig, opened: &Certified) -> Result<Self, NodeError> {
        let identity = StoreIdentity { node: config.me, cluster: opened.cluster.clone() };
        let (store, durable) = Store::open(&config.data.join(config.me.to_string()), identity, fresh_incarnation()?)?;
        if let Some(wire) = oldest_spoken(&durable).filter(|wire| config.wire.wire() < *wire) {
            return Err(NodeError::LeftBehind { me: config.me, wire, told: config.wire });
        }
        let incarnation = durable.incarnation;
        let agreement = Config {
            me: config.me,
            members: opened.peers.members(),
            initial: Arc::new(RoutingState::initial(config.stable.clone())),
            on_isolation: config.on_isolation,
            on_empty_disk: config.on_empty_disk,
            timing: Timing::default(),
        };
        let history = History::open(&store.dir(), config.history_keep);
        Ok(Self { store, history, engine: Driver::engine(agreement, durable), incarnation })
    }
}

/// All that a node is made of.
pub(super) struct Parts {
    pub(super) config: NodeConfig,
    pub(super) opened: Certified,
    pub(super) ports: Ports,
    pub(super) recovered: Recovered,
    /// The way to the audit record.
    pub(super) log: Log,
    /// What of it is to be handed to peers.
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
}

/// A node that is ready, of which nothing runs yet.
pub(super) struct Node {
    pub(super) config: NodeConfig,
    pub(super) peers: Peers,
    pub(super) certificates: Certificates,
    pub(super) agreement: Agreement,
    pub(super) entrance: Entrance,
    pub(super) entry: Entry<Router>,
    pub(super) listener: TcpListener,
    /// Where the two ports are.
    pub(super) at: [SocketAddr; 2],
    /// The version that it knows as decided.
    pub(super) version: u64,
}

/// What both ports count.
struct Counts {
    rejections: Arc<Rejections>,
    handshakes: Arc<Handshakes>,
    gauges: Arc<Gauges>,
}

impl Node {
    /// Puts the parts together.
    pub(super) fn new(parts: Parts, stages: &Stages, tasks: &TaskTracker) -> Result<Self, NodeError> {
        let Parts { config, opened, ports, recovered, log, outgoing } = parts;
        let Ports { control, data: listener, at } = ports;
        let Certified { peers, certificates, cluster: _ } = opened;
        let Recovered { store, history, engine, incarnation } = recovered;
        let certificates = certificates.filed_in(log.clone());
        let watching = log.clone();
        let counts = Counts {
            rejections: Arc::new(Rejections::watched(move |rejection| watching.rejected(rejection))),
            handshakes: Arc::default(),
            gauges: Arc::default(),
        };
        let mesh_config = mesh_config(&config, &peers, incarnation, &certificates, &counts);
        let Bound { runtime, mesh, events } = Bound::new(mesh_config, control, stages)?;
        let (handle, publisher, requests) = Handle::new(engine.view(boottime()));
        let version = handle.view().state.version;
        let timeouts = Timeouts { answer: config.upstream_timeout, ..Timeouts::default() };
        let settings = Settings {
            upstreams: config.upstreams.clone(),
            timeouts,
            testers: config.testers.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
        };
        let proxy = Proxy::new(handle.clone(), settings, tasks.clone());
        let traffic = Box::new(ProxyTraffic(proxy.clone()));
        let driver = Driver::new(engine, store, mesh.clone(), publisher, traffic, log.clone(), history);
        let inbox = Inbox { mesh: events, requests, outgoing };
        let entrance = Entrance {
            tls: certificates.https.subscribe(),
            rejections: Arc::clone(&counts.rejections),
            handshakes: Arc::clone(&counts.handshakes),
            gauges: Arc::clone(&counts.gauges),
            limits: Limits { drain: config.drain, ..Limits::default() },
            stopping: stages.closing.clone(),
            tasks: tasks.clone(),
        };
        let (shown, measured, reloads) = (mesh.clone(), mesh.clone(), Arc::clone(&certificates.reloads));
        let api = Api {
            handle,
            peers: peers.clone(),
            proxy: proxy.clone(),
            reporters: config.outcomes,
            trusted_proxies: config.trusted_proxies.clone(),
            rejections: counts.rejections,
            certificates: Arc::clone(&certificates.shown),
            handshakes: counts.handshakes,
            more_metrics: Arc::new(move |text| metrics::write(text, &measured, &reloads)),
            audit: log,
            leaving: stages.leaving.clone(),
            stopping: stages.closing.clone(),
            links: Arc::new(move || links(&shown)),
            wire_version: config.wire.wire(),
            counters: Counters::default(),
            gauges: counts.gauges,
            wall: WallClock::default(),
        };
        let agreement = Agreement { runtime, mesh, driver, inbox, stages: stages.clone() };
        let entry = Entry::new(proxy, router(Arc::new(api)));
        Ok(Self { config, peers, certificates, agreement, entrance, entry, listener, at, version })
    }
}

fn mesh_config(
    config: &NodeConfig,
    peers: &Peers,
    incarnation: Incarnation,
    certificates: &Certificates,
    counts: &Counts,
) -> MeshConfig {
    MeshConfig {
        me: config.me,
        peers: peers.clone(),
        incarnation,
        wire: config.wire,
        bind: config.bind,
        address_check: config.address_check,
        extra_sources: config.extra_sources.clone(),
        tls: certificates.control.subscribe(),
        rejections: Arc::clone(&counts.rejections),
        handshakes: Arc::clone(&counts.handshakes),
    }
}

/// What is shown of the links to the peers.
fn links(mesh: &Mesh) -> BTreeMap<NodeId, LinkShown> {
    let shown = |info: LinkInfo| LinkShown { wire_version: info.wire.wire(), clock_skew_ms: info.skew_ms };
    mesh.links().into_iter().map(|(id, info)| (id, shown(info))).collect()
}

/// What works, but not as well as it could.
fn warn_about(config: &NodeConfig, peers: &Peers, files: &NodeFiles) {
    let sharing = peers.sharing();
    if !sharing.is_empty() {
        tracing::warn!(nodes = %sharing, "Several members share an address: it does not tell them apart");
    }
    if let Some(path) = &files.ca_key {
        let path = path.display();
        tracing::warn!(
            %path,
            reason = "ca_key_present",
            "The authority's key is on this node: keep it where certificates are made"
        );
    }
    let (address_check, client_auth, crl_expired) = (config.address_check, config.client_auth, config.crl_policy);
    tracing::info!(?address_check, ?client_auth, ?crl_expired, "Policies in effect");
}

fn fresh_incarnation() -> Result<Incarnation, NodeError> {
    let drawn = getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    drawn.map(Incarnation).map_err(NodeError::system("cannot draw a random number"))
}
