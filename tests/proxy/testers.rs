//! `x-canary: always` and `never`: a tester chooses the model, and is not counted.

use super::world::*;
use http::Method;
use member::boottime;
use model::{NodeId, Time};
use proxy::{Remote, Settings, Testers};
use std::sync::Arc;

#[tokio::test]
async fn a_tester_gets_the_model_that_the_header_names() {
    let servers = format!("v1=http://{}/,v2=http://{}/", named("a").await, named("b").await);
    for (upstreams, asked) in [(String::new(), 0), (servers, 1)] {
        let bench = Bench::new(5_000, &upstreams);
        for n in 0..20 {
            let key = format!(r#"{{"key":{n}}}"#);
            for (wish, model) in [("always", "v2"), ("never", "v1")] {
                let answer = bench.post(&[("x-canary", wish)], key.clone()).await;
                assert_eq!((answer.status().as_u16(), header(&answer, "x-canary-model")), (200, model), "{wish}");
            }
        }
        assert_eq!((bench.counts("v1"), bench.counts("v2")), ((0, 0), (0, 0)), "testers are not counted");
        bench.post(&[], "{}").await;
        let overall = bench.proxy.observations().overall;
        assert_eq!((overall.requests, overall.uncounted), (asked, 41 - asked));
    }
}

#[tokio::test]
async fn who_may_choose_is_what_the_node_is_told() {
    let remote = |address: &str, is_certified| {
        let address = format!("{address}:4711").parse().expect("an address");
        Remote { address, is_certified }
    };
    let (stranger, office, proxy) = ("203.0.113.9", "192.168.1.7", "10.0.0.1");
    let bench = |testers: &str| {
        let testers = testers.parse().expect("a policy");
        let trusted_proxies = "10.0.0.0/24".parse().expect("networks");
        Bench::with_settings(5_000, Settings { testers, trusted_proxies, ..Settings::default() })
    };
    let wish = ("x-canary", "always");
    let behind = |client| ("x-forwarded-for", client);
    for (testers, who, headers, status) in [
        ("any", remote(stranger, false), vec![wish], 200),
        ("certificate", remote(stranger, true), vec![wish], 200),
        ("certificate", remote(stranger, false), vec![wish], 401),
        ("certificate", remote(stranger, false), vec![], 200),
        ("192.168.0.0/16", remote(office, false), vec![wish], 200),
        ("192.168.0.0/16", remote(stranger, true), vec![wish], 403),
        ("192.168.0.0/16", remote(proxy, false), vec![wish, behind(office)], 200),
        ("192.168.0.0/16", remote(proxy, false), vec![wish, behind("192.168.1.7, 203.0.113.9")], 403),
        ("192.168.0.0/16", remote(stranger, false), vec![wish, behind(office)], 403),
    ] {
        let answer = bench(testers).post_from(who, &headers).await;
        assert_eq!(answer.status().as_u16(), status, "{testers}: {who:?} {headers:?}");
    }
    let refused = bench("certificate").post_from(remote(stranger, false), &[wish]).await;
    assert_unsigned(&refused, 401, "unauthenticated");
    assert_eq!(header(&refused, "x-canary-model"), "", "it chose nothing");
    let error = "10.0.0.0/99".parse::<Testers>().expect_err("no network").to_string();
    assert!(error.contains("10.0.0.0/99") && error.contains("10.0.0.0/24"), "{error}");
}

#[tokio::test]
async fn the_canary_is_there_for_testers_only_while_it_is_served() {
    let always = async |bench: &Bench| {
        let answer = bench.post(&[("x-canary", "always")], "{}").await;
        header(&answer, "x-canary-model").to_owned()
    };
    let mut bench = Bench::new(1, "");
    assert_eq!(always(&bench).await, "v2", "one basis point is enough");
    bench.publish(|view| view.lease_end = Time::ZERO);
    assert_eq!(always(&bench).await, "v1", "an isolated node serves the stable model only");
    bench.publish(|view| {
        view.lease_end = boottime() + DEADLINE;
        Arc::make_mut(&mut view.state).drained.insert(NodeId::A);
    });
    assert_eq!(always(&bench).await, "v1", "and so does a drained one");
    assert_eq!(always(&Bench::new(0, "")).await, "v1", "and every node after a rollback");
    bench.publish(|view| {
        let state = Arc::make_mut(&mut view.state);
        state.canary = None;
        state.drained = model::NodeSet::EMPTY;
    });
    assert_eq!(always(&bench).await, "v1", "without a canary there is none");
}

#[tokio::test]
async fn any_other_word_is_refused_by_name() {
    let bench = Bench::new(5_000, "");
    for (method, target) in [(Method::POST, "/predict"), (Method::GET, "/v2/health/ready")] {
        for word in ["Always", "yes", "true", ""] {
            let answer = bench.ask(method.clone(), target, &[("x-canary", word)], "{}").await;
            assert_problem(&answer, 400, "bad_request");
            let detail = json(&answer)["detail"].as_str().expect("text").to_owned();
            assert!(detail.contains("always") && detail.contains("never"), "{detail}");
        }
    }
    let long = bench.start(Method::POST, "/v2", &[("x-canary", "yes")], chunked(2 * MIB)).await;
    assert_problem(&whole(long).await, 400, "bad_request");
    assert_eq!(bench.proxy.observations().overall.requests, 0);
}

#[tokio::test]
async fn the_header_is_passed_on_and_a_testers_failures_are_not_counted() {
    let (v1, mut seen) = listening("stable").await;
    let bench = Bench::new(1, &format!("v1=http://{v1}/,v2=http://{}/", gone().await));
    let answer = bench.ask(Method::POST, "/v2/models/m/infer", &[("x-canary", "always")], "{}").await;
    assert_eq!((header(&answer, "x-canary-model"), header(&answer, "x-canary-shielded")), ("v1", "v2"));
    let (parts, _) = within(seen.recv()).await.expect("the stable model was asked");
    assert_eq!(parts.headers["x-canary"], "always");
    assert_eq!(bench.proxy.observations().overall.requests, 0);
}
