//! The reads, which need no certificate.

use crate::world::{World, method, node, state, txid, view};
use api::CertificateInfo;
use axum::body::Body;
use http::{Request, StatusCode};
use member::{Decision, HistoryEntry, Pending, Reason, Stage, View, Vote, boottime};
use model::{Actor, NodeId, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn poll(tag: &str, wait: &str) -> Request<Body> {
    Request::get(format!("/routing/state?wait={wait}")).header("if-none-match", tag).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_state_has_every_field_of_the_contract() {
    let shown = World::new(view(state(3, 2000))).get("/routing/state").await.json();
    assert_eq!(shown["version"], 3);
    assert_eq!(shown["stable_model_id"], "v1");
    assert_eq!(shown["canary_model_id"], "v2");
    assert_eq!(shown["weights"], serde_json::json!({"v1": 0.8, "v2": 0.2}));
    assert_eq!(shown["serving"], shown["weights"]);
    assert_eq!(shown["status"], "COMMITTED");
    assert_eq!(shown["txid"], "node-a.0000000000c0ffee.1.3");
    assert_eq!(shown["timestamp"], "2026-11-23T02:00:00Z");
    assert_eq!(shown["digest"], state(3, 2000).digest().to_string());
    assert_eq!((&shown["node_id"], &shown["coordinator"]), (&"node-a".into(), &"node-a".into()));
    assert_eq!((&shown["salt"], &shown["isolated"]), (&"rollout-1".into(), &false.into()));
    for field in ["pending", "rollout"] {
        assert!(shown.as_object().unwrap()[field].is_null(), "{field} must be there and null");
    }
}

#[tokio::test]
async fn an_isolated_node_shows_what_it_serves() {
    let cut_off = View { lease_end: boottime(), ..view(state(3, 2000)) };
    let shown = World::new(cut_off).get("/routing/state").await.json();
    assert_eq!(shown["weights"], serde_json::json!({"v1": 0.8, "v2": 0.2}));
    assert_eq!(shown["serving"], serde_json::json!({"v1": 1.0, "v2": 0.0}));
    assert_eq!(shown["isolated"], true);
}

#[tokio::test]
async fn a_proposal_shows_as_pending_and_its_date_stays() {
    let pending = Some(Pending { txid: txid(4), version: 4, since: boottime() });
    let world = World::new(View { pending, ..view(state(3, 2000)) });
    let first = world.get("/routing/state").await;
    assert_eq!(first.json()["pending"]["txid"], "node-a.0000000000c0ffee.1.4");
    assert_eq!(first.json()["version"], 3);
    for _ in 0..100 {
        assert_eq!(world.get("/routing/state").await.header("etag"), first.header("etag"));
    }
}

#[tokio::test]
async fn a_known_tag_is_answered_without_a_body() {
    let world = World::new(view(state(3, 2000)));
    let first = world.get("/routing/state").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"'), "a strong tag: {tag}");
    let again = world.send("", poll(&tag, "0s")).await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (StatusCode::NOT_MODIFIED, "", tag.as_str()));
    world.publisher.publish(view(state(4, 5000)));
    let changed = world.send("", poll(&tag, "0s")).await;
    assert_eq!((changed.status, &changed.json()["version"]), (StatusCode::OK, &4.into()));
}

#[tokio::test]
async fn a_long_poll_wakes_on_a_change_and_not_on_a_heartbeat() {
    let world = World::new(view(state(3, 2000)));
    let tag = world.get("/routing/state").await.header("etag").to_owned();
    let waits = world.send("", poll(&tag, "60s"));
    let changes = async {
        // The same picture with a longer lease, as after each heartbeat.
        for _ in 0..50 {
            world.publisher.publish(view(state(3, 2000)));
            tokio::task::yield_now().await;
        }
        world.publisher.publish(view(state(4, 0)));
    };
    let both = async { tokio::join!(waits, changes) };
    let (reply, ()) = tokio::time::timeout(PATIENCE, both).await.expect("the poll must wake");
    assert_eq!((reply.status, &reply.json()["version"]), (StatusCode::OK, &4.into()));
}

#[tokio::test]
async fn a_long_poll_wakes_when_the_lease_ends() {
    let lease_end = boottime() + Duration::from_millis(200);
    let world = World::new(View { lease_end, ..view(state(3, 2000)) });
    let tag = world.get("/routing/state").await.header("etag").to_owned();
    let reply = tokio::time::timeout(PATIENCE, world.send("", poll(&tag, "60s"))).await.expect("the poll must wake");
    assert_eq!((reply.status, &reply.json()["isolated"]), (StatusCode::OK, &true.into()));
}

#[tokio::test]
async fn a_long_poll_ends_with_its_time_and_with_the_node() {
    let world = World::new(view(state(3, 2000)));
    let tag = world.get("/routing/state").await.header("etag").to_owned();
    let reply = tokio::time::timeout(PATIENCE, world.send("", poll(&tag, "1"))).await.expect("the poll must end");
    assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
    world.api.stopping.cancel();
    let reply = tokio::time::timeout(PATIENCE, world.send("", poll(&tag, "60s"))).await.expect("the poll must end");
    assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
    assert_eq!(world.get("/readyz").await.problem(), (503, "stopping".into()));
    assert_eq!(world.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn wrong_queries_are_named() {
    let world = World::new(view(state(3, 2000)));
    for path in [
        "/routing/state?wait=soon",
        "/routing/state?wait=-1s",
        "/history?limit=0",
        "/history?limit=1001",
        "/history?limit=x",
        "/history?size=3",
    ] {
        assert_eq!(world.get(path).await.problem(), (400, "bad_request".into()), "{path}");
    }
}

#[tokio::test]
async fn health_says_who_is_heard() {
    let shown = World::new(view(state(3, 2000))).get("/health/snapshot").await.json();
    assert_eq!((&shown["node_id"], &shown["role"]), (&"node-a".into(), &"coordinator".into()));
    assert_eq!(shown["last_committed_version"], 3);
    assert_eq!(shown["peers"]["node-b"]["connected"], true);
    assert!(shown["peers"]["node-b"]["last_seen_ms"].as_u64().unwrap() < 60_000);
    assert!(shown["peers"]["node-c"]["last_seen_ms"].is_null());
    for field in ["p95", "error_rate", "window_id", "digest", "models", "certificates"] {
        assert!(shown.get(field).is_some(), "{field}");
    }
}

#[tokio::test]
async fn health_names_the_certificates_and_when_they_end() {
    let world = World::new(view(state(3, 2000)));
    let certificate = |kind, subject: &str, serial: &str, not_after| CertificateInfo {
        kind,
        subject: subject.into(),
        serial: serial.into(),
        not_after: UnixMillis(not_after),
    };
    world.api.certificates.store(Arc::new(vec![
        certificate("node", "spiffe://c-1.canary/node/node-a", "0a0b", 1_795_399_200_000),
        certificate("ca", "CN=new", "01", 4_000_000_000_000),
        certificate("ca", "CN=old", "02", 1_000_000_000_000),
        certificate("crl", "CN=new", "7", 1_795_399_200_000),
        certificate("crl", "CN=old", "", u64::MAX),
    ]));
    let shown = &world.get("/health/snapshot").await.json()["certificates"];
    assert_eq!((&shown["ca"]["serial"], &shown["ca-2"]["serial"]), (&"01".into(), &"02".into()));
    let shown = &world.get("/health/snapshot").await.json()["certificates"]["node"];
    assert_eq!((&shown["serial"], &shown["not_after"]), (&"0a0b".into(), &"2026-11-23T02:00:00Z".into()));
    let metrics = world.get("/metrics").await.body;
    let line = "canary_cert_not_after_timestamp_seconds{kind=\"node\",serial=\"0a0b\"} 1795399200";
    let lists = [
        "canary_crl_number{issuer=\"CN=new\"} 7",
        "canary_crl_next_update_timestamp_seconds{issuer=\"CN=new\"} 1795399200",
        "canary_identity_conflicts_total 0",
        "canary_handshakes_in_flight{plane=\"control\"} 0",
    ];
    for line in lists.into_iter().chain([line]) {
        assert!(metrics.lines().any(|there| there == line), "{line} is not in {metrics}");
    }
    let ttl = metrics.lines().find_map(|line| line.strip_prefix("canary_cert_ttl_seconds{kind=\"ca\"} "));
    assert!(ttl.is_some_and(|left| left.starts_with('-')), "the one that ends first counts: {ttl:?}");
    assert_eq!(metrics.matches("canary_crl_number{").count(), 1, "a list without a number has none");
}

#[tokio::test]
async fn history_is_newest_first_with_votes_and_reasons() {
    let world = World::new(view(state(3, 2000)));
    let by = Actor { id: "operator/admin".into(), serial: "0a".into(), remote: "10.0.0.9:1".into() };
    let refused = Vote::Abort(Reason::UpstreamNotReady("connection refused".into()));
    for version in 1..=3 {
        world.publisher.record(HistoryEntry {
            txid: txid(version),
            version,
            decision: if version == 3 { Decision::Abort } else { Decision::Commit },
            evidence: [].into(),
            from: None,
            by: Some(by.clone()),
            proposed_at: UnixMillis(1_795_399_200_000),
            learned_at: UnixMillis(1_795_399_200_010),
            votes: [(NodeId::A, Vote::Commit), (node('b'), refused.clone())].into(),
            decided: (version < 3).then(|| Arc::new(state(version, 500))),
            took: Some(Duration::from_millis(10)),
        });
    }
    let lines = world.get("/history?limit=2").await.json();
    assert_eq!(lines.as_array().unwrap().len(), 2);
    assert_eq!((&lines[0]["version"], &lines[0]["decision"]), (&3.into(), &"ABORT".into()));
    assert_eq!(lines[0]["by"], "operator/admin");
    assert_eq!(lines[0]["votes"]["node-a"]["vote"], "COMMIT");
    assert!(lines[0]["votes"]["node-b"]["reason"].as_str().unwrap().contains("connection refused"));
    assert_eq!((&lines[0]["took_ms"], &lines[0]["state"]), (&10.0.into(), &serde_json::Value::Null));
    assert_eq!(lines[1]["state"]["weights"]["v2"], 0.05);
    assert!(!world.get("/history").await.body.contains("10.0.0.9"), "anyone reads this: no addresses of operators");
}

#[tokio::test]
async fn a_node_is_ready_when_it_has_joined() {
    let ready = |stage| async { World::new(View { stage, ..view(state(0, 0)) }).get("/readyz").await };
    assert_eq!(ready(Stage::Member).await.status, StatusCode::OK);
    for stage in [Stage::Blank { seen: [].into() }, Stage::Rejoining] {
        assert_eq!(ready(stage).await.problem(), (503, "not_joined".into()));
    }
}

#[tokio::test]
async fn metrics_are_whole_families_with_labels_from_the_agreed_state() {
    let reply = World::new(view(state(3, 2000))).get("/metrics").await;
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "canary_routing_version 3",
        "canary_weight_ratio{model=\"v2\"} 0.2",
        "canary_isolated 0",
        "canary_peer_link_up{peer=\"node-b\"} 1",
        "canary_peer_link_up{peer=\"node-c\"} 0",
        "canary_http_auth_total{result=\"allowed\"} 0",
    ] {
        assert!(reply.body.lines().any(|there| there == line), "{line} in\n{}", reply.body);
    }
    for family in reply.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = family.split(' ').next().unwrap();
        assert_eq!(reply.body.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
    }
}

#[tokio::test]
async fn other_routes_and_methods_are_problems() {
    let world = World::new(view(state(3, 2000)));
    assert_eq!(world.get("/nothing").await.problem(), (404, "not_found".into()));
    assert_eq!(world.get("/").await.problem(), (404, "not_found".into()));
    let wrong = Request::builder().method(method("DELETE")).uri("/routing/state").body(Body::empty()).unwrap();
    let reply = world.send("", wrong).await;
    assert_eq!(reply.problem(), (405, "method_not_allowed".into()));
    assert!(reply.header("allow").contains("GET"), "{:?}", reply.headers);
    let get = world.get("/routing/weights").await;
    assert_eq!((get.problem().0, get.header("allow")), (405, "POST"));
    let head = Request::head("/routing/state").body(Body::empty()).unwrap();
    let head = world.send("", head).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn no_answer_may_be_sniffed_or_names_the_server() {
    let world = World::new(view(state(3, 2000)));
    for path in ["/routing/state", "/nothing", "/metrics", "/openapi.json", "/history?limit=0"] {
        let reply = world.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("server"), "", "{path}");
    }
}
