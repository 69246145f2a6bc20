//! Rollouts that judge themselves, on real nodes with real traffic.

use super::clocks;
use super::models::ModelServer;
use super::operators::enroll;
use super::process::eventually;
use super::shell::{Said, curl};
use super::world::{A, ALL, B, C, Cluster};
use model::NodeId;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Requests of one curl process.
const BATCH: usize = 120;
/// The limits of latency are not what these tests are about, and the machine they run on may be slow.
const GATES: &str = r#""gates": {"max_p95_ms": {"limit": 20000, "mode": "observe"}, "p95_ratio": {"mode": "observe"}}"#;

/// A cluster whose stable model and canary have servers, and users who keep asking all of its nodes.
struct World {
    cluster: Cluster,
    v1: ModelServer,
    v2: ModelServer,
    stop: Arc<AtomicBool>,
    users: Vec<std::thread::JoinHandle<()>>,
}

impl World {
    fn new(number: u8) -> Self {
        let cluster = Cluster::new(number);
        Self::with(number, cluster, |_| Vec::new())
    }

    /// With further arguments for each node.
    fn with(number: u8, mut cluster: Cluster, arguments: impl Fn(NodeId) -> Vec<String>) -> Self {
        for id in ALL {
            let arguments = arguments(id);
            cluster.start_with(id, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Self::around(number, cluster)
    }

    /// With nodes that were started already.
    fn around(number: u8, cluster: Cluster) -> Self {
        let server = |last: u8, name| ModelServer::start(&format!("127.31.{number}.{last}"), name);
        let (v1, v2) = (server(21, "v1"), server(22, "v2"));
        cluster.wait_synchronized();
        let world = Self { cluster, v1, v2, stop: Arc::default(), users: Vec::new() };
        world.cluster.decided(&["model", "set", "v1", "--upstream", &world.v1.url()]);
        world
    }

    /// Starts the users; they end with the world.
    fn ask_all_the_time(mut self) -> Self {
        let ca = self.cluster.path("certs/ca.pem");
        for id in ALL {
            let (url, ca, stop) = (self.cluster.url(id, "/predict"), ca.clone(), Arc::clone(&self.stop));
            self.users.push(std::thread::spawn(move || {
                let mut first = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut config = String::new();
                    for key in first..first + BATCH {
                        let next = if key > first { "next\n" } else { "" };
                        let _ = write!(
                            config,
                            "{next}url = \"{url}\"\ncacert = \"{}\"\nheader = \"x-canary-key: user-{key}\"\n\
                             data = \"{{}}\"\nsilent\n",
                            ca.display()
                        );
                    }
                    first += BATCH;
                    let mut curl = curl();
                    curl.args(["--config", "-"]);
                    // A node that was killed answers nothing.
                    let _ = Said::by(curl, config.as_bytes());
                }
            }));
        }
        self
    }

    /// A plan file of these weights in per cent, each held for this long.
    fn plan(&self, weights: &[u32], hold: &str, more: &str) -> String {
        let steps: Vec<Value> = weights.iter().map(|weight| json!({"setWeight": weight})).collect();
        let text = format!("{{\"steps\": {}, \"hold\": \"{hold}\", {GATES}{more}}}", json!(steps));
        let path = self.cluster.path("plan.json");
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn start(&self, plan: &str) {
        self.cluster.decided(&["rollout", "start", "v2", "--upstream", &self.v2.url(), "--plan", plan]);
    }

    #[track_caller]
    fn wait_rollout(&self, id: NodeId, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.cluster.wait_state(id, what, |state| wanted(&state["rollout"]))["rollout"].clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for user in self.users.drain(..) {
            // A test that failed has said so already.
            let _ = user.join();
        }
    }
}

#[test]
fn a_good_canary_is_promoted_by_its_own_measurements() {
    let mut world = World::new(40).ask_all_the_time();
    let plan = world.plan(&[20, 60], "1s", "");
    let watch = ["rollout", "start", "v2", "--upstream", &world.v2.url(), "--plan", &plan, "-w", "--output", "json"];
    let said = world.cluster.canary(&watch).exits(0);
    assert!(said.out.contains("\"outcome\":\"Promoted\""), "{}", said.out);
    for id in ALL {
        let state = world.cluster.wait_state(id, "the end", |state| state["stable_model_id"] == "v2");
        assert_eq!((&state["canary_model_id"], &state["weights"]), (&Value::Null, &json!({"v2": 1.0})), "{id}");
        assert_eq!(state["rollout"]["phase"], "Healthy");
        assert_eq!(state["upstreams"]["v2"], json!({"url": world.v2.url(), "said_by": "agreed"}), "{state}");
    }
    let told = |world: &World, id| {
        let history = world.cluster.get(id, "/history").expect("it answers").json();
        let lines = history.as_array().expect("a list").clone();
        lines.iter().map(|line| (line["version"].clone(), line["decision"].clone())).collect::<Vec<_>>()
    };
    let steps = world.cluster.get(C, "/history").expect("it answers").json();
    let first = steps.as_array().expect("a list").iter().find(|line| line["rollout"]["step"] == 2);
    let first = first.expect("the second step");
    assert_eq!(first["by"], "rollout/node-a", "{first}");
    assert_eq!(first["from"], json!({"v1": 0.8, "v2": 0.2}), "{first}");
    let measured = |node: &str| first["evidence"][node]["canary_requests"].as_u64().unwrap_or(0);
    assert!(measured("node-a") + measured("node-b") + measured("node-c") >= 59, "{first}");

    let before = told(&world, C);
    world.cluster.kill(C);
    world.cluster.start(C);
    world.cluster.wait_synchronized();
    assert_eq!(told(&world, C)[..before.len()], before, "the history survives");

    world.cluster.decided(&["rollout", "undo"]);
    world.cluster.wait_state(B, "the old model", |state| state["stable_model_id"] == "v1");
    let known = world.cluster.get(B, "/rollouts").expect("it answers").json();
    assert_eq!((known[0]["outcome"].as_str(), known.as_array().map(Vec::len)), (Some("Promoted"), Some(1)), "{known}");
}

#[test]
fn a_bad_canary_is_gone_everywhere_and_all_say_why() {
    let world = World::new(41).ask_all_the_time();
    world.v2.fail_one_in(2);
    let plan = world.plan(&[30], "60s", "");
    let said = world.cluster.canary(&["rollout", "start", "v2", "--upstream", &world.v2.url(), "--plan", &plan, "-w"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.out.contains("RolledBack") && said.out.contains("error rate"), "{}", said.out);
    for id in ALL {
        let state = world.cluster.wait_state(id, "no canary", |state| state["serving"]["v2"] == 0.0);
        assert_eq!((&state["weights"]["v2"], &state["rollout"]["phase"]), (&json!(0.0), &json!("Degraded")), "{state}");
        let why = state["rollout"]["why"].as_str().expect("a reason");
        assert!(why.starts_with("node-") && why.contains("error rate") && why.contains("limit 5 %"), "{why}");
    }
    world.cluster.canary(&["rollout", "status"]).exits(5);
    // Made good, it may try again.
    world.v2.fail_one_in(0);
    world.cluster.decided(&["rollout", "retry"]);
    world.wait_rollout(C, "the first step again", |rollout| rollout["phase"] == "Progressing");
    world.cluster.decided(&["rollout", "abort", "--why", "enough seen"]);
    let rollout = world.wait_rollout(C, "the end", |rollout| rollout["outcome"] == "Aborted");
    assert_eq!(rollout["why"], "enough seen");
}

#[test]
fn a_node_whose_own_model_fails_ejects_it_and_speaks_for_all() {
    let bad = ModelServer::start("127.31.42.23", "v2");
    bad.fail_one_in(1);
    let upstream = bad.upstream();
    let own = |id| if id == B { vec!["--upstream".into(), upstream.clone()] } else { Vec::new() };
    let world = World::with(42, Cluster::new(42), own).ask_all_the_time();
    // On all nodes together one third of the requests fail; the limit does not count that.
    let gates = r#", "minSample": 1000000"#;
    let plan = world.plan(&[30], "60s", gates);
    world.start(&plan);
    world.cluster.wait_log(B, &["Canary ejected", "error rate"]);
    let rollout = world.wait_rollout(A, "the rollback", |rollout| rollout["outcome"] == "RolledBack");
    assert!(rollout["why"].as_str().is_some_and(|why| why.contains("error rate")), "{rollout}");
    let shown = world.cluster.state(B).expect("it answers");
    assert_eq!(shown["upstreams"]["v2"], json!({"url": bad.url(), "said_by": "node"}), "{shown}");
}

#[test]
fn a_clock_that_jumps_neither_shortens_a_hold_nor_lengthens_it() {
    let Some(library) = clocks::library() else { return };
    let mut cluster = Cluster::new(112);
    let offset = cluster.path("offset");
    let set = |to: &str| std::fs::write(&offset, format!("{to}\n")).expect("a file");
    set("+0d");
    let coordinator = clocks::off(&cluster, A, library, &offset);
    cluster.start_command(A, coordinator);
    cluster.start(B);
    cluster.start(C);
    let world = World::around(112, cluster).ask_all_the_time();
    let plan = world.plan(&[30], "600s", "");
    world.start(&plan);
    let held = |more_than: f64| {
        eventually(&format!("the step is held for more than {more_than} s"), || {
            let current = world.cluster.get(A, "/rollouts/current")?.json();
            let held_s = current["trial"]["held_s"].as_f64().ok_or_else(|| current.to_string())?;
            if held_s > more_than { Ok(held_s) } else { Err(format!("{held_s} s")) }
        })
    };
    let before = held(0.0);
    set("+2d");
    world.cluster.wait_log(A, &["The wall clock of this machine has jumped", "\"jump_ms\":172"]);
    assert!(held(before + 2.0) < 600.0);
    world.wait_rollout(C, "it goes on", |rollout| rollout["phase"] == "Progressing");
    world.cluster.decided(&["rollout", "abort"]);

    let plan = world.plan(&[30], "3s", "");
    world.cluster.decided(&["rollout", "start", "v2", "--plan", &plan, "--supersede"]);
    world.cluster.wait_state(A, "the step", |state| state["serving"]["v2"] == 0.3);
    set("+0d");
    world.cluster.wait_log(A, &["The wall clock of this machine has jumped", "\"jump_ms\":-172"]);
    world.cluster.wait_state(C, "the end", |state| state["stable_model_id"] == "v2");
}

#[test]
fn a_rollout_outlives_its_coordinator() {
    let mut world = World::new(43).ask_all_the_time();
    let plan = world.plan(&[30], "600s", "");
    world.start(&plan);
    world.cluster.wait_state(C, "the step", |state| state["serving"]["v2"] == 0.3);
    world.cluster.kill(A);
    world.v2.fail_one_in(2);
    for id in [B, C] {
        world.wait_rollout(id, "the rollback", |rollout| rollout["outcome"] == "RolledBack");
    }
    world.v2.fail_one_in(0);
    // A dead member holds up what needs its vote; out of the vote it does not.
    world.cluster.canary(&["rollout", "retry"]).fails(4, &["node-a", "unreachable"]);
    world.cluster.decided(&["member", "drain", "node-a"]);
    let plan = world.plan(&[30], "1s", "");
    world.cluster.decided(&["rollout", "start", "v2", "--plan", &plan]);
    for id in [B, C] {
        world.cluster.wait_state(id, "the end", |state| state["stable_model_id"] == "v2");
    }
}

#[test]
fn an_operator_has_the_last_word() {
    let world = World::new(44).ask_all_the_time();
    let plan = world.plan(&[10, 30, 60], "600s", "");
    let cluster = &world.cluster;
    cluster.canary(&["rollout", "pause"]).fails(4, &["no_rollout", "no rollout is open"]);
    cluster.canary(&["rollout", "undo"]).fails(4, &["nothing_before"]);
    world.start(&plan);
    cluster.canary(&["rollout", "start", "v3"]).fails(4, &["rollout_open", "--supersede"]);
    cluster.canary(&["rollout", "set-weight", "50"]).fails(4, &["rollout_open"]);
    cluster.canary(&["rollout", "resume"]).fails(4, &["wrong_phase", "progressing"]);
    world.cluster.decided(&["rollout", "promote"]);
    world.wait_rollout(C, "the second step", |rollout| rollout["step"] == 2);
    cluster.wait_state(C, "its weight", |state| state["serving"]["v2"] == 0.3);
    world.cluster.decided(&["rollout", "set-weight", "1"]);
    let paused = world.wait_rollout(C, "the pause", |rollout| rollout["phase"] == "Paused");
    assert!(paused["why"].as_str().is_some_and(|why| why.contains("lowered the weight to 1 %")), "{paused}");
    let shown = cluster.canary(&["rollout", "status"]).exits(0);
    assert!(shown.out.contains("waits for you") && shown.out.contains("canary rollout resume"), "{}", shown.out);
    world.cluster.decided(&["rollout", "resume"]);
    cluster.wait_state(C, "its weight", |state| state["serving"]["v2"] == 0.3);
    world.cluster.decided(&["rollout", "promote", "--full"]);
    let end = world.wait_rollout(C, "the end", |rollout| rollout["outcome"] == "FastPromoted");
    assert_eq!(end["phase"], "Healthy");
    cluster.wait_state(C, "the new stable model", |state| state["weights"] == json!({"v2": 1.0}));

    world.cluster.decided(&["rollout", "start", "v3", "--upstream", &world.v1.url(), "--steps", "10,100"]);
    world.cluster.decided(&["rollout", "start", "v4", "--upstream", &world.v1.url(), "--supersede"]);
    let known = eventually("both are known", || {
        let known = cluster.get(C, "/rollouts")?.json();
        if known[0]["canary_model_id"] == "v4" { Ok(known) } else { Err(known.to_string()) }
    });
    assert_eq!((&known[1]["canary_model_id"], &known[1]["outcome"]), (&json!("v3"), &json!("Superseded")), "{known}");
}

#[test]
fn an_upstream_that_fails_its_smoke_test_gets_no_traffic() {
    let world = World::new(45);
    let plan = world.plan(&[10], "1s", r#", "smoke": {"max_p95_ms": 1}"#);
    world.v2.delay(Duration::from_millis(20));
    let start = ["rollout", "start", "v2", "--upstream", &world.v2.url(), "--plan", &plan];
    world.cluster.canary(&start).fails(4, &["ABORT", "node-", "smoke test", "the limit 1 ms"]);
    world.v2.delay(Duration::from_millis(400));
    world.cluster.canary(&start).fails(4, &["did not answer 13 requests within 1.7 s"]);
    world.v2.delay(Duration::ZERO);
    let nowhere = "http://127.31.45.99:9/x";
    world.cluster.canary(&["rollout", "start", "v2", "--upstream", nowhere]).fails(4, &["cannot be reached"]);
    assert_eq!(world.cluster.state(A).expect("it answers")["rollout"], Value::Null, "nothing was begun");
}

#[test]
fn no_traffic_holds_the_step_and_says_what_is_missing() {
    let world = World::new(46);
    let plan = world.plan(&[10], "1s", r#", "progressDeadlineSeconds": 4"#);
    world.start(&plan);
    let current = eventually("the hold is over", || {
        let current = world.cluster.get(B, "/rollouts/current")?.json();
        if current["trial"]["next"]["what"] == "undecided" { Ok(current) } else { Err(current.to_string()) }
    });
    assert_eq!((&current["trial"]["missing"], &current["trial"]["verdict"]), (&json!(59), &json!("not_enough")));
    assert_eq!(current["trial"]["missing_for_s"], Value::Null, "none come");
    let rollout = world.wait_rollout(C, "the deadline", |rollout| rollout["outcome"] == "Aborted");
    assert!(rollout["why"].as_str().is_some_and(|why| why.contains("59 requests")), "{rollout}");
    world.cluster.canary(&["rollout", "status", "-w"]).exits(4);
}

#[test]
fn without_traffic_a_start_warns_and_the_log_names_what_holds_the_step_up() {
    let world = World::new(60);
    let start = ["rollout", "start", "v2", "--upstream", &world.v2.url(), "--steps", "10,100", "--hold", "1s"];
    let warned = eventually("a start", || {
        let said = world.cluster.canary(&start);
        if said.code == Some(0) { Ok(said.err) } else { Err(format!("{said:?}")) }
    });
    let late = "step 1 (10 %): without requests it can only be aborted, after 601 s";
    assert!(warned.contains("a deadline comes first") && warned.contains(late), "{warned}");
    for id in [A, B, C] {
        world.cluster.wait_log(id, &["Step held up", "no_requests", "59 requests to the canary are missing"]);
    }
    let current = eventually("the rate is known", || {
        let current = world.cluster.get(B, "/rollouts/current")?.json();
        if current["needs"].is_object() { Ok(current) } else { Err(current.to_string()) }
    });
    assert_eq!(
        (&current["rollout"]["deadline_s"], &current["plan"]["progressDeadlineSeconds"]),
        (&json!(600.0), &Value::Null)
    );
    assert_eq!((&current["needs"]["rate"], &current["needs"]["steps"][0]["late"]), (&json!(0.0), &json!("traffic")));
    assert_eq!(current["trial"]["next"]["held_by"], "no_requests");
    let status = world.cluster.canary(&["rollout", "status"]).out;
    assert!(status.contains("  see that users' requests reach these nodes") && status.contains(late), "{status}");
}

#[test]
fn what_is_no_plan_is_refused_before_anything_is_asked() {
    let cluster = Cluster::new(47);
    let start = |more: &[&str]| {
        let mut all = vec!["rollout", "start", "v2"];
        all.extend(more);
        cluster.canary(&all)
    };
    let file = |name: &str, text: &str| {
        let path = cluster.path(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    start(&["--steps", "20,5"]).fails(2, &["step 2 sets 5 % after 20 %"]);
    start(&["--steps", "101"]).fails(2, &["--steps", "out of range"]);
    start(&["--steps", "5,100", "--approvals", "6"]).fails(2, &["--approvals", "1..=5"]);
    start(&["--steps", "100", "--approvals", "2"]).fails(2, &["the first step is entered by the start itself"]);
    start(&["--steps", "5", "--hold", "soon"]).fails(2, &["no duration such as 30s"]);
    start(&["--steps", "5", "--hold", "999999h"]).fails(2, &["31 days"]);
    start(&["--plan", &file("empty.json", "")]).fails(2, &["empty.json", "line 1"]);
    start(&["--plan", &file("none.json", "{\"steps\": []}")]).fails(2, &["at least one step"]);
    let unknown = "steps = [{ setWeight = 5 }]\nholds = \"3s\"\n";
    start(&["--plan", &file("unknown.toml", unknown)]).fails(2, &["unknown.toml", "unknown field `holds`", "line 2"]);
    let many = format!("{{\"steps\": [{}]}}", vec!["{\"setWeight\": 5}"; 10_000].join(","));
    start(&["--plan", &file("many.json", &many)]).fails(2, &["at most 100 steps"]);
    start(&["--plan", "/nowhere/plan.json"]).fails(2, &["/nowhere/plan.json"]);
    start(&["--upstream", "ftp://x/", "--steps", "5"]).fails(3, &["no node can be asked"]);
}

#[test]
fn two_operators_approve_the_last_step_and_neither_does_alone() {
    let world = World::new(48).ask_all_the_time();
    let cluster = &world.cluster;
    for name in ["alice", "bob"] {
        enroll(cluster, name);
    }
    let steps = r#"[{"setWeight": 30}, {"setWeight": 100, "approvals": 2}]"#;
    let plan = cluster.path("approved.json");
    std::fs::write(&plan, format!("{{\"steps\": {steps}, \"hold\": \"1s\", {GATES}}}")).expect("a file");
    world.start(&plan.display().to_string());
    let waits_for = |id: NodeId, words: &str| {
        eventually(&format!("{id} says that it waits for {words}"), || {
            let current = cluster.get(id, "/rollouts/current")?.json();
            let next = &current["trial"]["next"];
            let waits = next["what"] == "awaits_approval" && next["waits_for"] == words;
            if waits { Ok(()) } else { Err(current.to_string()) }
        });
    };
    waits_for(C, "2 more approvals of step 2 (100 %): nobody approved");
    for full in [false, true] {
        let promote = ["rollout", "promote", "--full"];
        let said = cluster.canary(&promote[..2 + usize::from(full)]);
        said.fails(4, &["not_approved", "2 more approvals of step 2 (100 %): nobody approved"]);
    }
    world.cluster.decided(&["rollout", "approve", "--operator", "alice"]);
    for id in ALL {
        waits_for(id, "1 more approval of step 2 (100 %): alice approved");
    }
    let version = cluster.wait_synchronized();
    let said = cluster.canary(&["rollout", "approve", "--operator", "alice"]).exits(0);
    assert!(said.out.contains("UNCHANGED") && said.out.contains("operator/alice has approved step 2"), "{said:?}");
    cluster.canary(&["rollout", "promote", "--operator", "alice"]).fails(4, &["1 more approval"]);
    let shown = cluster.canary(&["rollout", "status"]).exits(0).out;
    for words in ["approvals of step 2 (100 %): 1 of 2, alice", "next: waits for 1 more", "canary rollout approve"] {
        assert!(shown.contains(words), "{words:?} is not in {shown}");
    }
    assert_eq!(cluster.wait_synchronized(), version, "nothing of this was decided");
    world.cluster.decided(&["rollout", "approve", "--operator", "bob"]);
    for id in ALL {
        let state = cluster.wait_state(id, "the end", |state| state["stable_model_id"] == "v2");
        let approved = json!([{"step": 2, "weight": 1.0, "needed": 2, "by": ["operator/alice", "operator/bob"]}]);
        assert_eq!(state["rollout"]["approvals"], approved, "{id}");
    }
    let history = cluster.canary(&["rollout", "history"]).exits(0).out;
    let line = history.lines().find(|line| line.contains("operator/bob")).expect("his approval");
    assert!(line.contains("step 1 of 2, step 2 approved by alice, bob"), "{line}");
}
