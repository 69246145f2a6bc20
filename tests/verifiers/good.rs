//! What `canary pki init` makes, before every judge.

use super::ours;
use super::programs::{Program, Question};
use canary::model::NodeId;
use canary::pki::{ClientFiles, NodeFiles};
use canary::tls::{ControlPlane, CrlPolicy};
use std::path::Path;
use std::process::{Command, Stdio};

/// Each member, its addresses, and who is known to refuse it under every kind of key.
const MEMBERS: [(&str, &[&str], &str); 3] = [
    ("node-a", &["10.0.0.1", "a.example"], ""),
    ("node-b", &["2001:db8::2", "b.example"], ""),
    ("node-c", &["c.example"], ""),
];

fn init(dir: &Path, algorithm: &str, members: &[(&str, &[&str], &str)]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_canary"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERS_") || name.to_string_lossy().starts_with("CANARY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).args(["pki", "init", "--key-alg", algorithm]);
    for (name, hosts, _) in members {
        command.args(["--node", &format!("{name}={}", hosts.join(","))]);
    }
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn files(dir: &Path, member: &str) -> NodeFiles {
    NodeFiles::load(&dir.join("certs"), member.parse().expect("a node")).expect("good files")
}

#[test]
fn members_accept_each_other() {
    for algorithm in ["p256", "p384", "ed25519"] {
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path(), algorithm, &MEMBERS);
        let plane = |member: &str| {
            let files = files(dir.path(), member);
            let members = files.bundle.peers.members();
            let id = files.bundle.id;
            (id, files.chain.clone(), ControlPlane::new(&files, id, members, CrlPolicy::Enforce).expect("a plane"))
        };
        let all: Vec<(NodeId, _, ControlPlane)> = MEMBERS.iter().map(|(member, ..)| plane(member)).collect();
        for (me, _, dialing) in &all {
            for ((peer, chain, answering), (name, hosts, _)) in all.iter().zip(MEMBERS) {
                if me == peer {
                    continue;
                }
                assert_eq!(dialing.judge(chain), Ok(()), "{algorithm} {name}");
                for host in hosts {
                    let said = ours::between(&dialing.clients[peer], &answering.server, host);
                    assert_eq!(said, (Ok(()), Ok(())), "{algorithm}: {me} dials {name} at {host}");
                }
            }
        }
    }
}

#[test]
fn other_verifiers_accept_every_certificate() {
    for algorithm in ["p256", "p384", "ed25519"] {
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path(), algorithm, &MEMBERS);
        let mut questions = Vec::new();
        let mut rows = Vec::new();
        for (member, hosts, refused_by) in MEMBERS {
            let own = files(dir.path(), member);
            for (at, host) in hosts.iter().enumerate() {
                let folder = dir.path().join(format!("{member}-{at}"));
                questions.push(Question::new(folder, &own.chain, &own.ca[0], own.crls.first(), Some(host)));
                rows.push((format!("{algorithm} {member} at {host}"), refused_by));
            }
        }
        let operator = ClientFiles::load(&dir.path().join("certs/operator-admin")).expect("good files");
        let lists = files(dir.path(), "node-a").crls;
        questions.push(Question::new(dir.path().join("q"), &operator.chain, &operator.ca[0], lists.first(), None));
        rows.push((format!("{algorithm} operator"), ""));
        for program in Program::ALL {
            let Some(answers) = program.ask(&questions) else { continue };
            for ((name, refused_by), answer) in rows.iter().zip(&answers) {
                eprintln!("## {name} {program:?} {} {}", answer.accepted, if answer.accepted { "" } else { &answer.said });
                let _ = refused_by;
            }
        }
    }
}
#[test]
fn with_addresses_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let m: [(&str, &[&str], &str); 3] = [("node-a", &["10.0.0.1"], ""), ("node-b", &["10.0.0.2"], ""), ("node-c", &["2001:db8::3"], "")];
    init(dir.path(), "p256", &m);
    for (member, hosts, _) in m {
        let own = files(dir.path(), member);
        let q = [Question::new(dir.path().join(member), &own.chain, &own.ca[0], own.crls.first(), Some(hosts[0]))];
        for program in Program::ALL {
            if let Some(a) = program.ask(&q) { eprintln!("## only {member} {program:?} {} {}", a[0].accepted, if a[0].accepted { "" } else { &a[0].said }); }
        }
    }
    let operator = ClientFiles::load(&dir.path().join("certs/operator-admin")).expect("good files");
    let lists = files(dir.path(), "node-a").crls;
    let q = [Question::new(dir.path().join("q"), &operator.chain, &operator.ca[0], lists.first(), None)];
    for program in Program::ALL {
        if let Some(a) = program.ask(&q) { eprintln!("## only op {program:?} {} {}", a[0].accepted, if a[0].accepted { "" } else { &a[0].said }); }
    }
}
