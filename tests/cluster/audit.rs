//! The nodes' records: what they prove, and that nobody changes them unnoticed.

use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What `canary audit verify` says of these records.
fn verify(cluster: &Cluster, records: &[PathBuf]) -> (Option<i32>, Value) {
    let mut arguments = vec!["audit", "verify", "--output", "json"];
    let records: Vec<String> = records.iter().map(|path| path.display().to_string()).collect();
    arguments.extend(records.iter().map(String::as_str));
    let said = cluster.canary(&arguments);
    (said.code, said.json())
}

/// Waits until each node's own record proves the decision at `version`.
fn wait_proved(cluster: &Cluster, version: u64) {
    for id in ALL {
        eventually(&format!("the record of {id} proves version {version}"), || {
            let (code, said) = verify(cluster, &[cluster.data(id)]);
            let found = said["decisions"].as_array().expect("a list").iter().any(|one| one["version"] == version);
            if code == Some(0) && found { Ok(()) } else { Err(said.to_string()) }
        });
    }
}

#[test]
fn a_decision_is_proved_by_every_nodes_record_and_a_changed_one_is_found() {
    let mut cluster = Cluster::running(48);
    cluster.set_weight("20");
    let version = cluster.set_weight("0")["state"]["version"].as_u64().expect("a number");
    wait_proved(&cluster, version);
    let (_, said) = verify(&cluster, &[cluster.data(C)]);
    let decisions = said["decisions"].as_array().expect("a list");
    let (raised, lowered) = (&decisions[decisions.len() - 2], &decisions[decisions.len() - 1]);
    assert_eq!((&raised["kind"], raised["voted"].as_array().map(Vec::len)), (&Value::from("advance"), Some(3)));
    assert_eq!((&lowered["kind"], &lowered["by"]["id"]), (&Value::from("retreat"), &Value::from("operator/admin")));

    // A node's certificate changes nothing, and that it tried is on file.
    cluster.post_as("node-b", A, "/routing/weights", &[], b"{\"canary_weight\":1}").is_problem(403, "role_not_allowed");
    eventually("the refusal is on file", || {
        let text = fs::read_to_string(cluster.data(A).join("audit.jsonl")).expect("text");
        let told = text.lines().any(|line| line.contains("\"refused\"") && line.contains("node/node-b"));
        if told { Ok(()) } else { Err(text) }
    });

    // Killed and started again, it goes on where it was.
    cluster.kill(B);
    cluster.start(B);
    cluster.wait_synchronized();
    let version = cluster.set_weight("10")["state"]["version"].as_u64().expect("a number");
    wait_proved(&cluster, version);

    for id in ALL {
        cluster.signal(id, Signal::TERM);
        assert!(cluster.take(id).wait().success());
    }
    let data: Vec<PathBuf> = ALL.map(|id| cluster.data(id)).into();
    let (code, said) = verify(&cluster, &data);
    assert_eq!((code, &said["ok"], &said["findings"]), (Some(0), &Value::from(true), &Value::Array(Vec::new())));

    let record = cluster.data(A).join("audit.jsonl");
    let whole = fs::read_to_string(&record).expect("text");
    let changed = whole.replacen("operator/admin", "operator/eve00", 1);
    let place = 1 + whole.lines().position(|line| line.contains("operator/admin")).expect("it is there");
    expect_wrong(&cluster, &record, &changed, &format!("audit.jsonl:{place}: line {place} was changed"));
    let last = whole.trim_end().rfind('\n').expect("several lines") + 1;
    expect_wrong(&cluster, &record, &whole[..last], "the end was dropped");
    fs::write(&record, whole).expect("it is ours");
    cluster.canary(&["audit", "verify", &cluster.data(A).display().to_string()]).exits(0);
}

/// With this text the record is not sound, and this is said of it.
fn expect_wrong(cluster: &Cluster, record: &Path, text: &str, words: &str) {
    fs::write(record, text).expect("it is ours");
    let said = cluster.canary(&["audit", "verify", &record.parent().expect("a folder").display().to_string()]).exits(1);
    assert!(said.out.contains(words) && said.out.contains("NOT SOUND"), "{}", said.out);
}

#[test]
fn what_cannot_be_checked_is_said() {
    let cluster = Cluster::new(49);
    cluster.canary(&["audit", "verify"]).fails(1, &["data"]);
    fs::create_dir_all(cluster.path("data")).expect("made");
    cluster.canary(&["audit", "verify"]).fails(1, &["there is no audit.jsonl in ./data", "--data"]);
    cluster.canary(&["audit", "verify", "none.jsonl"]).fails(1, &["none.jsonl cannot be read"]);
    cluster.canary(&["audit", "verify", "--ca", "none.pem"]).fails(1, &["none.pem holds no certificates", "--ca"]);
    fs::write(cluster.path("data/audit.jsonl"), "{}\n").expect("written");
    let said = cluster.canary(&["audit", "verify"]).exits(1);
    assert!(said.out.contains("audit.jsonl:1: this is no line of an audit record"), "{}", said.out);
}
