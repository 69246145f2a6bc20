//! Certificates and lists of revoked ones that change under running nodes.

use super::answer::Answer;
use super::authority::{certificate, replace, revocation_list};
use super::process::{DEADLINE, eventually};
use super::world::{A, B, C, Cluster};
use model::NodeId;
use rcgen::KeyPair;
use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use trust::ClientFiles;

/// Gives a node a list with these certificates on it.
fn revoke(cluster: &Cluster, id: NodeId, certificates: &[&str]) {
    let path = cluster.machine(id).join(format!("certs/{id}/crl.pem"));
    replace(&path, &revocation_list(cluster, certificates));
}

/// Waits until the metrics of a node have this line.
#[track_caller]
fn wait_metric(cluster: &Cluster, id: NodeId, line: &str) {
    eventually(&format!("{line} of {id}"), || {
        let metrics = cluster.get(id, "/metrics")?.body;
        if metrics.lines().any(|there| there == line) { Ok(()) } else { Err(metrics) }
    });
}

/// What the metrics of a node that is linked with node-c say of that, of handshakes and of certificates.
const SHOWN: [&str; 12] = [
    "canary_peer_identity_info{peer=\"node-c\",spiffe_id=\"spiffe://",
    "canary_peer_clock_skew_seconds{peer=\"node-c\"} ",
    "canary_peer_addresses{peer=\"node-c\"} 1",
    "canary_tls_handshakes_total{plane=\"control\",result=\"ok\"} ",
    "canary_tls_handshakes_total{plane=\"https\",result=\"ok\"} ",
    "canary_tls_handshake_seconds_bucket{plane=\"https\",le=\"+Inf\"} ",
    "canary_handshakes_in_flight{plane=\"https\"} 0",
    "canary_cert_ttl_seconds{kind=\"node\"} 77",
    "canary_crl_next_update_timestamp_seconds{issuer=",
    "canary_tls_last_reload_timestamp_seconds 1",
    "canary_cert_last_rotation_timestamp_seconds{kind=\"crl\"} 1",
    "canary_ca_key_present 0",
];

#[test]
fn a_revoked_node_is_cut_off_and_the_others_go_on() {
    let cluster = Cluster::running(51);
    let metrics = cluster.get(A, "/metrics").expect("it answers").body;
    for start in SHOWN {
        assert!(metrics.lines().any(|line| line.starts_with(start)), "no {start} in {metrics}");
    }
    for id in [A, B] {
        revoke(&cluster, id, &["certs/node-c/node.pem"]);
        cluster.signal(id, Signal::HUP);
        cluster.wait_log(id, &["Certificates reloaded"]);
    }
    for (id, other) in [(A, B), (B, A)] {
        cluster.wait_log(id, &["Lost the link to a peer", "\"peer\":\"node-c\"", "revoked"]);
        // Both directions have the same address and reason, so the log has a line for one of them.
        cluster.wait_log(id, &["canary::security", "node/node-c", "\"reason\":\"revoked\""]);
        wait_metric(&cluster, id, "canary_peer_link_up{peer=\"node-c\"} 0");
        wait_metric(&cluster, id, &format!("canary_peer_link_up{{peer=\"{other}\"}} 1"));
        wait_metric(&cluster, id, "canary_tls_reload_total{result=\"ok\"} 1");
    }
    let shown = |id| cluster.state(id).expect("it answers");
    cluster.wait_state(C, "that it is alone", |state| state["isolated"] == true);
    for id in [A, B] {
        assert_eq!((&shown(id)["isolated"], &shown(id)["digest"]), (&false.into(), &shown(C)["digest"]));
    }
    // Once the list is taken back, so is the node.
    for id in [A, B] {
        revoke(&cluster, id, &[]);
        cluster.signal(id, Signal::HUP);
    }
    cluster.wait_synchronized();
}

/// A connection on which one request was answered.
fn connect(cluster: &Cluster, operator: Option<&ClientFiles>) -> StreamOwned<ClientConnection, TcpStream> {
    let ca = trust::load_ca(&cluster.path("certs")).expect("the authority");
    let config = tls::api_client(&ca, operator).expect("a configuration");
    let address = SocketAddr::new(cluster.hosts[&A].parse().expect("an address"), A.data_port());
    let stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time");
    let client = ClientConnection::new(Arc::new(config), address.ip().into()).expect("a client");
    let mut stream = StreamOwned::new(client, stream);
    ask(&mut stream);
    stream
}

fn ask(stream: &mut StreamOwned<ClientConnection, TcpStream>) {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").expect("the connection is open");
    let (mut received, mut part) = (Vec::new(), [0; 1024]);
    let answer = loop {
        let length = stream.read(&mut part).expect("an answer");
        assert!(length > 0, "the connection ended");
        received.extend_from_slice(&part[..length]);
        if let Some(answer) = Answer::take(&mut received) {
            break answer;
        }
    };
    assert!(answer.is_ok(), "{:?}", answer.head);
}

#[test]
fn a_revoked_operators_idle_connection_ends_without_a_signal() {
    let mut cluster = Cluster::new(52);
    cluster.start(A);
    cluster.wait_log(A, &["Coordinator started"]);
    let files = ClientFiles::load(&cluster.path("certs/operator-admin")).expect("the operator's files");
    let (mut operator, mut anonymous) = (connect(&cluster, Some(&files)), connect(&cluster, None));
    revoke(&cluster, A, &["certs/operator-admin/client.pem"]);
    match operator.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => panic!("nothing was asked"),
        Err(error) => assert!(
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
            "{error}: the node did not end it"
        ),
    }
    cluster.wait_log(A, &["The certificates' files have changed"]);
    cluster.wait_log(A, &["canary::security", "operator/admin", "\"plane\":\"https\"", "\"reason\":\"revoked\""]);
    ask(&mut anonymous);
    let said = cluster.canary(&["query", "--operator", "admin"]).exits(3);
    assert!(said.out.contains("Revoked"), "a new connection is refused: {}", said.out);
    wait_metric(&cluster, A, "canary_tls_reload_total{result=\"ok\"} 1");
}

#[test]
fn a_half_written_pair_is_taken_when_it_is_whole() {
    let cluster = Cluster::running(53);
    let folder = cluster.machine(A).join("certs/node-a");
    let serial = || {
        let shown = cluster.get(A, "/health/snapshot").expect("it answers").json();
        shown["certificates"]["node"]["serial"].as_str().expect("a serial number").to_owned()
    };
    let old = serial();
    let key = KeyPair::generate().expect("a key");
    replace(&folder.join("node.pem"), &certificate(&cluster, &key, 2));
    cluster.wait_log(A, &["Certificates not reloaded", "reload_failed", "\"reason\":\"key_mismatch\""]);
    assert_eq!(serial(), old, "the old one stays");
    replace(&folder.join("node.key"), &key.serialize_pem());
    cluster.wait_log(A, &["Certificates reloaded"]);
    assert_eq!(serial(), "5a".repeat(16));
    let mismatches = cluster.log(A).lines().filter(|line| line.contains("key_mismatch")).count();
    assert_eq!(mismatches, 1, "it is told once");
    cluster.wait_log(A, &["A certificate ends soon", "\"reason\":\"expires_soon\"", &"5a".repeat(16)]);
    wait_metric(&cluster, A, "canary_tls_reload_total{result=\"error\"} 1");
    assert_eq!(cluster.wait_synchronized(), 0, "the others go on with it");
}
