//! `canary node`.

use super::cluster::{parse_span, unusable};
use super::environment;
use super::failure::{Exit, Failure};
use super::logging::LogArgs;
use api::Reporters;
use clap::{Args, ValueEnum};
use member::{DriverError, IsolationPolicy, OnEmptyDisk, Stop};
use mesh::{AddressCheck, ExtraSources, WireVersion};
use model::{Keep, ModelId, Networks, NodeId};
use node::{BindError, NodeConfig, NodeError};
use proxy::{Testers, Upstreams};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::{StoreError, StoreFault};
use tls::{ClientAuth, CrlPolicy};

/// Run one node of the mesh in the foreground.
///
/// The members' addresses come from PEERS_NODE_A, PEERS_NODE_B, PEERS_NODE_C …, or from the node's own certificate
/// folder. SIGTERM and SIGINT stop it cleanly, a second one at once; SIGHUP,
/// or a change of their files, loads its certificates anew.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  canary node coordinator
  canary node participant_b --data /var/lib/canary --upstream v1=http://127.0.0.1:9001/predict
  canary node participant_c --rejoin        # after its disk was lost")]
pub(crate) struct NodeArgs {
    /// Which member this is: coordinator (node-a), participant_b, participant_c …
    #[arg(value_name = "ROLE")]
    role: NodeId,
    /// Directory for durable state, one folder a node.
    #[arg(long, env = "CANARY_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// Stable model before any decision; the same on all nodes.
    #[arg(long, env = "CANARY_STABLE", value_name = "MODEL", default_value = "v1")]
    stable: ModelId,
    /// This node's model server: MODEL=URL. May be repeated, or hold several with commas.
    #[arg(long = "upstream", env = "CANARY_UPSTREAMS", value_name = "MODEL=URL", value_delimiter = ',')]
    upstreams: Vec<String>,
    /// How long a model server may take to begin its answer, such as 30s or 500ms.
    #[arg(long, env = "CANARY_UPSTREAM_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = parse_span)]
    upstream_timeout: Duration,
    /// Who may choose a model by the header x-canary: any, certificate (a client certificate of the cluster), or networks
    /// such as 10.0.0.0/8,192.168.1.7.
    #[arg(long, env = "CANARY_TESTERS", value_name = "WHO", default_value = "certificate")]
    testers: Testers,
    /// Who may say at /outcomes how requests ended: certificate (an operator's or an application's), local (whoever is on
    /// this host, too), or off.
    #[arg(long, env = "CANARY_OUTCOMES", value_name = "WHO", default_value = "certificate")]
    outcomes: Reporters,
    /// Proxies before this node whose x-forwarded-for is believed, such as 10.0.0.0/24,10.1.0.7.
    #[arg(long, env = "CANARY_TRUSTED_PROXIES", value_name = "NETWORKS", default_value = "")]
    trusted_proxies: Networks,
    /// Address to listen on and dial from, instead of the node's own configured one (behind NAT: 0.0.0.0).
    #[arg(long, env = "CANARY_BIND", value_name = "IP")]
    bind: Option<IpAddr>,
    /// What to serve while cut off from a majority. With hold, a rollback reaches a node that is cut off only when it is
    /// back.
    #[arg(long, value_name = "POLICY", default_value = "stable")]
    on_isolation: OnIsolation,
    /// Say that this is the first boot of the mesh, though not all members can be asked yet.
    #[arg(long, conflicts_with = "rejoin")]
    first_boot: bool,
    /// Say that this node's disk was lost: ask the other members what they hold, then take part again.
    #[arg(long)]
    rejoin: bool,
    /// What it means when a peer connects from an address that is not configured for it: enforce, warn or off.
    #[arg(long, env = "CANARY_PEER_ADDR_CHECK", value_name = "POLICY", default_value = "enforce")]
    peer_addr_check: AddressCheck,
    /// Further addresses that peers may connect from, such as node-b=10.0.0.0/24,node-c=10.1.0.7.
    #[arg(long, env = "CANARY_PEERS_EXTRA_SOURCES", value_name = "LIST", default_value = "")]
    peers_extra_sources: ExtraSources,
    /// What an out-of-date revocation list means: warn or enforce.
    #[arg(long, env = "CANARY_CRL_EXPIRED", value_name = "POLICY", default_value = "warn")]
    crl_expired: CrlPolicy,
    /// Whether the HTTPS port asks for a client certificate: off, optional or required.
    #[arg(long, env = "CANARY_HTTPS_CLIENT_AUTH", value_name = "POLICY", default_value = "optional")]
    https_client_auth: ClientAuth,
    /// How long to go on serving after SIGTERM, with /readyz saying 503: the time that a load balancer takes to notice.
    #[arg(long, env = "CANARY_STOP_DELAY", value_name = "TIME", value_parser = parse_span)]
    stop_delay: Option<Duration>,
    /// How long requests in flight may take after that.
    #[arg(long, env = "CANARY_DRAIN", value_name = "TIME", default_value = "1800ms", value_parser = parse_span)]
    drain: Duration,
    /// Speak no newer version of the nodes' protocol than this one: 5 or 6. With 5, the way back to the program before stays
    /// open for all.
    #[arg(long, env = "CANARY_WIRE_VERSION", value_name = "N", default_value_t)]
    wire_version: WireVersion,
    /// How much is kept of the history of decisions: so many bytes, what is so old, or both; the oldest go first.
    #[arg(long, env = "CANARY_HISTORY_KEEP", value_name = "LIMIT", default_value = "4MiB")]
    history_keep: Keep,
    /// How much is kept of the audit record, likewise.
    #[arg(long, env = "CANARY_AUDIT_KEEP", value_name = "LIMIT", default_value = "512MiB")]
    audit_keep: Keep,
    /// Do not start while the authority's key is on this machine, instead of warning.
    #[arg(long, env = "CANARY_STRICT")]
    strict: bool,
    /// Let the system write a core dump when the node crashes; the private key is in it.
    #[arg(long, env = "CANARY_CORE_DUMPS")]
    core_dumps: bool,
    /// Stop as with SIGTERM when standard input ends: for a program that starts nodes and may itself be killed.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnIsolation {
    /// The stable model only.
    Stable,
    /// The weights agreed last.
    Hold,
}

pub(crate) fn run(args: NodeArgs, certs: &Path) -> Result<Exit, Failure> {
    args.log.start()?;
    environment::check(&super::command())?;
    if args.core_dumps {
        allow_core_dumps()?;
    }
    if args.until_stdin_ends {
        std::thread::spawn(stop_when_stdin_ends);
    }
    let upstreams = args.upstreams.iter().map(String::as_str).filter(|entry| !entry.trim().is_empty());
    let upstreams = Upstreams::from_entries(upstreams).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let config = NodeConfig {
        me: args.role,
        peers: client::configured_peers().map_err(|error| Failure::new(Exit::Configuration, error))?,
        certs: certs.to_owned(),
        data: args.data,
        stable: args.stable,
        upstreams,
        upstream_timeout: args.upstream_timeout,
        testers: args.testers,
        outcomes: args.outcomes,
        trusted_proxies: args.trusted_proxies,
        bind: args.bind,
        strict: args.strict,
        on_isolation: match args.on_isolation {
            OnIsolation::Stable => IsolationPolicy::Stable,
            OnIsolation::Hold => IsolationPolicy::Hold,
        },
        on_empty_disk: match (args.first_boot, args.rejoin) {
            (true, _) => OnEmptyDisk::FirstBoot,
            (false, true) => OnEmptyDisk::Rejoin,
            (false, false) => OnEmptyDisk::AwaitFirstBoot,
        },
        address_check: args.peer_addr_check,
        extra_sources: args.peers_extra_sources,
        crl_policy: args.crl_expired,
        client_auth: args.https_client_auth,
        wire: args.wire_version,
        stop_delay: args.stop_delay.unwrap_or_default(),
        drain: args.drain,
        history_keep: args.history_keep,
        audit_keep: args.audit_keep,
    };
    node::run(config).map(|()| Exit::Done).map_err(failure)
}

fn allow_core_dumps() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|error| Failure::new(Exit::Failed, anyhow::anyhow!("cannot allow core dumps: {error}")))?;
    tracing::warn!(reason = "core_dumps", "Core dumps are allowed: the private key is in them");
    Ok(())
}

/// Standard input is a pipe whose other end closes with the program that started this node, however that one ends.
fn stop_when_stdin_ends() {
    // Whatever is written there means nothing, and an error means what the end means.
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM) {
        tracing::error!(%error, "Cannot stop, though standard input has ended");
    }
}

fn failure(error: NodeError) -> Failure {
    match error {
        NodeError::Certificates(error) => unusable(error, Exit::Configuration),
        error @ NodeError::AuthorityKey(_) => Failure::new(Exit::UnsafeKey, error)
            .with_hint("move ca/ to where certificates are made, or start without --strict"),
        error @ (NodeError::Tls(_) | NodeError::NotAMember { .. }) => Failure::new(Exit::Configuration, error),
        NodeError::Bind(error) => {
            let exit = match &error {
                BindError::Taken { .. } | BindError::Io { .. } => Exit::Failed,
                BindError::Unresolvable { .. } | BindError::NotHere(_) => Exit::Configuration,
            };
            Failure::new(exit, error)
        }
        NodeError::Store(error) | NodeError::Driver(DriverError::Store(error)) => of_store(error),
        NodeError::Driver(DriverError::Stop(error @ Stop::EmptyDisk { .. })) => Failure::new(Exit::Configuration, error)
            .with_hint(
                "if this node's disk was lost, start it once with --rejoin; if --data points to the wrong place, correct it",
            ),
        error @ NodeError::LeftBehind { .. } => Failure::new(Exit::Configuration, error)
            .with_hint("start it without --wire-version and CANARY_WIRE_VERSION; there is no way back to an older program"),
        error @ NodeError::System { .. } => Failure::new(Exit::Failed, error),
    }
}

fn of_store(error: StoreError) -> Failure {
    match error.fault() {
        StoreFault::CorruptData => Failure::new(Exit::CorruptData, error).with_hint(
            "look with `canary store check`; keep a copy of the data directory, empty it, and start the node once with --rejoin",
        ),
        StoreFault::Storage => Failure::new(Exit::StorageError, error),
        StoreFault::Configuration => Failure::new(Exit::Configuration, error),
    }
}
