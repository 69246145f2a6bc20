//! From a configuration to a node that serves, and to a node that has stopped.

use super::bind::{BindError, listen, own_address};
use super::certificates::{Certificates, open_files};
use super::clock::{ClockWatch, say_jump};
use super::config::NodeConfig;
use super::{descriptors, metrics};
use api::{self, Api, Counters, WallClock};
use audit::{AUDIT_FILE, Opened};
use edge::{Entrance, Limits};
use jiff::Timestamp;
use judge::Samples;
use member::{Config, Driver, DriverError, Handle, Inbox, Probing, Stopping, Timing, Traffic, boottime, unix_millis};
use mesh::{LinkInfo, Mesh, MeshConfig};
use model::{Incarnation, NodeId, Peers};
use proxy::{Entry, Proxy, Timeouts};
use rollout::Trial;
use service::{Model, RoutingState, Smoke};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use store::{History, Store, StoreError, StoreIdentity};
use tls::{ConfigError, Rejections};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trust::{FileWatch, NodeFiles, TrustError};

/// Messages from the mesh that may wait for the driver; beyond that the peers' connections wait.
const MESH_QUEUE: usize = 256;
/// How often the certificates' files are looked at: a new one is in use before whoever copied it has logged out.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] TrustError),
    /// TLS cannot use them.
    #[error(transparent)]
    Tls(#[from] ConfigError),
    /// The member is not among those configured.
    #[error("{me} is not a member: {variable} is not set, and the members are {members}")]
    NotAMember {
        /// The member.
        me: NodeId,
        /// The variable that would make it one.
        variable: String,
        /// Those configured.
        members: String,
    },
    /// The authority's key lies on this machine, and the node is told not to bear that.
    #[error("the authority's key is on this machine, at {}: whoever reads it can be any node (reason=ca_key_present)", .0.display())]
    AuthorityKey(PathBuf),
    /// There is no place to listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agreement has ended.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The operating system refuses something that every program needs.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl NodeError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Runs the node until SIGTERM or SIGINT, or until it cannot go on.
///
/// # Errors
/// When it cannot start, or has to stop for a reason of its own.
pub fn run(config: NodeConfig) -> Result<(), NodeError> {
    let me = config.me;
    let watch = FileWatch::new(&config.certs, me);
    let files = open_files(&config, config.peers.as_ref())?;
    let peers = config.peers.clone().unwrap_or_else(|| files.bundle.peers.clone());
    let Some(host) = peers.host(me) else {
        return Err(NodeError::NotAMember { me, variable: me.variable(), members: peers.members().to_string() });
    };
    files.check_address(host)?;
    if let Some(path) = files.ca_key.clone().filter(|_| config.strict) {
        return Err(NodeError::AuthorityKey(path));
    }
    descriptors::take_what_is_allowed();
    warn_about(&config, &peers, &files);
    let mut certificates = Certificates::new(&files, watch, &config, &peers)?;
    certificates.remind(config.crl_policy);

    let address = own_address(me, config.bind, host)?;
    let (control, data) = (SocketAddr::new(address, me.control_port()), SocketAddr::new(address, me.data_port()));
    let (control_listener, data_listener) = (listen(control)?, listen(data)?);

    let identity = StoreIdentity { node: me, cluster: files.bundle.trust_domain.clone() };
    drop(files);
    let (store, durable) = Store::open(&config.data.join(me.to_string()), identity, fresh_incarnation()?)?;
    let incarnation = durable.incarnation;
    let engine = Driver::engine(
        Config {
            me,
            members: peers.members(),
            initial: Arc::new(RoutingState::initial(config.stable.clone())),
            on_isolation: config.on_isolation,
            on_empty_disk: config.on_empty_disk,
            timing: Timing::default(),
        },
        durable,
    );
    let (handle, publisher, requests) = Handle::new(engine.view(boottime()));
    let timeouts = Timeouts { answer: config.upstream_timeout, ..Timeouts::default() };
    let proxy = Proxy::with_timeouts(handle.clone(), config.upstreams.clone(), timeouts);
    let Opened { log, outgoing, closing } = open_audit(&config, &certificates);
    let rejections = {
        let log = log.clone();
        Arc::new(Rejections::watched(move |rejection| log.rejected(rejection)))
    };
    let stop = Stop::default();
    let mesh_config = MeshConfig {
        me,
        peers: peers.clone(),
        incarnation,
        wire: config.wire,
        bind: config.bind,
        address_check: config.address_check,
        extra_sources: config.extra_sources.clone(),
        tls: certificates.control.subscribe(),
        rejections: Arc::clone(&rejections),
        handshakes: Arc::default(),
    };
    let started: Arc<OnceLock<Mesh>> = Arc::default();
    let api = {
        let (seen, shown, reloads) = (Arc::clone(&started), Arc::clone(&started), Arc::clone(&certificates.reloads));
        Api {
            handle,
            peers: peers.clone(),
            proxy: proxy.clone(),
            rejections: Arc::clone(&rejections),
            certificates: Arc::clone(&certificates.shown),
            handshakes: Arc::clone(&mesh_config.handshakes),
            more_metrics: Arc::new(move |text| metrics::write(text, seen.get(), &reloads)),
            audit: log.clone(),
            leaving: stop.asked.clone(),
            stopping: stop.closing.clone(),
            links: Arc::new(move || links(shown.get())),
            counters: Counters::default(),
            gauges: Arc::default(),
            wall: WallClock::default(),
        }
    };
    certificates.audit = log.clone();

    let history = History::open(&store.dir(), config.history_keep);
    let agreement = {
        let stop = stop.clone();
        let agree = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(NodeError::system("cannot start the runtime of the agreement"))?;
            let _close_all = stop.closing.clone().drop_guard();
            let _stop_all = stop.asked.clone().drop_guard();
            runtime.block_on(async move {
                let (events, mesh_inbox) = mpsc::channel(MESH_QUEUE);
                let mesh = Mesh::start(mesh_config, control_listener, events, stop.ended.clone())
                    .map_err(NodeError::system("cannot listen for peers"))?;
                let _ = started.set(mesh.clone());
                let traffic = Box::new(ProxyTraffic(proxy));
                let driver = Driver::new(engine, store, mesh.clone(), publisher, traffic, log, history);
                let inbox = Inbox { mesh: mesh_inbox, requests, outgoing };
                let stopping = Stopping { leave: stop.asked.clone(), end: stop.served.clone() };
                let ended = driver.run(inbox, stopping).await;
                stop.ended.cancel();
                mesh.stopped().await;
                ended.map_err(NodeError::from)
            })
        };
        thread::Builder::new()
            .name("agreement".into())
            .spawn(agree)
            .map_err(NodeError::system("cannot start a thread"))?
    };

    let role = if me == NodeId::A { "Coordinator started" } else { "Participant started" };
    tracing::info!(node = %me, %control, %data, version = api.handle.view().state.version, "{role}");
    let served = serve(&config, &peers, &mut certificates, api, data_listener, rejections, &stop);
    stop.asked.cancel();
    stop.served.cancel();
    let agreed = agreement.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    closing.close();
    tracing::info!(node = %me, "Stopped");
    agreed.and(served)
}

/// Serves HTTPS until the node stops.
fn serve(
    config: &NodeConfig,
    peers: &Peers,
    certificates: &mut Certificates,
    api: Api,
    listener: std::net::TcpListener,
    rejections: Arc<Rejections>,
    stop: &Stop,
) -> Result<(), NodeError> {
    // The server has threads of its own; this one only waits for signals.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::system("cannot start the runtime of the HTTPS port"))?;
    runtime.block_on(async {
        let https = certificates.https.subscribe();
        let entrance = Entrance {
            tls: https,
            rejections,
            handshakes: Arc::clone(&api.handshakes),
            gauges: Arc::clone(&api.gauges),
            limits: Limits { drain: config.drain, ..Limits::default() },
            stopping: api.stopping.clone(),
            tasks: TaskTracker::new(),
        };
        let entry = Entry::new(api.proxy.clone(), api::router(Arc::new(api)));
        let serving = tokio::spawn(entrance.serve(listener, entry));
        let mut signals = Signals::listen()?;
        let kind = obey_signals(config, peers, certificates, &mut signals, stop).await;
        let ending = tokio::spawn(signals.end_at_the_next(kind, config.me));
        linger(config, stop).await;
        let served = serving.await;
        ending.abort();
        let served = served.unwrap_or_else(|error| Err(io::Error::other(error)));
        served.map_err(NodeError::system("cannot serve HTTPS"))
    })
}

/// How a node stops, step by step; each is cancelled once.
#[derive(Clone, Debug, Default)]
struct Stop {
    /// Told to stop: `/readyz` says so, and the others are to coordinate.
    asked: CancellationToken,
    /// The HTTPS port closes, and requests in flight are finished.
    closing: CancellationToken,
    /// There are none any more, and nobody can ask the agreement anything.
    served: CancellationToken,
    /// The agreement has ended, and with it the links.
    ended: CancellationToken,
}

/// The signals that a node obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, NodeError> {
        let listen_for = |kind| signal(kind).map_err(NodeError::system("cannot listen for signals"));
        Ok(Self {
            terminate: listen_for(SignalKind::terminate())?,
            interrupt: listen_for(SignalKind::interrupt())?,
            hang_up: listen_for(SignalKind::hangup())?,
        })
    }

    /// Waits until the signal `kind` comes once more: whoever asks twice does not want to wait. What matters is on disk at
    /// any moment, as with kill -9. One of each kind is not twice: a terminal and a script may both pass a stop on.
    async fn end_at_the_next(mut self, kind: SignalKind, me: NodeId) {
        let again = if kind == SignalKind::interrupt() { &mut self.interrupt } else { &mut self.terminate };
        again.recv().await;
        tracing::warn!(node = %me, "Told to stop a second time: ending at once, with what was in flight");
        // What shells say of a process that a signal has ended.
        std::process::exit(128 + kind.as_raw_value());
    }
}

/// Waits for SIGTERM or SIGINT and says which it was, and loads certificates anew on SIGHUP or when their files have changed.
async fn obey_signals(
    config: &NodeConfig,
    peers: &Peers,
    certificates: &mut Certificates,
    signals: &mut Signals,
    stop: &Stop,
) -> SignalKind {
    let mut clock = ClockWatch::default();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let kind = loop {
        tokio::select! {
            () = stop.asked.cancelled() => return SignalKind::terminate(),
            _ = signals.terminate.recv() => break SignalKind::terminate(),
            _ = signals.interrupt.recv() => break SignalKind::interrupt(),
            _ = signals.hang_up.recv() => certificates.reload(config, peers),
            _ = look.tick() => {
                if let Some(jump_ms) = clock.look(boottime(), unix_millis()) {
                    say_jump(jump_ms, Timestamp::now());
                }
                certificates.reload_if_changed(config, peers);
            }
        }
        certificates.remind(config.crl_policy);
    };
    tracing::info!(node = %config.me, "Stopping: finishing the requests in flight");
    stop.asked.cancel();
    kind
}

/// Goes on serving for as long as whoever sends requests here takes to notice that it should not. What stops a node
/// from within leaves no time for that.
async fn linger(config: &NodeConfig, stop: &Stop) {
    tokio::select! {
        () = tokio::time::sleep(config.stop_delay) => {}
        () = stop.closing.cancelled() => {}
    }
    stop.closing.cancel();
}

/// What is shown of the links to the peers.
fn links(mesh: Option<&Mesh>) -> BTreeMap<NodeId, api::LinkShown> {
    let shown = |info: LinkInfo| api::LinkShown { wire_version: info.wire.number(), clock_skew_ms: info.skew_ms };
    mesh.map(Mesh::links).unwrap_or_default().into_iter().map(|(id, info)| (id, shown(info))).collect()
}

/// The record of this node; without one the node runs, and says so.
fn open_audit(config: &NodeConfig, certificates: &Certificates) -> Opened {
    let directory = config.data.join(config.me.to_string());
    Opened::open(&directory, config.me, config.audit_keep, certificates.control.subscribe()).unwrap_or_else(|error| {
        let path = directory.join(AUDIT_FILE).display().to_string();
        tracing::error!(%path, %error, "The audit record cannot be opened: nothing is recorded until the next start");
        Opened::none()
    })
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

/// Asks upstreams, and counts requests, through the proxy that serves them.
struct ProxyTraffic(Proxy);

impl Traffic for ProxyTraffic {
    fn probe(&self, model: &Model, smoke: Option<&Smoke>) -> Option<Probing> {
        let (proxy, model, smoke) = (self.0.clone(), model.clone(), smoke.cloned());
        if !proxy.has_upstream(&model) {
            if proxy.lacks_upstream(&model) {
                let model = &model.id;
                tracing::warn!(%model, "The model has no model server on this node: its requests get the choice as answer");
            }
            return None;
        }
        Some(Box::pin(async move { proxy.probe(&model, smoke.as_ref()).await }))
    }

    fn count(&self, trial: Option<&Trial>) {
        self.0.count(trial);
    }

    fn counted(&self) -> Samples {
        self.0.counted()
    }
}
