//! A node that is told to stop: what it finishes, what it hands over, and what it says meanwhile.

use super::models::ModelServer;
use super::process::eventually;
use super::world::{A, B, C, Cluster};
use rustix::process::Signal;
use serde_json::json;
use std::thread;

#[test]
fn a_coordinator_that_is_told_to_stop_hands_over_and_finishes_its_requests() {
    let mut cluster = Cluster::new(96);
    let v1 = ModelServer::start("127.31.96.21", "v1");
    let upstream = v1.upstream();
    for id in [A, B, C] {
        cluster.start_with(id, &["--upstream", &upstream, "--drain", "50s"]);
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
        let asked = scope.spawn(move || {
            cluster_ref.curl(&[&cluster_ref.url(A, "/predict"), "-d", "{}", "-H", "x-canary: never"], b"")
        });
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
        let answer = asked.join().expect("no panic").expect("what was in flight is answered");
        assert_eq!((answer.status, answer.body.as_str()), (200, "v1"));
    });
    assert_eq!(cluster.take(A).wait().code(), Some(0));
    for line in ["This node no longer coordinates", "Stopped"] {
        cluster.wait_log(A, &[line]);
    }
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
        if answer.status == 503 { Ok(answer.is_problem(503, "stopping")) } else { Err(format!("{answer:?}")) }
    });
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
