//! Data that is lost, in use, someone else's, or no longer what was written.

use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster, copy};
use model::NodeId;
use serde_json::json;
use std::fs;
use std::os::unix::fs::FileExt;

#[test]
fn a_lost_disk_needs_the_operators_word() {
    let mut cluster = Cluster::running(9);
    let told = cluster.set_weight("30");
    cluster.kill(C);
    fs::remove_dir_all(cluster.data(C)).expect("it was there");
    cluster.refused_node(C, &[]).fails(78, &["node-c", "--rejoin"]);

    // Whoever was refused has left nothing behind that would pass for its memory.
    cluster.refused_node(C, &[]).fails(78, &["--rejoin"]);
    cluster.start_with(C, &["--rejoin"]);
    cluster.wait_synchronized();
    cluster.wait_log(C, &["This node has joined the mesh"]);
    assert_eq!(cluster.state(C).expect("it answers")["txid"], told["state"]["txid"]);
    // From then on it is a member like the others, with and without the word.
    for arguments in [&["--rejoin"][..], &[]] {
        cluster.kill(C);
        cluster.start_with(C, arguments);
        cluster.wait_synchronized();
    }
    cluster.set_weight("60");
}

#[test]
fn a_first_boot_with_two_of_three_needs_the_operators_word() {
    let mut cluster = Cluster::new(10);
    cluster.start(A);
    cluster.start(B);
    for id in [A, B] {
        cluster.wait_log(id, &["Connected to peer"]);
    }
    let state = cluster.wait_state(A, "its initial state", |_| true);
    assert_eq!((&state["version"], &state["isolated"]), (&json!(0), &json!(true)), "{state}");
    let refused = cluster.post(A, "/routing/weights", br#"{"canary_weight": 0.1, "canary_model_id": "v2"}"#);
    assert_eq!(refused.status, 503, "no member has joined yet: {refused:?}");
    for id in [A, B] {
        cluster.kill(id);
        cluster.start_with(id, &["--first-boot"]);
    }
    for id in [A, B] {
        cluster.wait_state(id, "itself in the mesh", |state| state["isolated"] == false);
    }
    // The third is absent: nobody is asked for what a majority may decide, everybody for what needs all.
    cluster.try_weight("10").fails(4, &["ABORT", "node-c"]);
    cluster.canary(&["member", "drain", "node-c"]).exits(0);
    cluster.set_weight("10");
    let told = cluster.set_weight("5");
    assert_eq!(told["others"], json!(["node-c"]), "{told}");
    // The one machine that comes later finds a mesh that began without it.
    cluster.refused_node(C, &[]).fails(78, &["--rejoin"]);
    cluster.start_with(C, &["--rejoin"]);
    cluster.wait_synchronized();
    eventually("undrain is decided", || {
        let said = cluster.canary(&["member", "undrain", "node-c"]);
        if said.code == Some(0) { Ok(()) } else { Err(said.err) }
    });

    // All disks lost at once leave nothing that could be contradicted: it is a first boot.
    for id in ALL {
        cluster.kill(id);
        fs::remove_dir_all(cluster.data(id)).expect("it was there");
    }
    cluster.start_all();
    assert_eq!(cluster.state(A).expect("it answers")["version"], 0);
}

#[test]
fn data_that_is_not_this_nodes_is_named() {
    let mut cluster = Cluster::running(11);
    cluster.set_weight("30");

    let pid = cluster.process(C).pid();
    let elsewhere = ["--bind", "127.31.11.99"];
    cluster.refused_node(C, &elsewhere).fails(78, &["in use", &format!("process {pid}"), "node-c"]);

    cluster.kill(C);
    let own = cluster.path("data-of-c");
    fs::rename(cluster.data(C), &own).expect("it was there");
    copy(&cluster.data(B), &cluster.data(C));
    cluster.refused_node(C, &[]).fails(78, &["holds the data of node-b", "this node is node-c"]);

    let other = Cluster::new(111);
    fs::remove_dir_all(cluster.data(C)).expect("it was there");
    copy(&own, &cluster.data(C));
    let mut command = other.node_command(C, &["--data", &cluster.machine(C).join("data").display().to_string()]);
    command.env("RUST_BACKTRACE", "0");
    other.refused(command).fails(78, &["holds data of the cluster", "this node's certificate is of"]);

    let offset = damage(&cluster, C);
    let said = cluster.refused_node(C, &[]).fails(65, &["log.1 is corrupt at offset", "--rejoin"]);
    let named = said.err.split("at offset ").nth(1).and_then(|rest| rest.split(':').next());
    let named: u64 = named.and_then(|text| text.parse().ok()).expect("the offset is a number");
    assert!(named <= offset, "the record with byte {offset} begins at or before it, not at {named}");

    // What the hint says works.
    fs::rename(cluster.data(C), cluster.path("damaged")).expect("it was there");
    cluster.start_with(C, &["--rejoin"]);
    cluster.wait_synchronized();
}

/// Changes one byte in the middle of what the node has written.
fn damage(cluster: &Cluster, id: NodeId) -> u64 {
    // The first change went to the other segment.
    let path = cluster.data(id).join("log.1");
    let bytes = fs::read(&path).expect("it is there");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    let offset = u64::try_from(used / 2).expect("64 bit");
    let log = fs::OpenOptions::new().write(true).open(&path).expect("it is ours");
    log.write_all_at(&[bytes[used / 2] ^ 1], offset).expect("the disk works");
    offset
}
