//! A node that is told to stop: what it finishes, what it hands over, and what it says meanwhile.

use super::models::ModelServer;
use super::process::eventually;
use super::shell::curl;
use super::world::{A, B, C, Cluster};
use rustix::process::Signal;
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn a_coordinator_that_is_told_to_stop_hands_over_and_finishes_its_requests() {
    let mut cluster = Cluster::new(96);
    let (v1, v2) = (ModelServer::start("127.31.96.21", "v1"), ModelServer::start("127.31.96.22", "v2"));
    for id in [A, B, C] {
        cluster.start_with(id, &["--upstream", &v1.upstream(), "--upstream", &v2.upstream(), "--drain", "50s"]);
    }
    cluster.wait_synchronized();
    eventually("a rollout begins", || {
        let said = cluster.canary(&["rollout", "start", "v2", "--steps", "10,100", "--hold", "600s"]);
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let held = || -> Result<f64, String> {
        let current = cluster.get(B, "/rollouts/current")?.json();
        current["trial"]["held_s"].as_f64().ok_or_else(|| current.to_string())
    };
    // Long enough that a hold begun anew would show.
    let before = eventually("node-b counts the hold, too", || {
        held().and_then(|held_s| if held_s > 2.0 { Ok(held_s) } else { Err(format!("{held_s} s")) })
    });
    v1.hold();
    thread::scope(|scope| {
        let cluster_ref = &cluster;
        let asked = scope
            .spawn(move || cluster_ref.post_as("operator-admin", A, "/predict", &["-H", "x-canary: never"], b"{}"));
        eventually("the request is in flight", || if v1.holds_one() { Ok(()) } else { Err("not yet".into()) });
        cluster.signal(A, Signal::TERM);
        // The process is still there, and heard: only that it says so lets another coordinate.
        let state = cluster.wait_state(B, "that it coordinates", |state| state["acting_coordinator"] == "node-b");
        assert_eq!((&state["isolated"], &state["rollout"]["step"]), (&json!(false), &json!(1)), "{state}");
        let now = held().expect("it answers");
        assert!(now >= before, "the hold goes on: {before} s and then {now} s");
        let answer = cluster.post(B, "/routing/weights", br#"{"canary_weight": 0.0}"#);
        assert_eq!((answer.status, &answer.json()["decision"]), (200, &json!("COMMIT")), "{answer:?}");
        assert!(!cluster.log(A).contains("Stopped"), "it still finishes its request");
        assert!(cluster.get(A, "/livez").is_err(), "it takes no new connection");
        v1.release();
        let answer = asked.join().expect("what was in flight is answered");
        assert_eq!((answer.status, answer.body.as_str()), (200, "v1"));
    });
    assert_eq!(cluster.take(A).wait().code(), Some(0));
    for line in ["This node no longer coordinates", "Stopped"] {
        cluster.wait_log(A, &[line]);
    }
}

#[test]
fn an_answer_that_has_begun_is_passed_on_to_its_end() {
    let listener = TcpListener::bind("127.31.113.21:0").expect("loopback has free ports");
    let upstream = format!("v1=http://{}/", listener.local_addr().expect("a bound socket has an address"));
    let (begin, begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        assert!(stream.read(&mut [0; 4_096]).expect("a request") > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").expect("the node reads");
        begin.send(()).expect("the test waits");
        may_go_on.recv().expect("the test says when");
        stream.write_all(b"half").expect("the node reads");
    });
    let mut cluster = Cluster::new(113);
    cluster.start_with(A, &["--upstream", &upstream, "--drain", "50s"]);
    cluster.start(B);
    cluster.start(C);
    cluster.wait_synchronized();
    thread::scope(|scope| {
        let url = cluster.url(A, "/predict");
        let cluster = &cluster;
        let asked = scope.spawn(move || cluster.curl(&["--http1.1", &url, "-d", "{}"], b""));
        begun.recv().expect("the answer begins");
        cluster.signal(A, Signal::TERM);
        // Longer than connections are kept at a stop for the sake of a next request.
        thread::sleep(Duration::from_secs(2));
        go_on.send(()).expect("the upstream waits");
        let answer = asked.join().expect("no panic").expect("what was in flight is answered");
        assert_eq!((answer.status, answer.body.as_str()), (200, "halfhalf"));
    });
    assert_eq!(cluster.take(A).wait().code(), Some(0));
}

#[test]
fn a_stopping_node_says_so_until_its_port_closes_and_ends_at_once_when_told_twice() {
    let mut cluster = Cluster::new(97);
    for id in [A, B, C] {
        cluster.start_with(id, &["--stop-delay", "50s"]);
    }
    cluster.wait_synchronized();
    cluster.signal(A, Signal::TERM);
    eventually("it says that it is not ready", || {
        let answer = cluster.get(A, "/readyz")?;
        if answer.status == 503 { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .is_problem(503, "stopping");
    assert_eq!(cluster.get(A, "/predict").expect("it answers").status, 405, "all else is answered");
    let sent_on = |cluster: &Cluster| {
        let answer = cluster.post(A, "/routing/weights", br#"{"canary_weight": 0.0, "canary_model_id": "v2"}"#);
        if answer.status == 503 {
            answer.is_problem(503, "stopping");
            return Err(format!("{answer:?}"));
        }
        answer.is_problem(307, "not_coordinating");
        assert!(answer.redirect.starts_with(&cluster.url(B, "")), "{answer:?}");
        Ok(())
    };
    eventually("changes are sent on to node-b", || sent_on(&cluster));
    // Whoever asks the command line notices nothing but who coordinates.
    let told = cluster.set_weight("0");
    assert_eq!(told["state"]["coordinator"], "node-b", "{told}");
    let query = cluster.canary(&["query"]).exits(0);
    assert!(query.out.contains("stopping"), "{}", query.out);
    cluster.signal(A, Signal::TERM);
    assert_eq!(cluster.take(A).wait().code(), Some(143));
    cluster.wait_log(A, &["Told to stop a second time"]);
    // Also one that is alone.
    cluster.kill(B);
    cluster.wait_state(C, "that it is alone", |state| state["isolated"] == true);
    cluster.signal(C, Signal::INT);
    cluster.wait_log(C, &["Stopping"]);
    cluster.signal(C, Signal::TERM);
    cluster.signal(C, Signal::INT);
    assert_eq!(cluster.take(C).wait().code(), Some(130));
    cluster.start_all();
    assert_eq!(cluster.state(A).expect("it answers")["txid"], told["state"]["txid"]);
}

/// Requests of one curl process, all on one connection; more than it can send while the test lasts.
const STREAMS: usize = 20_000;

#[test]
fn http_2_streams_are_answered_until_the_connection_ends() {
    let mut cluster = Cluster::new(100);
    cluster.start_with(A, &["--first-boot"]);
    cluster.wait_log(A, &["This node has joined the mesh"]);
    let (url, ca, out) = (cluster.url(A, "/predict"), cluster.path("certs/ca.pem"), cluster.path("answers"));
    let mut config = String::new();
    for number in 0..STREAMS {
        let next = if number > 0 { "next\n" } else { "" };
        let _ = write!(
            config,
            "{next}url = \"{url}\"\ncacert = \"{}\"\ndata = \"{{}}\"\nsilent\nhttp2\noutput = \"/dev/null\"\n\
             write-out = \"%{{http_code}} %{{http_version}} %{{exitcode}}\\n\"\n",
            ca.display()
        );
    }
    let mut curl = curl();
    curl.args(["--noproxy", "*", "--config", "-"]).stdin(Stdio::piped());
    let mut curl =
        curl.stdout(File::create(&out).expect("a file")).stderr(Stdio::null()).spawn().expect("curl is there");
    let mut stdin = curl.stdin.take().expect("piped");
    stdin.write_all(config.as_bytes()).expect("curl reads it");
    drop(stdin);
    let answered = || std::fs::read_to_string(&out).unwrap_or_default().lines().count();
    eventually("streams", || if answered() > 100 { Ok(()) } else { Err(format!("{} answers", answered())) });
    cluster.signal(A, Signal::TERM);
    assert_eq!(cluster.take(A).wait().code(), Some(0));
    eventually("a connection that is refused", || {
        let said = std::fs::read_to_string(&out).unwrap_or_default();
        if said.lines().any(|line| line == "000 0 7") { Ok(()) } else { Err("none yet".into()) }
    });
    let _ = curl.kill();
    let _ = curl.wait();
    let said = std::fs::read_to_string(&out).expect("the answers");
    // What was cut short by the end of curl is not among the whole lines.
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lost: Vec<&str> = whole.lines().filter(|line| !["200 2 0", "000 0 7"].contains(line)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_node_without_a_majority_stops_and_one_that_starts_may_be_stopped() {
    let mut cluster = Cluster::new(98);
    // At whatever it is just doing; the later ones also have a state to read.
    for pause_ms in (0..60).step_by(6) {
        cluster.start(A);
        thread::sleep(std::time::Duration::from_millis(pause_ms));
        let running = cluster.take(A);
        running.signal(Signal::TERM);
        let status = running.wait();
        // Before it listens for signals the system ends it; nothing else differs.
        let ended = status.code() == Some(0) || std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
        assert!(ended, "{status:?}: {}", cluster.log(A));
    }
    cluster.start_all();
    assert_eq!(cluster.wait_synchronized(), 0);
}
