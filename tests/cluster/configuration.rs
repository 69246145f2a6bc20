//! Addresses that do not make a mesh, and unusual ones that do.

use super::needs::Need;
use super::process::behind;
use super::world::{A, ALL, B, C, Cluster};
use std::process::Command;

#[test]
fn addresses_that_make_no_mesh_are_named() {
    let cluster = Cluster::new(13);
    let with = |changes: &[(&str, Option<&str>)], words: &[&str]| {
        let mut command = cluster.node_command(A, &[]);
        for (variable, value) in changes {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        cluster.refused(command).fails(78, words);
    };
    with(&[("PEERS_NODE_C", None)], &["PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C"]);
    with(&[("PEERS_NODE_B", None)], &["PEERS_NODE_B is not set but PEERS_NODE_C is"]);
    with(&[("PEERS_NODE_A", None)], &["PEERS_NODE_A is not set"]);
    with(&[("PEERS_NODE_E", Some("127.31.13.15"))], &["PEERS_NODE_D is not set but PEERS_NODE_E is"]);
    with(&[("PEERS_NODE_a", Some("127.31.13.11"))], &["node-a is configured twice"]);
    with(&[("PEERS_NODE_1", Some("127.31.13.11"))], &["PEERS_NODE_1"]);
    for wrong in ["", "127.31.13.12:60002", "https://b.example", "0.0.0.0", "127.31.13.256", "fe80::1%lo", "a b"] {
        with(&[("PEERS_NODE_B", Some(wrong))], &["PEERS_NODE_B"]);
    }
    cluster.canary(&["query", "--timeout", "1ms"]).exits(3);
}

#[test]
fn a_variable_that_nothing_reads_is_named_with_the_one_that_was_meant() {
    let cluster = Cluster::new(13);
    for (stray, meant) in [("CANARY_UPSTREAM", "CANARY_UPSTREAMS"), ("PEERS_NOD_D", "PEERS_NODE_A")] {
        let mut command = cluster.node_command(A, &[]);
        command.env(stray, "");
        cluster.refused(command).fails(78, &[stray, meant]);
    }
}

#[test]
fn a_name_that_cannot_be_looked_up_is_named() {
    let mut hosts = Cluster::new(24).hosts;
    hosts.insert(A, "no-such-machine.invalid".into());
    let cluster = Cluster::at(hosts);
    cluster.refused_node(A, &[]).fails(78, &["no-such-machine.invalid", "PEERS_NODE_A"]);
}

#[test]
fn nodes_that_share_an_address_work_with_a_warning() {
    let hosts = ALL.map(|id| (id, "127.31.14.1".to_owned()));
    works_with_a_warning(Cluster::at(hosts.into_iter().collect()));
}

#[test]
fn ipv6_works() {
    if !Need::Ipv6.is_met() {
        return;
    }
    let hosts = [(A, "::1"), (B, "[::1]"), (C, "0:0:0:0:0:0:0:1")].map(|(id, host)| (id, host.to_owned()));
    works_with_a_warning(Cluster::at(hosts.into_iter().collect()));
}

#[test]
fn a_node_takes_the_open_files_that_it_may_have() {
    if !Need::OpenFiles.is_met() {
        return;
    }
    let mut cluster = Cluster::new(114);
    for (id, hard, few) in [(A, 5_000, false), (B, 1_000, true)] {
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -Sn 200; ulimit -Hn {hard}; exec \"$0\" \"$@\"")]);
        cluster.start_command(id, behind(limited, &cluster.node_command(id, &[])));
        cluster.wait_log(id, &[" started"]);
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", cluster.process(id).pid())).expect("it runs");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("Linux says it");
        assert_eq!(line.split_whitespace().nth(3), Some(hard.to_string().as_str()), "{line}");
        let log = cluster.log(id);
        assert_eq!(log.contains("This process may have few files open"), few, "{log}");
    }
}

#[track_caller]
fn works_with_a_warning(mut cluster: Cluster) {
    cluster.start_all();
    for id in ALL {
        cluster.wait_log(id, &["WARN", "Several members share an address"]);
    }
    let told = cluster.set_weight("20");
    for id in ALL {
        cluster.wait_state(id, "the new version", |state| state["txid"] == told["state"]["txid"]);
    }
    let sent_on = cluster.post(B, "/routing/weights", br#"{"canary_weight": 0.1}"#);
    sent_on.is_problem(307, "not_coordinating");
    assert_eq!(sent_on.redirect, cluster.url(A, "/routing/weights"));
}
