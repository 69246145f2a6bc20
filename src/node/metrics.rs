//! The figures that no route can see: the links to the peers, and what became of new certificates.

use super::certificates::Reloads;
use api::Exposition;
use mesh::Mesh;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Adds them to a node's metrics.
pub(super) fn write(text: &mut Exposition, mesh: &Mesh, reloads: &Reloads) {
    certificates(text, reloads);
    links(text, mesh);
}

fn certificates(text: &mut Exposition, reloads: &Reloads) {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut family = text.counter("canary_tls_reload_total", "Attempts to load certificates anew, by their result.");
    family.sample(&[("result", "ok")], of(&reloads.done));
    family.sample(&[("result", "error")], of(&reloads.failed));
    text.gauge("canary_tls_last_reload_timestamp_seconds", "When certificates were last loaded, the start included.")
        .sample(&[], of(&reloads.last_done));
    let rotated = reloads.rotated.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut family = text.gauge(
        "canary_cert_last_rotation_timestamp_seconds",
        "Since when the ones in use are, at most since the start.",
    );
    for (kind, at) in rotated {
        family.sample(&[("kind", kind.word())], at);
    }
    let present = reloads.ca_key_present.load(Ordering::Relaxed);
    text.gauge("canary_ca_key_present", "1 while the authority's key was found on this machine.")
        .sample(&[], u8::from(present));
}

fn links(text: &mut Exposition, mesh: &Mesh) {
    let links = mesh.links();
    let mut family =
        text.gauge("canary_peer_identity_info", "1 for each link to a peer, with what the peer's certificate proves.");
    for (peer, link) in &links {
        let labels = [
            ("peer", peer.to_string()),
            ("spiffe_id", link.spiffe.to_string()),
            ("serial", link.serial.clone()),
            ("tls_version", link.tls_version.clone()),
            ("kx_group", link.key_exchange.clone()),
        ];
        family.sample(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1);
    }
    let mut family = text.gauge(
        "canary_peer_clock_skew_seconds",
        "By how much the peer's clock was ahead when the link was made, half a round trip included.",
    );
    for (peer, link) in &links {
        let seconds = std::time::Duration::from_millis(link.skew_ms.unsigned_abs()).as_secs_f64();
        family.sample(&[("peer", &peer.to_string())], if link.skew_ms < 0 { -seconds } else { seconds });
    }
    let mut family =
        text.gauge("canary_peer_addresses", "Addresses that are known of the peer; 0 while its name is not resolved.");
    for (peer, addresses) in mesh.addresses() {
        family.sample(&[("peer", &peer.to_string())], addresses);
    }
}
