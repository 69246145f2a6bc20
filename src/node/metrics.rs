//! The figures that no route can see: the links to the peers, and what became of new certificates.

use super::certificates::Reloads;
use api::Exposition;
use mesh::Mesh;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    text.value(
        "canary_tls_last_reload_timestamp_seconds",
        "When certificates were last loaded, the start included.",
        of(&reloads.last_done),
    );
    let rotated = reloads.rotated.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut family = text.gauge(
        "canary_cert_last_rotation_timestamp_seconds",
        "Since when the ones in use are, at most since the start.",
    );
    family.each("kind", rotated.into_iter().map(|(kind, at)| (kind.word(), Some(at))));
    let present = reloads.ca_key_present.load(Ordering::Relaxed);
    text.flag("canary_ca_key_present", "1 while the authority's key was found on this machine.", present);
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
    let seconds = |millis: i64| Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
    let signed = |millis: i64| if millis < 0 { -seconds(millis) } else { seconds(millis) };
    family.each("peer", links.iter().map(|(peer, link)| (peer, Some(signed(link.skew_ms)))));
    let mut family =
        text.gauge("canary_peer_addresses", "Addresses that are known of the peer; 0 while its name is not resolved.");
    family.each("peer", mesh.addresses().into_iter().map(|(peer, addresses)| (peer, Some(addresses))));
}
