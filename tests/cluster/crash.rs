//! kill -9, of every node, idle and in the middle of changes: nothing that an operator was told is lost.

use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster};
use model::NodeId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What an operator was told is decided, by version.
type Confirmed = BTreeMap<u64, Value>;

/// Changes that are let through around each kill; enough that one is under way at that moment.
const AROUND: usize = 3;

#[test]
fn an_idle_node_that_was_killed_comes_back_to_what_was_agreed() {
    let mut cluster = Cluster::running(4);
    let told = cluster.set_weight("30");
    for id in ALL {
        cluster.kill(id);
        cluster.start(id);
        let state = cluster.wait_state(id, "itself in the mesh", |state| state["isolated"] == false);
        assert_eq!(state["txid"], told["state"]["txid"], "{id} must serve what was agreed when it is confirmed");
        cluster.wait_synchronized();
    }
    for id in ALL {
        cluster.kill(id);
    }
    cluster.start_all();
    for id in ALL {
        let state = cluster.state(id).expect("it answers");
        assert_eq!(state["txid"], told["state"]["txid"], "all three lost power, {id} kept it");
    }
}

#[test]
fn kills_in_the_middle_of_changes_lose_nothing_that_was_confirmed() {
    let mut cluster = Cluster::running(5);
    let done = AtomicBool::new(false);
    let confirmed = Mutex::new(Confirmed::new());
    let operator = cluster.operator();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Retreats go on while a node is down, advances when it is back: both kinds meet the kills.
            for weight in (1..=90).cycle().map(|step: u32| (step * 37) % 100) {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let told = operator.try_weight(&weight.to_string());
                if told.code == Some(0) {
                    let state = told.json()["state"].clone();
                    let version = state["version"].as_u64().expect("a number");
                    let before =
                        confirmed.lock().expect("nobody panics with it").insert(version, state["txid"].clone());
                    assert_eq!(before, None, "version {version} was confirmed for two changes");
                }
            }
        });
        let wait_for_more = |what: &str| {
            let count = || confirmed.lock().expect("nobody panics with it").len();
            let wanted = count() + AROUND;
            eventually(what, || if count() >= wanted { Ok(()) } else { Err(format!("{} of {wanted}", count())) });
        };
        for id in [B, C, A] {
            wait_for_more("changes before the kill");
            cluster.kill(id);
            if id != A {
                wait_for_more("changes without a participant");
            }
            cluster.start(id);
            wait_for_more("changes after the restart");
        }
        done.store(true, Ordering::Relaxed);
    });
    let confirmed = confirmed.into_inner().expect("nobody panics with it");
    let version = cluster.wait_synchronized();
    let newest = *confirmed.keys().next_back().expect("some were confirmed");
    assert!(version >= newest, "version {newest} was confirmed, and all are at {version}");
    for id in ALL {
        assert_history_holds(&cluster, id, &confirmed);
    }
}

/// Each confirmed transaction that the node's history still reaches is there, committed, at its version.
#[track_caller]
fn assert_history_holds(cluster: &Cluster, id: NodeId, confirmed: &Confirmed) {
    let history = cluster.get(id, "/history?limit=1000").expect("it answers").json();
    let lines = history.as_array().expect("a list");
    let committed = lines.iter().filter(|line| line["decision"] == "COMMIT");
    let known: Confirmed =
        committed.map(|line| (line["version"].as_u64().expect("a number"), line["txid"].clone())).collect();
    for (version, txid) in confirmed {
        if let Some(other) = known.get(version) {
            assert_eq!(other, txid, "{id} holds another transaction at version {version}");
        }
    }
    let newest = confirmed.iter().next_back().expect("some were confirmed");
    assert_eq!(known.get(newest.0), Some(newest.1), "{id} lost the newest: {history}");
}

#[test]
fn without_a_participant_an_advance_ends_at_once_and_a_retreat_goes_through() {
    let mut cluster = Cluster::running(6);
    cluster.set_weight("50");
    cluster.kill(C);
    cluster.wait_state(A, "its state", |_| true);
    eventually("node-a knows that node-c is gone", || {
        let health = cluster.get(A, "/health/snapshot")?.json();
        if health["peers"]["node-c"]["connected"] == false { Ok(()) } else { Err(health.to_string()) }
    });

    let said = cluster.try_weight("60").fails(4, &["ABORT", "node-c", "it is unreachable"]);
    assert_eq!(
        said.json()["reasons"],
        json!([{"node": "node-c", "code": "unreachable", "reason": "it is unreachable"}])
    );
    cluster.wait_log(A, &["2PC: ABORT", "node-c: it is unreachable"]);

    let told = cluster.set_weight("5");
    assert_eq!((&told["acknowledged"], &told["others"]), (&json!(["node-a", "node-b"]), &json!(["node-c"])));
    let until = told["others_until"].as_str().expect("a bound for the node that could not be asked");
    until.parse::<jiff::Timestamp>().expect("RFC 3339");
    let said = cluster.canary(&["rollout", "set-weight", "0"]).exits(0);
    assert!(said.out.contains("not acknowledged yet by node-c: from"), "{}", said.out);

    let query = cluster.canary(&["query"]).exits(3);
    assert!(query.out.contains("UNREACHABLE") && query.out.contains("node-c"), "{}", query.out);
    cluster.start(C);
    cluster.wait_synchronized();
    assert_eq!(cluster.state(C).expect("it answers")["weights"]["v2"], 0.0);
}
