//! Repeats and the names of answers, whichever way a request takes.

use super::world::{Bench, Way, post};
use crate::answer;
use crate::world::{named, within};
use judge::{Sample, Verdict};
use model::RequestId;
use proxy::Heard;
use std::collections::HashSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Goes to the canary.
const CANARY: &str = r#"{"key":"user-42"}"#;

#[tokio::test]
async fn a_repeat_is_one_whichever_way_it_comes() {
    let servers = format!("v1=http://{}/,v2=http://{}/", named("a").await, named("b").await);
    // A node's own answer is no evidence whether it is a repeat or not.
    for (upstreams, asked) in [(String::new(), 0), (servers, 1)] {
        let bench = Bench::new(&upstreams);
        bench.begin_trial();
        let once = post("", CANARY);
        let overall = || bench.proxy.observations().overall;
        for (way, times) in [(Way::Short, 3), (Way::Real, 2), (Way::Short, 1)] {
            assert_eq!(bench.talk(way, once.repeat(times).as_bytes(), 1_000, times).await.len(), times);
        }
        assert_eq!((overall().requests, overall().uncounted), (asked, 6 - asked), "{upstreams}");
        let other = post("", r#"{"key":"user-42","x":1}"#);
        bench.talk(Way::Real, other.as_bytes(), 1_000, 1).await;
        bench.talk(Way::Short, other.repeat(2).as_bytes(), 1_000, 2).await;
        assert_eq!((overall().requests, overall().uncounted), (2 * asked, 9 - 2 * asked), "{upstreams}");
        // Without a key, it is the client's address on either way.
        for way in [Way::Short, Way::Real] {
            bench.talk(way, post("", "{}").as_bytes(), 1_000, 1).await;
        }
        assert_eq!((overall().requests, overall().uncounted), (3 * asked, 11 - 3 * asked), "{upstreams}");
    }
}

#[tokio::test]
async fn a_request_that_is_looked_at_twice_is_no_repeat() {
    // After an answer has been written, the next request is chosen again; and what cannot go the short way begins anew.
    let bench = Bench::new(&format!("v1=http://{}/,v2=http://{}/", named("a").await, named("b").await));
    bench.begin_trial();
    let mut client = bench.connect(Way::Short);
    let requests: String = (0..20)
        .map(|number| {
            let key = if number % 2 == 0 { "alice" } else { "user-42" };
            post("", &format!(r#"{{"key":"{key}","x":{number}}}"#))
        })
        .collect();
    client.write_all(requests.as_bytes()).await.expect("the connection is open");
    names(&mut client, 20).await;
    let overall = bench.proxy.observations().overall;
    assert_eq!((bench.seen(), overall.requests, overall.uncounted), (0, 20, 0));
    bench.until.stopping.cancel();
    let last = post("", r#"{"key":"user-42","x":20}"#);
    client.write_all(last.as_bytes()).await.expect("the connection is open");
    names(&mut client, 1).await;
    let overall = bench.proxy.observations().overall;
    assert_eq!((bench.seen(), overall.requests, overall.uncounted), (1, 21, 0));
}

#[tokio::test]
async fn of_the_repeats_of_a_choice_only_the_first_can_be_told_of() {
    for first in [Way::Short, Way::Real] {
        let bench = Bench::new("");
        bench.begin_trial();
        let mut given = Vec::new();
        for way in [first, Way::Short, Way::Real] {
            let mut client = bench.connect(way);
            client.write_all(post("", CANARY).as_bytes()).await.expect("the connection is open");
            given.extend(names(&mut client, 1).await);
        }
        let (v2, took) = ("v2".parse().expect("a model id"), Duration::from_millis(5));
        let sample = Sample { latency: took, full: took, verdict: Verdict::Failed };
        let heard: Vec<_> = given.iter().map(|name| bench.proxy.record_outcome(&v2, sample, Some(*name))).collect();
        assert_eq!(heard, [Heard::Counted, Heard::UnknownRequest, Heard::UnknownRequest], "{first:?}");
        let counted = bench.proxy.counted();
        let (told, routed) = (counted.told.canary, counted.routed.canary);
        assert_eq!((told.requests(), told.errors(), routed.ended(), routed.uncounted()), (1, 1, 0, 3), "{first:?}");
    }
}

#[tokio::test]
async fn every_answer_has_a_name_of_its_own_whichever_way_it_comes() {
    let mut seen = HashSet::new();
    for upstreams in [String::new(), format!("v1=http://{},v2=http://{}/", named("a").await, named("b").await)] {
        let bench = Bench::new(&upstreams);
        for way in [Way::Short, Way::Real] {
            let mut client = bench.connect(way);
            client.write_all(post("", CANARY).repeat(20).as_bytes()).await.expect("the connection is open");
            seen.extend(names(&mut client, 20).await);
        }
    }
    assert_eq!(seen.len(), 80);
}

/// The names of the next answers.
async fn names(client: &mut tokio::io::DuplexStream, answers: usize) -> Vec<RequestId> {
    let (mut received, mut names) = (Vec::new(), Vec::new());
    while names.len() < answers {
        let Some(answer) = answer::Answer::take(&mut received) else {
            let read = within(client.read_buf(&mut received)).await.expect("the connection is open");
            assert!(read > 0, "the connection ended after {} answers", names.len());
            continue;
        };
        let named = |line: &&String| line.starts_with("x-canary-request: ");
        assert_eq!(answer.head.iter().filter(named).count(), 1, "{:?}", answer.head);
        names.push(answer.header("x-canary-request").and_then(|name| name.parse().ok()).expect("a name"));
    }
    names
}
