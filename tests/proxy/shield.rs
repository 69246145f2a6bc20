//! When the canary cannot be asked, the stable model is; when it has answered, its answer stands.

use super::world::*;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use proxy::Timeouts;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const INFER: &str = "/v2/models/m/infer";

/// An upstream that reads a request, sends `bytes` and closes.
async fn sending(bytes: &'static [u8]) -> SocketAddr {
    raw_upstream(move |mut stream| async move {
        let mut read = [0; 4096];
        let _ = stream.read(&mut read).await;
        let _ = stream.write_all(bytes).await;
    })
    .await
}

/// All traffic to the canary at `v2`, with a stable model that says "stable".
async fn bench(v2: SocketAddr, timeouts: Timeouts) -> Bench {
    let v1 = named("stable").await;
    Bench::with_timeouts(10_000, &format!("v1=http://{v1}/,v2=http://{v2}/"), timeouts)
}

#[track_caller]
fn assert_shielded(answer: &Answer) {
    assert_eq!((header(answer, "x-canary-model"), header(answer, "x-canary-shielded")), ("v1", "v2"));
}

#[tokio::test]
async fn every_failure_before_the_first_byte_is_shielded() {
    for v2 in [
        gone().await,
        hanging().await,
        sending(b"").await,
        sending(b"SSH-2.0-OpenSSH_9.2\r\n").await,
        sending(b"HTTP/1.1 200 OK\r\ncontent-le").await,
    ] {
        let bench = bench(v2, SHORT).await;
        for (method, target) in [(Method::POST, "/predict"), (Method::GET, "/predict"), (Method::POST, INFER)] {
            let answer = bench.ask(method, target, &[], "{}").await;
            assert_eq!((answer.status(), answer.body()), (StatusCode::OK, &Bytes::from("stable")));
            assert_shielded(&answer);
            assert_signed(&answer);
        }
        // GET is no work, and counts for neither.
        assert_eq!((bench.counts("v2"), bench.counts("v1")), ((2, 2), (2, 0)));
    }
}

#[tokio::test]
async fn the_second_try_is_the_same_request() {
    let (v1, mut seen) = listening("stable").await;
    let bench = Bench::new(10_000, &format!("v1=http://{v1}/own?t=1,v2=http://{}/canary", gone().await));
    let headers = [("authorization", "Bearer abc"), ("x-hop", "1"), ("connection", "x-hop")];
    let answer = bench.ask(Method::PATCH, "/predict?a=1", &headers, r#"{"key":"alice"}"#).await;
    assert_shielded(&answer);
    let (parts, body) = within(seen.recv()).await.expect("the stable model was asked");
    assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("PATCH", "/own?t=1&a=1"));
    assert_eq!(body, r#"{"key":"alice"}"#);
    assert_eq!(parts.headers["authorization"], "Bearer abc");
    assert_eq!(parts.headers["x-forwarded-for"], "192.168.1.7");
    assert!(!parts.headers.contains_key("x-hop"));
}

#[tokio::test]
async fn a_url_that_cannot_be_called_is_shielded() {
    let v1 = named("stable").await;
    let mut bench = Bench::new(10_000, &format!("v1=http://{v1}/"));
    bench.publish(|view| {
        let state = Arc::make_mut(&mut view.state);
        state.canary.as_mut().expect("there is a canary").model.upstream = Some("https://elsewhere.example/".into());
    });
    let answer = bench.post(&[], "{}").await;
    assert_eq!(answer.body(), "stable");
    assert_shielded(&answer);
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((1, 1), (1, 0)));
}

#[tokio::test]
async fn a_stable_model_without_an_upstream_answers_predict_with_its_decision() {
    let bench = Bench::new(10_000, &format!("v2=http://{}/", gone().await));
    let answer = bench.post(&[], r#"{"key":"alice"}"#).await;
    let expected = serde_json::json!({"model_selected": "v1", "version": 7, "node_id": "node-a", "sticky": true});
    assert_eq!((answer.status(), json(&answer)), (StatusCode::OK, expected));
    assert_shielded(&answer);
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((1, 1), (0, 0)));
    assert_eq!((bench.uncounted("v2"), bench.uncounted("v1")), (0, 1));
    // It has no answer to anything else, so the canary's failure is what there is to say.
    for (method, target) in [(Method::GET, "/predict"), (Method::POST, INFER)] {
        let answer = bench.ask(method, target, &[], "{}").await;
        assert_problem(&answer, 502, "upstream_unreachable");
        assert_eq!((header(&answer, "x-canary-model"), header(&answer, "x-canary-shielded")), ("v2", ""));
    }
}

#[tokio::test]
async fn an_answer_of_the_canary_stands() {
    // Requests and errors, redirects, and client errors.
    for (status, counts) in [(500, ((1, 1), 0, 0)), (503, ((1, 1), 0, 0)), (404, ((0, 0), 0, 1)), (302, ((0, 0), 1, 0))]
    {
        let v2 = upstream(move |_: Request<Incoming>| async move {
            let answer = Response::builder().status(status).header("x-canary-shielded", "a lie");
            answer.body(Full::from("the canary's own")).expect("an answer")
        })
        .await;
        let bench = bench(v2, SHORT).await;
        let answer = bench.post(&[], "{}").await;
        assert_eq!((answer.status().as_u16(), answer.body()), (status, &Bytes::from("the canary's own")));
        assert_eq!((header(&answer, "x-canary-model"), header(&answer, "x-canary-shielded")), ("v2", ""));
        let overall = bench.proxy.observations().overall;
        assert_eq!((bench.counts("v2"), overall.redirects, overall.client_errors), counts, "{status}");
        assert_eq!((bench.counts("v1"), overall.uncounted), ((0, 0), 0), "the stable model was not asked");
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_replaced() {
    let bench = bench(sending(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await, SHORT).await;
    let answer = bench.begin(&[], Full::from("{}")).await;
    assert_eq!(answer.headers()["x-canary-model"], "v2");
    assert!(within(http_body_util::BodyExt::collect(answer.into_body())).await.is_err());
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((1, 1), (0, 0)));
}

#[tokio::test]
async fn a_body_that_was_not_kept_cannot_be_sent_again() {
    let bench = bench(gone().await, SHORT).await;
    for (target, length) in [("/predict", 65 * 1024), (INFER, 65 * 1024), (INFER, 10)] {
        let answer = whole(bench.start(Method::POST, target, &[], chunked(length)).await).await;
        assert_problem(&answer, 502, "upstream_unreachable");
        assert_eq!((header(&answer, "x-canary-model"), header(&answer, "x-canary-shielded")), ("v2", ""));
    }
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((3, 3), (0, 0)));
}

#[tokio::test]
async fn when_both_are_down_the_stable_models_problem_is_the_answer() {
    let upstreams = format!("v1=http://{}/,v2=http://{}/", hanging().await, gone().await);
    let bench = Bench::with_timeouts(10_000, &upstreams, SHORT);
    let answer = bench.post(&[], "{}").await;
    assert_problem(&answer, 504, "upstream_timeout");
    assert_shielded(&answer);
    assert_eq!((bench.counts("v2"), bench.counts("v1")), ((1, 1), (1, 1)));
}

#[tokio::test]
async fn nothing_stands_in_for_the_stable_model() {
    let v2 = named("canary").await;
    let bench = Bench::new(0, &format!("v1=http://{}/,v2=http://{v2}/", gone().await));
    let answer = bench.post(&[], "{}").await;
    assert_problem(&answer, 502, "upstream_unreachable");
    assert_eq!((header(&answer, "x-canary-model"), header(&answer, "x-canary-shielded")), ("v1", ""));
    assert_eq!(bench.counts("v2"), (0, 0));
}
