//! From a configuration to a node that serves, and to a node that has stopped.

use super::bind::{BindError, listen, own_address};
use super::certificates::{Certificates, open_files};
use super::config::NodeConfig;
use super::metrics;
use crate::api::{self, Api, Limits};
use crate::audit::{AUDIT_FILE, Opened};
use crate::driver::{Config, Driver, DriverError, Handle, Inbox, Probing, Timing, Traffic};
use crate::health::Samples;
use crate::mesh::{Mesh, MeshConfig};
use crate::model::{Incarnation, Model, NodeId, Peers, Smoke};
use crate::pki::{FileWatch, NodeFiles, PkiError};
use crate::proxy::{Proxy, Timeouts};
use crate::rollout::Trial;
use crate::store::{History, Store, StoreError, StoreIdentity};
use crate::tls::{ConfigError, Rejections};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Messages from the mesh that may wait for the driver; beyond that the peers' connections wait.
const MESH_QUEUE: usize = 256;
/// How often the certificates' files are looked at: a new one is in use before whoever copied it has logged out.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
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
            stable: config.stable.clone(),
            on_isolation: config.on_isolation,
            on_empty_disk: config.on_empty_disk,
            timing: Timing::default(),
        },
        durable,
    );
    let (handle, publisher, requests) = Handle::new(engine.view(crate::driver::boottime()));
    let timeouts = Timeouts { answer: config.upstream_timeout, ..Timeouts::default() };
    let proxy = Proxy::with_timeouts(handle.clone(), config.upstreams.clone(), timeouts);
    let Opened { log, outgoing, closing } = open_audit(&config, &certificates);
    let rejections = {
        let log = log.clone();
        Arc::new(Rejections::watched(move |rejection| log.rejected(rejection)))
    };
    let stopping = CancellationToken::new();
    let mesh_config = MeshConfig {
        me,
        peers: peers.clone(),
        incarnation,
        bind: config.bind,
        address_check: config.address_check,
        extra_sources: config.extra_sources.clone(),
        tls: certificates.control.subscribe(),
        rejections: Arc::clone(&rejections),
        handshakes: Arc::default(),
    };
    let mut api = Api::new(handle, peers.clone(), proxy.clone(), Arc::clone(&rejections));
    api.certificates = Arc::clone(&certificates.shown);
    api.handshakes = Arc::clone(&mesh_config.handshakes);
    let started: Arc<OnceLock<Mesh>> = Arc::default();
    let (seen, reloads) = (Arc::clone(&started), Arc::clone(&certificates.reloads));
    api.more_metrics = Arc::new(move |text| metrics::write(text, seen.get(), &reloads));
    api.stopping = stopping.clone();
    api.audit = log.clone();
    certificates.audit = log.clone();

    let history = History::open(&store.dir(), config.history_keep);
    let agreement = {
        let stopping = stopping.clone();
        let agree = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(NodeError::system("cannot start the runtime of the agreement"))?;
            let _stop_all = stopping.clone().drop_guard();
            runtime.block_on(async move {
                let (events, mesh_inbox) = mpsc::channel(MESH_QUEUE);
                let mesh = Mesh::start(mesh_config, control_listener, events, stopping.clone())
                    .map_err(NodeError::system("cannot listen for peers"))?;
                let _ = started.set(mesh.clone());
                let traffic = Box::new(ProxyTraffic(proxy));
                let driver = Driver::new(engine, store, mesh.clone(), publisher, traffic, log, history);
                let inbox = Inbox { mesh: mesh_inbox, requests, outgoing };
                let ended = driver.run(inbox, stopping.clone()).await;
                stopping.cancel();
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
    let served = serve(&config, &peers, &mut certificates, api, data_listener, rejections, stopping.clone());
    stopping.cancel();
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
    stopping: CancellationToken,
) -> Result<(), NodeError> {
    // The server has threads of its own; this one only waits for signals.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::system("cannot start the runtime of the HTTPS port"))?;
    runtime.block_on(async {
        let https = certificates.https.subscribe();
        let serving = tokio::spawn(api::serve(listener, https, rejections, Arc::new(api), Limits::default()));
        obey_signals(config, peers, certificates, &stopping).await?;
        let served = serving.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        served.map_err(NodeError::system("cannot serve HTTPS"))
    })
}

/// Stops the node on SIGTERM and SIGINT, and loads certificates anew on SIGHUP or when their files have changed.
async fn obey_signals(
    config: &NodeConfig,
    peers: &Peers,
    certificates: &mut Certificates,
    stopping: &CancellationToken,
) -> Result<(), NodeError> {
    let listen_for = |kind| signal(kind).map_err(NodeError::system("cannot listen for signals"));
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let mut hang_up = listen_for(SignalKind::hangup())?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => certificates.reload(config, peers),
            _ = look.tick() => certificates.reload_if_changed(config, peers),
        }
        certificates.remind(config.crl_policy);
    }
    tracing::info!(node = %config.me, "Stopping: finishing the requests in flight");
    stopping.cancel();
    Ok(())
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
