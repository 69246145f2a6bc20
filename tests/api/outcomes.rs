//! `POST /outcomes`: who may report, and that a report counts as a whole or not at all.

use crate::cluster::{self, Cluster, agrees};
use crate::models::telling;
use crate::world::{Reply, World, post, state, view};
use api::{Api, Reporters};
use edge::Limits;
use rollout::Trial;
use service::RoutingState;
use tls::ClientAuth;

const ONE: &str = r#"{"model":"v2","ok":false,"latency_ms":250}"#;

fn world() -> World {
    World::new(view(state(3, 2000)))
}

/// Requests and errors of a model.
fn counts(world: &World, model: &str) -> (u64, u64) {
    let observed = world.api.proxy.observations();
    let of_model = observed.models.iter().find(|(id, _)| id.as_str() == model);
    of_model.map_or((0, 0), |(_, seen)| (seen.requests, seen.errors))
}

#[tokio::test]
async fn applications_and_operators_report_and_others_do_not() {
    let world = world();
    for (role, refused) in [
        ("", Some((401, "unauthenticated"))),
        ("node/node-b", Some((403, "role_not_allowed"))),
        ("monitor/prom", Some((403, "role_not_allowed"))),
        ("app/shop", None),
        ("operator/admin", None),
    ] {
        let reply = world.send(role, post("/outcomes", ONE)).await;
        match refused {
            Some((status, code)) => assert_eq!(reply.problem(), (status, code.into()), "{role}"),
            None => assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, r#"{"accepted":1}"#), "{role}"),
        }
    }
    assert_eq!(counts(&world, "v2"), (2, 2));
}

#[tokio::test]
async fn whoever_is_on_this_host_needs_no_certificate_where_the_node_is_told_so() {
    let cluster = Cluster::new(51);
    let local = |api: &mut Api| api.reporters = Reporters::Local;
    let node = cluster.start_changed(ClientAuth::Optional, 'a', view(state(3, 500)), agrees, Limits::default(), local);
    let reply = node.ask(cluster.anonymous(), cluster::post("/outcomes", ONE)).await;
    assert_eq!((reply.status, reply.body.as_str()), (202, r#"{"accepted":1}"#));
    // A page in a browser on this host must not.
    let mut page = cluster::post("/outcomes", ONE);
    page.headers_mut().insert("origin", "https://elsewhere.example".parse().unwrap());
    let reply = node.ask(cluster.anonymous(), page).await;
    assert_eq!((reply.status, &reply.json()["code"]), (403, &"other_origin".into()));
    assert_eq!(node.api.proxy.observations().overall.requests, 1);
}

#[tokio::test]
async fn a_proxy_on_this_host_makes_nobody_local_that_it_names() {
    for (trusted, way, status) in [
        ("", "203.0.113.9", 202),
        ("127.0.0.1", "203.0.113.9", 401),
        ("127.0.0.1", "127.0.0.1, 203.0.113.9", 401),
        ("127.0.0.1", "127.0.0.2", 202),
    ] {
        let world = World::with(view(state(3, 2000)), |api| {
            (api.reporters, api.trusted_proxies) = (Reporters::Local, trusted.parse().unwrap());
        });
        let mut request = post("/outcomes", ONE);
        request.headers_mut().insert("x-forwarded-for", way.parse().unwrap());
        let reply = world.send_from("127.0.0.1:4711", "", request).await;
        assert_eq!(reply.status.as_u16(), status, "{trusted} {way}");
    }
}

#[tokio::test]
async fn on_this_host_a_certificate_is_asked_for_unless_it_is_told_otherwise_and_outcomes_may_be_off() {
    let world = world();
    let reply = world.send_from("127.0.0.1:4711", "", post("/outcomes", ONE)).await;
    assert_eq!(reply.problem(), (401, "unauthenticated".into()));
    let off = World::with(view(state(3, 2000)), |api| api.reporters = Reporters::Off);
    for role in ["", "node/node-b", "app/shop", "operator/admin"] {
        assert_eq!(off.send(role, post("/outcomes", ONE)).await.problem(), (403, "outcomes_off".into()), "{role}");
    }
    let reply = off.send("app/shop", post("/outcomes", "{")).await;
    assert!(reply.body.contains("--outcomes off"), "{}", reply.body);
}

/// A node in a trial, and the name of its answer to one more user of the canary.
struct Asked {
    world: World,
    users: u32,
}

impl Asked {
    /// Its canary has a model server.
    async fn served() -> Self {
        let mut state = state(3, 10_000);
        state.canary.as_mut().unwrap().model.upstream = Some(telling().await);
        Self::of(state)
    }

    /// It answers with its choice alone.
    fn alone() -> Self {
        Self::of(state(3, 10_000))
    }

    fn of(state: RoutingState) -> Self {
        let world = World::new(view(state));
        world.api.proxy.count(Trial::of(&world.api.handle.view().state, None).as_ref());
        Self { world, users: 0 }
    }

    async fn name(&mut self) -> String {
        self.users += 1;
        let reply = self.world.send("", post("/predict", &format!(r#"{{"key":"user-{}"}}"#, self.users))).await;
        assert_eq!(reply.header("x-canary-model"), "v2");
        reply.header("x-canary-request").to_owned()
    }

    async fn tell(&self, outcomes: &[(&str, bool, &str)]) -> Reply {
        let one = |(model, ok, name): &(&str, bool, &str)| {
            format!(r#"{{"model":"{model}","ok":{ok},"latency_ms":7,"request":"{name}"}}"#)
        };
        let list = outcomes.iter().map(one).collect::<Vec<_>>().join(",");
        self.world.send("app/shop", post("/outcomes", &format!("[{list}]"))).await
    }

    /// Requests and errors of the canary, in the window and in the trial.
    fn counts(&self) -> [(u64, u64); 2] {
        let counted = self.world.api.proxy.counted().canary();
        [counts(&self.world, "v2"), (counted.requests(), counted.errors())]
    }
}

#[tokio::test]
async fn a_named_request_may_be_told_of_once_and_only_for_the_worse() {
    let mut asked = Asked::served().await;
    let (good, bad, third) = (asked.name().await, asked.name().await, asked.name().await);
    assert_eq!(asked.counts(), [(3, 0); 2]);
    let reply = asked.tell(&[("v2", true, &good), ("v2", false, &bad)]).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, r#"{"accepted":2}"#));
    assert_eq!(asked.counts(), [(3, 1); 2], "none is counted twice, and one failed");
    let reply = asked.tell(&[("v2", false, &good), ("v2", true, &bad), ("v1", false, &third)]).await;
    let expected = r#"{"accepted":0,"ignored":3,"reasons":{"already_reported":2,"unknown_request":1}}"#;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, expected));
    assert_eq!(asked.counts(), [(3, 1); 2]);
    let metrics = asked.world.get("/metrics").await.body;
    for (result, count) in [("counted", 2), ("already_reported", 2), ("unknown_request", 1), ("stands", 0)] {
        let line = format!("canary_outcomes_total{{result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    // Without a name it is a request of its own.
    asked.world.send("app/shop", post("/outcomes", r#"{"model":"v2","ok":false,"latency_ms":0}"#)).await;
    assert_eq!(asked.counts(), [(4, 2); 2]);
}

#[tokio::test]
async fn a_choice_counts_as_its_client_says_once() {
    let mut asked = Asked::alone();
    let (good, bad, third) = (asked.name().await, asked.name().await, asked.name().await);
    assert_eq!(asked.counts(), [(0, 0); 2], "a node's own answer is no evidence");
    // However long its client says that it took, it began in this trial.
    let long = format!(r#"{{"model":"v2","ok":true,"latency_ms":3600000,"request":"{good}"}}"#);
    assert_eq!(asked.world.send("app/shop", post("/outcomes", &long)).await.body, r#"{"accepted":1}"#);
    assert_eq!(asked.tell(&[("v2", false, &bad)]).await.body, r#"{"accepted":1}"#);
    assert_eq!(asked.counts(), [(2, 1); 2]);
    let reply = asked.tell(&[("v2", false, &good), ("v2", true, &bad), ("v1", false, &third)]).await;
    let expected = r#"{"accepted":0,"ignored":3,"reasons":{"already_reported":2,"unknown_request":1}}"#;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, expected));
    assert_eq!(asked.counts(), [(2, 1); 2]);
    let counted = asked.world.api.proxy.counted();
    let (told, routed) = (counted.told.canary, counted.routed.canary);
    assert_eq!((told.requests(), told.errors()), (2, 1), "it is judged apart from what the router saw");
    assert_eq!((routed.requests(), routed.ended(), routed.uncounted()), (0, 0, 3));
}

#[tokio::test]
async fn what_the_node_has_not_given_or_no_longer_counts_is_ignored() {
    let ignored = |reply: Reply| (reply.status.as_u16(), reply.json()["reasons"]["unknown_request"].as_u64());
    for mut asked in [Asked::served().await, Asked::alone()] {
        let reply = asked.tell(&[("v2", false, "node-a-00c0ffee00c0ffee")]).await;
        assert_eq!(ignored(reply), (202, Some(1)), "nobody can guess one");
        let name = asked.name().await;
        let repeated = asked.world.send("", post("/predict", r#"{"key":"user-1"}"#)).await;
        let repeat = repeated.header("x-canary-request").to_owned();
        assert_ne!(repeat, name);
        assert_eq!(ignored(asked.tell(&[("v2", false, &repeat)]).await), (202, Some(1)), "a repeat counts for nothing");
        let mut tester = post("/predict", r#"{"key":"user-2"}"#);
        tester.headers_mut().insert("x-canary", "always".parse().unwrap());
        let tested = asked.world.send("app/shop", tester).await.header("x-canary-request").to_owned();
        assert_eq!(ignored(asked.tell(&[("v2", false, &tested)]).await), (202, Some(1)), "nor does a tester");
        asked.world.api.proxy.count(Trial::of(&asked.world.api.handle.view().state, None).as_ref());
        assert_eq!(
            ignored(asked.tell(&[("v2", false, &name)]).await),
            (202, Some(1)),
            "it was counted in the trial before"
        );
        assert_eq!(asked.counts()[1], (0, 0));
    }
}

#[tokio::test]
async fn another_nodes_answer_is_told_to_that_node() {
    let mut asked = Asked::served().await;
    let own = asked.name().await;
    let reply = asked.tell(&[("v2", false, &own), ("v2", false, "node-b-00c0ffee00c0ffee")]).await;
    assert_eq!(reply.problem(), (421, "wrong_node".into()));
    let problem = reply.json();
    assert_eq!(problem["node"], "node-b");
    assert_eq!(problem["location"], "https://127.25.0.2:50052/outcomes");
    assert!(problem["detail"].as_str().unwrap().contains("outcome 2: node-b"), "{problem}");
    let reply = asked.tell(&[("v2", false, "node-z-00c0ffee00c0ffee")]).await;
    assert_eq!(reply.problem(), (400, "bad_request".into()), "there is no such member");
    for malformed in ["", "node-a", "7", "node-a-xyz"] {
        assert_eq!(asked.tell(&[("v2", false, malformed)]).await.problem(), (400, "bad_request".into()), "{malformed}");
    }
    assert_eq!(asked.counts(), [(1, 0); 2], "nothing of a refused request is counted");
}

#[tokio::test]
async fn a_list_counts_for_each_model_with_its_latency() {
    let world = world();
    let good = r#"{"model":"v1","ok":true,"latency_ms":20.5}"#;
    let slow = r#"{"model":"v2","ok":true,"latency_ms":100}"#;
    let reply = world.send("app/shop", post("/outcomes", &format!("[{good},{ONE},{good},{slow}]"))).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (202, r#"{"accepted":4}"#));
    assert_eq!((counts(&world, "v1"), counts(&world, "v2")), ((2, 0), (2, 1)));
    let observed = world.api.proxy.observations();
    let p95 = |model: &str| observed.models.iter().find(|(id, _)| id.as_str() == model).and_then(|(_, seen)| seen.p95);
    assert!(p95("v1").is_some_and(|millis| (millis - 20.5).abs() < 0.5), "{:?}", p95("v1"));
    // How fast it fails is no latency.
    assert!(p95("v2").is_some_and(|millis| (millis - 100.0).abs() < 2.0), "{:?}", p95("v2"));
    let none = world.send("app/shop", post("/outcomes", "[]")).await;
    assert_eq!((none.status.as_u16(), none.body.as_str()), (202, r#"{"accepted":0}"#));
}

#[tokio::test]
async fn one_bad_outcome_refuses_all_of_them() {
    let world = world();
    for (bad, code, named) in [
        (r#"{"model":"v2","ok":true,"latency_ms":1,"user":"x"}"#, "bad_request", "user"),
        (r#"{"model":"v9","ok":true,"latency_ms":1}"#, "unknown_model", "v9"),
        (r#"{"model":"v2","ok":true,"latency_ms":-1}"#, "bad_request", "-1"),
        (r#"{"model":"v2","ok":true,"latency_ms":3600001}"#, "bad_request", "3600000"),
        (r#"{"model":"v2","ok":true,"latency_ms":NaN}"#, "bad_request", "line 1"),
    ] {
        let reply = world.send("app/shop", post("/outcomes", &format!("[{ONE},{ONE},{bad}]"))).await;
        assert_eq!(reply.problem(), (400, code.into()), "{bad}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("outcome 3") && detail.contains(named), "{bad}: {detail}");
    }
    let many = format!("[{}]", vec![r#"{"model":"v1","ok":true,"latency_ms":1}"#; 10_001].join(","));
    let reply = world.send("app/shop", post("/outcomes", &many)).await;
    assert_eq!(reply.problem(), (400, "bad_request".into()));
    assert!(reply.body.contains("10000"), "{}", reply.body);
    let long = world.send("app/shop", post("/outcomes", &" ".repeat(1024 * 1024 + 1))).await;
    assert_eq!(long.problem(), (413, "body_too_large".into()));
    assert_eq!(world.api.proxy.observations().overall.requests, 0, "nothing of a refused request is counted");
}

#[tokio::test]
async fn without_a_canary_only_the_stable_model_is_known() {
    let world = World::new(view(RoutingState::initial("v1".parse().unwrap())));
    assert_eq!(world.send("app/shop", post("/outcomes", ONE)).await.problem(), (400, "unknown_model".into()));
    let stable = ONE.replace("v2", "v1");
    assert_eq!(world.send("app/shop", post("/outcomes", &stable)).await.status.as_u16(), 202);
}
