//! The client and the commands that use it, against real servers: black box, by exit code and output.

use crate::cluster::{Cluster, Node, PATIENCE, agrees, following, until};
use crate::world::{node, state, txid, view};
use client::{ChangeFailure, Client, ClientError};
use member::{Answer, Reason, Refusal, View, Vote, boottime};
use model::{NodeId, NodeSet, Peers};
use schema::WeightRequest;
use service::Change;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn canary(cluster: &Cluster, peers: &Peers, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_canary"));
    command.args(arguments).env_clear().env("CANARY_CERTS", cluster.certs.path());
    command.envs(peers.iter().map(|(id, host)| (id.variable(), host.to_string())));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Ran {
    let output = timeout(PATIENCE, command.output()).await.expect("the command must end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Three nodes of which node-a coordinates.
fn three(cluster: &Cluster) -> [Node; 3] {
    ['a', 'b', 'c'].map(|letter| cluster.start(letter, view(state(3, 500)), agrees))
}

#[tokio::test]
async fn the_client_follows_to_configured_nodes_only() {
    let cluster = Cluster::new(30);
    let _a = cluster.start('a', following(state(3, 500), node('b')), agrees);
    let _b = cluster.start('b', following(state(3, 500), node('b')), agrees);
    let body = WeightRequest { canary_weight: 0.2, canary_model_id: None, base_version: None };
    let client = Client::new(cluster.operator(), cluster.peers.clone(), PATIENCE);
    let told = client.change(NodeId::A, "/routing/weights", &body).await.unwrap();
    assert_eq!((told.node, told.status.as_u16()), (node('b'), 200));
    let elsewhere = cluster.peers.iter().map(|(id, host)| {
        let host = if id == node('b') { "127.25.30.9".parse().unwrap() } else { host.clone() };
        (id, host)
    });
    let client = Client::new(cluster.operator(), Peers::new(elsewhere).unwrap(), PATIENCE);
    let stray = client.change(NodeId::A, "/routing/weights", &body).await;
    assert!(matches!(stray, Err(ChangeFailure::NotSent { error: ClientError::Stray(_), .. })), "{stray:?}");
}

#[tokio::test]
async fn nodes_that_name_each_other_are_not_followed_for_ever() {
    let cluster = Cluster::new(31);
    let _a = cluster.start('a', following(state(3, 500), node('b')), agrees);
    let _b = cluster.start('b', following(state(3, 500), NodeId::A), agrees);
    let client = Client::new(cluster.operator(), cluster.peers.clone(), PATIENCE);
    let circle = client.change(NodeId::A, "/routing/weights", &()).await;
    assert!(matches!(circle, Err(ChangeFailure::NotSent { error: ClientError::Circles, .. })), "{circle:?}");
}

#[tokio::test]
async fn query_shows_three_nodes_in_step() {
    let cluster = Cluster::new(32);
    let _nodes = three(&cluster);
    let ran = run(canary(&cluster, &cluster.peers, &["query"])).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 7, "{}", ran.stdout);
    assert!(lines[1].starts_with("node-a  coordinator") && lines[3].starts_with("node-c  participant_c"));
    assert!(lines[2].contains("v1 95 %, v2 5 %") && lines[2].contains("COMMITTED"), "{}", ran.stdout);
    assert_eq!(lines[5], "wire 5: 3 of 3 members speak 6; in a moment, there is no way back to 0.1.0");
    assert_eq!(lines[6], "SYNCHRONIZED: all nodes at version 3", "without a terminal there are no colours");
    let ran = run(canary(&cluster, &cluster.peers, &["query", "--output", "json"])).await;
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&shown["verdict"], &shown["nodes"][1]["version"]), (&"SYNCHRONIZED".into(), &3.into()));
    assert_eq!(shown["nodes"][1]["peers"]["node-b"]["connected"], true);
}

#[tokio::test]
async fn query_finds_the_addresses_in_the_certificate_folder() {
    let cluster = Cluster::new(33);
    let _nodes = three(&cluster);
    let mut command = canary(&cluster, &cluster.peers, &["query"]);
    for letter in ['a', 'b', 'c'] {
        command.env_remove(node(letter).variable());
    }
    assert_eq!(run(command).await.code, 0);
}

#[tokio::test]
async fn a_dead_node_is_a_row_and_a_silent_one_does_not_hang_it() {
    let cluster = Cluster::new(34);
    let _a = cluster.start('a', view(state(3, 500)), agrees);
    let _b = cluster.start('b', view(state(4, 500)), agrees);
    // Takes connections and never says a word.
    let _silent = tokio::net::TcpListener::bind("127.25.34.3:50053").await.unwrap();
    let ran = run(canary(&cluster, &cluster.peers, &["query", "--timeout", "300ms"])).await;
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("no answer within 0.3 s"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("UNREACHABLE: no answer from node-c\n"), "{}", ran.stdout);
    drop(_silent);
    let ran = run(canary(&cluster, &cluster.peers, &["query"])).await;
    assert!(ran.stdout.contains("connection refused"), "{}", ran.stdout);
    let _c = cluster.start('c', view(state(4, 500)), agrees);
    let ran = run(canary(&cluster, &cluster.peers, &["query"])).await;
    assert_eq!((ran.code, ran.stdout.lines().last()), (3, Some("CATCHING UP: version 4 is not at node-a yet")));
}

#[tokio::test]
async fn query_names_what_is_wrong_with_certificates_and_addresses() {
    let (cluster, other) = (Cluster::new(35), Cluster::new(36));
    let _nodes = three(&cluster);
    let wrong_ca = run(canary(&other, &cluster.peers, &["query"])).await;
    assert_eq!(wrong_ca.code, 3);
    assert!(wrong_ca.stdout.contains("copy this cluster's ca.pem"), "{}", wrong_ca.stdout);
    std::fs::remove_file(cluster.certs.path().join("ca.pem")).unwrap();
    let no_ca = run(canary(&cluster, &cluster.peers, &["query"])).await;
    assert_eq!(no_ca.code, 78);
    assert!(no_ca.stderr.contains("ca.pem is missing: copy ca.pem"), "{}", no_ca.stderr);
    let mut gap = canary(&cluster, &cluster.peers, &["query"]);
    gap.env_remove("PEERS_NODE_B");
    let gap = run(gap).await;
    assert!(gap.code != 0 && !gap.stderr.is_empty(), "{}", gap.stderr);
}

#[tokio::test]
async fn watch_prints_a_line_for_each_change() {
    let cluster = Cluster::new(37);
    let nodes = three(&cluster);
    let mut watching = canary(&cluster, &cluster.peers, &["query", "--watch", "--output", "json"]).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = async || -> serde_json::Value {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line").unwrap().expect("more lines");
        serde_json::from_str(&line).unwrap()
    };
    for letter in ['a', 'b', 'c'] {
        assert_eq!(next().await["node_id"], node(letter).to_string());
    }
    nodes[1].publisher.publish(View { me: node('b'), ..view(state(4, 2000)) });
    let changed = next().await;
    assert_eq!((&changed["node_id"], &changed["version"]), (&"node-b".into(), &4.into()));
    assert_eq!(changed["weights"]["v2"], 0.2);
}

#[tokio::test]
async fn set_weight_says_who_serves_it() {
    let cluster = Cluster::new(38);
    let _a = cluster.start('a', view(state(3, 500)), |change| {
        assert!(matches!(&change, Change::Weight { weight, .. } if weight.basis_points() == 2050), "{change:?}");
        let Answer::Committed { state, acknowledged, .. } = agrees(change) else { unreachable!() };
        let acknowledged = acknowledged.without(node('c'));
        Answer::Committed { state, acknowledged, others_until: Some(boottime() + Duration::from_secs(9)) }
    });
    let arguments = ["rollout", "set-weight", "20.5", "--canary", "v2", "--base-version", "3"];
    let ran = run(canary(&cluster, &cluster.peers, &arguments)).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["COMMIT version 4: v1 79.5 %, v2 20.5 %", "served by node-a, node-b"]);
    assert!(lines[2].starts_with("not acknowledged yet by node-c: from 20"), "{}", lines[2]);
}

#[tokio::test]
async fn each_refusal_ends_with_its_code() {
    let plays: [(crate::cluster::Play, i32, &str); 5] = [
        (
            |_| {
                let reason = Vote::Abort(Reason::UpstreamNotReady("connection refused".into()));
                Answer::Aborted { txid: txid(9), votes: [(node('b'), reason)].into() }
            },
            4,
            "node-b: the upstream is not ready there: connection refused",
        ),
        (|_| Answer::Refused(Refusal::BaseVersion { current: 7, wanted: 3 }), 4, "base_version"),
        (|_| Answer::Refused(Refusal::Busy), 4, "busy"),
        (|_| Answer::Refused(Refusal::NoMajority), 3, "no_majority"),
        (|_| Answer::Unknown { txid: txid(9), version: 4 }, 124, "outcome_unknown"),
    ];
    let cluster = Cluster::new(39);
    for (play, code, says) in plays {
        let node = cluster.start('a', view(state(3, 500)), play);
        let ran = run(canary(&cluster, &cluster.peers, &["rollout", "set-weight", "20"])).await;
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(says), "{}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        let address = node.address;
        drop(node);
        until("the port to be free", async || tokio::net::TcpListener::bind(address).await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_dead_coordinator_is_passed_over() {
    let cluster = Cluster::new(40);
    let _b = cluster.start('b', following(state(3, 500), node('b')), agrees);
    let ran = run(canary(&cluster, &cluster.peers, &["rollout", "set-weight", "0"])).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    drop(_b);
    let address = "127.25.40.2:50052";
    until("the port to be free", async || tokio::net::TcpListener::bind(address).await.is_ok()).await;
    let ran = run(canary(&cluster, &cluster.peers, &["rollout", "set-weight", "0"])).await;
    assert_eq!(ran.code, 3);
    for id in NodeSet::first(3).iter() {
        assert!(ran.stderr.contains(&format!("{id}: connection refused")), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn members_are_drained_and_the_past_is_shown() {
    let cluster = Cluster::new(41);
    let _a = cluster.start('a', view(state(3, 500)), agrees);
    let ran = run(canary(&cluster, &cluster.peers, &["member", "drain", "participant_c"])).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("drained: node-c"), "{}", ran.stdout);
    let stranger = run(canary(&cluster, &cluster.peers, &["member", "drain", "node-d"])).await;
    assert!(stranger.code == 4 && stranger.stderr.contains("not_a_member"), "{}", stranger.stderr);
    let status = run(canary(&cluster, &cluster.peers, &["rollout", "status"])).await;
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("weights  v1 95 %, v2 5 %"), "{}", status.stdout);
    let history = run(canary(&cluster, &cluster.peers, &["rollout", "history"])).await;
    assert!(history.code == 0 && history.stdout.starts_with("VERSION  DECISION"), "{}", history.stdout);
}

#[tokio::test]
async fn weights_that_are_none_never_leave_the_machine() {
    let cluster = Cluster::new(42);
    for wrong in ["-1", "101", "NaN", "0.005", "twenty", ""] {
        let ran = run(canary(&cluster, &cluster.peers, &["rollout", "set-weight", wrong])).await;
        assert!(ran.code == 2 && ran.stderr.contains("weight"), "{wrong:?}: {} {}", ran.code, ran.stderr);
    }
    let long = "v".repeat(300);
    for wrong in ["v\"2", "", &long] {
        let ran = run(canary(&cluster, &cluster.peers, &["rollout", "set-weight", "5", "--canary", wrong])).await;
        assert!(ran.code == 2 && ran.stderr.contains("model id"), "{wrong:?}: {} {}", ran.code, ran.stderr);
    }
    let nobody = run(canary(&cluster, &cluster.peers, &["rollout", "set-weight", "5", "--operator", "eve"])).await;
    assert!(nobody.code == 78 && nobody.stderr.contains("operator-eve"), "{}", nobody.stderr);
}

#[tokio::test]
async fn a_plan_is_explained_without_a_mesh() {
    let cluster = Cluster::new(44);
    let explain = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["rollout", "explain"].into_iter().chain(arguments.iter().copied()).collect();
        run(canary(&cluster, &cluster.peers, &arguments))
    };
    let plan = cluster.certs.path().join("plan.toml");
    std::fs::write(&plan, "steps = [{ setWeight = 5 }, { setWeight = 50 }]\nprogressDeadlineSeconds = 600\n")
        .expect("a file");
    let plan = plan.to_str().expect("UTF-8");
    let told = explain(&["--plan", plan, "--rate", "1.8/s"]).await;
    let late = "step 1 (5 %): the minimum sample takes 656 s: it can only be aborted, after 630 s";
    assert!(told.code == 0 && told.stdout.contains(late), "{} {}", told.stdout, told.stderr);
    let told = explain(&["--rate", "180/min", "--output", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!((&json["rate"], &json["steps"][0]["deadline_s"]), (&3.0.into(), &8_000.001.into()));
    assert_eq!(json["power"][0]["gate"], "max_error_rate");
    for wrong in [&["--rate", "3"][..], &["--rate", "3/s", "--steps", "20,5"], &[]] {
        assert_eq!(explain(wrong).await.code, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn every_help_has_examples() {
    let cluster = Cluster::new(43);
    for command in [
        &["query"][..],
        &["rollout", "set-weight"],
        &["rollout", "status"],
        &["rollout", "explain"],
        &["rollout", "history"],
        &["member"],
    ] {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let ran = run(canary(&cluster, &cluster.peers, &arguments)).await;
        assert!(ran.code == 0 && ran.stdout.contains("Examples:"), "{command:?}: {}", ran.stdout);
    }
}
