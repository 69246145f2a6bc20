//! The configuration of one node.

use api::Reporters;
use member::{IsolationPolicy, OnEmptyDisk};
use mesh::{AddressCheck, ExtraSources, WireVersion};
use model::{Keep, ModelId, Networks, NodeId, Peers};
use proxy::{Testers, Upstreams};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tls::{ClientAuth, CrlPolicy};

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
    /// Who may choose a model by `x-canary`.
    pub testers: Testers,
    /// Who may report outcomes.
    pub outcomes: Reporters,
    /// Proxies before this node whose `x-forwarded-for` is believed.
    pub trusted_proxies: Networks,
    /// Where to listen and to dial from, instead of the node's own configured address.
    pub bind: Option<IpAddr>,
    /// What it serves while it is isolated.
    pub on_isolation: IsolationPolicy,
    /// Whether it refuses to start where the authority's key lies.
    pub strict: bool,
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
    /// The newest version of the wire to speak.
    pub wire: WireVersion,
    /// How long it goes on serving after it was told to stop, with `/readyz` saying so.
    pub stop_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain: Duration,
    /// How much is kept of what was decided, for people.
    pub history_keep: Keep,
    /// How much is kept of the record of who did what.
    pub audit_keep: Keep,
}
