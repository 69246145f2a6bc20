//! An ordinary day: first boot, a rollout, a retreat, maintenance, and those who may not change anything.

use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster};
use serde_json::json;

#[test]
fn a_mesh_boots_agrees_and_shows_the_same_everywhere() {
    let cluster = Cluster::running(1);
    for id in ALL {
        assert_eq!(cluster.get(id, "/readyz").expect("it answers").status, 200);
        let state = cluster.state(id).expect("it answers");
        assert_eq!((&state["version"], &state["weights"]), (&json!(0), &json!({"v1": 1.0})), "{state}");
        assert_eq!((&state["node_id"], &state["status"]), (&json!(id), &json!("COMMITTED")));
        cluster.wait_log(id, &[if id == A { "Coordinator started" } else { "Participant started" }]);
        cluster.wait_log(id, &["Connected to peer"]);
    }

    let told = cluster.set_weight("20");
    let all_serve_it = told["others"].as_array().is_some_and(Vec::is_empty);
    assert!(
        all_serve_it || told["others_until"].is_string(),
        "who does not serve it yet is bound all the same: {told}"
    );
    assert_eq!((&told["decision"], &told["state"]["weights"]["v2"]), (&json!("COMMIT"), &json!(0.2)));
    let version = told["state"]["version"].as_u64().expect("a number");
    for id in ALL {
        let state = cluster.wait_state(id, "the new version", |state| state["version"] == version);
        assert_eq!(state["digest"], told["state"]["digest"], "{id}");
        assert_eq!(state["serving"], json!({"v1": 0.8, "v2": 0.2}));
        let history = cluster.get(id, "/history").expect("it answers").json();
        assert_eq!(history[0]["txid"], told["state"]["txid"], "{id}: {history}");
        assert_eq!((&history[0]["decision"], &history[0]["by"]), (&json!("COMMIT"), &json!("operator/admin")));
        cluster.wait_log(id, &["Routing state updated", &format!("\"version\":{version}")]);
    }
    cluster.wait_log(A, &["2PC: COMMIT"]);

    let shown = cluster.canary(&["query"]).exits(0);
    assert!(shown.out.contains("SYNCHRONIZED") && shown.out.contains("v1 80 %, v2 20 %"), "{}", shown.out);
    let history = cluster.canary(&["rollout", "history"]).exits(0);
    assert!(history.out.contains("COMMIT") && history.out.contains("operator/admin"), "{}", history.out);

    // A retreat asks nobody, and keeps the canary's name at weight 0.
    let told = cluster.set_weight("0");
    assert_eq!((&told["acknowledged"], &told["others"]), (&json!(ALL), &json!([])), "{told}");
    let state = cluster.state(C).expect("it answers");
    assert_eq!((&state["canary_model_id"], &state["weights"]["v2"]), (&json!("v2"), &json!(0.0)), "{state}");

    // A version that has passed is refused.
    let old = ["rollout", "set-weight", "1", "--base-version", "0"];
    cluster.canary(&old).fails(4, &["base_version"]);
}

#[test]
fn a_drained_member_serves_stable_only_until_it_is_back() {
    let cluster = Cluster::running(2);
    cluster.set_weight("40");
    let drained = cluster.canary(&["member", "drain", "node-c"]).exits(0);
    assert!(drained.out.contains("drained: node-c"), "{}", drained.out);
    let state = cluster.wait_state(C, "itself drained", |state| state["drained"] == json!(["node-c"]));
    assert_eq!(state["serving"]["v1"], 1.0, "{state}");
    assert_eq!(cluster.state(B).expect("it answers")["serving"]["v2"], 0.4);
    eventually("undrain is decided", || {
        let said = cluster.canary(&["member", "undrain", "node-c"]);
        if said.code == Some(0) { Ok(()) } else { Err(said.err) }
    });
    let state = cluster.wait_state(C, "itself back", |state| state["drained"] == json!([]));
    assert_eq!(state["serving"]["v2"], 0.4, "{state}");
    cluster.canary(&["member", "drain", "node-d"]).fails(4, &["no such member"]);
    cluster.wait_synchronized();
}

#[test]
fn only_an_operator_changes_anything_and_through_any_node() {
    let cluster = Cluster::running(3);
    let body = br#"{"canary_weight": 0.1, "canary_model_id": "v2"}"#;

    let sent_on = cluster.post(B, "/routing/weights", body);
    sent_on.is_problem(307, "not_coordinating");
    assert_eq!(sent_on.redirect, cluster.url(A, "/routing/weights"), "to the configured address");
    let followed = cluster.post_as("operator-admin", C, "/routing/weights", &["--location"], body);
    assert_eq!(followed.status, 200, "{followed:?}");

    for id in ALL {
        let url = cluster.url(id, "/routing/weights");
        let nobody = cluster.curl(&["--data-binary", "@-", &url], body).expect("it answers");
        nobody.is_problem(401, "unauthenticated");
    }
    // A node's key is no operator's, not even on its own node.
    let as_node = cluster.post_as("node-b", A, "/routing/weights", &[], body);
    as_node.is_problem(403, "role_not_allowed");
    cluster.wait_log(A, &["canary::security", "spiffe://", "/node/node-b"]);
    assert_eq!(cluster.wait_synchronized(), 1, "nothing but the operator's change happened");
}
