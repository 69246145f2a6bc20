//! Clients that leave in the middle, and what that says of the model: nothing of what had happened before is forgotten, and
//! nothing that the client did is the model's.

use super::raw::http1::{self, First};
use super::raw::{Node, Speaks, http2, read_head, read_out, reset, say};
use super::shortcut::world::{Bench, post};
use super::world::{MIB, SHORT, raw_upstream, within};
use proxy::Timeouts;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// By the long way.
const TARGET: &str = "/v2/models/m/infer";
/// By the short way, as far as that goes.
const SHORTER: &str = "/predict";
/// More than all buffers on the way hold.
const HUGE: usize = 32 * MIB;
/// The highest error code of HTTP/2 that has a name.
const LAST_CODE: u32 = 13;

/// A client that has asked for something, and how it leaves.
enum Asking {
    Http1(TcpStream),
    Http2(http2::Client),
}

#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// It closes its connection.
    Closes,
    /// It resets its connection.
    Resets,
    /// It resets its stream.
    ResetsStream(u32),
    /// It says why it closes its connection.
    GoesAway(u32),
}

fn ways(speaks: Speaks) -> Vec<Leaves> {
    let both = [Leaves::Closes, Leaves::Resets];
    let of_http2 = (0..=LAST_CODE).map(Leaves::ResetsStream).chain([Leaves::GoesAway(0), Leaves::GoesAway(2)]);
    match speaks {
        Speaks::Http1 => both.to_vec(),
        Speaks::Http2 => both.into_iter().chain(of_http2).collect(),
    }
}

impl Asking {
    /// Asks, with `sent` bytes of a body of `length`.
    async fn begin(node: &Node, speaks: Speaks, length: usize, sent: usize) -> Self {
        Self::begin_at(TARGET, node, speaks, length, sent).await
    }

    async fn begin_at(target: &str, node: &Node, speaks: Speaks, length: usize, sent: usize) -> Self {
        let mut stream = node.connect(speaks).await;
        match speaks {
            Speaks::Http1 => {
                let head = format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.expect("the node reads");
                stream.write_all(&vec![b'1'; sent]).await.expect("the node reads");
                Self::Http1(stream)
            }
            Speaks::Http2 => {
                let mut client = http2::Client::begin(stream, target, length).await.expect("the node reads");
                client.send(sent, sent == length).await.expect("the node reads");
                Self::Http2(client)
            }
        }
    }

    /// Waits until some of the answer's body is there.
    async fn hear_of_body(&mut self) -> io::Result<()> {
        match self {
            Self::Http1(stream) => {
                let rest = read_head(stream).await.ok_or(io::ErrorKind::UnexpectedEof)?;
                if rest.is_empty() {
                    stream.read_u8().await?;
                }
            }
            Self::Http2(client) => {
                while client.heard.body.is_empty() {
                    client.hear().await?;
                }
            }
        }
        Ok(())
    }

    async fn leave(self, leaves: Leaves) {
        match (self, leaves) {
            (Self::Http1(stream), Leaves::Closes) => drop(stream),
            (Self::Http1(stream), _) => reset(stream),
            (Self::Http2(client), Leaves::Closes) => drop(client),
            (Self::Http2(client), Leaves::Resets) => client.break_off(),
            (Self::Http2(client), Leaves::GoesAway(code)) => client.go_away(code).await.expect("the node reads"),
            (Self::Http2(mut client), Leaves::ResetsStream(code)) => {
                client.reset(code).await.expect("the node reads");
                // The connection stays, for as long as the node wants it.
                tokio::spawn(async move { while client.hear().await.is_ok() {} });
            }
        }
    }
}

/// A model that does with each request what the test says, and tells when it is done with it.
async fn model<F>(act: impl Fn(TcpStream) -> F + Clone + Send + 'static) -> (SocketAddr, mpsc::UnboundedReceiver<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (done, awaited) = mpsc::unbounded_channel();
    let address = raw_upstream(move |stream| {
        let (act, done) = (act.clone(), done.clone());
        async move {
            act(stream).await;
            // Nobody listens at the end of a test.
            let _ = done.send(());
        }
    })
    .await;
    (address, awaited)
}

/// Writes until nothing is taken any more.
async fn fill(stream: &mut TcpStream) {
    let piece = [b'x'; 16 * 1024];
    while let Ok(Ok(())) = timeout(Duration::from_millis(200), stream.write_all(&piece)).await {}
}

#[tokio::test]
async fn an_answer_that_broke_off_behind_what_its_client_had_not_taken_has_failed() {
    for framing in ["content-length: 100000000", "transfer-encoding: chunked", "connection: close"] {
        for speaks in [Speaks::Http1, Speaks::Http2] {
            let (address, mut done) = model(move |mut stream| async move {
                let _ = read_head(&mut stream).await;
                say(&mut stream, format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes()).await;
                if framing.contains("chunked") {
                    say(&mut stream, b"5f5e100\r\n").await;
                }
                fill(&mut stream).await;
                reset(stream);
            })
            .await;
            let node = Node::of(address, Timeouts::default()).await;
            let leaving = ways(speaks).into_iter().step_by(4).flat_map(|leaves| [(TARGET, leaves), (SHORTER, leaves)]);
            for (count, (target, leaves)) in (1..).zip(leaving) {
                let mut asking = Asking::begin_at(target, &node, speaks, 2, 2).await;
                within(asking.hear_of_body()).await.expect("an answer");
                within(done.recv()).await.expect("the model has broken off");
                asking.leave(leaves).await;
                assert_eq!(node.counted(count).await, (count, 0, count), "{framing} {target} {speaks:?} {leaves:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_ended_behind_what_its_client_had_not_taken_is_what_it_was() {
    for (length, failed) in [(200_000, 0), (200_001, 1)] {
        let (address, mut done) = model(move |mut stream| async move {
            let _ = read_head(&mut stream).await;
            say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await;
            say(&mut stream, &[b'x'; 200_000]).await;
        })
        .await;
        let node = Node::of(address, Timeouts::default()).await;
        // Nothing more is taken of it than the first window.
        let mut asking = Asking::begin(&node, Speaks::Http2, 2, 2).await;
        within(asking.hear_of_body()).await.expect("an answer");
        within(done.recv()).await.expect("the model has ended");
        asking.leave(Leaves::ResetsStream(8)).await;
        assert_eq!(node.counted(1).await, (1, 0, failed), "{length}");
    }
}

#[tokio::test]
async fn the_short_way_knows_how_an_answer_ended_that_its_client_had_not_taken() {
    for (length, failed) in [(20_000, 0), (20_001, 1)] {
        let (address, mut done) = model(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await;
            say(&mut stream, &[b'x'; 20_000]).await;
        })
        .await;
        let bench = Bench::new(&format!("v1=http://{address}/,v2=http://{address}/"));
        let (mut client, server) = tokio::io::duplex(1_000);
        let leaving = async {
            client.write_all(post("", "{}").as_bytes()).await.expect("the connection is open");
            client.read_u8().await.expect("the answer has begun");
            done.recv().await.expect("the model has ended");
            drop(client);
        };
        within(async { tokio::join!(bench.fast.serve(server, None, bench.until.clone()), leaving) }).await;
        let overall = bench.proxy.observations().overall;
        assert_eq!((overall.requests, overall.errors), (1, failed), "{length}");
    }
}

#[tokio::test]
async fn a_model_that_was_still_sending_is_not_to_blame_for_a_client_that_leaves() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        for pieces in [1, usize::MAX] {
            let (address, mut done) = model(move |mut stream| async move {
                let _ = read_head(&mut stream).await;
                say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
                for _ in 0..pieces {
                    if stream.write_all(&[b'x'; 1_000]).await.is_err() {
                        return;
                    }
                }
                read_out(&mut stream).await;
            })
            .await;
            let node = Node::of(address, Timeouts::default()).await;
            for (count, leaves) in (1..).zip(ways(speaks)) {
                let mut asking = Asking::begin(&node, speaks, 2, 2).await;
                within(asking.hear_of_body()).await.expect("an answer");
                asking.leave(leaves).await;
                assert_eq!(node.counted(count).await, (count, 0, 0), "{speaks:?} {leaves:?}");
                within(done.recv()).await.expect("the model is told");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_it_has_sent_all_says_nothing_however_it_leaves() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let asked = Arc::new(Notify::new());
        let is_asked = Arc::clone(&asked);
        let (address, mut done) = model(move |mut stream| {
            let asked = Arc::clone(&asked);
            async move {
                let _ = read_head(&mut stream).await;
                asked.notify_one();
                read_out(&mut stream).await;
            }
        })
        .await;
        let node = Node::of(address, Timeouts::default()).await;
        for leaves in ways(speaks) {
            let asking = Asking::begin(&node, speaks, HUGE, 1_000).await;
            within(is_asked.notified()).await;
            asking.leave(leaves).await;
            within(done.recv()).await.expect("the model is told");
            assert_eq!(node.counts(), (0, 0, 0), "{speaks:?} {leaves:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_its_upload_does_not_break_the_answer_that_had_begun() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let (address, mut done) = model(|mut stream| async move {
            let _ = read_head(&mut stream).await;
            say(&mut stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n").await;
            read_out(&mut stream).await;
        })
        .await;
        let node = Node::of(address, Timeouts::default()).await;
        for (count, leaves) in (1..).zip(ways(speaks)) {
            let mut asking = Asking::begin(&node, speaks, HUGE, 100_000).await;
            within(asking.hear_of_body()).await.expect("an answer");
            asking.leave(leaves).await;
            within(done.recv()).await.expect("the model is told");
            assert_eq!(node.counted(count).await, (count, 0, 0), "{speaks:?} {leaves:?}");
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_client_is_not_a_pause_of_the_model() {
    let (address, _done) = model(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {HUGE}\r\n\r\n").as_bytes()).await;
            // Its body is awaited before it is there, and so is its end.
            tokio::time::sleep(SHORT.idle / 3).await;
            say(&mut stream, &vec![b'x'; HUGE - 1]).await;
            tokio::time::sleep(SHORT.idle / 3).await;
            say(&mut stream, b"x").await;
        }
    })
    .await;
    let node = Node::of(address, SHORT).await;
    let pause = || tokio::time::sleep(3 * SHORT.idle);
    let mut stream = node.connect(Speaks::Http1).await;
    say(&mut stream, b"GET /v2/models/m/infer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let mut heard = within(read_head(&mut stream)).await.expect("an answer").len();
    pause().await;
    let mut piece = vec![0; MIB];
    while heard < HUGE {
        let length = within(stream.read(&mut piece)).await.expect("the answer is whole");
        assert!(length > 0, "it ends after {heard} bytes");
        heard += length;
    }
    let mut client = http2::Client::begin(node.connect(Speaks::Http2).await, TARGET, 0).await.expect("the node reads");
    pause().await;
    client.widen(u32::try_from(HUGE).expect("less than 4 GiB")).await.expect("the node reads");
    within(client.hear_out()).await.expect("the answer is whole");
    assert_eq!((client.heard.body.len(), client.heard.reset), (HUGE, None));
    let observations = node.observations().overall;
    assert_eq!((observations.errors, observations.requests), (0, 2));
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_only_if_that_is_closed() {
    for length in [2, 16 * MIB] {
        for (resets, failed) in [(false, 0), (true, 1)] {
            let (address, _done) = model(move |mut stream| async move {
                let _ = read_head(&mut stream).await;
                say(&mut stream, b"HTTP/1.0 200 OK\r\n\r\nto the end").await;
                if resets {
                    reset(stream);
                } else {
                    let _ = stream.shutdown().await;
                    read_out(&mut stream).await;
                }
            })
            .await;
            let node = Node::of(address, Timeouts::default()).await;
            for count in 1..=5 {
                let mut stream = node.connect(Speaks::Http1).await;
                let heard = within(http1::upload(&mut stream, length, First::Sends)).await;
                let heard = heard.map(|(_, body)| body);
                assert_eq!(heard.ok().as_deref(), (!resets).then_some("to the end"), "{length}");
                assert_eq!(node.counted(2 * count - 1).await, (2 * count - 1, 0, failed * (2 * count - 1)));
                let mut asking = Asking::begin(&node, Speaks::Http2, length, length).await;
                let Asking::Http2(client) = &mut asking else { panic!("it was asked so") };
                within(client.hear_out()).await.expect("an end");
                assert_eq!(client.heard.ended, !resets, "{length}: {:?}", client.heard);
                assert_eq!(node.counted(2 * count).await, (2 * count, 0, failed * 2 * count));
            }
        }
    }
}

#[tokio::test]
async fn what_a_model_says_before_its_answer_is_not_the_answer() {
    let (address, _done) = model(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        say(&mut stream, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
        say(&mut stream, b"HTTP/1.1 102 Processing\r\n\r\n").await;
        say(&mut stream, b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnope").await;
    })
    .await;
    let node = Node::of(address, Timeouts::default()).await;
    for (count, length) in (1..).zip([2, 100_000]) {
        let mut stream = node.connect(Speaks::Http1).await;
        let heard = within(http1::upload(&mut stream, length, First::Waits)).await.expect("an answer");
        assert_eq!(heard, ("HTTP/1.1 404 Not Found".to_owned(), "nope".to_owned()));
        let mut asking = Asking::begin(&node, Speaks::Http2, length, length).await;
        let Asking::Http2(client) = &mut asking else { panic!("it was asked so") };
        within(client.hear_out()).await.expect("an answer");
        assert_eq!((client.heard.status, client.heard.body.as_slice()), (Some(404), &b"nope"[..]));
        assert_eq!(node.counted(2 * count).await, (0, 2 * count, 0));
    }
}
