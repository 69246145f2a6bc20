//! What a request is taken for when it ends, and what is tried before it does.

use super::shortcut::world::{Bench as Node, Way, post};
use super::world::*;
use agreement::Stage;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// An upstream that answers the first request of each connection, and closes it at the second.
async fn forgetful() -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let address = raw_upstream(move |mut stream| {
        let asked = Arc::clone(&counted);
        async move {
            let mut read = [0; 4096];
            for answers in [true, false] {
                if !matches!(stream.read(&mut read).await, Ok(length) if length > 0) {
                    return;
                }
                asked.fetch_add(1, Ordering::Relaxed);
                if answers && stream.write_all(HELLO).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (address, asked)
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_when_it_is_used_costs_a_repeatable_request_nothing() {
    let (address, asked) = forgetful().await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    let methods = [(Method::POST, "/predict"), (Method::POST, "/v2/models/m/infer"), (Method::PUT, "/v2/models/m")];
    for ((count, all), (method, target)) in (1..).zip((3..).step_by(3)).zip(methods) {
        for _ in 0..2 {
            let answer = bench.ask(method.clone(), target, &[], "{}").await;
            assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::OK, &b"hello"[..]), "{method} {target}");
        }
        assert_eq!((bench.counts("v1"), asked.load(Ordering::Relaxed)), ((2 * count, 0), all));
    }
    // Whoever is asked twice to load a model may do so twice.
    let load = || bench.ask(Method::POST, "/v2/repository/models/m/load", &[], "{}");
    assert_eq!(load().await.status(), StatusCode::OK);
    assert_problem(&load().await, 502, "upstream_broken");
}

#[tokio::test]
async fn both_ways_ask_once_more_where_a_kept_connection_was_closed() {
    // The short way keeps the connection of a second try, too.
    for (way, times) in [(Way::Short, 7), (Way::Real, 6)] {
        let (address, asked) = forgetful().await;
        let node = Node::new(&format!("v1=http://{address}/,v2=http://{address}/"));
        let answers = node.talk(way, post("", "{}").repeat(4).as_bytes(), 1_000, 4).await;
        assert!(answers.len() == 4 && answers.iter().all(|(_, body)| body == "hello"), "{way:?}: {answers:?}");
        let overall = node.proxy.observations().overall;
        assert_eq!((overall.requests, overall.errors, asked.load(Ordering::Relaxed)), (4, 0, times), "{way:?}");
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again_by_the_stable_model() {
    let load = "/v2/repository/models/m/load";
    let broken = raw_upstream(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    });
    for (v2, status) in [(broken.await, StatusCode::BAD_GATEWAY), (gone().await, StatusCode::OK)] {
        let v1 = named("stable").await;
        let bench = Bench::new(10_000, &format!("v1=http://{v1}/,v2=http://{v2}/"));
        assert_eq!(bench.ask(Method::POST, load, &[], "{}").await.status(), status);
        assert_eq!(bench.ask(Method::POST, "/predict", &[], "{}").await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn an_answer_begins_with_the_first_byte_of_its_body() {
    let thinking = raw_upstream(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let _ = stream.write_all(b"hello").await;
    })
    .await;
    for way in [Way::Short, Way::Real] {
        let node = Node::new(&format!("v1=http://{thinking}/,v2=http://{thinking}/"));
        assert_eq!(node.talk(way, post("", "{}").as_bytes(), 1_000, 1).await.len(), 1);
        let overall = node.proxy.observations().overall;
        assert!(overall.p50.is_some_and(|millis| millis >= 145.0), "{way:?}: {overall:?}");
    }
}

#[tokio::test]
async fn what_a_client_takes_to_send_its_body_is_not_the_models_time() {
    let bench = Bench::new(0, &format!("v1=http://{}/", named("v1").await));
    let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 70_000])));
    let slowly = stream::iter([piece()]).chain(stream::once(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        piece()
    }));
    let answer = bench.start(Method::POST, "/v2/models/m/infer", &[], StreamBody::new(Box::pin(slowly))).await;
    assert_eq!(whole(answer).await.status(), StatusCode::OK);
    let overall = bench.proxy.observations().overall;
    assert!(overall.requests == 1 && overall.p50.is_some_and(|millis| millis < 200.0), "{overall:?}");
}

#[tokio::test]
async fn a_client_that_leaves_before_it_has_sent_all_says_nothing() {
    let bench = Bench::new(0, &format!("v1=http://{}/", hanging().await));
    let endless = || {
        let piece = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")));
        StreamBody::new(Box::pin(stream::iter([piece]).chain(stream::pending())))
    };
    let asking = bench.start(Method::POST, "/v2/models/m/infer", &[], endless());
    assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err(), "nobody answers");
    assert_eq!(bench.counts("v1"), (0, 0));
}

#[tokio::test]
async fn what_is_no_work_is_served_and_counted_apart() {
    let bench = Bench::new(0, &format!("v1=http://{}/", named("v1").await));
    for (method, target) in [
        (Method::OPTIONS, "/predict"),
        (Method::HEAD, "/v2/models/m/infer"),
        (Method::GET, "/predict"),
        (Method::GET, "/v2/health/ready"),
        (Method::GET, "/v2/models/m"),
    ] {
        assert_eq!(bench.ask(method, target, &[], "").await.status(), StatusCode::OK, "{target}");
    }
    bench.post(&[("x-canary", "never")], "{}").await;
    bench.post(&[], "{}").await;
    let overall = bench.proxy.observations().overall;
    assert_eq!((overall.requests, overall.uncounted), (1, 6));
}

#[tokio::test]
async fn an_error_counts_when_its_head_is_there() {
    let endless = raw_upstream(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 500 Broken\r\ncontent-length: 100\r\n\r\nsorry").await;
        std::future::pending().await
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{endless}/"));
    let answer = bench.begin(&[], Full::from("{}")).await;
    assert_eq!((answer.status().as_u16(), bench.counts("v1")), (500, (1, 1)));
    drop(answer);
    assert_eq!(bench.counts("v1"), (1, 1));
}

#[tokio::test]
async fn what_an_upstream_speaks_is_not_what_its_client_hears() {
    let old = raw_upstream(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{old}/"));
    let answer = bench.begin(&[], Full::from("{}")).await;
    assert_eq!(answer.version(), Version::HTTP_11);
    assert_eq!(within(answer.into_body().collect()).await.expect("a whole body").to_bytes(), "hello");
    for way in [Way::Short, Way::Real] {
        let node = Node::new(&format!("v1=http://{old}/,v2=http://{old}/"));
        let answers = node.talk(way, post("", "{}").repeat(2).as_bytes(), 1_000, 2).await;
        assert!(answers.len() == 2, "{way:?}: the connection is kept");
        assert!(answers.iter().all(|(head, _)| head.iter().any(|line| line == "HTTP/1.1 200 OK")), "{answers:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_the_models_business() {
    let (address, mut seen) = listening("a model").await;
    let bench = Bench::new(3_408, &format!("v1=http://{address}/,v2=http://{address}/"));
    let bodies: [&[u8]; 6] = [
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x4a\x2f",
        br#"{"features":[NaN]}"#,
        br#"{"text":"\ud800"}"#,
        b"\xef\xbb\xbf{\"key\":\"alice\"}",
        b"{\"text\":\"na\xefve\"}",
        b"",
    ];
    for body in bodies {
        let answer = bench.post(&[("x-canary-key", "user-42")], Bytes::copy_from_slice(body)).await;
        assert_eq!((answer.status(), header(&answer, "x-canary-model")), (StatusCode::OK, "v2"), "{body:?}");
        let (_, forwarded) = within(seen.recv()).await.expect("the upstream was called");
        assert_eq!(forwarded, body);
    }
}

#[tokio::test]
async fn a_node_that_has_not_joined_serves_nothing() {
    let mut bench = Bench::new(0, &format!("v1=http://{}/", named("v1").await));
    for stage in [Stage::Blank { seen: [].into() }, Stage::Rejoining] {
        bench.publish(|view| view.stage = stage);
        for (method, target) in [(Method::POST, "/predict"), (Method::GET, "/predict"), (Method::GET, "/v2")] {
            let answer = bench.ask(method, target, &[], "{}").await;
            assert_unsigned(&answer, 503, "not_joined");
            assert_eq!((header(&answer, "x-canary-model"), header(&answer, "retry-after")), ("", "1"));
        }
    }
    bench.publish(|view| view.stage = Stage::Member);
    assert_eq!(bench.post(&[], "{}").await.body(), "v1");
    assert_eq!(bench.counts("v1"), (1, 0));
}
