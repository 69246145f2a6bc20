//! The state that the routes work with.

use super::exposition::Exposition;
use super::reporters::Reporters;
use arc_swap::ArcSwap;
use audit::Log;
use edge::Gauges;
use http::StatusCode;
use member::{Handle, boottime, unix_millis};
use model::{Networks, NodeId, Peers, Time, UnixMillis};
use proxy::{Heard, Proxy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tls::{Handshakes, Rejections};
use tokio_util::sync::CancellationToken;

/// A step of the wall clock that is larger than this is believed; a smaller one is the rounding of two clocks.
const CLOCK_STEP_MS: u64 = 1_000;

/// The state that the routes of one node work with.
pub struct Api {
    /// The agreement.
    pub handle: Handle,
    /// Where the members are; a change is sent on to no other address.
    pub peers: Peers,
    /// What answers requests to the models, and knows how they did.
    pub proxy: Proxy,
    /// Who may report outcomes.
    pub reporters: Reporters,
    /// Proxies before this node whose `x-forwarded-for` is believed.
    pub trusted_proxies: Networks,
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
    /// The newest version of the nodes' protocol that this node speaks.
    pub wire_version: u16,
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

/// Counts of the routes.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) allowed: AtomicU64,
    pub(super) unauthenticated: AtomicU64,
    pub(super) forbidden: AtomicU64,
    outcomes: [AtomicU64; 4],
}

impl Counters {
    /// Counts a request for a change; `refusal` is the status it was refused with.
    pub(super) fn count_auth(&self, refusal: Option<StatusCode>) {
        let counter = match refusal {
            None => &self.allowed,
            Some(StatusCode::UNAUTHORIZED) => &self.unauthenticated,
            Some(_) => &self.forbidden,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an outcome that was reported.
    pub(super) fn count_outcome(&self, heard: Heard) {
        self.outcomes[heard as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Outcomes by what became of them.
    pub(super) fn outcomes(&self) -> [(Heard, u64); 4] {
        let all = [Heard::Counted, Heard::UnknownRequest, Heard::AlreadyReported, Heard::Stands];
        all.map(|heard| (heard, self.outcomes[heard as usize].load(Ordering::Relaxed)))
    }
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

/// A link to a peer, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkShown {
    /// The version of the nodes' protocol that is spoken on it.
    pub wire_version: u16,
    /// By how many milliseconds the peer's clock was ahead when it was made.
    pub clock_skew_ms: i64,
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
