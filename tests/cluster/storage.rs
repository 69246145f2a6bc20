//! Disks that fail, are full, or no longer hold what was written: what a node then does, says and does not say.

use super::mounted::Mounted;
use super::needs::Need;
use super::process::eventually;
use super::trace::Trace;
use super::world::{A, ALL, B, C, Cluster};
use model::NodeId;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// The end of a TLS 1.3 connection: a record with an alert. Whatever is longer says something.
const FAREWELL: usize = 24;
/// What a thread can say things with, and what the store writes with.
const CALLS: &str = "fdatasync,pwrite64,sendto,sendmsg,write,writev";

#[test]
fn a_write_or_force_that_fails_ends_the_node_before_it_says_anything() {
    if !Need::Strace.is_met() {
        return;
    }
    let mut cluster = Cluster::running(71);
    // What comes with the first change and never again is done with.
    cluster.set_weight("5");
    for (number, (id, call, error)) in
        [(B, "fdatasync", "EIO"), (C, "pwrite64", "EIO"), (A, "fdatasync", "ENOSPC"), (A, "pwrite64", "EIO")]
            .into_iter()
            .enumerate()
    {
        let before = cluster.wait_synchronized();
        let said_before = cluster.log(id).len();
        let pid = cluster.process(id).pid();
        let lines = cluster.path(&format!("trace-{number}"));
        let trace = Trace::attach(pid, CALLS, &format!("{call}:error={error}:when=1+"), &lines);
        let told = cluster.try_weight(&format!("{}", 10 + number));
        if id == A {
            assert_eq!(told.code, Some(124), "the others may decide it without node-a, which cannot know: {told:?}");
        }
        let status = cluster.take(id).wait();
        assert_eq!(status.code(), Some(74), "{}", cluster.log(id));
        let log = cluster.log(id)[said_before..].to_owned();
        let (doing, why) = (
            if call == "fdatasync" { "force" } else { "write" },
            if error == "EIO" { "os error 5" } else { "os error 28" },
        );
        assert!(log.contains(&format!("error: cannot {doing} ")) && log.contains("log.") && log.contains(why), "{log}");
        assert!(!log.contains("Routing state updated") && !log.contains("2PC: COMMIT"), "{log}");
        assert_silent_after_the_failure(&trace.lines());

        cluster.start(id);
        let after = cluster.wait_synchronized();
        if told.code == Some(0) {
            assert!(after > before, "{told:?} was lost");
        }
    }
}

/// The thread whose call failed, the one that writes records and speaks to peers, says farewell and no more.
fn assert_silent_after_the_failure(lines: &[(String, String)]) {
    // Of a call that another thread's is in the way of, the result has a line of its own.
    let called = |call: &str, name: &str| call.strip_prefix("<... ").unwrap_or(call).starts_with(name);
    let is_of_the_store = |call: &str| called(call, "pwrite64") || called(call, "fdatasync");
    let keeps = |thread: &str| lines.iter().any(|(other, call)| other == thread && call.starts_with("pwrite64"));
    let failed = lines
        .iter()
        .position(|(thread, call)| is_of_the_store(call) && call.contains("(INJECTED)") && keeps(thread))
        .unwrap_or_else(|| panic!("no call of the agreement failed: {lines:?}"));
    let (thread, _) = &lines[failed];
    for (_, call) in lines[failed..].iter().filter(|(other, _)| other == thread) {
        let is_send = ["sendto(", "sendmsg(", "writev(", "write("].iter().any(|name| call.starts_with(name));
        let to_stderr = call.starts_with("write(2,");
        let length = call.rsplit_once("= ").and_then(|(_, result)| result.trim().parse::<usize>().ok()).unwrap_or(0);
        assert!(!is_send || to_stderr || length <= FAREWELL, "said after the failure: {call}");
    }
}

#[test]
fn a_full_disk_stops_advances_and_nothing_else_and_is_left_behind_by_itself() {
    let mut cluster = Cluster::new(72);
    let Some(mounted) = Mounted::at(&cluster.machine(B).join("data"), "32m") else { return };
    cluster.start_all();
    cluster.set_weight("20");
    let filler = mounted.path().join("filler");
    let mut file = fs::File::create(&filler).expect("there is room");
    let block = [1; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    drop(file);
    cluster.wait_log(B, &["The disk is full"]);

    let said = cluster.try_weight("40").fails(4, &["ABORT", "node-b"]);
    assert_eq!(said.json()["reasons"][0]["code"], "storage_full", "{said:?}");
    for weight in ["15", "10", "5"] {
        let told = cluster.set_weight(weight);
        assert_eq!(told["acknowledged"], json!(["node-a", "node-b", "node-c"]), "a retreat needs no room: {told}");
    }
    assert_eq!(cluster.get(B, "/predict").map(|answer| answer.status), Ok(405), "it serves on");
    let asked = cluster.curl(&["--data", "{}", &cluster.url(B, "/predict")], b"").expect("it answers");
    assert_eq!(asked.status, 200, "{asked:?}");

    // A restart needs no room either.
    cluster.kill(B);
    cluster.start(B);
    cluster.wait_synchronized();
    cluster.set_weight("4");

    fs::remove_file(&filler).expect("it is there");
    cluster.wait_log(B, &["The disk has room again"]);
    let told = cluster.set_weight("40");
    let version = cluster.wait_synchronized();
    assert_eq!(told["state"]["version"], version);
    let newest = cluster.get(B, "/history?limit=1").expect("it answers").json();
    assert_eq!(newest[0]["txid"], told["state"]["txid"], "the history goes on too");
    for id in ALL {
        cluster.kill(id);
    }
    cluster.start_all();
    assert_eq!(cluster.state(B).expect("it answers")["txid"], told["state"]["txid"]);
}

/// What `canary store check` says of a node.
fn check(cluster: &Cluster, id: NodeId) -> (Option<i32>, Value) {
    let said = cluster.canary(&["store", "check", &cluster.data(id).display().to_string(), "--output", "json"]);
    (said.code, said.json()["nodes"][0].clone())
}

#[test]
fn what_a_node_holds_can_be_looked_at_and_damage_is_named() {
    let mut cluster = Cluster::running(73);
    let told = cluster.set_weight("30");
    let version = cluster.wait_synchronized();

    // While it runs.
    let pid = cluster.process(C).pid();
    eventually("the look finds what was decided", || {
        let (code, said) = check(&cluster, C);
        let seen = (code, &said["in_use"], &said["process"], &said["node"], &said["accepted"]["version"]);
        let wanted = (Some(0), &json!(true), &json!(pid), &json!("node-c"), &json!(version));
        if seen == wanted { Ok(()) } else { Err(said.to_string()) }
    });
    // The history is written a moment later, since nothing rests on it.
    let txid = told["state"]["txid"].as_str().expect("a transaction");
    eventually("the history has it", || {
        let history = fs::read_to_string(cluster.data(C).join("history.jsonl")).unwrap_or_default();
        if history.contains(txid) { Ok(()) } else { Err(history) }
    });
    cluster.kill(C);
    let (code, said) = check(&cluster, C);
    assert_eq!((code, &said["in_use"], &said["accepted"]["txid"]), (Some(0), &json!(false), &told["state"]["txid"]));
    let data = cluster.machine(C).join("data").display().to_string();
    let said = cluster.canary(&["store", "check", "--data", &data]).exits(0);
    assert!(said.out.contains("node         node-c\n") && said.out.contains("SOUND"), "{}", said.out);

    // All that it holds, without a key.
    let dir = cluster.data(C).display().to_string();
    let exported = cluster.canary(&["store", "export", &dir]).exits(0).out;
    let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    assert!(lines.iter().any(|line| line["kind"] == "history" && line["line"]["txid"] == txid), "{exported}");
    let memory = lines.iter().find(|line| line["kind"] == "memory").expect("the sum");
    assert_eq!(memory["durable"]["accepted"]["state"]["txid"], txid);
    assert!(!exported.contains("PRIVATE KEY"));
    let out = cluster.path("export.jsonl").display().to_string();
    cluster.canary(&["store", "export", &dir, "--out", &out]).exits(0);
    assert_eq!(fs::read_to_string(&out).expect("text"), exported);
    cluster.canary(&["store", "export", &dir, "--out", &out]).fails(1, &["export.jsonl"]);
    cluster.canary(&["store", "export", &dir, "--out", &format!("{dir}/x")]).fails(1, &["nothing is changed"]);
    cluster.canary(&["store", "check", "none"]).fails(1, &["none cannot be read", "CANARY_DATA"]);

    // One byte changes: both the node and the check name the place.
    let path = cluster.data(C).join(current(&cluster, C));
    let bytes = fs::read(&path).expect("it is there");
    let place = bytes.windows(10).position(|window| window == b"\"accepted\"").expect("the snapshot names it");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("it is ours");
    file.write_all_at(b"\"accfpted\"", place as u64).expect("the disk works");
    let named = format!("{} is corrupt at offset 0", path.file_name().expect("a name").to_string_lossy());
    cluster.refused_node(C, &[]).fails(65, &[&named, "store check", "--rejoin"]);
    let said = cluster.canary(&["store", "check", &dir]).exits(65);
    assert!(said.out.contains(&named) && said.out.contains("--rejoin"), "{}", said.out);
    let (_, said) = check(&cluster, C);
    assert_eq!((&said["damage"][0]["file"], &said["damage"][0]["offset"]), (&json!(path), &json!(0)));
    let exported = cluster.canary(&["store", "export", &dir]).exits(65).out;
    assert!(exported.contains("\"kind\":\"damage\"") && exported.contains("\"kind\":\"history\""), "{exported}");

    // Data of another version is refused by its name.
    file.write_all_at(b"\"accepted\"", place as u64).expect("the disk works");
    let identity = cluster.data(C).join("identity.json");
    let text = fs::read_to_string(&identity).expect("text");
    for (format, words) in [("9", "start a newer canary"), ("0", "this program reads")] {
        fs::write(&identity, text.replace("\"format\": 2", &format!("\"format\": {format}"))).expect("it is ours");
        let named = format!("identity.json has format {format}");
        cluster.refused_node(C, &[]).fails(78, &[&named, words]);
        let said = cluster.canary(&["store", "check", &dir]).exits(65);
        assert!(said.out.contains(&named), "{}", said.out);
    }
    fs::write(&identity, text).expect("it is ours");
    cluster.start(C);
    cluster.wait_synchronized();
}

/// The segment that the node would go on from.
fn current(cluster: &Cluster, id: NodeId) -> String {
    let (_, said) = check(cluster, id);
    let segments = said["segments"].as_array().expect("a list").clone();
    let file = segments.iter().find(|segment| segment["current"] == true).expect("one is");
    let path = PathBuf::from(file["file"].as_str().expect("a path"));
    path.file_name().expect("a name").to_string_lossy().into_owned()
}
