//! `POST /outcomes`: who may report, and that a report counts as a whole or not at all.

use crate::cluster::{self, Cluster, agrees};
use crate::world::{World, post, state, view};
use service::RoutingState;

const ONE: &str = r#"{"model":"v2","ok":false,"latency_ms":250}"#;

fn world() -> World {
    World::new(view(state(3, 2000)))
}

/// Requests and errors of a model.
fn counts(world: &World, model: &str) -> (u64, u64) {
    let observed = world.api.proxy.observations();
    let of_model = observed.models.iter().find(|(id, _)| id.as_str() == model);
    of_model.map_or((0, 0), |(_, seen)| (seen.requests, seen.errors))
}

#[tokio::test]
async fn applications_and_operators_report_and_others_do_not() {
    let world = world();
    for (role, refused) in [
        ("", Some((401, "unauthenticated"))),
        ("node/node-b", Some((403, "role_not_allowed"))),
        ("monitor/prom", Some((403, "role_not_allowed"))),
        ("app/shop", None),
        ("operator/admin", None),
    ] {
        let reply = world.send(role, post("/outcomes", ONE)).await;
        match refused {
            Some((status, code)) => assert_eq!(reply.problem(), (status, code.into()), "{role}"),
            None => assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, r#"{"accepted":1}"#), "{role}"),
        }
    }
    assert_eq!(counts(&world, "v2"), (2, 2));
}

#[tokio::test]
async fn whoever_is_on_this_host_needs_no_certificate() {
    let cluster = Cluster::new(51);
    let node = cluster.start('a', view(state(3, 500)), agrees);
    let reply = node.ask(cluster.anonymous(), cluster::post("/outcomes", ONE)).await;
    assert_eq!((reply.status, reply.body.as_str()), (202, r#"{"accepted":1}"#));
    // A page in a browser on this host must not.
    let mut page = cluster::post("/outcomes", ONE);
    page.headers_mut().insert("origin", "https://elsewhere.example".parse().unwrap());
    let reply = node.ask(cluster.anonymous(), page).await;
    assert_eq!((reply.status, &reply.json()["code"]), (403, &"other_origin".into()));
    assert_eq!(node.api.proxy.observations().overall.requests, 1);
}

#[tokio::test]
async fn a_list_counts_for_each_model_with_its_latency() {
    let world = world();
    let good = r#"{"model":"v1","ok":true,"latency_ms":20.5}"#;
    let reply = world.send("app/shop", post("/outcomes", &format!("[{good},{ONE},{good}]"))).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, r#"{"accepted":3}"#));
    assert_eq!((counts(&world, "v1"), counts(&world, "v2")), ((2, 0), (1, 1)));
    let observed = world.api.proxy.observations();
    let p95 = |model: &str| observed.models.iter().find(|(id, _)| id.as_str() == model).and_then(|(_, seen)| seen.p95);
    assert!(p95("v1").is_some_and(|millis| (millis - 20.5).abs() < 0.5), "{:?}", p95("v1"));
    assert!(p95("v2").is_some_and(|millis| (millis - 250.0).abs() < 5.0), "{:?}", p95("v2"));
    let none = world.send("app/shop", post("/outcomes", "[]")).await;
    assert_eq!((none.status.as_u16(), none.body.as_str()), (202, r#"{"accepted":0}"#));
}

#[tokio::test]
async fn one_bad_outcome_refuses_all_of_them() {
    let world = world();
    for (bad, code, named) in [
        (r#"{"model":"v2","ok":true,"latency_ms":1,"user":"x"}"#, "bad_request", "user"),
        (r#"{"model":"v9","ok":true,"latency_ms":1}"#, "unknown_model", "v9"),
        (r#"{"model":"v2","ok":true,"latency_ms":-1}"#, "bad_request", "-1"),
        (r#"{"model":"v2","ok":true,"latency_ms":3600001}"#, "bad_request", "3600000"),
        (r#"{"model":"v2","ok":true,"latency_ms":NaN}"#, "bad_request", "line 1"),
    ] {
        let reply = world.send("app/shop", post("/outcomes", &format!("[{ONE},{ONE},{bad}]"))).await;
        assert_eq!(reply.problem(), (400, code.into()), "{bad}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("outcome 3") && detail.contains(named), "{bad}: {detail}");
    }
    let many = format!("[{}]", vec![r#"{"model":"v1","ok":true,"latency_ms":1}"#; 10_001].join(","));
    let reply = world.send("app/shop", post("/outcomes", &many)).await;
    assert_eq!(reply.problem(), (400, "bad_request".into()));
    assert!(reply.body.contains("10000"), "{}", reply.body);
    let long = world.send("app/shop", post("/outcomes", &" ".repeat(1024 * 1024 + 1))).await;
    assert_eq!(long.problem(), (413, "body_too_large".into()));
    assert_eq!(world.api.proxy.observations().overall.requests, 0, "nothing of a refused request is counted");
}

#[tokio::test]
async fn without_a_canary_only_the_stable_model_is_known() {
    let world = World::new(view(RoutingState::initial("v1".parse().unwrap())));
    assert_eq!(world.send("app/shop", post("/outcomes", ONE)).await.problem(), (400, "unknown_model".into()));
    let stable = ONE.replace("v2", "v1");
    assert_eq!(world.send("app/shop", post("/outcomes", &stable)).await.status.as_u16(), 202);
}
