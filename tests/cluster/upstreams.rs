//! Real model servers behind real nodes.

use super::models::ModelServer;
use super::process::eventually;
use super::shell::{Said, curl};
use super::world::{A, ALL, B, C, Cluster};
use model::NodeId;
use rustix::process::Signal;

/// Keys that are tried on every node.
const KEYS: usize = 300;

#[test]
fn requests_are_split_by_weight_and_a_key_gets_the_same_model_everywhere() {
    let mut cluster = Cluster::new(17);
    let (v1, v2) = (ModelServer::start("127.31.17.21", "v1"), ModelServer::start("127.31.17.22", "v2"));
    for id in ALL {
        cluster.start_with(id, &["--upstream", &v1.upstream(), "--upstream", &v2.upstream()]);
    }
    cluster.wait_synchronized();
    assert_eq!(ask(&cluster, A), ["v1"; KEYS], "nothing was decided yet");

    cluster.set_weight("50");
    let half = served_everywhere(&cluster, 0.5);
    // Five standard deviations of a fair coin, and a little more.
    assert!((KEYS * 35 / 100..KEYS * 65 / 100).contains(&canaries(&half)), "{} of {KEYS}", canaries(&half));

    cluster.set_weight("80");
    let most = served_everywhere(&cluster, 0.8);
    assert!(canaries(&most) > canaries(&half));
    let left = half.iter().zip(&most).filter(|(before, after)| *before == "v2" && *after == "v1").count();
    assert_eq!(left, 0, "who had the canary keeps it when its share grows");

    cluster.set_weight("0");
    assert_eq!(served_everywhere(&cluster, 0.0), ["v1"; KEYS]);
    let health = cluster.get(A, "/health/snapshot").expect("it answers").json();
    assert!(health["models"]["v2"]["requests"].as_u64().is_some_and(|requests| requests > 0), "{health}");
}

#[test]
fn a_canary_that_is_down_on_one_node_is_voted_down_there() {
    let mut cluster = Cluster::new(18);
    let (v1, v2) = (ModelServer::start("127.31.18.21", "v1"), ModelServer::start("127.31.18.22", "v2"));
    for id in ALL {
        let canary = if id == B { "v2=http://127.31.18.99:9/".into() } else { v2.upstream() };
        cluster.start_with(id, &["--upstream", &v1.upstream(), "--upstream", &canary]);
    }
    cluster.wait_synchronized();
    let said = cluster.try_weight("20").fails(4, &["ABORT", "node-b", "the upstream is not ready there"]);
    let problem = said.json();
    let reasons = problem["reasons"].as_array().expect("a list");
    assert_eq!((reasons.len(), &reasons[0]["node"]), (1, &serde_json::json!("node-b")), "{problem}");
    cluster.wait_log(A, &["2PC: ABORT", "node-b: the upstream is not ready there"]);
    for id in ALL {
        let history = cluster.get(id, "/history").expect("it answers").json();
        assert_eq!(history[0]["decision"], "ABORT", "{id} knows of it: {history}");
        assert_eq!(history[0]["votes"]["node-b"]["vote"], "ABORT", "{history}");
    }
    assert_eq!(cluster.wait_synchronized(), 0, "nothing was decided");
}

#[test]
fn a_canary_without_a_model_server_is_refused_where_the_stable_model_has_one() {
    let mut cluster = Cluster::new(116);
    let (v1, v2) = (ModelServer::start("127.31.116.21", "v1"), ModelServer::start("127.31.116.22", "v2"));
    // One node does not know where the canary is served.
    for (id, upstreams) in [(A, vec![&v1, &v2]), (B, vec![&v1]), (C, vec![&v1, &v2])] {
        let upstreams: Vec<_> =
            upstreams.into_iter().flat_map(|server| ["--upstream".into(), server.upstream()]).collect();
        cluster.start_with(id, &upstreams.iter().map(String::as_str).collect::<Vec<_>>());
    }
    cluster.wait_synchronized();
    for start in [&["set-weight", "20", "--canary", "v2"][..], &["start", "v2", "--steps", "50", "--hold", "5s"]] {
        let said = cluster.canary(&[&["rollout"][..], start].concat()).exits(4);
        assert!(said.err.contains("node-b") && said.err.contains("v2: no model server"), "{said:?}");
    }
    let said = cluster.post(A, "/routing/weights", br#"{"canary_model_id": "v22", "canary_weight": 0.1}"#);
    said.is_problem(409, "no_upstream");
    assert_eq!(cluster.wait_synchronized(), 0, "nothing was decided");
}

#[test]
fn a_node_that_is_stopped_finishes_what_it_began() {
    let mut cluster = Cluster::new(19);
    let (v1, slow) = (ModelServer::start("127.31.19.21", "v1"), ModelServer::start("127.31.19.22", "v2"));
    for id in ALL {
        cluster.start_with(id, &["--upstream", &v1.upstream(), "--upstream", &slow.upstream()]);
    }
    cluster.wait_synchronized();
    cluster.set_weight("100");
    cluster.wait_state(B, "the canary", |state| state["serving"]["v2"] == 1.0);
    slow.hold();
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| cluster.curl(&["--data", "{}", &cluster.url(B, "/predict")], b""));
        eventually("the request reaches the model", || if slow.holds_one() { Ok(()) } else { Err("not yet".into()) });
        cluster.signal(B, Signal::TERM);
        cluster.wait_log(B, &["Stopping"]);
        slow.release();
        asking.join().expect("nothing panics there")
    });
    let answer = answer.expect("the request in flight is answered");
    assert_eq!((answer.status, answer.body.as_str()), (200, "v2"));
    assert_eq!(cluster.take(B).wait().code(), Some(0));
    cluster.wait_log(B, &["Stopped"]);

    for id in [A, super::world::C] {
        cluster.signal(id, Signal::INT);
        assert_eq!(cluster.take(id).wait().code(), Some(0), "{id}");
    }
    cluster.start_all();
    assert_eq!(cluster.state(B).expect("it answers")["weights"]["v2"], 1.0);
}

#[test]
fn a_node_waits_for_its_model_as_long_as_it_is_told() {
    let mut cluster = Cluster::new(34);
    cluster.refused_node(A, &["--upstream-timeout", "soon"]).fails(2, &["--upstream-timeout", "500ms"]);
    let v1 = ModelServer::start("127.31.34.21", "v1");
    v1.hold();
    cluster.start_with(A, &["--upstream", &v1.upstream(), "--upstream-timeout", "300ms", "--first-boot"]);
    let ask = |path: &str| cluster.curl(&["--data", "{}", &cluster.url(A, path)], b"");
    eventually("the node serves", || match ask("/predict")? {
        answer if answer.status == 503 => Err(answer.body),
        _ => Ok(()),
    });
    for path in ["/predict", "/v2/models/m/infer"] {
        let answer = ask(path).expect("it answers");
        answer.is_problem(504, "upstream_timeout");
        assert!(answer.body.contains("300 ms"), "{}", answer.body);
    }
    v1.release();
    assert_eq!(ask("/v2/models/m/infer").expect("it answers").body, "v1");
}

/// What all nodes answer for each key, once they serve `weight`; they must not differ.
#[track_caller]
fn served_everywhere(cluster: &Cluster, weight: f64) -> Vec<String> {
    let answers = ALL.map(|id| {
        cluster.wait_state(id, "the weight", |state| state["serving"]["v2"] == weight);
        ask(cluster, id)
    });
    let [first, others @ ..] = answers;
    for other in others {
        assert_eq!(first, other, "one key, two models");
    }
    first
}

fn canaries(answers: &[String]) -> usize {
    answers.iter().filter(|model| *model == "v2").count()
}

/// The names of the models that answered each of the keys, over one connection.
#[track_caller]
fn ask(cluster: &Cluster, id: NodeId) -> Vec<String> {
    let (ca, url) = (cluster.path("certs/ca.pem"), cluster.url(id, "/predict"));
    let one = |key: usize| {
        format!(
            "url = \"{url}\"\ncacert = \"{}\"\nheader = \"x-canary-key: user-{key}\"\ndata = \"{{}}\"\n\
             silent\nshow-error\nfail\nwrite-out = \"\\n\"\n",
            ca.display()
        )
    };
    let config = (0..KEYS).map(one).collect::<Vec<_>>().join("next\n");
    let mut curl = curl();
    curl.args(["--config", "-"]);
    let said = Said::by(curl, config.as_bytes()).exits(0);
    said.out.lines().map(str::to_owned).collect()
}
