//! The coordinator is gone for good, and comes back after all.

use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster};
use serde_json::json;

#[test]
fn the_next_member_coordinates_until_the_first_is_back() {
    let mut cluster = Cluster::running(7);
    cluster.set_weight("50");
    cluster.kill(A);
    for id in [B, C] {
        cluster.wait_state(id, "node-b as coordinator", |state| state["acting_coordinator"] == "node-b");
    }
    cluster.wait_log(B, &["This node coordinates"]);
    cluster.post(C, "/routing/weights", br#"{"canary_weight": 0.1}"#).is_problem(307, "not_coordinating");

    let told = cluster.set_weight("10");
    assert_eq!(told["state"]["coordinator"], "node-b", "{told}");
    cluster.try_weight("20").fails(4, &["ABORT", "node-a", "it is unreachable"]);
    // With the dead member taken out of the vote, an advance is possible again.
    cluster.canary(&["member", "drain", "coordinator"]).exits(0);
    let told = cluster.set_weight("20");
    assert_eq!((&told["state"]["coordinator"], &told["state"]["drained"]), (&json!("node-b"), &json!(["node-a"])));

    cluster.start(A);
    cluster.wait_synchronized();
    cluster.wait_log(B, &["This node no longer coordinates"]);
    assert_eq!(cluster.state(A).expect("it answers")["txid"], told["state"]["txid"]);
    eventually("undrain is decided", || {
        let said = cluster.canary(&["member", "undrain", "node-a"]);
        if said.code == Some(0) { Ok(()) } else { Err(said.err) }
    });
    let told = cluster.set_weight("60");
    assert_eq!(told["state"]["coordinator"], "node-a", "{told}");
    cluster.wait_synchronized();
    for id in ALL {
        let history = cluster.get(id, "/history").expect("it answers").json();
        assert_eq!(history[0]["txid"], told["state"]["txid"], "{id}");
    }
}

#[test]
fn a_change_that_finds_the_coordinator_dead_waits_for_the_next_one() {
    let mut cluster = Cluster::running(115);
    cluster.set_weight("50");
    cluster.kill(A);
    let said = cluster.canary(&["rollout", "set-weight", "0"]).exits(0);
    assert!(said.err.contains("node-a coordinates and does not answer"), "{said:?}");
    assert!(said.out.contains("COMMIT"), "{said:?}");
}
