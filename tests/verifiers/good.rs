//! What `canary pki init` makes, before every judge.

use super::needs::Need;
use super::ours;
use super::programs::{Program, Question};
use model::NodeId;
use std::path::Path;
use std::process::{Command, Stdio};
use tls::{ControlPlane, CrlPolicy};
use trust::{ClientFiles, NodeFiles};

/// Each member and its addresses; the others dial the first.
const MEMBERS: [(&str, &[&str]); 3] =
    [("node-a", &["10.0.0.1", "a.example"]), ("node-b", &["2001:db8::2", "b.example"]), ("node-c", &["c.example"])];

pub(crate) fn init(dir: &Path, algorithm: &str, members: &[(&str, &[&str])]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_canary"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERS_") || name.to_string_lossy().starts_with("CANARY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).args(["pki", "init", "--key-alg", algorithm]);
    for (name, hosts) in members {
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
        let all: Vec<(NodeId, _, ControlPlane)> = MEMBERS.iter().map(|(member, _)| plane(member)).collect();
        for (me, _, dialing) in &all {
            for ((peer, chain, answering), (name, hosts)) in all.iter().zip(MEMBERS) {
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

/// All that was made, as questions, each with its name.
fn questions(dir: &Path, members: &[(&str, &[&str])]) -> Vec<(String, Question)> {
    let mut all = Vec::new();
    for (member, hosts) in members {
        let own = files(dir, member);
        for host in *hosts {
            let name = format!("{member} at {host}");
            let folder = dir.join(format!("asked-{}", all.len()));
            all.push((name, Question::new(folder, &own.chain, &own.ca[0], own.crls.first(), Some(host))));
        }
    }
    let operator = ClientFiles::load(&dir.join("certs/operator-admin")).expect("good files");
    let lists = files(dir, "node-a").crls;
    let question = Question::new(dir.join("asked"), &operator.chain, &operator.ca[0], lists.first(), None);
    all.push(("an operator".into(), question));
    all
}

/// Asks everybody about everything; `refuses` names those who are known to refuse a certificate.
fn ask(named: Vec<(String, Question)>, refuses: impl Fn(&str) -> &'static str) {
    let (names, questions): (Vec<String>, Vec<Question>) = named.into_iter().unzip();
    for program in Program::ALL {
        let Some(answers) = program.ask(&questions) else { continue };
        let differs = |(name, answer): (&String, _)| program.contradicts(refuses(name), answer, name);
        let wrong: Vec<String> = names.iter().zip(&answers).filter_map(differs).collect();
        assert!(wrong.is_empty(), "{program:?}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn other_verifiers_accept_every_certificate() {
    // NSS 3.87 reads no Ed25519 certificate, and Python follows the Web's rules, which know no such key.
    for (algorithm, refused_by) in [("p256", ""), ("p384", ""), ("ed25519", "np")] {
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path(), algorithm, &MEMBERS);
        ask(questions(dir.path(), &MEMBERS), |_| refused_by);
    }
}

#[test]
fn members_need_no_host_name() {
    // GnuTLS 3.7 takes the common name for a host name when there is no other, so the members' names are permitted ones.
    let dir = tempfile::tempdir().expect("a directory");
    let members: [(&str, &[&str]); 3] = [("node-a", &["10.0.0.1"]), ("node-b", &["10.0.0.2"]), ("node-c", &["::3"])];
    init(dir.path(), "p256", &members);
    ask(questions(dir.path(), &members), |_| "");
}

#[test]
fn openssl_finds_the_authority_s_signature_on_the_list() {
    if !Need::OpenSsl.is_met() {
        return;
    }
    for algorithm in ["p256", "p384", "ed25519"] {
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path(), algorithm, &MEMBERS);
        let mut command = Command::new("openssl");
        command.args(["crl", "-in", "certs/crl.pem", "-CAfile", "certs/ca.pem", "-noout"]);
        let output = command.current_dir(dir.path()).stdin(Stdio::null()).output().expect("it was just tried");
        let said = String::from_utf8_lossy(&output.stderr);
        // OpenSSL ends with 0 even when the signature is wrong.
        assert!(output.status.success() && said.contains("verify OK"), "{algorithm}: {said}");
    }
}
