//! Rollouts without model servers: a node's own answer promotes nobody, and what an application tells does.

use super::process::eventually;
use super::shell::{Said, curl};
use super::world::{A, ALL, B, C, Cluster};
use model::NodeId;
use serde_json::{Value, json};

/// Requests to each node; at a weight of 50 % some of them are for the canary, whatever the salt.
const KEYS: usize = 60;

/// Starts a rollout that begins with 50 %, if its plan says nothing else, and waits until all nodes count in it.
#[track_caller]
fn start(cluster: &Cluster, canary: &str, more: &Value) {
    let mut plan = json!({"steps": [{"setWeight": 50}], "hold": "1s"});
    plan.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let path = cluster.path("plan.json");
    std::fs::write(&path, plan.to_string()).expect("a file");
    let path = path.display().to_string();
    cluster.decided(&["rollout", "start", canary, "--plan", &path]);
    for id in ALL {
        eventually(&format!("{id} counts"), || {
            let trial = cluster.get(id, "/rollouts/current")?.json()["trial"].clone();
            if trial["held_s"].is_number() { Ok(()) } else { Err(trial.to_string()) }
        });
    }
}

/// Asks a node for a prediction with each of the keys; gives what it answered.
#[track_caller]
fn ask(cluster: &Cluster, id: NodeId) -> String {
    let (url, ca) = (cluster.url(id, "/predict"), cluster.path("certs/ca.pem"));
    let request = |key| {
        let ca = ca.display();
        format!("url = \"{url}\"\ncacert = \"{ca}\"\nheader = \"x-canary-key: {key}\"\ndata = \"{{}}\"\nsilent\n")
    };
    let requests: Vec<String> = (0..KEYS).map(request).collect();
    let mut curl = curl();
    curl.args(["--config", "-"]);
    Said::by(curl, requests.join("next\n").as_bytes()).exits(0).out
}

/// Tells every node of so many requests to each of both models that ended well, and so many to the canary that did not.
#[track_caller]
fn tell(cluster: &Cluster, good: usize, bad: usize) {
    let outcome = |model: &str, ok: bool| json!({"model": model, "ok": ok, "latency_ms": 5});
    let mut outcomes: Vec<Value> = Vec::new();
    (0..good).for_each(|_| outcomes.extend([outcome("v1", true), outcome("v2", true)]));
    (0..bad).for_each(|_| outcomes.push(outcome("v2", false)));
    for id in ALL {
        let answer = cluster.post(id, "/outcomes", json!(outcomes).to_string().as_bytes());
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

#[test]
fn a_canary_that_nobody_serves_is_never_promoted() {
    let cluster = Cluster::running(131);
    start(&cluster, "v22", &json!({"progressDeadlineSeconds": 5}));
    for id in ALL {
        let said = ask(&cluster, id);
        let of = |model: &str| said.matches(&format!("\"model_selected\":\"{model}\"")).count();
        assert!(of("v22") > 0 && of("v1") + of("v22") == KEYS, "{said}");
    }
    // The others tell every two seconds what they have counted.
    let current = eventually("the hold is over, and B knows of requests that do not count", || {
        let current = cluster.get(B, "/rollouts/current")?.json();
        let trial = &current["trial"];
        let others = trial["canary"]["uncounted"].as_u64().is_some_and(|others| others > 0);
        if trial["next"]["what"] == "undecided" && others { Ok(current) } else { Err(current.to_string()) }
    });
    let trial = &current["trial"];
    assert_eq!((&trial["missing"], &trial["verdict"]), (&json!(59), &json!("not_enough")), "{trial}");
    assert_eq!((&trial["canary"]["requests"], &trial["stable"]["requests"]), (&json!(0), &json!(0)), "{trial}");
    for id in ALL {
        let models = cluster.get(id, "/health/snapshot").expect("it answers").json()["models"].clone();
        for model in ["v1", "v22"] {
            let (counted, others) = (&models[model]["requests"], &models[model]["uncounted"]);
            assert!(*counted == 0 && others.as_u64().is_some_and(|others| others > 0), "{id}: {models}");
        }
    }
    let ended = cluster.wait_state(C, "the deadline", |state| state["rollout"]["outcome"] == "Aborted");
    let why = ended["rollout"]["why"].as_str().expect("a reason");
    assert!(why.contains("59 requests to the canary are missing: no requests that count; "), "{why}");
    assert_eq!((&ended["stable_model_id"], &ended["weights"]["v22"]), (&json!("v1"), &json!(0.0)), "{ended}");
}

#[test]
fn without_model_servers_outcomes_promote_and_roll_back() {
    let cluster = Cluster::running(132);
    start(&cluster, "v2", &json!({"steps": [{"setWeight": 100}]}));
    tell(&cluster, 40, 0);
    cluster.wait_state(C, "the canary's promotion", |state| state["stable_model_id"] == "v2");
    cluster.decided(&["rollout", "undo"]);
    start(&cluster, "v2", &json!({"hold": "60s"}));
    tell(&cluster, 20, 20);
    for id in [A, B, C] {
        let state = cluster.wait_state(id, "the rollback", |state| state["rollout"]["outcome"] == "RolledBack");
        assert_eq!(state["weights"]["v2"], json!(0.0), "{state}");
        assert!(state["rollout"]["why"].as_str().is_some_and(|why| why.contains("error rate")), "{state}");
    }
}
