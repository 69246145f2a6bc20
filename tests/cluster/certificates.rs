//! Certificates that are missing, someone else's, or not kept secret; and that no key is ever written anywhere.

use super::authority::certificate;
use super::needs::Need;
use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster, copy};
use data_encoding::{Encoding, HEXLOWER, HEXUPPER};
use rcgen::KeyPair;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

#[test]
fn wrong_certificates_are_refused_before_anything_is_opened() {
    let cluster = Cluster::new(12);
    let folder = cluster.machine(A).join("certs/node-a");
    let kept = cluster.path("kept");
    copy(&folder, &kept);
    let restore = || {
        fs::remove_dir_all(&folder).expect("it was there");
        copy(&kept, &folder);
    };

    fs::remove_dir_all(&folder).expect("it was there");
    cluster.refused_node(A, &[]).fails(78, &["certs/node-a", "is missing", "canary pki init"]);

    copy(&cluster.path("certs/node-b"), &folder);
    cluster.refused_node(A, &[]).fails(78, &["node-b", "node-a"]);

    restore();
    fs::remove_file(folder.join("node.key")).expect("it was there");
    cluster.refused_node(A, &[]).fails(78, &["node.key is missing"]);

    restore();
    fs::copy(cluster.path("certs/node-b/node.key"), folder.join("node.key")).expect("it is ours");
    cluster.refused_node(A, &[]).fails(78, &["node.key is not the key of"]);

    restore();
    fs::set_permissions(folder.join("node.key"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    cluster.refused_node(A, &[]).fails(77, &["node.key is not safe", "its mode is 0644", "chmod 600"]);

    restore();
    fs::write(folder.join("node.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").expect("it is ours");
    cluster.refused_node(A, &[]).fails(78, &["node.pem"]);

    restore();
    expire(&cluster, &folder);
    cluster.refused_node(A, &[]).fails(6, &["node.pem", "expired"]);

    restore();
    let mut command = cluster.node_command(A, &[]);
    command.env("PEERS_NODE_A", "127.31.12.99");
    cluster.refused(command).fails(78, &["PEERS_NODE_A=127.31.12.99 contradicts the certificate", "127.31.12.11"]);

    assert!(!cluster.data(A).exists(), "no data was made for a node that may not start");
}

/// Puts a certificate of yesterday into node-a's folder, by the same authority, for the same key and the same names.
fn expire(cluster: &Cluster, folder: &Path) {
    let key = KeyPair::from_pem(&fs::read_to_string(folder.join("node.key")).expect("it is ours")).expect("a key");
    fs::write(folder.join("node.pem"), certificate(cluster, &key, -1)).expect("it is ours");
}

#[test]
fn the_authoritys_key_on_a_node_is_told_or_refused() {
    let mut cluster = Cluster::new(50);
    let folder = cluster.machine(A).join("certs/ca");
    copy(&cluster.path("certs/ca"), &folder);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("it is ours");
    cluster.refused_node(A, &["--strict"]).fails(77, &["ca/ca.key", "ca_key_present", "start without --strict"]);
    cluster.start_all();
    cluster.wait_log(A, &["\"reason\":\"ca_key_present\""]);
    let metrics = cluster.get(A, "/metrics").expect("an answer");
    assert!(metrics.body.contains("canary_ca_key_present 1\n"), "{}", metrics.body);
    assert!(!cluster.log(B).contains("ca_key_present"));
}

#[test]
fn a_node_of_another_cluster_stays_outside() {
    let mut cluster = Cluster::running(21);
    // The same addresses, another authority: somebody ran `pki init` on each machine.
    let other = Cluster::at(cluster.hosts.clone());
    cluster.kill(C);
    let stranger = cluster.machine(C).join("certs-of-another");
    copy(&other.machine(C).join("certs"), &stranger);
    cluster.start_with(C, &["--data", "other-data", "--certs", &stranger.display().to_string()]);
    let line = cluster.wait_log(A, &["canary::security", "127.31.21.13", "\"reason\":\"unknown_ca\""]);
    assert!(line.contains("\"plane\":\"control\""), "{line}");
    cluster.wait_log(C, &["canary::security", "\"reason\":\"unknown_ca\""]);
    cluster.try_weight("20").fails(4, &["node-c"]);
    let said = cluster.canary(&["query"]).exits(3);
    assert!(said.out.contains("not of the authority in ca.pem"), "the operator sees why: {}", said.out);
    cluster.kill(C);
    cluster.start(C);
    cluster.wait_synchronized();
}

#[test]
fn nodes_that_ask_everyone_for_a_certificate_can_be_read_with_one() {
    let mut cluster = Cluster::new(27);
    for id in ALL {
        cluster.start_with(id, &["--https-client-auth", "required"]);
    }
    eventually("all are synchronized for who shows a certificate", || {
        let said = cluster.canary(&["query", "--operator", "admin"]);
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let said = cluster.canary(&["query"]).exits(3);
    assert!(said.out.contains("CertificateRequired") && said.out.contains("UNREACHABLE"), "{}", said.out);
    cluster.canary(&["rollout", "status"]).exits(3);
    let identity = cluster.path("certs/operator-admin").display().to_string();
    cluster.canary(&["rollout", "history", "--identity", &identity]).exits(0);
    cluster.canary(&["query", "--operator", "nobody"]).fails(78, &["operator-nobody"]);
}

#[test]
fn no_key_is_written_anywhere() {
    let mut cluster = Cluster::new(22);
    let key_log = cluster.path("tls-keys");
    for id in ALL {
        let mut command = cluster.node_command(id, &["--log", "trace"]);
        command.env("SSLKEYLOGFILE", &key_log);
        cluster.start_command(id, command);
    }
    cluster.wait_synchronized();
    let mut said = vec![cluster.canary(&["pki", "inspect", "certs/node-a/node.pem", "certs/node-a/node.key"])];
    said.push(cluster.canary(&["pki", "verify"]));
    said.push(cluster.canary(&["query", "--output", "json"]));
    cluster.set_weight("20");
    cluster.signal(A, Signal::HUP);
    cluster.wait_log(A, &["Certificates reloaded"]);
    let key = cluster.machine(B).join("certs/node-b/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("it is ours");
    cluster.signal(B, Signal::HUP);
    cluster.wait_log(B, &["Certificates not reloaded", "0640"]);
    cluster.set_weight("0");
    for id in ALL {
        cluster.signal(id, Signal::TERM);
        assert!(cluster.take(id).wait().success());
    }
    assert!(!key_log.exists(), "session keys are not for anyone's file");
    let output = cluster.path("said");
    let texts: Vec<String> = said.iter().map(|said| format!("{}{}", said.out, said.err)).collect();
    fs::write(&output, texts.concat()).expect("it is ours");

    let secrets: Vec<Secret> = keys(&cluster.path("certs")).iter().map(|path| Secret::of(path)).collect();
    assert_eq!(secrets.len(), 5, "the authority's, three nodes', one operator's");
    let written = cluster.written();
    assert!(written.len() > 12, "logs, data and outputs: {written:?}");
    for file in written {
        let bytes = fs::read(&file).expect("it is ours");
        for secret in &secrets {
            assert!(!secret.is_in(&bytes), "{} holds {}", file.display(), secret.path.display());
        }
    }
}

#[test]
fn no_core_dump_is_written_unless_it_is_asked_for() {
    if !Need::CoreDumps.is_met() {
        return;
    }
    let most = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: most, maximum: most }).expect("up to the maximum is allowed");
    let crash = |cluster: &mut Cluster, options: &[&str]| {
        cluster.start_with(A, options);
        cluster.wait_log(A, &["Coordinator started"]);
        cluster.signal(A, Signal::ABORT);
        cluster.take(A).wait().core_dumped()
    };
    let mut cluster = Cluster::new(58);
    if !crash(&mut cluster, &["--core-dumps"]) {
        Need::CoreDumps.missing("a process that may write one does not: see /proc/sys/kernel/core_pattern");
    }
    cluster.wait_log(A, &["Core dumps are allowed"]);
    assert!(!crash(&mut Cluster::new(59), &[]));
}

fn keys(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(keys(&path));
        } else if path.extension().is_some_and(|end| end == "key") {
            found.push(path);
        }
    }
    found
}

/// One private key, in every form that it could be written in.
struct Secret {
    path: PathBuf,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    fn of(path: &Path) -> Self {
        let der = PrivateKeyDer::from_pem_file(path).expect("a key");
        // In a P-256 key as PKCS#8 the secret number begins at byte 36.
        let number = der.secret_der()[36..68].to_vec();
        let hex = |digits: Encoding| digits.encode(&number).into_bytes();
        let decimal = number.iter().take(8).map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes();
        let text = fs::read_to_string(path).expect("it is ours");
        let line = text.lines().nth(1).expect("base64 in lines").as_bytes().to_vec();
        let forms = vec![hex(HEXLOWER), hex(HEXUPPER), decimal, line, number, b"PRIVATE KEY".to_vec()];
        Self { path: path.to_owned(), forms }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
    }
}

#[test]
fn a_secret_is_found_when_it_is_there() {
    let cluster = Cluster::new(23);
    let path = cluster.path("certs/node-a/node.key");
    let secret = Secret::of(&path);
    assert!(secret.is_in(&fs::read(&path).expect("it is ours")));
    assert!(!secret.is_in(&fs::read(cluster.path("certs/node-a/node.pem")).expect("it is ours")));
}
