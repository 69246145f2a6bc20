//! `/predict`: the choice, the bodies, and what becomes of each kind of upstream.

use super::world::*;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use member::{IsolationPolicy, View, boottime};
use model::{NodeId, Time};
use service::{Model, RoutingState};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

#[tokio::test]
async fn without_an_upstream_the_decision_is_the_answer() {
    let bench = Bench::new(3408, "");
    let answer = bench.post(&[], r#"{"key":"user-42"}"#).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), "application/json");
    assert_signed(&answer);
    let expected = serde_json::json!({"model_selected": "v2", "version": 7, "node_id": "node-a", "sticky": true});
    assert_eq!(json(&answer), expected, "user-42 is in bucket 3407");
    let stable = bench.post(&[], r#"{"key":"alice"}"#).await;
    assert_eq!(json(&stable)["model_selected"], "v1", "alice is in bucket 8249");
    assert_eq!(header(&stable, "x-canary-model"), "v1");
    assert_eq!((bench.counts("v1"), bench.counts("v2")), ((0, 0), (0, 0)), "it is no model that answers");
    assert_eq!((bench.uncounted("v1"), bench.uncounted("v2")), (1, 1));
}

#[tokio::test]
async fn the_header_goes_over_the_body_and_no_key_is_random() {
    let bench = Bench::new(3408, "");
    let answer = bench.post(&[("x-canary-key", "user-42")], r#"{"key":"alice"}"#).await;
    assert_eq!(header(&answer, "x-canary-model"), "v2");
    assert_eq!(json(&answer)["sticky"], true);
    let mut canaries = 0;
    for _ in 0..400 {
        let answer = json(&bench.post(&[], r#"{"input":1}"#).await);
        assert_eq!(answer["sticky"], false);
        canaries += u32::from(answer["model_selected"] == "v2");
    }
    // 136 expected, with a deviation of 9.5; seven of them on either side.
    assert!((70..=203).contains(&canaries), "{canaries} of 400 random requests went to the canary at 34 %");
}

#[tokio::test]
async fn weight_zero_and_weight_full_leave_no_exception() {
    for (weight, model) in [(0, "v1"), (10_000, "v2")] {
        let bench = Bench::new(weight, "");
        for n in 0..300 {
            let keyed = bench.post(&[], format!(r#"{{"key":{n}}}"#)).await;
            let random = bench.post(&[], "{}").await;
            assert_eq!((header(&keyed, "x-canary-model"), header(&random, "x-canary-model")), (model, model));
        }
    }
}

#[tokio::test]
async fn keys_stay_with_the_canary_as_the_weight_grows() {
    let mut bench = Bench::new(500, "");
    let mut before = Vec::new();
    for weight in [500, 2_000, 5_000] {
        bench.publish(|view| *view = View { lease_end: view.lease_end, ..super::world::view(weight) });
        let mut canaries = Vec::new();
        for n in 0..500 {
            let answer = bench.post(&[], format!(r#"{{"key":"user-{n}"}}"#)).await;
            if header(&answer, "x-canary-model") == "v2" {
                canaries.push(n);
            }
        }
        assert!(before.iter().all(|n| canaries.contains(n)), "a canary user was sent back at {weight}");
        assert!(canaries.len() > before.len());
        before = canaries;
    }
}

#[tokio::test]
async fn a_new_state_is_followed_at_once() {
    let mut bench = Bench::new(0, "");
    assert_eq!(header(&bench.post(&[], "{}").await, "x-canary-version"), "7");
    bench.publish(|view| {
        let mut state = RoutingState::clone(&view.state);
        state.version = 8;
        state.stable.id = "v3".parse().expect("v3 is a model id");
        view.state = Arc::new(state);
    });
    let answer = bench.post(&[], "{}").await;
    assert_eq!((header(&answer, "x-canary-version"), header(&answer, "x-canary-model")), ("8", "v3"));
    assert_eq!(json(&answer)["version"], 8);
}

#[tokio::test]
async fn when_the_lease_is_over_only_the_stable_model_serves() {
    let mut bench = Bench::new(10_000, "");
    let model = async |bench: &Bench| header(&bench.post(&[], "{}").await, "x-canary-model").to_owned();
    assert_eq!(model(&bench).await, "v2");
    // Nothing is published when the lease ends: the next choice must notice by itself.
    let lease_end = boottime() + Duration::from_millis(200);
    bench.publish(|view| view.lease_end = lease_end);
    while boottime() < lease_end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(model(&bench).await, "v1");
    bench.publish(|view| view.on_isolation = IsolationPolicy::Hold);
    assert_eq!(model(&bench).await, "v2");
    bench.publish(|view| view.lease_end = Time::ZERO);
    assert_eq!(model(&bench).await, "v2");
    bench.publish(|view| {
        view.lease_end = boottime() + Duration::from_secs(60);
        let mut state = RoutingState::clone(&view.state);
        state.drained.insert(NodeId::A);
        view.state = Arc::new(state);
    });
    assert_eq!(model(&bench).await, "v1", "a drained node serves the stable model only");
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let bench = Bench::new(5_000, "");
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested_in_key = format!("{{\"key\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for body in ["", "{", "key=alice", "{\"key\":\"a\"}{}", &nested, &nested_in_key] {
        assert_problem(&bench.post(&[], body.to_owned()).await, 400, "bad_request");
        assert_problem(&bench.post(&[("x-canary-key", "bob")], body.to_owned()).await, 400, "bad_request");
    }
    assert_eq!((bench.counts("v1"), bench.counts("v2")), ((0, 0), (0, 0)), "no model is to blame for a bad body");
}

#[tokio::test]
async fn bodies_up_to_64_kib_are_looked_into_and_longer_ones_stick_by_header() {
    let bench = Bench::new(3408, "");
    let body = |length: usize| {
        let frame = r#"{"pad":"","key":"user-42"}"#;
        let body = format!(r#"{{"pad":"{}","key":"user-42"}}"#, "x".repeat(length - frame.len()));
        assert_eq!(body.len(), length);
        body
    };
    let longest = bench.post(&[], body(64 * 1024)).await;
    assert_eq!((&json(&longest)["sticky"], header(&longest, "x-canary-model")), (&true.into(), "v2"));
    let longer = bench.post(&[], body(64 * 1024 + 1)).await;
    assert_eq!((longer.status(), &json(&longer)["sticky"]), (StatusCode::OK, &false.into()));
    let by_header = bench.post(&[("x-canary-key", "user-42")], body(MIB)).await;
    assert_eq!((&json(&by_header)["sticky"], header(&by_header, "x-canary-model")), (&true.into(), "v2"));
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_with_and_without_a_length() {
    let address = upstream(|request| async move {
        let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
        Response::new(Full::from(format!("{read:?}")))
    })
    .await;
    for (upstreams, asked) in [(String::new(), 0), (format!("v1=http://{address}/"), 1)] {
        let bench = Bench::new(0, &upstreams);
        let long = vec![b' '; 10 * MIB];
        assert_problem(&bench.post(&[], long).await, 413, "body_too_large");
        assert_problem(&bench.send(&[], chunked(10 * MIB)).await, 413, "body_too_large");
        assert_problem(&bench.send(&[], chunked(MIB + 1)).await, 413, "body_too_large");
        assert_eq!(bench.send(&[], chunked(MIB)).await.status(), StatusCode::OK);
        assert_eq!(bench.counts("v1"), (asked, 0), "a client's mistake is not counted");
        assert_eq!(bench.uncounted("v1"), 1 - asked, "nor is it apart");
    }
}

#[tokio::test]
async fn requests_go_to_the_chosen_models_upstream_as_its_url_says() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let v2 = upstream(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("the body is whole").to_bytes();
            sender.send((parts, body)).expect("the test listens");
            let mut answer = Response::new(Full::from("from v2"));
            *answer.status_mut() = StatusCode::CREATED;
            for (name, value) in [
                ("x-model", "kept"),
                ("x-canary-model", "a lie"),
                ("keep-alive", "timeout=5"),
                ("x-private", "dropped"),
                ("connection", "x-private"),
            ] {
                answer.headers_mut().append(name, HeaderValue::from_static(value));
            }
            answer
        }
    })
    .await;
    let v1 = named("from v1").await;
    let bench = Bench::new(3408, &format!("v1=http://{v1}/,v2=http://{v2}/models/v2?tenant=1"));
    assert_eq!(bench.post(&[], r#"{"key":"alice"}"#).await.body(), "from v1");

    let body = r#"{"key":"user-42"}"#;
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer abc"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("host", "front.example"),
    ];
    let answer = bench.post(&headers, body).await;
    assert_eq!((answer.status(), answer.body()), (StatusCode::CREATED, &Bytes::from("from v2")));
    assert_signed(&answer);
    assert_eq!(header(&answer, "x-canary-model"), "v2");
    assert_eq!(header(&answer, "x-model"), "kept");
    assert!(!answer.headers().contains_key("x-private") && !answer.headers().contains_key("keep-alive"));
    assert_eq!(answer.headers().get_all("x-canary-model").iter().count(), 1);

    let (parts, received) = within(seen.recv()).await.expect("the upstream was called");
    assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/models/v2?tenant=1&asked=1"));
    assert_eq!(received, body);
    let sent = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().expect("headers are text"));
    assert_eq!((sent("host"), sent("authorization")), (v2.to_string().as_str(), "Bearer abc"));
    assert_eq!(sent("content-length"), body.len().to_string());
    for name in ["x-hop", "te", "upgrade", "transfer-encoding"] {
        assert_eq!(sent(name), "", "{name} belongs to the client's own connection");
    }
    assert_eq!((bench.counts("v1"), bench.counts("v2")), ((1, 0), (1, 0)));
}

#[tokio::test]
async fn the_agreed_upstream_is_used_unless_the_node_has_its_own() {
    let (agreed, own) = (named("agreed").await, named("own").await);
    let with_agreed = |view: &mut View, url: &str| {
        let mut state = RoutingState::clone(&view.state);
        state.stable.upstream = Some(url.to_owned());
        view.state = Arc::new(state);
    };
    let mut bench = Bench::new(0, "");
    bench.publish(|view| with_agreed(view, &format!("http://{agreed}/")));
    assert_eq!(bench.post(&[], "{}").await.body(), "agreed");
    bench.publish(|view| with_agreed(view, "https://elsewhere.example/"));
    assert_problem(&bench.post(&[], "{}").await, 502, "upstream_url");
    let mut bench = Bench::new(0, &format!("v1=http://{own}/"));
    bench.publish(|view| with_agreed(view, &format!("http://{agreed}/")));
    assert_eq!(bench.post(&[], "{}").await.body(), "own");
}

#[tokio::test]
async fn long_bodies_stream_both_ways_without_waiting_for_their_ends() {
    // This upstream sends back every piece as soon as it has it.
    let address = raw_upstream(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            let mut answer = Response::new(request.into_body());
            answer.headers_mut().insert("x-echo", HeaderValue::from_static("1"));
            Ok::<_, Infallible>(answer)
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let send = async |length: usize| {
        let piece = Bytes::from(vec![b'x'; length]);
        sender.send(Ok(Frame::data(piece))).await.expect("the proxy reads");
    };
    let body = StreamBody::new(Box::pin(pieces));
    let (answer, ()) = tokio::join!(bench.begin(&[], body), send(65 * 1024));
    assert!(answer.headers().contains_key("x-echo"));
    let mut body = answer.into_body();
    let mut received = 0;
    for sent in [65 * 1024, 66 * 1024, 70 * 1024] {
        // All that was sent comes back while the request is still open.
        while received < sent {
            let frame = within(body.frame()).await.expect("the answer goes on").expect("the answer is sound");
            received += frame.data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(received, sent);
        match sent / 1024 {
            65 => within(send(1024)).await,
            66 => within(send(4 * 1024)).await,
            _ => {}
        }
    }
    assert_eq!(bench.counts("v1"), (0, 0), "a request counts when it has ended");
    drop(sender);
    while let Some(frame) = within(body.frame()).await {
        frame.expect("the answer is sound");
    }
    assert_eq!(bench.counts("v1"), (1, 0));
}

#[tokio::test]
async fn connections_to_an_upstream_are_used_again() {
    let (sender, mut accepted) = mpsc::unbounded_channel();
    let address = raw_upstream(move |stream| {
        sender.send(()).expect("the test listens");
        async move {
            let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok"))) });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    for _ in 0..20 {
        assert_eq!(bench.post(&[], "{}").await.body(), "ok");
        // Lets the connection's task put it back into the pool.
        tokio::task::yield_now().await;
    }
    let mut connections = 0;
    while accepted.try_recv().is_ok() {
        connections += 1;
    }
    assert!(connections <= 3, "{connections} connections for 20 requests in a row");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502() {
    let listener = TcpListener::bind("127.24.0.2:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    let answer = bench.post(&[], "{}").await;
    assert_problem(&answer, 502, "upstream_unreachable");
    assert!(json(&answer)["detail"].as_str().is_some_and(|detail| detail.contains("refused") && detail.contains("v1")));
    assert_eq!(bench.counts("v1"), (1, 1));
}

#[tokio::test]
async fn an_upstream_that_hangs_is_a_504() {
    let address = raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        while stream.read(&mut read).await.is_ok_and(|length| length > 0) {}
    })
    .await;
    let bench = Bench::with_timeouts(0, &format!("v1=http://{address}/"), SHORT);
    assert_problem(&bench.post(&[], "{}").await, 504, "upstream_timeout");
    assert_eq!(bench.counts("v1"), (1, 1));
}

#[tokio::test]
async fn an_upstream_that_talks_nonsense_is_a_502() {
    const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    for nonsense in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-le", b"\x00\xff\x17", b"", UPGRADE] {
        let address = raw_upstream(move |mut stream| async move {
            let mut read = [0; 1024];
            let _ = stream.read(&mut read).await;
            let _ = stream.write_all(nonsense).await;
        })
        .await;
        let bench = Bench::new(0, &format!("v1=http://{address}/"));
        assert_problem(&bench.post(&[], "{}").await, 502, "upstream_broken");
        assert_eq!(bench.counts("v1"), (1, 1));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_pauses_counts_as_an_error() {
    for (ends, name) in [(true, "breaks off"), (false, "pauses")] {
        let address = raw_upstream(move |mut stream| async move {
            let mut read = [0; 1024];
            let _ = stream.read(&mut read).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
            while !ends && stream.read(&mut read).await.is_ok_and(|length| length > 0) {}
        })
        .await;
        let bench = Bench::with_timeouts(0, &format!("v1=http://{address}/"), SHORT);
        let answer = bench.begin(&[], Full::from("{}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(within(answer.into_body().collect()).await.is_err(), "an upstream that {name} must not look complete");
        assert_eq!(bench.counts("v1"), (1, 1), "an upstream that {name}");
    }
}

#[tokio::test]
async fn status_5xx_is_passed_on_and_counts_as_an_error_and_4xx_does_not() {
    let address = upstream(|request: Request<Incoming>| async move {
        let status: HeaderMap = request.into_parts().0.headers;
        let status = status["x-status"].to_str().expect("the test sends a number").parse().expect("a number");
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
        answer
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    for (status, counts, client_errors) in [("503", (1, 1), 0), ("404", (1, 1), 1), ("204", (2, 1), 1)] {
        let answer = bench.post(&[("x-status", status)], "{}").await;
        assert_eq!(answer.status().as_str(), status);
        assert_signed(&answer);
        assert_eq!((bench.counts("v1"), bench.proxy.observations().overall.client_errors), (counts, client_errors));
    }
    assert!(bench.proxy.observations().overall.p95.is_some_and(|millis| millis > 0.0));
}

#[tokio::test]
async fn a_client_that_leaves_after_a_long_wait_leaves_an_unknown_end_and_sooner_nothing() {
    let bench = Bench::new(0, &format!("v1=http://{}/", hanging().await));
    for (waits, unknown) in [(PATIENCE / 2, 0), (PATIENCE * 11 / 10, 1)] {
        assert!(timeout(waits, bench.begin(&[], Full::from("{}"))).await.is_err());
        let overall = bench.proxy.observations().overall;
        assert_eq!((overall.requests, overall.errors, overall.unknown), (0, 0, unknown), "{waits:?}");
        assert_eq!(overall.p50, None, "it waited, and nobody knows how long the answer would have taken");
    }
}

#[tokio::test]
async fn a_probe_says_whether_the_upstream_is_ready() {
    let (ready, sick) = (
        named("ready").await,
        upstream(|request: Request<Incoming>| async move {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() =
                if request.method() == http::Method::GET { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            answer
        })
        .await,
    );
    let hanging = raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        while stream.read(&mut read).await.is_ok_and(|length| length > 0) {}
    })
    .await;
    let listener = TcpListener::bind("127.24.0.3:0").await.expect("loopback has free ports");
    let gone = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let bench = Bench::new(0, &format!("v1=http://{ready}/,v2=http://{sick}/,v3=http://{gone}/,v4=http://{hanging}/"));
    let model = |id: &str, upstream: Option<&str>| Model {
        id: id.parse().expect("tests use plain names"),
        upstream: upstream.map(str::to_owned),
    };
    let probe = async |model: Model| within(bench.proxy.probe(&model, None)).await;
    assert_eq!(probe(model("v1", None)).await, Ok(()));
    assert!(probe(model("v2", None)).await.is_err_and(|reason| reason.contains("503")));
    assert!(probe(model("v3", None)).await.is_err_and(|reason| reason.contains("refused")));
    assert!(probe(model("v4", None)).await.is_err_and(|reason| reason.contains("within 1000 ms")));
    assert!(probe(model("v5", None)).await.is_err_and(|reason| reason.contains("no model server is named for it")));
    let none = Bench::new(0, "");
    assert_eq!(within(none.proxy.probe(&model("v5", None), None)).await, Ok(()), "where none has one, none is asked");
    assert_eq!(probe(model("v5", Some(&format!("http://{ready}/")))).await, Ok(()));
    assert!(probe(model("v5", Some("ftp://x/"))).await.is_err());
    assert!(bench.proxy.has_upstream(&model("v1", None)) && !bench.proxy.has_upstream(&model("v5", None)));
}
