//! What the routes know, and what they show of the node's health.

use super::exposition::Exposition;
use super::metrics::Counters;
use super::rollout::TrialShape;
use super::shapes::rfc3339;
use arc_swap::ArcSwap;
use audit::Log;
use edge::Gauges;
use member::{Handle, View, boottime, unix_millis};
use model::{Digest, ModelId, NodeId, Peers, Time, UnixMillis};
use proxy::{ModelObservations, Observations, Proxy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tls::{Handshakes, Rejections};
use tokio_util::sync::CancellationToken;

/// A step of the wall clock that is larger than this is believed; a smaller one is the rounding of two clocks.
const CLOCK_STEP_MS: u64 = 1_000;

/// What the routes of one node work with.
pub struct Api {
    /// The agreement.
    pub handle: Handle,
    /// Where the members are; a change is sent on to no other address.
    pub peers: Peers,
    /// What answers requests to the models, and knows how they did.
    pub proxy: Proxy,
    /// Connections that were refused, on both ports.
    pub rejections: Arc<Rejections>,
    /// The certificates in use; replaced when they are loaded anew.
    pub certificates: Arc<ArcSwap<Vec<CertificateInfo>>>,
    /// Handshakes of both ports.
    pub handshakes: Arc<Handshakes>,
    /// Adds the metrics of other rooms.
    pub more_metrics: Arc<dyn Fn(&mut Exposition) + Send + Sync>,
    /// Where refused changes are filed.
    pub audit: Log,
    /// Cancelled when the node was told to stop: `/readyz` says so.
    pub leaving: CancellationToken,
    /// Cancelled when the port closes: long polls end, and so do connections after their next answer.
    pub stopping: CancellationToken,
    /// What is shown of the links to the peers.
    pub links: Arc<dyn Fn() -> BTreeMap<NodeId, LinkShown> + Send + Sync>,
    /// What the routes themselves count.
    pub counters: Counters,
    /// What is open at the port.
    pub gauges: Arc<Gauges>,
    /// What turns readings of the node's clock into dates.
    pub wall: WallClock,
}

impl Api {
    /// The date of a reading of the node's clock.
    pub(super) fn date(&self, time: Time) -> UnixMillis {
        self.wall.date(time, boottime(), unix_millis())
    }

    pub(super) fn snapshot(&self) -> HealthSnapshot {
        let view = self.handle.view();
        let trial = self.handle.status().as_deref().map(TrialShape::of);
        let mut shown =
            HealthSnapshot::of(&view, boottime(), self.proxy.observations(), trial, &self.certificates.load());
        shown.stopping = self.leaving.is_cancelled();
        for (id, link) in (self.links)() {
            if let Some(peer) = shown.peers.get_mut(&id) {
                (peer.wire_version, peer.clock_skew_ms) = (Some(link.wire_version), Some(link.clock_skew_ms));
            }
        }
        shown
    }
}

/// Turns readings of the node's clock into dates. The difference of the two clocks is remembered, so that the same
/// reading always gives the same date and a state that did not change looks the same.
#[derive(Debug, Default)]
pub struct WallClock {
    offset_ms: AtomicU64,
}

impl WallClock {
    fn date(&self, time: Time, now: Time, wall_now: UnixMillis) -> UnixMillis {
        let offset = wall_now.0.saturating_sub(now.as_micros() / 1_000);
        let known = self.offset_ms.load(Ordering::Relaxed);
        let used = if known.abs_diff(offset) > CLOCK_STEP_MS {
            self.offset_ms.store(offset, Ordering::Relaxed);
            offset
        } else {
            known
        };
        UnixMillis(used.saturating_add(time.as_micros() / 1_000))
    }
}

/// One model's measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelHealth {
    /// Requests in the window.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that the model refused with a status 4xx.
    pub client_errors: u64,
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

/// One certificate or revocation list that the node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// `ca`, `node` or `crl`.
    pub kind: &'static str,
    /// The SPIFFE id, or the subject where there is none.
    pub subject: String,
    /// The serial number in lower-case hexadecimal; a list's number.
    pub serial: String,
    /// When it expires, or a new list is due; the largest number for a list that names no date.
    pub not_after: UnixMillis,
}

/// The date of what does not end.
pub(super) const FOREVER: UnixMillis = UnixMillis(u64::MAX);

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
    #[serde(default)]
    pub trial: Option<TrialShape>,
    /// Why this node has stopped serving the canary by itself, if it has.
    #[serde(default)]
    pub ejected: Option<String>,
    /// Every other member.
    pub peers: BTreeMap<NodeId, PeerHealth>,
    /// What the node proves itself with, by kind; a second one of a kind is `ca-2`.
    pub certificates: BTreeMap<String, CertificateHealth>,
    /// The version of the program.
    pub software: String,
}

/// What a node knows of another.
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
    #[serde(default)]
    pub wire_version: Option<u16>,
    /// By how many milliseconds its clock was ahead when that link was made.
    #[serde(default)]
    pub clock_skew_ms: Option<i64>,
}

/// A link to a peer, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkShown {
    /// The version of the nodes' protocol that is spoken on it.
    pub wire_version: u16,
    /// By how many milliseconds the peer's clock was ahead when it was made.
    pub clock_skew_ms: i64,
}

/// When a certificate ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateHealth {
    /// Whose it is.
    pub subject: String,
    /// Its serial number.
    pub serial: String,
    /// When it ends, RFC 3339.
    pub not_after: String,
}

impl From<ModelObservations> for ModelHealth {
    fn from(observed: ModelObservations) -> Self {
        let ModelObservations { requests, errors, client_errors, error_rate, p50, p95, p99, full_p95 } = observed;
        Self { requests, errors, client_errors, error_rate, p50, p95, p99, full_p95 }
    }
}

impl HealthSnapshot {
    fn of(
        view: &View,
        now: Time,
        observed: Observations,
        trial: Option<TrialShape>,
        certificates: &[CertificateInfo],
    ) -> Self {
        let peers = view.peers.iter().map(|(id, peer)| {
            let shown = PeerHealth {
                connected: peer.connected,
                last_seen_ms: peer.last_heard.map(|heard| millis(now, heard)),
                last_committed_version: peer.committed_version,
                digest: peer.digest,
                wire_version: None,
                clock_skew_ms: None,
            };
            (*id, shown)
        });
        let certificates = certificates.iter().enumerate().map(|(index, certificate)| {
            let shown = CertificateHealth {
                subject: certificate.subject.clone(),
                serial: certificate.serial.clone(),
                not_after: rfc3339(certificate.not_after),
            };
            // While one authority takes over from another there are two, and a list of each.
            let before = certificates[..index].iter().filter(|other| other.kind == certificate.kind).count();
            let ending = if before == 0 { String::new() } else { format!("-{}", before + 1) };
            (format!("{}{ending}", certificate.kind), shown)
        });
        Self {
            node_id: view.me,
            role: view.me.role_word(),
            coordinating: view.coordinator == Some(view.me),
            acting_coordinator: view.coordinator,
            in_touch: view.in_touch,
            isolated: view.is_isolated(now),
            stopping: false,
            p95: observed.overall.p95,
            error_rate: observed.overall.error_rate,
            window_id: observed.window_id,
            last_committed_version: view.state.version,
            digest: view.digest,
            trial,
            ejected: view.ejected.as_deref().map(str::to_owned),
            models: observed.models.into_iter().map(|(id, model)| (id, model.into())).collect(),
            peers: peers.collect(),
            certificates: certificates.collect(),
            software: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

fn millis(now: Time, then: Time) -> u64 {
    u64::try_from(now.since(then).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_reading_keeps_its_date_until_the_wall_clock_is_set() {
        let wall = WallClock::default();
        let (then, now) = (Time::from_micros(5_000_000), Time::from_micros(6_000_000));
        let first = wall.date(then, now, UnixMillis(1_000_006_000));
        assert_eq!(first, UnixMillis(1_000_005_000));
        let later = now + Duration::from_micros(900);
        assert_eq!(wall.date(then, later, UnixMillis(1_000_006_003)), first, "the clocks' rounding must not show");
        assert_eq!(wall.date(then, later, UnixMillis(1_000_106_000)), UnixMillis(1_000_105_000));
    }
}
