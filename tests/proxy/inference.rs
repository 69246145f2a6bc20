//! The Open Inference Protocol, `/v2`, and the other methods of `/predict`.

use super::world::*;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{METHODS, Timeouts};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const INFER: &str = "/v2/models/resnet/infer";
const JSON: (&str, &str) = ("content-type", "application/json");
const TENSOR: (&str, &str) = ("content-type", "application/octet-stream");
/// Buffers of sockets and of the HTTP implementations along the way; what is under way at once is less than this.
const UNDER_WAY: usize = 24 * MIB;

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

#[tokio::test]
async fn every_method_and_path_goes_to_the_upstreams_origin() {
    let (address, mut seen) = listening("a model").await;
    let bench = Bench::new(0, &format!("v1=http://{address}/predict?tenant=1"));
    for method in METHODS {
        for target in ["/v2", "/v2/", "/v2/health/ready", "/v2/models/a%20b/versions/1/infer?x=1&y=%2F"] {
            let answer = bench.ask(method.clone(), target, &[JSON], r#"{"inputs":[]}"#).await;
            assert_eq!(answer.status(), StatusCode::OK, "{method} {target}");
            assert_signed(&answer);
            let (parts, body) = within(seen.recv()).await.expect("the upstream was called");
            assert_eq!((&parts.method, parts.uri.to_string().as_str()), (&method, target));
            assert_eq!(body, r#"{"inputs":[]}"#, "{method} {target}");
            assert_eq!(answer.body().as_ref(), if method == Method::HEAD { &b""[..] } else { b"a model" });
        }
    }
    // A GET without a body has none at the upstream either.
    bench.ask(Method::GET, "/v2", &[], "").await;
    let (parts, _) = within(seen.recv()).await.expect("the upstream was called");
    assert!(!parts.headers.contains_key("content-length") && !parts.headers.contains_key("transfer-encoding"));
    let overall = bench.proxy.observations().overall;
    // OPTIONS, HEAD, and the GET of what is metadata.
    assert_eq!((overall.requests, overall.errors, overall.uncounted), (17, 0, 12));
}

#[tokio::test]
async fn the_upstream_is_told_where_the_request_comes_from() {
    let (address, mut seen) = listening("a model").await;
    let bench = Bench::new(0, &format!("v1=http://{address}/predict"));
    let traced = [
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-proto", "http"),
        ("host", "front.example:50051"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "vendor=1"),
    ];
    for target in [INFER, "/predict"] {
        bench.ask(Method::POST, target, &traced, "{}").await;
        let (parts, _) = within(seen.recv()).await.expect("the upstream was called");
        let sent = |name| text(&parts.headers, name);
        assert_eq!(sent("x-forwarded-for"), "10.1.2.3, 192.168.1.7", "{target}");
        assert_eq!((sent("x-forwarded-proto"), sent("x-forwarded-host")), ("https", "front.example:50051"), "{target}");
        assert_eq!((sent("traceparent"), sent("tracestate")), (traced[3].1, traced[4].1), "{target}");
        assert_eq!(sent("host"), address.to_string());
    }
}

#[tokio::test]
async fn a_model_without_an_upstream_says_what_to_configure() {
    let bench = Bench::new(0, "");
    let answer = bench.ask(Method::GET, "/v2/health/ready", &[], "").await;
    assert_problem(&answer, 404, "no_upstream");
    let detail = json(&answer)["detail"].as_str().expect("text").to_owned();
    assert!(["v1", "--upstream", "CANARY_UPSTREAMS"].iter().all(|named| detail.contains(named)), "{detail}");
    // A body that nobody wants is read on, so that the client sees the answer.
    let answer = bench.start(Method::POST, INFER, &[TENSOR], chunked(2 * MIB)).await;
    assert_problem(&whole(answer).await, 404, "no_upstream");
    assert_eq!(bench.counts("v1"), (0, 0));
}

#[tokio::test]
async fn a_json_body_sticks_by_its_key_and_others_by_the_header() {
    let (v1, v2) = (named("v1").await, named("v2").await);
    let bench = Bench::new(3408, &format!("v1=http://{v1}/,v2=http://{v2}/"));
    let model = async |headers: &[(&'static str, &str)], body: &str| {
        let answer = bench.ask(Method::POST, INFER, headers, body.to_owned()).await;
        String::from_utf8(answer.body().to_vec()).expect("text")
    };
    let padded = |length: usize, key: &str| format!(r#"{{"pad":"{}","key":"{key}"}}"#, "x".repeat(length));
    for _ in 0..5 {
        assert_eq!(model(&[JSON], r#"{"key":"user-42"}"#).await, "v2", "user-42 is in bucket 3407");
        assert_eq!(model(&[JSON], r#"{"key":"alice"}"#).await, "v1", "alice is in bucket 8249");
        assert_eq!(model(&[], &padded(60_000, "user-42")).await, "v2");
        assert_eq!(model(&[JSON, ("x-canary-key", "user-42")], r#"{"key":"alice"}"#).await, "v2");
        assert_eq!(model(&[TENSOR, ("x-canary-key", "user-42")], "\u{1}tensor").await, "v2");
        assert_eq!(model(&[TENSOR, ("x-canary-key", "alice")], &padded(100_000, "user-42")).await, "v1");
    }
    // What is no JSON is the model's to judge, and without a header goes anywhere.
    let mut canaries = 0;
    for _ in 0..200 {
        canaries += u32::from(model(&[JSON], r#"{"key":"user-42""#).await == "v2");
    }
    // 68 expected, with a deviation of 6.7; seven of them on either side.
    assert!((21..=115).contains(&canaries), "{canaries} of 200");
}

#[tokio::test]
async fn other_methods_of_predict_are_for_upstreams_only() {
    let (address, mut seen) = listening("a model").await;
    let bench = Bench::new(0, &format!("v1=http://{address}/p?tenant=1"));
    for method in METHODS.into_iter().filter(|method| *method != Method::POST) {
        let answer = bench.ask(method.clone(), "/predict?a=1", &[], "no json").await;
        assert_eq!(answer.status(), StatusCode::OK, "{method}");
        let (parts, body) = within(seen.recv()).await.expect("the upstream was called");
        assert_eq!((&parts.method, parts.uri.to_string().as_str()), (&method, "/p?tenant=1&a=1"));
        assert_eq!(body, "no json");
        let answer = Bench::new(0, "").ask(method.clone(), "/predict", &[], "").await;
        assert_problem(&answer, 405, "method_not_allowed");
        assert_eq!(header(&answer, "allow"), "POST", "{method}");
    }
    let long = bench.start(Method::PUT, "/predict", &[TENSOR], chunked(MIB + 1)).await;
    assert_problem(&whole(long).await, 413, "body_too_large");
}

#[tokio::test]
async fn a_path_that_climbs_is_not_passed_on() {
    let (address, mut seen) = listening("a model").await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    for target in ["/v2/../admin", "/v2/models/%2e%2E/%2e%2e/admin"] {
        assert_problem(&bench.ask(Method::GET, target, &[], "").await, 400, "bad_request");
    }
    assert!(seen.try_recv().is_err());
}

/// An upstream that reads nothing of a body before it is told to, then all; it answers with the length.
async fn reluctant() -> (SocketAddr, watch::Sender<bool>) {
    let (go, gate) = watch::channel(false);
    let address = upstream(move |request: Request<Incoming>| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.expect("the test goes on");
            let mut length = 0;
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                length += frame.expect("the body is sound").data_ref().map_or(0, Bytes::len);
            }
            Response::new(Full::from(length.to_string()))
        }
    })
    .await;
    (address, go)
}

/// A body of pieces of 64 KiB that counts what was taken of it.
fn counted(length: usize) -> (impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let pieces = (0..length / piece.len()).map(move |_| {
        count.fetch_add(piece.len(), Ordering::SeqCst);
        Ok(Frame::data(piece.clone()))
    });
    (StreamBody::new(futures_util::stream::iter(pieces)), taken)
}

#[tokio::test]
async fn an_upload_of_any_length_is_streamed_and_never_gathered() {
    for content_type in [TENSOR, JSON] {
        let (address, go) = reluctant().await;
        let bench = Bench::new(0, &format!("v1=http://{address}/"));
        let (body, taken) = counted(64 * MIB);
        let waited = async {
            // Until nothing moves any more, because the upstream takes nothing.
            let mut before = usize::MAX;
            while before != taken.load(Ordering::SeqCst) {
                before = taken.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            go.send(true).expect("the upstream waits");
            before
        };
        let headers = [content_type];
        let (answer, held) = tokio::join!(bench.start(Method::POST, INFER, &headers, body), waited);
        assert!(held > 0 && held < UNDER_WAY, "{held} bytes were taken of a body that nobody reads");
        assert_eq!(whole(answer).await.body(), &(64 * MIB).to_string());
        assert_eq!(bench.counts("v1"), (1, 0));
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_passed_on_from_its_first_byte() {
    let address = raw_upstream(|stream| async move {
        // Sends back every piece as soon as it has it.
        let service =
            service_fn(|request: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(request.into_body())) });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    let (sender, body) = channel();
    sender.send(Ok(Frame::data(Bytes::from_static(b"a")))).await.expect("the body waits");
    let answer = bench.start(Method::POST, INFER, &[TENSOR], body).await;
    let mut body = answer.into_body();
    for letter in [&b"a"[..], b"b", b"c"] {
        let frame = within(body.frame()).await.expect("the answer goes on").expect("the answer is sound");
        assert_eq!(frame.into_data().expect("data"), letter);
        let next = Bytes::from(vec![letter[0] + 1]);
        sender.send(Ok(Frame::data(next))).await.expect("the proxy reads");
    }
}

fn channel() -> (
    mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
) {
    let (sender, receiver) = mpsc::channel(1);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (sender, StreamBody::new(Box::pin(pieces)))
}

#[tokio::test]
async fn an_upload_may_take_longer_than_an_answer_but_an_upstream_may_not() {
    let (address, mut seen) = listening("a model").await;
    let answer = Duration::from_millis(400);
    let timeouts = Timeouts { answer, ..Timeouts::default() };
    let bench = Bench::with_timeouts(0, &format!("v1=http://{address}/"), timeouts);
    let (sender, body) = channel();
    let sending = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sender.send(Ok(Frame::data(Bytes::from_static(b"piece")))).await.expect("the proxy reads");
        }
        drop(sender);
    };
    let headers = [TENSOR];
    let (slow, ()) = tokio::join!(bench.start(Method::PUT, INFER, &headers, body), sending);
    assert_eq!(whole(slow).await.status(), StatusCode::OK, "the client was slow, not the model");
    assert_eq!(within(seen.recv()).await.expect("the upstream was called").1.len(), 20);

    // Once it has all there is, the model's own time runs.
    let bench = Bench::with_timeouts(0, &format!("v1=http://{}/", hanging().await), timeouts);
    let (body, _) = counted(MIB);
    let answer = whole(bench.start(Method::PUT, INFER, &[TENSOR], body).await).await;
    assert_problem(&answer, 504, "upstream_timeout");
    assert_eq!(bench.counts("v1"), (1, 1));
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (events, held) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let held = Arc::new(tokio::sync::Mutex::new(Some(held)));
    let address = raw_upstream(move |stream| {
        let held = Arc::clone(&held);
        async move {
            let service = service_fn(move |_| {
                let held = Arc::clone(&held);
                async move {
                    let receiver = held.lock().await.take().expect("one request");
                    let events = futures_util::stream::unfold(receiver, |mut receiver| async move {
                        receiver.recv().await.map(|event| (event, receiver))
                    });
                    let answer = Response::builder().header("content-type", "text/event-stream");
                    Ok::<_, Infallible>(answer.body(StreamBody::new(Box::pin(events))).expect("an answer"))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    let answer = bench.start(Method::POST, "/v2/models/llm/generate_stream", &[JSON], Full::from("{}")).await;
    assert_eq!(text(answer.headers(), "content-type"), "text/event-stream");
    let mut body = answer.into_body();
    for number in 0..5 {
        let event = Bytes::from(format!("data: {number}\n\n"));
        events.send(Ok(Frame::data(event.clone()))).await.expect("the upstream sends");
        let frame = within(body.frame()).await.expect("the answer goes on").expect("the answer is sound");
        assert_eq!(frame.into_data().expect("data"), event);
    }
    assert_eq!(bench.counts("v1"), (0, 0), "it counts when it has ended");
    drop(events);
    assert!(within(body.frame()).await.is_none());
    assert_eq!(bench.counts("v1"), (1, 0));
}
