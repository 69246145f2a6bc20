//! Requests that need no more than a decision.

use super::world::{Bench, Way, next_answer, post};
use crate::world::within;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

#[tokio::test]
async fn both_ways_answer_the_same() {
    // A request without any key would go anywhere.
    const ALICE: &str = "x-canary-key: alice\r\n";
    let bench = Bench::new("");
    let keyed = post("", r#"{"key":"user-42"}"#);
    let long = post(ALICE, &format!("\"{}\"", "x".repeat(40_000)));
    let scripts: &[(&str, usize)] = &[
        (&keyed, 1),
        (&post("x-canary-key: alice\r\n", r#"{"key":"user-42"}"#), 1),
        (&post("x-canary-key:\r\n", r#"{"key":"user-42"}"#), 1),
        (&post("x-canary-key: alice\r\nX-Canary-Key: user-42\r\n", "{}"), 1),
        (&keyed.repeat(5), 5),
        (&format!("{keyed}GET /other HTTP/1.1\r\nhost: a\r\n\r\n{keyed}"), 3),
        (&post("connection: close\r\n", r#"{"key":1}"#), 1),
        (&format!("{}{keyed}", post("connection: close\r\n", r#"{"key":1}"#)), 2),
        (&post("x-canary: never\r\n", r#"{"key":"user-42"}"#), 1),
        (&post("x-canary: always\r\n", r#"{"key":"alice"}"#), 1),
        (&post("x-canary: always\r\nx-canary-key: alice\r\n", "{}"), 1),
        (&post("x-canary: perhaps\r\nx-canary-key: alice\r\n", "{}"), 1),
        (&post(ALICE, r#"{"key":"#), 1),
        (&post(ALICE, ""), 1),
        (&format!("{keyed}{}", post(ALICE, &"[".repeat(10_000))), 2),
        (&format!("{}{keyed}", long), 2),
        (
            "POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n11\r\n{\"key\":\"user-42\"}\r\n0\r\n\r\n",
            1,
        ),
        ("POST /predict?a<b HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{\"key\":1}", 1),
        ("POST /predict HTTP/1.0\r\nhost: a\r\ncontent-length: 9\r\n\r\n{\"key\":1}", 1),
        ("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\ncontent-length: 8\r\n\r\n{\"key\":1}", 1),
        ("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n{\"key\":1}", 1),
        (
            "POST /predict HTTP/1.1\r\nhost: a\r\nx-canary-key: alice\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
            1,
        ),
        ("nonsense\r\n\r\n", 1),
    ];
    for (script, answers) in scripts {
        for piece in [1, 7, 100_000] {
            let short = bench.talk(Way::Short, script.as_bytes(), piece, *answers).await;
            let real = bench.talk(Way::Real, script.as_bytes(), piece, *answers).await;
            assert!(!real.is_empty());
            assert_eq!(short, real, "for {script:.300?} in pieces of {piece}");
        }
    }
}

#[tokio::test]
async fn plain_requests_do_not_reach_the_server_and_are_counted_apart() {
    let bench = Bench::new("");
    let plain = post("", r#"{"key":"user-42"}"#);
    let answers = bench.talk(Way::Short, plain.repeat(200).as_bytes(), 1_000, 200).await;
    assert_eq!((answers.len(), bench.seen()), (200, 0));
    assert!(
        answers.iter().all(|(_, body)| body.contains(r#""model_selected":"v2""#) && body.contains(r#""sticky":true"#))
    );
    let overall = bench.proxy.observations().overall;
    assert_eq!((overall.requests, overall.errors, overall.uncounted), (0, 0, 200), "the node's own answers");
}

#[tokio::test]
async fn what_needs_more_than_a_decision_reaches_the_server_once() {
    // Nothing listens there: that the server tried to call it is enough.
    let bench = Bench::new("v2=http://127.24.0.9:1/");
    let (stable, canary) = (post("", r#"{"key":"alice"}"#), post("", r#"{"key":"user-42"}"#));
    let answers = bench.talk(Way::Short, format!("{stable}{canary}{stable}").as_bytes(), 1_000, 3).await;
    let shielded = |head: &[String]| head.contains(&"x-canary-shielded: v2".to_owned());
    let shielded: Vec<bool> = answers.iter().map(|(head, _)| shielded(head)).collect();
    assert_eq!((shielded, bench.seen()), (vec![false, true, false], 2));
    let overall = bench.proxy.observations().overall;
    // The canary's failure counts; the decisions, the one in its place too, do not.
    assert_eq!((overall.requests, overall.errors, overall.uncounted), (1, 1, 3));
}

#[tokio::test]
async fn a_client_that_pauses_or_a_node_that_stops_goes_on_with_the_server() {
    let bench = Bench::new("");
    let plain = post("", "{}");
    let mut received = Vec::new();
    let mut client = bench.connect(Way::Short);
    // Half a request, a pause, and the rest: nothing of it may be lost.
    let (first, second) = plain.split_at(30);
    client.write_all(first.as_bytes()).await.expect("the connection is open");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    client.write_all(second.as_bytes()).await.expect("the connection is open");
    assert!(within(next_answer(&mut client, &mut received)).await.is_some());
    assert_eq!(bench.seen(), 1);

    let mut client = bench.connect(Way::Short);
    bench.until.stopping.cancel();
    // A client that never pauses is handed over all the same.
    let handed_over = async {
        while bench.seen() == 1 {
            client.write_all(plain.as_bytes()).await.expect("the connection is open");
            assert!(next_answer(&mut client, &mut received).await.is_some());
        }
    };
    within(handed_over).await;
}

/// Sends `request` and reads its answer.
async fn ask(client: &mut DuplexStream, request: &str) {
    client.write_all(request.as_bytes()).await.expect("the connection is open");
    assert!(within(next_answer(client, &mut Vec::new())).await.is_some());
}

/// Longer than a client may be silent that has had no answer.
const SILENCE: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_client_may_rest_between_requests() {
    let bench = Bench::new("").resting(Duration::from_secs(60));
    let mut client = bench.connect(Way::Short);
    for _ in 0..2 {
        ask(&mut client, &post("", "{}")).await;
        tokio::time::sleep(SILENCE).await;
    }
    ask(&mut client, &post("", "{}")).await;
    assert_eq!(bench.seen(), 0);
}

#[tokio::test]
async fn a_client_that_rests_goes_on_with_the_server_in_the_end() {
    let rest = Duration::from_secs(2);
    let bench = Bench::new("").resting(rest);
    let (mut client, server) = duplex(1024);
    let begun = Instant::now();
    let request = post("", "{}");
    let asking = ask(&mut client, &request);
    let ((_, underway), ()) =
        within(async { tokio::join!(bench.fast.serve(server, None, bench.until.clone()), asking) }).await;
    assert!(underway.is_none() && begun.elapsed() >= rest);
}

#[tokio::test]
async fn a_rest_ends_with_a_stop_and_with_a_request_that_is_left_unfinished() {
    for stops in [true, false] {
        let bench = Bench::new("").resting(Duration::from_secs(3_600));
        let (mut client, server) = duplex(1024);
        let resting = async {
            ask(&mut client, &post("", "{}")).await;
            tokio::time::sleep(SILENCE).await;
            if stops {
                bench.until.stopping.cancel();
            } else {
                client.write_all(b"POST /pre").await.expect("the connection is open");
            }
        };
        within(async { tokio::join!(bench.fast.serve(server, None, bench.until.clone()), resting) }).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_connection() {
    let bench = Bench::new("");
    let (client, server) = duplex(1024);
    drop(client);
    let (mut rest, _) = within(bench.fast.serve(server, None, bench.until.clone())).await;
    assert_eq!(within(rest.read(&mut [0; 8])).await.expect("an end is no error"), 0);
    let (mut client, server) = duplex(16);
    let writing = async {
        client.write_all(post("", "{}").as_bytes()).await.expect("the server reads");
        drop(client);
    };
    let ((mut rest, _), ()) =
        within(async { tokio::join!(bench.fast.serve(server, None, bench.until.clone()), writing) }).await;
    assert!(rest.read(&mut [0; 8]).await.is_err(), "nothing may follow an answer that was cut off");
}
