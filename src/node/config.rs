//! What one node is told, and the certificates it holds.

use crate::api::CertificateInfo;
use crate::driver::{IsolationPolicy, OnEmptyDisk};
use crate::mesh::{AddressCheck, ExtraSources};
use crate::model::{ModelId, NodeId, Peers, UnixMillis};
use crate::pki::{NodeFiles, PkiError};
use crate::proxy::Upstreams;
use crate::tls::{ClientAuth, ConfigError, ControlPlane, CrlPolicy, HttpsPlane};
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Everything that one node is told.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Which member it is.
    pub me: NodeId,
    /// All members; those in its own `bundle.json` where nothing else is said.
    pub peers: Option<Peers>,
    /// The certificate directory.
    pub certs: PathBuf,
    /// The data directory of all nodes on this machine.
    pub data: PathBuf,
    /// The stable model before any decision.
    pub stable: ModelId,
    /// This node's model servers.
    pub upstreams: Upstreams,
    /// How long a model server may take to begin its answer.
    pub upstream_timeout: Duration,
    /// Where to listen and to dial from, instead of the node's own configured address.
    pub bind: Option<IpAddr>,
    /// What it serves while it is isolated.
    pub on_isolation: IsolationPolicy,
    /// What it does with an empty disk.
    pub on_empty_disk: OnEmptyDisk,
    /// What a foreign address means.
    pub address_check: AddressCheck,
    /// Further addresses of the members.
    pub extra_sources: ExtraSources,
    /// What a stale revocation list means.
    pub crl_policy: CrlPolicy,
    /// Whether HTTPS asks for client certificates.
    pub client_auth: ClientAuth,
}

/// The certificates of a node in the forms that its two ports use. Each form is exchanged as a whole, and live
/// connections that the new one no longer admits end.
pub struct Certificates {
    pub(super) control: watch::Sender<Arc<ControlPlane>>,
    pub(super) https: watch::Sender<Arc<HttpsPlane>>,
    pub(super) shown: Arc<ArcSwap<Vec<CertificateInfo>>>,
}

/// Both ports' configurations, built together so that they are exchanged together or not at all.
struct Built {
    control: ControlPlane,
    https: HttpsPlane,
    shown: Vec<CertificateInfo>,
}

impl Built {
    fn new(files: &NodeFiles, config: &NodeConfig, peers: &Peers) -> Result<Self, ConfigError> {
        Ok(Self {
            control: ControlPlane::new(files, config.me, peers.members(), config.crl_policy)?,
            https: HttpsPlane::new(files, config.client_auth, config.crl_policy)?,
            shown: shown(files),
        })
    }
}

impl Certificates {
    /// What `files` make.
    ///
    /// # Errors
    /// When rustls cannot use them.
    pub fn new(files: &NodeFiles, config: &NodeConfig, peers: &Peers) -> Result<Self, ConfigError> {
        let Built { control, https, shown } = Built::new(files, config, peers)?;
        Ok(Self {
            control: watch::Sender::new(Arc::new(control)),
            https: watch::Sender::new(Arc::new(https)),
            shown: Arc::new(ArcSwap::from_pointee(shown)),
        })
    }

    /// Loads them anew; any error keeps what there is.
    pub(super) fn reload(&self, config: &NodeConfig, peers: &Peers) {
        match load(config, peers) {
            Ok(Built { control, https, shown }) => {
                self.control.send_replace(Arc::new(control));
                self.https.send_replace(Arc::new(https));
                self.shown.store(Arc::new(shown));
                tracing::info!("Certificates reloaded: peers and clients that they no longer admit are cut off");
            }
            Err(error) => {
                tracing::error!(reason = %error, "Certificates not reloaded: those in use stay");
            }
        }
    }
}

fn load(config: &NodeConfig, peers: &Peers) -> Result<Built, anyhow::Error> {
    let files = open_files(config, Some(peers))?;
    Ok(Built::new(&files, config, peers)?)
}

/// Reads the node's certificates, and checks that they are for the address that it is configured with.
pub(super) fn open_files(config: &NodeConfig, peers: Option<&Peers>) -> Result<NodeFiles, PkiError> {
    let files = NodeFiles::load(&config.certs, config.me)?;
    if let Some(own) = peers.and_then(|peers| peers.host(config.me)) {
        files.check_address(own)?;
    }
    Ok(files)
}

fn shown(files: &NodeFiles) -> Vec<CertificateInfo> {
    let certificate = |kind, facts: &crate::pki::CertificateFacts| CertificateInfo {
        kind,
        subject: facts.spiffe_id.clone().unwrap_or_else(|| facts.subject.clone()),
        serial: facts.serial.clone(),
        not_after: millis(facts.not_after),
    };
    let list = |facts: &crate::pki::CrlFacts| CertificateInfo {
        kind: "crl",
        subject: facts.issuer.clone(),
        serial: facts.number.clone().unwrap_or_default(),
        not_after: facts.next_update.map_or(UnixMillis(u64::MAX), millis),
    };
    let authorities = files.ca_facts.iter().map(|facts| certificate("ca", facts));
    std::iter::once(certificate("node", &files.leaf))
        .chain(authorities)
        .chain(files.crl_facts.iter().map(list))
        .collect()
}

fn millis(at: jiff::Timestamp) -> UnixMillis {
    UnixMillis(u64::try_from(at.as_millisecond()).unwrap_or(0))
}
