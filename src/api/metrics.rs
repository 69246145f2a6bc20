//! `GET /metrics` in the Prometheus text format 0.0.4.
//!
//! No label comes from a request: models are those of the agreed state and of what was measured, peers are members, and
//! reasons are fixed words. So nobody can make a node remember more by asking.

use super::exposition::Exposition;
use super::state::{Api, CertificateInfo, Counters, FOREVER};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use edge::Gauges;
use http::header::CONTENT_TYPE;
use member::{View, boottime, unix_millis};
use model::{Time, Weight};
use schema::HealthSnapshot;
use service::{Phase, serving_weight};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tls::{HANDSHAKE_CLASSES_MS, Handshakes, Plane, Rejections};

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut text = Exposition::default();
    agreement(&mut text, &api.handle.view(), boottime());
    health(&mut text, &api.snapshot());
    https(&mut text, &api.counters, &api.gauges);
    rejections(&mut text, &api.rejections);
    handshakes(&mut text, &api.handshakes);
    certificates(&mut text, &api);
    (api.more_metrics)(&mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.into_text()).into_response()
}

fn agreement(text: &mut Exposition, view: &View, now: Time) {
    text.value("canary_routing_version", "Version of the committed routing state.", view.state.version);
    let stable = view.state.stable.id.as_str();
    let canary = view.state.canary.as_ref().map(|canary| canary.model.id.as_str());
    let mut shares = |name, help, weight: Weight| {
        let mut family = text.gauge(name, help);
        family.sample(&[("model", stable)], weight.rest().fraction());
        if let Some(canary) = canary {
            family.sample(&[("model", canary)], weight.fraction());
        }
    };
    let agreed = view.state.canary_weight();
    shares("canary_weight_ratio", "Share of the traffic that was agreed for the model.", agreed);
    let serving = serving_weight(view, now);
    shares("canary_serving_ratio", "Share of the traffic that this node gives the model now.", serving);
    let isolated = view.is_isolated(now);
    text.flag("canary_isolated", "1 while the node's lease has run out.", isolated);
    text.flag("canary_in_touch", "1 while the node is in touch with a majority, both ways.", view.in_touch);
    text.flag("canary_coordinating", "1 while the node coordinates.", view.coordinator == Some(view.me));
    text.flag("canary_pending", "1 while a proposal is known that is not decided yet.", view.pending.is_some());
    text.flag("canary_ejected", "1 while the node has stopped serving the canary by itself.", view.ejected.is_some());
    text.flag("canary_rollout_open", "1 while a rollout goes on.", view.state.open_rollout().is_some());
    if let Some(rollout) = view.state.open_rollout() {
        text.value("canary_rollout_step", "Step that the rollout is at, from 1.", rollout.step + 1);
        text.value("canary_rollout_steps", "Steps of the rollout's plan.", rollout.plan.steps.len());
        let paused = rollout.phase == Phase::Paused;
        text.flag("canary_rollout_paused", "1 while the rollout waits for an operator.", paused);
    }
    let drained = |member| (member, Some(u8::from(view.state.drained.contains(member))));
    text.gauge("canary_member_drained", "1 for a member that was taken out of the vote.")
        .each("member", view.members.iter().map(drained));
}

fn health(text: &mut Exposition, health: &HealthSnapshot) {
    let up = figures(&health.peers, |peer| Some(u8::from(peer.connected)));
    text.gauge("canary_peer_link_up", "1 while there is a link to the peer.").each("peer", up);
    let silence = figures(&health.peers, |peer| Some(Duration::from_millis(peer.last_seen_ms?).as_secs_f64()));
    text.gauge("canary_peer_silence_seconds", "Time since the peer was heard.").each("peer", silence);
    let versions = figures(&health.peers, |peer| peer.last_committed_version);
    text.gauge("canary_peer_version", "Committed version of the peer, as it said last.").each("peer", versions);
    let requests = figures(&health.models, |model| Some(model.requests));
    text.gauge("canary_window_requests", "Good and failed requests to the model in the newest window.")
        .each("model", requests);
    let unknown = figures(&health.models, |model| Some(model.unknown));
    text.gauge("canary_window_unknown", "Requests of the window whose client left before their end was known.")
        .each("model", unknown);
    let redirects = figures(&health.models, |model| Some(model.redirects));
    text.gauge("canary_window_redirects", "Requests of the window that were answered with a status 3xx.")
        .each("model", redirects);
    let refused = figures(&health.models, |model| Some(model.client_errors));
    text.gauge("canary_window_client_errors", "Requests of the window that the model refused as wrong.")
        .each("model", refused);
    let uncounted = figures(&health.models, |model| Some(model.uncounted));
    text.gauge("canary_window_uncounted", "Requests of the window that are no evidence, such as health checks.")
        .each("model", uncounted);
    let errors = figures(&health.models, |model| model.error_rate);
    text.gauge("canary_window_error_ratio", "Share of the window's requests that failed.").each("model", errors);
    let p95 = figures(&health.models, |model| model.p95.map(|millis| millis / 1e3));
    text.gauge("canary_window_latency_p95_seconds", "95th percentile of the window's latencies.").each("model", p95);
}

/// The figure of each member of a map that has one.
fn figures<K, T, V>(all: &BTreeMap<K, T>, figure: impl Fn(&T) -> Option<V>) -> impl Iterator<Item = (&K, Option<V>)> {
    all.iter().map(move |(key, one)| (key, figure(one)))
}

fn https(text: &mut Exposition, counters: &Counters, open: &Gauges) {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut family = text.counter("canary_http_auth_total", "Requests for a change, by what the certificate allowed.");
    family.sample(&[("result", "allowed")], of(&counters.allowed));
    family.sample(&[("result", "unauthenticated")], of(&counters.unauthenticated));
    family.sample(&[("result", "forbidden")], of(&counters.forbidden));
    let mut family = text.counter("canary_outcomes_total", "Outcomes that were reported, by what became of them.");
    for (heard, count) in counters.outcomes() {
        family.sample(&[("result", heard.word())], count);
    }
    text.value("canary_https_connections", "HTTPS connections that are open.", open.connections());
    text.value("canary_https_handshakes_in_flight", "TLS handshakes under way on the HTTPS port.", open.handshakes());
    text.gauge("canary_build_info", "1, with the version of the program.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

fn rejections(text: &mut Exposition, rejections: &Rejections) {
    let mut family =
        text.counter("canary_tls_rejections_total", "Connections that were refused, by port, direction and reason.");
    for ((plane, direction, reason), count) in rejections.counts() {
        let (plane, direction) = (plane.to_string(), direction.to_string());
        family.sample(&[("plane", &plane), ("dir", &direction), ("reason", reason.word())], count);
    }
    text.counter(
        "canary_identity_conflicts_total",
        "Identities seen where they do not belong: a copied key or a wrong address.",
    )
    .sample(&[], rejections.identity_conflicts());
}

fn handshakes(text: &mut Exposition, handshakes: &Handshakes) {
    let planes = [Plane::Control, Plane::Https].map(|plane| (plane.to_string(), handshakes.counts(plane)));
    let mut family = text.gauge("canary_handshakes_in_flight", "TLS handshakes under way.");
    for (plane, counts) in &planes {
        family.sample(&[("plane", plane)], counts.in_flight);
    }
    let mut family = text.counter("canary_tls_handshakes_total", "TLS handshakes by their result, both ways.");
    for (plane, counts) in &planes {
        family.sample(&[("plane", plane), ("result", "ok")], counts.good);
        family.sample(&[("plane", plane), ("result", "error")], counts.failed);
    }
    let mut family =
        text.histogram("canary_tls_handshake_seconds", "Time that the TLS handshakes took which led to a connection.");
    for (plane, counts) in &planes {
        let plane = [("plane", plane.as_str())];
        let ends = HANDSHAKE_CLASSES_MS.map(|millis| Duration::from_millis(millis).as_secs_f64());
        family.histogram(&plane, ends.into_iter().zip(counts.within.iter().copied()), counts.good, counts.took);
    }
}

fn certificates(text: &mut Exposition, api: &Api) {
    let certificates = api.certificates.load();
    let ends = |certificate: &&CertificateInfo| certificate.not_after != FOREVER;
    let lists = || certificates.iter().filter(|certificate| certificate.kind == "crl");
    let mut family =
        text.gauge("canary_cert_not_after_timestamp_seconds", "When the certificate or revocation list ends.");
    for certificate in certificates.iter().filter(ends) {
        let labels = [("kind", certificate.kind), ("serial", &certificate.serial)];
        family.sample(&labels, certificate.not_after.0 / 1_000);
    }
    let mut family =
        text.gauge("canary_cert_ttl_seconds", "Time left of the one of this kind that ends first; negative when over.");
    let mut left = BTreeMap::new();
    for certificate in certificates.iter().filter(ends) {
        let millis = i128::from(certificate.not_after.0) - i128::from(unix_millis().0);
        let first = left.entry(certificate.kind).or_insert(millis);
        *first = millis.min(*first);
    }
    for (kind, millis) in left {
        family.sample(&[("kind", kind)], millis / 1_000);
    }
    let mut family = text.gauge("canary_crl_number", "Number of the revocation list.");
    for list in lists().filter(|list| !list.serial.is_empty()) {
        family.sample(&[("issuer", &list.subject)], &list.serial);
    }
    let mut family =
        text.gauge("canary_crl_next_update_timestamp_seconds", "When a new revocation list is due at the latest.");
    for list in lists().filter(ends) {
        family.sample(&[("issuer", &list.subject)], list.not_after.0 / 1_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn refusals_are_counted_by_kind() {
        let counters = Counters::default();
        counters.count_auth(None);
        counters.count_auth(Some(StatusCode::UNAUTHORIZED));
        counters.count_auth(Some(StatusCode::FORBIDDEN));
        counters.count_auth(Some(StatusCode::FORBIDDEN));
        let counts = [&counters.allowed, &counters.unauthenticated, &counters.forbidden];
        assert_eq!(counts.map(|counter| counter.load(Ordering::Relaxed)), [1, 1, 2]);
    }
}
