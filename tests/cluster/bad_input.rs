//! Whatever is thrown at the two ports of a living mesh: the right answer to each, and the mesh goes on.

use super::needs::Need;
use super::process::eventually;
use super::shell::Said;
use super::world::{A, ALL, B, Cluster};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// A weight request, and what is wrong with it.
const WRONG: &[(&str, &str)] = &[
    (r#"{"canary_weight": -1}"#, "out of range"),
    (r#"{"canary_weight": -0.0001}"#, "out of range"),
    (r#"{"canary_weight": 1.01}"#, "out of range"),
    (r#"{"canary_weight": 101}"#, "out of range"),
    (r#"{"canary_weight": NaN}"#, "expected"),
    (r#"{"canary_weight": 1e400}"#, "out of range"),
    (r#"{"canary_weight": 0.00005}"#, "basis point"),
    (r#"{"canary_weight": "0.5"}"#, "string"),
    (r#"{"canary_weight": null}"#, "null"),
    (r#"{"canary_weight": 0.5, "canary_weight": 0.6}"#, "duplicate"),
    (r#"{"canary_weight": 0.5, "weight": 0.6}"#, "unknown field"),
    (r#"{"canary_model_id": "v2"}"#, "canary_weight"),
    (r#"{"canary_weight": 0.5, "canary_model_id": ""}"#, "empty"),
    (r#"{"canary_weight": 0.5, "canary_model_id": "v\"2"}"#, "must not contain"),
    (r#"{"canary_weight": 0.5, "canary_model_id": "v\n2"}"#, "must not contain"),
    (r#"{"canary_weight": 0.5, "canary_model_id": "v1"}"#, "stable model already"),
    (r#"{"canary_weight": 0.5, "base_version": -1}"#, "u64"),
    (r#"{"canary_weight": 0.5"#, "EOF"),
    ("twenty", "must be a JSON object"),
    ("[0.5]", "must be a JSON object"),
    (r#" [0.5, "v2", 0]"#, "must be a JSON object"),
    ("", "EOF"),
];

#[test]
fn wrong_requests_get_the_right_answer_and_change_nothing() {
    let mut cluster = Cluster::running(20);
    for (body, word) in WRONG {
        let answer = cluster.post(A, "/routing/weights", body.as_bytes());
        answer.is_problem(400, "bad_request");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(word), "{body}: {detail} should say {word:?}");
    }
    let long = format!(r#"{{"canary_weight": 0.5, "canary_model_id": "{}"}}"#, "m".repeat(300));
    cluster.post(A, "/routing/weights", long.as_bytes()).is_problem(400, "bad_request");

    let arrays = "[".repeat(10_000) + &"]".repeat(10_000);
    let objects = r#"{"canary_weight":"#.repeat(10_000) + "1" + &"}".repeat(10_000);
    let hidden = format!(r#"{{"canary_weight": 0.5, "x": {arrays}}}"#);
    for deep in [&arrays, &objects, &hidden] {
        cluster.post(A, "/routing/weights", deep.as_bytes()).is_problem(400, "bad_request");
        let predict = cluster.url(B, "/predict");
        let answer = cluster.curl(&["--data-binary", "@-", &predict], deep.as_bytes()).expect("it answers");
        assert!([200, 400].contains(&answer.status), "{answer:?}");
    }
    let huge = vec![b'x'; 10 * MIB];
    for version in ["--http1.1", "--http2"] {
        let answer = cluster.post_as("operator-admin", A, "/routing/weights", &[version], &huge);
        assert_eq!(answer.status, 413, "{answer:?}");
        let predict = cluster.url(B, "/predict");
        let answer = cluster.curl(&[version, "--data-binary", "@-", &predict], &huge).expect("it answers");
        assert_eq!(answer.status, 413, "{answer:?}");
    }

    for (weight, words) in [("-1", "out of range"), ("101", "out of range"), ("NaN", "is not a weight")] {
        cluster.try_weight(weight).fails(2, &[words]);
    }
    cluster.try_weight("0.005").fails(2, &["finer than one basis point"]);
    for model in ["", "v\"2", &"m".repeat(300)] {
        cluster.canary(&["rollout", "set-weight", "5", "--canary", model]).fails(2, &["model id"]);
    }
    cluster.canary(&["rollout", "set-weight", "5", "--canary", "v1"]).fails(4, &["stable model already"]);
    cluster.canary(&["rollout", "set-weight", "5"]).exits(4);
    assert_unharmed(&mut cluster, 0);
}

#[test]
fn noise_on_both_ports_is_refused_by_name() {
    if !Need::OpenSsl.is_met() {
        return;
    }
    let mut cluster = Cluster::running(26);
    let control: SocketAddr = "127.31.26.11:60001".parse().expect("an address");
    let data: SocketAddr = "127.31.26.11:50051".parse().expect("an address");
    // Byte by byte from a fixed rule: a failure can be seen again.
    let noise: Vec<u8> = (0..100_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for port in [control, data] {
        throw(port, b"GET / HTTP/1.1\r\nHost: node\r\n\r\n");
        throw(port, &noise);
        throw(port, b"\x16\x03\x01\xff\xff");
        throw(port, b"");
    }
    // One line a second for one address and reason: the other port's line may come only at the next attempt.
    for (plane, port) in [("control", control), ("https", data)] {
        eventually(&format!("noise on the {plane} port is refused"), || {
            throw(port, &noise);
            let words = [format!("\"plane\":\"{plane}\""), "\"reason\":\"not_tls\"".to_owned()];
            let log = cluster.log(A);
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(|_| ()).ok_or_else(|| log.clone())
        });
    }

    // With a member's own certificate, from its own address, and still not its frames.
    let frames: [(&[u8], &str); 4] = [
        (b"\xff\xff\xff\xff", "frame_too_large"),
        (b"\x00\x00\x10\x01{", "frame_too_large"),
        (b"\x00\x00\x00\x10{\"hello\":nothing", "frame_malformed"),
        (b"\x00\x00\x00\x03\xff\xfe\xfd", "frame_malformed"),
    ];
    for (frame, reason) in frames {
        let answer = as_member(&cluster, &["-bind", "127.31.26.12"], "node-b/node", frame);
        assert!(answer.contains(reason), "{reason}: {answer}");
    }
    cluster.wait_log(A, &["\"reason\":\"frame_too_large\"", "/node/node-b"]);
    let cut_short = as_member(&cluster, &["-bind", "127.31.26.12"], "node-b/node", b"\x00\x00\x00");
    assert!(!cut_short.contains("welcome"), "{cut_short}");
    // The certificate of a member from elsewhere, and one of another role.
    assert!(as_member(&cluster, &[], "node-b/node", b"").contains("address_mismatch"));
    cluster.wait_log(A, &["\"reason\":\"address_mismatch\"", "configured=[127.31.26.12]"]);
    as_member(&cluster, &[], "operator-admin/client", b"");
    cluster.wait_log(A, &["\"reason\":\"role_not_allowed\""]);
    assert_unharmed(&mut cluster, 0);
}

/// Sends bytes over plain TCP and waits for the other side to end the connection, after this side has.
fn throw(to: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(to).expect("the node listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
    // The node may close before all is sent; then the rest is not wanted.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{to} keeps a useless connection");
    }
}

/// Speaks TLS with a certificate of this cluster to node-a's control port, sends `bytes`, and gives what came back.
fn as_member(cluster: &Cluster, more: &[&str], identity: &str, bytes: &[u8]) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-quiet", "-alpn", "canary/1", "-connect", "127.31.26.11:60001"]).args(more);
    openssl.arg("-CAfile").arg(cluster.path("certs/ca.pem"));
    openssl.arg("-cert").arg(cluster.path(&format!("certs/{identity}.pem")));
    openssl.arg("-key").arg(cluster.path(&format!("certs/{identity}.key")));
    Said::by(openssl, bytes).out
}

/// All processes live, nothing was decided since `version`, and the next change is.
#[track_caller]
fn assert_unharmed(cluster: &mut Cluster, version: u64) {
    for id in ALL {
        assert!(cluster.process(id).is_running(), "{id} has ended:\n{}", cluster.log(id));
    }
    assert_eq!(cluster.wait_synchronized(), version, "nothing was decided");
    assert_eq!(cluster.set_weight("20")["state"]["version"], version + 1);
    for id in ALL {
        cluster.wait_state(id, "the next version", |state| state["version"] == version + 1);
        assert!(!cluster.log(id).contains("panicked"), "{}", cluster.log(id));
    }
}
