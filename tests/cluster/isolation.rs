//! One node without the other two: it serves, stable only, and changes nothing.

use super::world::{A, B, C, Cluster};
use serde_json::json;

#[test]
fn the_last_node_serves_stable_only_and_refuses_changes() {
    let mut cluster = Cluster::running(8);
    let told = cluster.set_weight("100");
    // A majority has decided it; what the last one has not heard yet would die with the others.
    cluster.wait_state(C, "the new weight", |state| state["txid"] == told["state"]["txid"]);
    cluster.kill(A);
    cluster.kill(B);
    let state = cluster.wait_state(C, "itself isolated", |state| state["isolated"] == true);
    assert_eq!(state["serving"]["v1"], 1.0, "{state}");
    assert_eq!(
        (&state["weights"]["v2"], &state["status"]),
        (&json!(1.0), &json!("COMMITTED")),
        "what was agreed stays"
    );
    assert_eq!(state["txid"], told["state"]["txid"]);
    cluster.wait_log(C, &["Isolated"]);
    assert_eq!(cluster.get(C, "/readyz").expect("it answers").status, 200);
    let predict = cluster.url(C, "/predict");
    let answer = cluster.curl(&["--data", r#"{"key":"user-42"}"#, &predict], b"").expect("it answers").json();
    assert_eq!(answer["model_selected"], "v1", "{answer}");

    // A retreat is refused like an advance, before anything is written.
    for weight in ["0", "0.5"] {
        let body = format!(r#"{{"canary_weight": {weight}}}"#);
        cluster.post(C, "/routing/weights", body.as_bytes()).is_problem(503, "no_majority");
    }
    cluster.canary(&["rollout", "set-weight", "0"]).fails(3, &["no_majority", "nothing was changed"]);
    cluster.canary(&["query"]).exits(3);
    assert_eq!(cluster.state(C).expect("it answers")["version"], told["state"]["version"]);

    cluster.start(A);
    let state = cluster.wait_state(C, "itself back", |state| state["isolated"] == false);
    assert_eq!((&state["serving"]["v2"], &state["txid"]), (&json!(1.0), &told["state"]["txid"]));
    cluster.start(B);
    cluster.wait_synchronized();
    cluster.set_weight("0");
}
