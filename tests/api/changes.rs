//! What changes the routing, and what is refused before it can.

use crate::world::{MEMBERS, World, ask, node, post, state, txid, view};
use axum::body::Body;
use http::{Request, StatusCode};
use member::{Answer, Reason, Refusal, View, Vote, boottime};
use model::{NodeId, NodeSet, Weight};
use service::{Change, ChangeError};
use std::sync::Arc;
use std::time::Duration;

const WEIGHTS: &str = "/routing/weights";
const TWENTY: &str = r#"{"canary_weight": 0.2}"#;

fn world() -> World {
    World::new(view(state(3, 500)))
}

fn committed() -> Answer {
    Answer::Committed {
        state: Arc::new(state(4, 2000)),
        acknowledged: NodeSet::first(MEMBERS).without(node('c')),
        others_until: Some(boottime() + Duration::from_secs(10)),
    }
}

#[tokio::test]
async fn who_asks_is_looked_at_before_anything_else() {
    let world = World::new(View { coordinator: Some(node('b')), ..view(state(3, 500)) });
    let nonsense = "x".repeat(3 << 20);
    for path in [WEIGHTS, "/members/node-z/drain", "/members/node-b/undrain"] {
        let anonymous = world.send("", post(path, &nonsense)).await;
        assert_eq!(anonymous.problem(), (401, "unauthenticated".into()), "{path}");
        assert!(!anonymous.header("www-authenticate").is_empty());
        for role in ["node/node-a", "app/shop", "monitor/prom"] {
            let other = world.send(role, post(path, &nonsense)).await;
            assert_eq!(other.problem(), (403, "role_not_allowed".into()), "{path} as {role}");
            assert_eq!((&other.json()["have"], &other.json()["need"]), (&role.into(), &"operator".into()));
        }
    }
    let text = world.get("/metrics").await.body;
    assert!(text.contains("canary_http_auth_total{result=\"unauthenticated\"} 3"), "{text}");
    assert!(text.contains("canary_http_auth_total{result=\"forbidden\"} 9"), "{text}");
}

#[tokio::test]
async fn a_commit_is_told_with_its_own_state() {
    let body = r#"{"canary_weight": 0.2, "canary_model_id": "v2", "base_version": 3}"#;
    let (reply, asked) = world().change(WEIGHTS, body, committed()).await;
    assert_eq!(reply.status, StatusCode::OK);
    let told = reply.json();
    assert_eq!((&told["decision"], &told["state"]["version"]), (&"COMMIT".into(), &4.into()));
    assert_eq!(told["state"]["weights"], serde_json::json!({"v1": 0.8, "v2": 0.2}));
    assert_eq!(told["state"]["digest"], state(4, 2000).digest().to_string());
    assert_eq!(told["acknowledged"], serde_json::json!(["node-a", "node-b"]));
    assert_eq!(told["others"], serde_json::json!(["node-c"]));
    assert!(told["others_until"].as_str().unwrap().ends_with('Z'));
    assert_eq!((asked.base_version, asked.by.id.as_str()), (Some(3), "operator/admin"));
    assert_eq!((asked.by.serial.as_str(), asked.by.remote.as_str()), ("0a0b", "192.168.1.7:4711"));
    let Change::Weight { weight, canary } = asked.change else { panic!("{:?}", asked.change) };
    assert_eq!(weight, Weight::from_basis_points(2000).unwrap());
    assert_eq!(canary.unwrap().id.as_str(), "v2");
}

#[tokio::test]
async fn members_are_drained_by_id() {
    let (_, asked) = world().change("/members/node-b/drain", "", committed()).await;
    assert_eq!(asked.change, Change::Drain(node('b')));
    let (_, asked) = world().change("/members/node-b/undrain", "{}", committed()).await;
    assert_eq!(asked.change, Change::Undrain(node('b')));
    for id in ["node-d", "node-", "x", "node-b%00", "%F0%9F%92%A9"] {
        let reply = world().send("operator/admin", post(&format!("/members/{id}/drain"), "")).await;
        assert_eq!(reply.problem(), (404, "not_a_member".into()), "{id}");
    }
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let votes = [
        (NodeId::A, Vote::Commit),
        (node('b'), Vote::Abort(Reason::UpstreamNotReady("refused".into()))),
        (node('c'), Vote::Abort(Reason::Unreachable)),
    ];
    let version = 7;
    let answers = [
        (Answer::Aborted { txid: txid(9), votes: votes.into() }, 409, "aborted"),
        (Answer::Superseded { txid: txid(9), by: txid(8) }, 409, "superseded"),
        (Answer::Refused(Refusal::BaseVersion { current: 7, wanted: 3 }), 409, "base_version"),
        (Answer::Refused(Refusal::Busy), 409, "busy"),
        (Answer::Refused(Refusal::WouldRaise { version }), 409, "would_raise"),
        (Answer::Refused(Refusal::NoMajority), 503, "no_majority"),
        (Answer::Refused(Refusal::NotCoordinating(NodeId::A)), 503, "no_majority"),
        (Answer::Refused(Refusal::NotJoined), 503, "not_joined"),
        (Answer::Refused(Refusal::Invalid(ChangeError::CanaryIsStable("v1".parse().unwrap()))), 400, "bad_request"),
        (
            Answer::Refused(Refusal::Invalid(ChangeError::WireVersion([node('c')].into_iter().collect()))),
            409,
            "wire_version",
        ),
        (Answer::Unknown { txid: txid(9), version }, 504, "outcome_unknown"),
    ];
    for (answer, status, code) in answers {
        let (reply, _) = world().change(WEIGHTS, TWENTY, answer.clone()).await;
        assert_eq!(reply.problem(), (status, code.to_owned()), "{answer:?}");
        let told = reply.json();
        assert_eq!(told["decision"] == "ABORT", matches!(code, "aborted" | "superseded"), "{told}");
        if code == "aborted" {
            assert_eq!(told["reasons"][0]["node"], "node-b");
            assert_eq!(told["reasons"][0]["code"], "upstream_not_ready");
            assert_eq!(told["reasons"][1]["reason"], "it is unreachable");
        }
        if code == "wire_version" {
            assert_eq!(told["behind"], serde_json::json!(["node-c"]));
            assert!(told["detail"].as_str().unwrap().ends_with("no newer one is spoken with node-c"), "{told}");
        }
        if code == "outcome_unknown" {
            assert_eq!(told["txid"], txid(9).to_string());
        }
    }
}

#[tokio::test]
async fn another_coordinator_is_named_by_its_configured_address() {
    let world = World::new(View { coordinator: Some(node('b')), ..view(state(3, 500)) });
    for path in [WEIGHTS, "/members/node-c/drain"] {
        let reply = world.send("operator/admin", post(path, TWENTY)).await;
        assert_eq!(reply.problem(), (307, "not_coordinating".into()));
        assert_eq!(reply.header("location"), format!("https://127.25.0.2:50052{path}"));
    }
}

#[tokio::test]
async fn the_engine_may_name_another_coordinator_too() {
    let (reply, _) = world().change(WEIGHTS, TWENTY, Answer::Refused(Refusal::NotCoordinating(node('c')))).await;
    assert_eq!((reply.problem().0, reply.header("location")), (307, "https://127.25.0.3:50053/routing/weights"));
}

#[tokio::test]
async fn without_a_coordinator_the_node_asks_itself() {
    let mut world = World::new(View { coordinator: None, ..view(state(3, 500)) });
    let (reply, asked) = world.change(WEIGHTS, r#"{"canary_weight":0}"#, committed()).await;
    assert_eq!((reply.status, asked.base_version), (StatusCode::OK, None));
}

#[tokio::test]
async fn a_node_that_stops_says_so() {
    let mut world = world();
    world.inbox.close();
    let reply = world.send("operator/admin", post(WEIGHTS, TWENTY)).await;
    assert_eq!(reply.problem(), (503, "stopping".into()));
}

#[tokio::test]
async fn who_asked_a_node_that_stops_in_the_midst_is_told_no_guess() {
    let mut world = world();
    let asking = ask(world.entry.clone(), "operator/admin", post(WEIGHTS, TWENTY));
    let taken = async { drop(world.inbox.recv().await.expect("it was asked")) };
    let (reply, ()) = tokio::join!(asking, taken);
    assert_eq!(reply.problem(), (504, "outcome_unknown".into()));
}

#[tokio::test]
async fn bad_bodies_are_named_and_reach_nobody() {
    let mut world = world();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_field = format!(r#"{{"canary_weight": {deep}}}"#);
    let long = format!(r#"{{"canary_weight":0.2,"canary_model_id":"{}"}}"#, "v".repeat(300));
    let bodies = [
        ("", "EOF"),
        ("nonsense", "expected"),
        ("[]", "expected"),
        ("null", "expected"),
        ("{}", "canary_weight"),
        (r#"{"canary_weight":0.2"#, "EOF"),
        (r#"{"canary_weight":0.2} x"#, "trailing"),
        (r#"{"canary_weight":-1}"#, "out of range"),
        (r#"{"canary_weight":1.01}"#, "out of range"),
        (r#"{"canary_weight":101}"#, "out of range"),
        (r#"{"canary_weight":NaN}"#, "expected"),
        (r#"{"canary_weight":1e999}"#, "out of range"),
        (r#"{"canary_weight":0.00005}"#, "finer than one basis point"),
        (r#"{"canary_weight":"0.2"}"#, "string"),
        (r#"{"canary_weight":null}"#, "null"),
        (r#"{"canary_weight":0.2,"canary_wieght":0.3}"#, "canary_wieght"),
        (r#"{"canary_weight":0.2,"canary_weight":0.3}"#, "duplicate"),
        (r#"{"canary_weight":0.2,"canary_model_id":""}"#, "must not be empty"),
        (r#"{"canary_weight":0.2,"canary_model_id":"v\"2"}"#, "must not contain"),
        (r#"{"canary_weight":0.2,"canary_model_id":7}"#, "string"),
        (r#"{"canary_weight":0.2,"base_version":-1}"#, "-1"),
        (r#"{"canary_weight":0.2,"base_version":1.5}"#, "1.5"),
        (long.as_str(), "at most 64"),
        (deep.as_str(), "expected"),
        (deep_field.as_str(), "expected"),
    ];
    for (body, names) in bodies {
        let reply = world.send("operator/admin", post(WEIGHTS, body)).await;
        assert_eq!(reply.problem(), (400, "bad_request".into()), "{:.60}", body);
        assert!(reply.body.contains(names), "{:.60}: {}", body, reply.body);
        assert!(reply.body.len() < 1_000, "an answer must not grow with its request");
    }
    let bytes = Request::post(WEIGHTS).body(Body::from(vec![0xff, 0xfe, 0x00])).unwrap();
    assert_eq!(world.send("operator/admin", bytes).await.problem().0, 400);
    assert!(world.inbox.try_recv().is_err(), "no bad request may reach the agreement");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let world = world();
    let large = post(WEIGHTS, &"x".repeat(10 << 20));
    assert_eq!(world.send("operator/admin", large).await.problem(), (413, "body_too_large".into()));
    let chunks = futures_util::stream::iter((0..160).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10])));
    let endless = Request::post(WEIGHTS).body(Body::from_stream(chunks)).unwrap();
    assert_eq!(world.send("operator/admin", endless).await.problem(), (413, "body_too_large".into()));
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"] {
        let mut world = world();
        // Who is told that the node stops got as far as the agreement.
        world.inbox.close();
        let mut request = post(WEIGHTS, TWENTY);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(world.send("operator/admin", request).await.problem().1, "stopping", "{kind}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    for (origin, refused) in [
        ("https://evil.example", true),
        ("null", true),
        ("http://127.25.0.1:50051", true),
        ("https://127.25.0.1:50051", false),
    ] {
        let mut world = world();
        world.inbox.close();
        let mut request = post(WEIGHTS, TWENTY);
        request.headers_mut().insert("host", "127.25.0.1:50051".parse().unwrap());
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let (status, code) = world.send("operator/admin", request).await.problem();
        assert_eq!((status, code.as_str()) == (403, "other_origin"), refused, "{origin}: {status} {code}");
    }
}
