//! Nodes that are stopped and started in turn, under traffic: restarts, upgrades, a machine that is away, one that moves.

use super::clients::Clients;
use super::models::ModelServer;
use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster, copy};
use model::NodeId;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Command;

/// Stops a node as its operator does, and waits until it has ended.
#[track_caller]
fn stop(cluster: &mut Cluster, id: NodeId) {
    let running = cluster.take(id);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(0), "{}", cluster.log(id));
}

/// Waits until enough more was answered for clients of every habit to have met what has just changed.
#[track_caller]
fn wait_traffic(clients: &Clients) {
    let wanted = clients.answered() + 200;
    let count = || clients.answered();
    eventually("traffic", || if count() >= wanted { Ok(()) } else { Err(format!("{} of {wanted}", count())) });
}

/// A command that has to be decided for; a machine under load may be too slow for a vote.
#[track_caller]
fn decided(cluster: &Cluster, arguments: &[&str]) {
    eventually(&format!("{arguments:?}"), || {
        let said = cluster.canary(arguments);
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    });
}

#[test]
fn a_rolling_restart_loses_no_request_and_undoes_no_step() {
    let mut cluster = Cluster::running(91);
    let server = |last: u8, name| ModelServer::start(&format!("127.31.91.{last}"), name);
    let (v1, v2) = (server(21, "v1"), server(22, "v2"));
    decided(&cluster, &["model", "set", "v1", "--upstream", &v1.url()]);
    let clients = Clients::start(&cluster, &ALL);
    let plan = cluster.path("plan.json");
    let gates = r#"{"max_p95_ms": {"limit": 20000, "mode": "observe"}, "p95_ratio": {"mode": "observe"}}"#;
    let steps = r#"[{"setWeight": 10}, {"setWeight": 40}, {"setWeight": 70}]"#;
    std::fs::write(&plan, format!(r#"{{"steps": {steps}, "hold": "3s", "gates": {gates}}}"#)).expect("a file");
    decided(&cluster, &["rollout", "start", "v2", "--upstream", &v2.url(), "--plan", &plan.display().to_string()]);
    for id in [C, B, A] {
        stop(&mut cluster, id);
        wait_traffic(&clients);
        cluster.start(id);
        cluster.wait_state(id, "itself in the mesh", |state| state["isolated"] == false);
        cluster.wait_synchronized();
        wait_traffic(&clients);
    }
    cluster.wait_state(C, "the end", |state| state["stable_model_id"] == "v2");
    clients.lost_nothing();
    let history = cluster.get(C, "/history?limit=1000").expect("it answers").json();
    let mut weights = Vec::new();
    for line in history.as_array().expect("a list").iter().rev().filter(|line| line["decision"] == "COMMIT") {
        weights.extend(line["state"]["weights"]["v2"].as_f64());
        assert_ne!(line["rollout"]["phase"], "Paused", "{line}");
    }
    assert_eq!(weights, [0.1, 0.4, 0.7, 1.0, 1.0], "{history}");
}

/// The command of a node that speaks no newer version of the wire than 5.
fn older(cluster: &Cluster, id: NodeId) -> Command {
    let mut command = cluster.node_command(id, &[]);
    command.env("CANARY_WIRE_VERSION", "5");
    command
}

/// Waits until a node shows these versions of the wire for its links, in the order of its peers.
#[track_caller]
fn wait_wire(cluster: &Cluster, id: NodeId, wanted: [u16; 2]) {
    eventually(&format!("{id} speaks {wanted:?}"), || {
        let peers = cluster.get(id, "/health/snapshot")?.json()["peers"].clone();
        let versions: Vec<&Value> =
            peers.as_object().ok_or("no peers")?.values().map(|peer| &peer["wire_version"]).collect();
        if versions == wanted { Ok(()) } else { Err(peers.to_string()) }
    });
}

/// Replaces a node that is running by another program under traffic, and waits until all agree.
fn replace(cluster: &mut Cluster, clients: &Clients, id: NodeId, command: impl FnOnce(&Cluster) -> Command) {
    stop(cluster, id);
    wait_traffic(clients);
    cluster.start_command(id, command(cluster));
    cluster.wait_synchronized();
}

/// What `canary query` says of the versions of the wire.
fn wire_line(cluster: &Cluster) -> String {
    let said = cluster.canary(&["query"]).exits(0).out;
    said.lines().find(|line| line.starts_with("wire ")).expect("it says so").to_owned()
}

#[test]
fn an_upgrade_node_by_node_loses_no_request_and_can_be_taken_back_until_all_are_new() {
    let mut cluster = Cluster::new(92);
    for id in ALL {
        cluster.start_command(id, older(&cluster, id));
    }
    cluster.wait_synchronized();
    let clients = Clients::start(&cluster, &ALL);
    wait_wire(&cluster, A, [5, 5]);
    let mut told = cluster.set_weight("10");
    let new = |id| move |cluster: &Cluster| cluster.node_command(id, &[]);
    let old = |id| move |cluster: &Cluster| older(cluster, id);
    for (id, spoken, weight) in [(B, [5, 5], "20"), (C, [5, 6], "30")] {
        replace(&mut cluster, &clients, id, new(id));
        wait_wire(&cluster, id, spoken);
        assert_eq!(cluster.state(id).expect("it answers")["txid"], told["state"]["txid"], "{id} kept what was agreed");
        told = cluster.set_weight(weight);
    }
    let before = "members speak 6; when node-a does, there is no way back to 0.1.0";
    assert_eq!(wire_line(&cluster), format!("wire 5: 2 of 3 {before}"));
    replace(&mut cluster, &clients, C, old(C));
    wait_wire(&cluster, A, [5, 5]);
    assert!(wire_line(&cluster).starts_with("wire 5: 1 of 3 members speak 6; when node-a, node-c do"));
    told = cluster.set_weight("35");
    replace(&mut cluster, &clients, C, new(C));
    let state = cluster.state(C).expect("it answers");
    assert_eq!((&state["txid"], &state["wire"]), (&told["state"]["txid"], &Value::Null), "nothing else was decided");

    replace(&mut cluster, &clients, A, new(A));
    for id in ALL {
        let marked = cluster.wait_state(id, "the mark", |state| state["wire"] == 6);
        let kept = ["weights", "salt", "stable_model_id"].map(|field| marked[field] == told["state"][field]);
        assert_eq!((kept, marked["version"].as_u64()), ([true; 3], told["state"]["version"].as_u64().map(|of| of + 1)));
        wait_wire(&cluster, id, [6, 6]);
    }
    assert_eq!(wire_line(&cluster), "wire 6");
    assert_eq!(cluster.set_weight("40")["state"]["wire"], 6);
    clients.lost_nothing();
}

#[test]
fn a_member_that_is_older_than_all_others_agreed_on_is_refused_by_name() {
    let mut cluster = Cluster::running(95);
    assert_eq!(cluster.state(A).expect("it answers")["wire"], Value::Null);
    let first = "wire 5: 3 of 3 members speak 6; with the first change, there is no way back to 0.1.0";
    assert_eq!(wire_line(&cluster), first);
    let told = cluster.set_weight("10");
    assert_eq!((&told["state"]["version"], &told["state"]["wire"]), (&json!(1), &json!(6)), "{told}");
    cluster.wait_synchronized();
    stop(&mut cluster, C);
    let held_back = older(&cluster, C);
    cluster.refused(held_back).fails(78, &["node-c has agreed with all members to speak version 6", "no way back"]);
    // Without its disk it knows nothing of that: the others do.
    std::fs::remove_dir_all(cluster.data(C)).expect("its data");
    let mut rejoining = cluster.node_command(C, &["--rejoin"]);
    rejoining.env("CANARY_WIRE_VERSION", "5");
    cluster.start_command(C, rejoining);
    // Whichever of the two dials first says so.
    cluster.wait_log(C, &["wire_version", "run the others' program", "without --wire-version"]);
    cluster.wait_log(A, &["wire_version", "node-c"]);
    stop(&mut cluster, C);
    cluster.start_with(C, &["--rejoin"]);
    cluster.wait_synchronized();
    assert_eq!(cluster.state(C).expect("it answers")["wire"], 6);
    let mut wrong = cluster.node_command(C, &[]);
    wrong.env("CANARY_WIRE_VERSION", "4");
    cluster.refused(wrong).fails(2, &["--wire-version", "5 or 6"]);
}

#[test]
fn a_drained_member_is_away_and_comes_back_under_traffic() {
    let mut cluster = Cluster::running(93);
    cluster.set_weight("20");
    let clients = Clients::start(&cluster, &[A, B]);
    cluster.kill(C);
    decided(&cluster, &["member", "drain", "node-c"]);
    let told = cluster.set_weight("50");
    assert_eq!(told["state"]["drained"], json!(["node-c"]), "{told}");
    wait_traffic(&clients);
    cluster.start(C);
    cluster.wait_synchronized();
    let state = cluster.state(C).expect("it answers");
    assert_eq!((&state["weights"]["v2"], &state["serving"]["v2"]), (&json!(0.5), &json!(0.0)), "{state}");
    decided(&cluster, &["member", "undrain", "node-c"]);
    cluster.wait_state(C, "its share", |state| state["serving"]["v2"] == 0.5);
    clients.lost_nothing();
}

#[test]
fn a_member_moves_to_another_address_while_the_others_serve() {
    let mut cluster = Cluster::permitting(94, "127.31.94.0/24");
    cluster.start_all();
    let told = cluster.set_weight("30");
    let clients = Clients::start(&cluster, &[A, B]);
    let new = "127.31.94.23";
    cluster.canary(&["pki", "node", "node-c", "--addr", new, "--force"]).exits(0);
    cluster.hosts.insert(C, new.to_owned());
    // First one of the others knows the new address, then the member is there, then the last one knows it: each has a
    // majority at every moment.
    stop(&mut cluster, A);
    cluster.start(A);
    let in_the_mesh = |cluster: &Cluster, id| {
        cluster.wait_state(id, "itself in the mesh", |state| state["isolated"] == false);
    };
    in_the_mesh(&cluster, A);
    cluster.wait_log(A, &["A peer has other addresses in PEERS_NODE_* than this node"]);
    stop(&mut cluster, C);
    let certs = cluster.machine(C).join("certs");
    std::fs::remove_dir_all(certs.join("node-c")).expect("the old folder");
    copy(&cluster.path("certs/node-c"), &certs);
    cluster.start(C);
    in_the_mesh(&cluster, C);
    assert_eq!(cluster.set_weight("10")["state"]["coordinator"], "node-a", "what takes traffic away needs two");
    stop(&mut cluster, B);
    cluster.start(B);
    cluster.wait_synchronized();
    clients.lost_nothing();
    let state = cluster.state(C).expect("it answers at the new address");
    assert!(state["version"].as_u64() > told["state"]["version"].as_u64(), "{state}");
    cluster.set_weight("40");
}
