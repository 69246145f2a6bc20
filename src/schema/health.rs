//! The JSON of a node's health: what it measured, whom it hears, which certificates it uses.

use super::rollout::TrialShape;
use model::{Digest, ModelId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One model's measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelHealth {
    /// Requests in the window whose end is known and speaks for or against the model: good and failed ones.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Requests beside these whose client left before it was known how they would end.
    #[serde(default)]
    pub unknown: u64,
    /// Requests beside these that the model answered with a status 3xx.
    #[serde(default)]
    pub redirects: u64,
    /// Requests beside these that the model refused with a status 4xx.
    pub client_errors: u64,
    /// Requests beside these that are no evidence: health checks, metadata, `OPTIONS` and `HEAD`, those with `x-canary`, and
    /// what the node answered itself, without a model server.
    #[serde(default)]
    pub uncounted: u64,
    /// 0 to 1; none without requests.
    pub error_rate: Option<f64>,
    /// Milliseconds to the first byte.
    pub p50: Option<f64>,
    /// Milliseconds to the first byte.
    pub p95: Option<f64>,
    /// Milliseconds to the first byte.
    pub p99: Option<f64>,
    /// Milliseconds to the last byte.
    pub full_p95: Option<f64>,
}

/// `GET /health/snapshot`: milliseconds and fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthSnapshot {
    /// The node that answers.
    pub node_id: NodeId,
    /// Its word on the command line.
    pub role: String,
    /// Whether it coordinates now.
    pub coordinating: bool,
    /// Who coordinates now, as far as this node knows.
    pub acting_coordinator: Option<NodeId>,
    /// Whether it is in touch with a majority.
    pub in_touch: bool,
    /// Whether its lease has run out.
    pub isolated: bool,
    /// Whether it was told to stop.
    #[serde(default)]
    pub stopping: bool,
    /// Over all models.
    pub p95: Option<f64>,
    /// Over all models.
    pub error_rate: Option<f64>,
    /// Counts the windows.
    pub window_id: u64,
    /// The version of the committed state.
    pub last_committed_version: u64,
    /// The digest of the committed state.
    pub digest: Digest,
    /// Each model that was used in the window.
    pub models: BTreeMap<ModelId, ModelHealth>,
    /// What all nodes have measured of the canary since its step began, while it gets traffic.
    pub trial: Option<TrialShape>,
    /// Why this node has stopped serving the canary by itself, if it has.
    pub ejected: Option<String>,
    /// Every other member.
    pub peers: BTreeMap<NodeId, PeerHealth>,
    /// What the node proves itself with, by kind; a second one of a kind is `ca-2`.
    pub certificates: BTreeMap<String, CertificateHealth>,
    /// The version of the program.
    pub software: String,
    /// The newest version of the nodes' protocol that it speaks.
    #[serde(default)]
    pub wire_version: Option<u16>,
}

/// A peer as the answering node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHealth {
    /// Whether there is a link.
    pub connected: bool,
    /// How long ago it was heard.
    pub last_seen_ms: Option<u64>,
    /// Its version, as it said last.
    pub last_committed_version: Option<u64>,
    /// Its digest, as it said last.
    pub digest: Option<Digest>,
    /// The version of the nodes' protocol that is spoken on the link to it.
    pub wire_version: Option<u16>,
    /// By how many milliseconds its clock was ahead when that link was made.
    pub clock_skew_ms: Option<i64>,
}

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateHealth {
    /// Whose it is.
    pub subject: String,
    /// Its serial number.
    pub serial: String,
    /// When it ends, RFC 3339.
    pub not_after: String,
}
