//! Requests that say what another one said shortly before: served, and no evidence.

use super::world::*;
use http::Method;
use proxy::{Remote, Settings};
use std::net::IpAddr;

const INFER: &str = "/v2/models/m/infer";
const TENSOR: (&str, &str) = ("content-type", "application/octet-stream");
/// In the canary.
const KEY: (&str, &str) = ("x-canary-key", "user-42");

#[tokio::test]
async fn one_clients_retries_are_one_failure() {
    let bench = Bench::new(3_408, &format!("v1=http://{}/,v2=http://{}/", named("a").await, gone().await));
    bench.begin_trial();
    let ask = async |body: &str| header(&bench.post(&[KEY], body.to_owned()).await, "x-canary-shielded").to_owned();
    for _ in 0..10 {
        assert_eq!(ask("{}").await, "v2", "a repeat is served as any request");
    }
    // The first, and that of the model that stood in for it.
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((1, 1), (1, 0)));
    assert_eq!((bench.uncounted("v2"), bench.uncounted("v1")), (9, 9));
    ask("[]").await;
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((2, 2), (2, 0)), "another request");
    let counted = bench.proxy.counted();
    assert_eq!(
        (counted.routed.canary.requests(), counted.routed.canary.errors(), counted.routed.stable.requests()),
        (2, 2, 2)
    );
    bench.begin_trial();
    ask("[]").await;
    assert_eq!(bench.proxy.counted().canary().requests(), 1, "each trial is new to it");
    bench.proxy.count(None);
    ask("[]").await;
    ask("[]").await;
    assert_eq!(bench.counts("v2"), (5, 5), "without a trial there is nothing to be evidence for");
}

#[tokio::test]
async fn what_makes_a_request_is_its_key_method_target_and_body() {
    let bench = Bench::new(10_000, &format!("v2=http://{}/", named("a").await));
    bench.begin_trial();
    let mut expected = 0;
    for (method, target, key, body) in [
        (Method::POST, "/predict", "alice", "{}"),
        (Method::POST, "/predict", "bob", "{}"),
        (Method::POST, "/predict", "alice", "[]"),
        (Method::POST, "/predict?a=1", "alice", "{}"),
        (Method::PUT, "/predict", "alice", "{}"),
        (Method::POST, INFER, "alice", "{}"),
        (Method::POST, "/v2/models/n/infer", "alice", "{}"),
    ] {
        expected += 1;
        for _ in 0..3 {
            bench.ask(method.clone(), target, &[("x-canary-key", key)], body).await;
        }
        assert_eq!(bench.counts("v2"), (expected, 0), "{method} {target} {key} {body}");
    }
    // The key may be in the body, and a probe is no evidence from the start.
    bench.post(&[], r#"{"key":"alice"}"#).await;
    bench.post(&[], r#"{"key":"alice"}"#).await;
    bench.ask(Method::GET, "/v2/health/ready", &[], "").await;
    assert_eq!((bench.counts("v2"), bench.uncounted("v2")), ((8, 0), 16));
}

#[tokio::test]
async fn users_without_a_key_are_told_apart_by_their_addresses() {
    let trusted_proxies = "10.0.0.0/24".parse().expect("networks");
    let upstreams = format!("v1=http://{}/,v2=http://{}/", named("a").await, named("b").await);
    let upstreams = upstreams.parse().expect("a good list");
    let bench = Bench::with_settings(5_000, Settings { upstreams, trusted_proxies, ..Settings::default() });
    bench.begin_trial();
    let from = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        Remote::unknown((address, 4711).into())
    };
    let counted = || {
        let overall = bench.proxy.observations().overall;
        (overall.requests, overall.uncounted)
    };
    for (asked, (address, way, expected)) in (1..).zip([
        ("203.0.113.1", None, 1),
        ("203.0.113.1", None, 1),
        ("203.0.113.2", None, 2),
        ("203.0.113.2", Some("198.51.100.7"), 2),
        ("10.0.0.1", Some("198.51.100.7"), 3),
        ("10.0.0.2", Some("198.51.100.7"), 3),
        ("10.0.0.1", Some("198.51.100.8"), 4),
        ("10.0.0.1", Some("1.1.1.1, 198.51.100.8"), 4),
        ("2001:db8::1", None, 5),
        ("2001:db8::2", None, 5),
        ("2001:db8:0:1::1", None, 6),
    ]) {
        let headers: Vec<_> = way.into_iter().map(|way| ("x-forwarded-for", way)).collect();
        bench.post_from(from(address), &headers).await;
        assert_eq!(counted(), (expected, asked - expected), "{address} {way:?}");
    }
}

#[tokio::test]
async fn a_long_body_is_told_by_its_beginning_and_its_length() {
    let bench = Bench::new(10_000, &format!("v2=http://{}/", named("a").await));
    bench.begin_trial();
    let body = |first: char, length: usize| format!("\"{first}{}\"", "x".repeat(length));
    for (first, length, expected) in [('a', 70_000, 1), ('a', 70_000, 1), ('b', 70_000, 2), ('a', 70_001, 3)] {
        bench.post(&[KEY], body(first, length)).await;
        assert_eq!(bench.counts("v2"), (expected, 0), "{first} {length}");
    }
    // However it comes.
    for length in [100_000, 120_000] {
        bench.send(&[KEY], chunked(length)).await;
    }
    assert_eq!(bench.counts("v2"), (4, 0), "of one without a length the beginning is all there is");
    // A tensor is not looked into, and others of the same model are as long.
    for _ in 0..3 {
        bench.ask(Method::POST, INFER, &[KEY, TENSOR], body('a', 70_000)).await;
    }
    assert_eq!(bench.counts("v2"), (7, 0));
    for _ in 0..3 {
        bench.ask(Method::POST, INFER, &[KEY, TENSOR], "short").await;
    }
    assert_eq!(bench.counts("v2"), (8, 0));
}
