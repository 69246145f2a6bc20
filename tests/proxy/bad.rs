//! Upstreams that do what no upstream should: each ends in a clear problem or an answer passed on, and nothing hangs or
//! grows.

use super::world::*;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn an_answer_that_drips_is_passed_on_as_it_drips() {
    let address = raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        let _ = stream.read(&mut read).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n").await;
        for letter in b"dripping" {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = stream.write_all(&[*letter]).await;
        }
    })
    .await;
    // All of it takes longer than any pause may.
    let bench = Bench::with_timeouts(0, &format!("v1=http://{address}/"), SHORT);
    let mut body = bench.begin(&[], Full::from("{}")).await.into_body();
    let mut drops = Vec::new();
    while let Some(frame) = within(body.frame()).await {
        drops.push(frame.expect("the answer is sound").into_data().expect("data"));
    }
    assert_eq!(drops.concat(), b"dripping");
    assert!(drops.len() > 4, "the answer came in {} pieces", drops.len());
    assert_eq!(bench.counts("v1"), (1, 0));
}

#[tokio::test]
async fn a_head_that_drips_is_given_up_in_time() {
    let address = raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        let _ = stream.read(&mut read).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let bench = Bench::with_timeouts(0, &format!("v1=http://{address}/"), SHORT);
    assert_problem(&bench.post(&[], "{}").await, 504, "upstream_timeout");
    assert_eq!(bench.counts("v1"), (1, 1));
}

#[tokio::test]
async fn a_head_without_end_is_a_502() {
    let address = raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        let _ = stream.read(&mut read).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ").await;
        while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    assert_problem(&bench.post(&[], "{}").await, 502, "upstream_broken");
    assert_eq!(bench.counts("v1"), (1, 1));
}

#[tokio::test]
async fn a_huge_answer_is_streamed_and_never_gathered() {
    const LENGTH: usize = 64 * MIB;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let address = raw_upstream(move |stream| {
        let count = Arc::clone(&count);
        async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let (count, piece) = (Arc::clone(&count), Bytes::from(vec![7; 64 * 1024]));
                let pieces = (0..LENGTH / piece.len()).map(move |_| {
                    count.fetch_add(piece.len(), Ordering::SeqCst);
                    Ok::<_, Infallible>(Frame::data(piece.clone()))
                });
                async { Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(pieces)))) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    let mut body = bench.begin(&[], Full::from("{}")).await.into_body();
    // Until nothing moves any more, because the client takes nothing.
    let mut held = usize::MAX;
    while held != sent.load(Ordering::SeqCst) {
        held = sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Buffers of sockets and of the HTTP implementations along the way.
    assert!(held < 24 * MIB, "{held} bytes were taken of an answer that nobody reads");
    let mut length = 0;
    while let Some(frame) = within(body.frame()).await {
        length += frame.expect("the answer is sound").data_ref().map_or(0, Bytes::len);
    }
    assert_eq!((length, bench.counts("v1")), (LENGTH, (1, 0)));
}

#[tokio::test]
async fn an_answer_that_breaks_off_stays_broken_on_every_route() {
    let address = raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        let _ = stream.read(&mut read).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n").await;
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    for target in ["/predict", "/v2/models/m/infer"] {
        let answer = bench.start(Method::POST, target, &[], Full::from("{}")).await;
        assert!(within(answer.into_body().collect()).await.is_err(), "{target}: it must not look complete");
    }
    assert_eq!(bench.counts("v1"), (2, 2));
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_never_followed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let address = upstream(move |request: Request<Incoming>| {
        count.fetch_add(1, Ordering::SeqCst);
        let itself = format!("http://{}{}", request.headers()["host"].to_str().expect("text"), request.uri());
        async move {
            let answer = Response::builder().status(307).header("location", itself);
            answer.body(Full::default()).expect("an answer")
        }
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/x"));
    let answer = bench.post(&[], "{}").await;
    assert_eq!(answer.status().as_u16(), 307);
    assert_eq!(header(&answer, "location"), format!("http://{address}/x?asked=1"));
    assert_eq!((calls.load(Ordering::SeqCst), bench.counts("v1")), (1, (0, 0)));
    let overall = bench.proxy.observations().overall;
    assert_eq!((overall.redirects, overall.client_errors, overall.p50), (1, 0, None), "it is no evidence of speed");
}

#[tokio::test]
async fn a_clients_mistake_is_counted_apart() {
    let address = upstream(|_: Request<Incoming>| async {
        Response::builder().status(422).body(Full::from("the shape is wrong")).expect("an answer")
    })
    .await;
    let bench = Bench::new(0, &format!("v1=http://{address}/"));
    assert_eq!(bench.post(&[], "{}").await.status().as_u16(), 422);
    let overall = bench.proxy.observations().overall;
    assert_eq!((overall.requests, overall.client_errors, overall.errors), (0, 1, 0));
    assert_eq!((overall.redirects, overall.p50), (0, None), "it is no evidence of speed");
}
