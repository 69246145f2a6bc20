//! Models that answer before they have all of a request: their answer reaches the client, whatever becomes of the rest.

use super::raw::http1::{self, First};
use super::raw::{Node, Speaks, http2, read_head, read_out, reset, say};
use super::world::{MIB, SHORT, gone, raw_upstream, within};
use proxy::Timeouts;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a model does when it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It closes its side, and reads on.
    HalfCloses,
    /// It closes its side, and reads no more.
    HalfClosesDeaf,
    /// It closes both, with bytes that it has not read.
    Closes,
    /// It closes both when it has read what is there.
    ReadsAndCloses,
    Resets,
    /// It neither reads on nor closes anything.
    Stays,
    /// It reads on, to the end.
    Reads,
}

impl Then {
    /// Whether that ends an answer which says nothing of its length.
    fn closes(self) -> bool {
        !matches!(self, Self::Stays | Self::Reads)
    }
}

const ALL: [Then; 7] = [
    Then::HalfCloses,
    Then::HalfClosesDeaf,
    Then::Closes,
    Then::ReadsAndCloses,
    Then::Resets,
    Then::Stays,
    Then::Reads,
];

/// A model that answers as soon as it has a request's head.
async fn hasty(answer: &'static str, then: Then) -> SocketAddr {
    raw_upstream(move |mut stream| async move {
        if read_head(&mut stream).await.is_some() {
            say(&mut stream, answer.as_bytes()).await;
            end(stream, then).await;
        }
    })
    .await
}

async fn end(mut stream: TcpStream, then: Then) {
    match then {
        Then::HalfCloses => {
            let _ = stream.shutdown().await;
            read_out(&mut stream).await;
        }
        Then::HalfClosesDeaf => {
            let _ = stream.shutdown().await;
            std::future::pending().await
        }
        Then::Closes => drop(stream),
        Then::ReadsAndCloses => while matches!(stream.try_read(&mut [0; 64 * 1024]), Ok(length) if length > 0) {},
        Then::Resets => reset(stream),
        Then::Stays => std::future::pending().await,
        Then::Reads => read_out(&mut stream).await,
    }
}

/// What a model answers, the status and the body of that, and what it counts for.
struct Case {
    answer: &'static str,
    status: u16,
    body: &'static str,
    counts: (u64, u64, u64),
}

const CASES: [Case; 4] = [
    Case {
        answer: "HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large",
        status: 413,
        body: "too large",
        counts: (0, 1, 0),
    },
    Case {
        answer: "HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nwho\r\n0\r\n\r\n",
        status: 401,
        body: "who",
        counts: (0, 1, 0),
    },
    Case { answer: "HTTP/1.0 403 Forbidden\r\n\r\nnot you", status: 403, body: "not you", counts: (0, 1, 0) },
    Case {
        answer: "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy",
        status: 503,
        body: "busy",
        counts: (1, 0, 1),
    },
];

/// How many times each of a kind is tried: what is raced for is lost seldom.
const TIMES: u64 = 3;
/// More than all buffers on the way hold together, and less than is drained.
const LONG: usize = 16 * MIB;
/// Less than they hold, and more than is looked into.
const SHORT_BODY: usize = 100_000;

/// What is to be counted after so many more.
fn times((requests, client_errors, errors): (u64, u64, u64), factor: u64) -> (u64, u64, u64) {
    (requests * factor, client_errors * factor, errors * factor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_reaches_a_client_of_http1_that_reads_last() {
    for Case { answer, status, body, counts } in CASES {
        for then in ALL.into_iter().filter(|then| answer.contains("HTTP/1.1") || then.closes()) {
            let node = Node::of(hasty(answer, then).await, Timeouts::default()).await;
            for length in [SHORT_BODY, LONG] {
                for first in [First::Sends, First::Waits] {
                    for _ in 0..TIMES {
                        let mut stream = node.connect(Speaks::Http1).await;
                        let heard = within(http1::upload(&mut stream, length, first)).await;
                        let (head, heard) =
                            heard.unwrap_or_else(|error| panic!("{then:?} {length} {first:?}: {error}"));
                        let code = head.split(' ').nth(1).expect("a status");
                        assert_eq!((code, heard.as_str()), (status.to_string().as_str(), body), "{then:?} {length}");
                    }
                }
            }
            assert_eq!(node.counted(4 * TIMES).await, times(counts, 4 * TIMES), "{status} {then:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_reaches_a_client_of_http2_and_is_no_error_of_its_stream() {
    for Case { answer, status, body, counts } in CASES {
        for then in ALL.into_iter().filter(|then| answer.contains("HTTP/1.1") || then.closes()) {
            let node = Node::of(hasty(answer, then).await, Timeouts::default()).await;
            for length in [SHORT_BODY, LONG] {
                for _ in 0..TIMES {
                    let heard = within(upload_by_http2(&node, length)).await;
                    let heard = heard.unwrap_or_else(|error| panic!("{then:?} {length}: {error}"));
                    let told = (heard.status, heard.body.as_slice(), heard.ended);
                    assert_eq!(told, (Some(status), body.as_bytes(), true), "{then:?} {length}");
                    assert!(heard.reset.is_none_or(|code| code == http2::NO_ERROR), "{then:?} {length}: {heard:?}");
                    // What the model does not read, its client need not send.
                    assert!(length == SHORT_BODY || heard.sent < length, "{then:?}: all was sent");
                }
            }
            assert_eq!(node.counted(2 * TIMES).await, times(counts, 2 * TIMES), "{status} {then:?}");
        }
    }
}

async fn upload_by_http2(node: &Node, length: usize) -> io::Result<http2::Heard> {
    let mut client = http2::Client::begin(node.connect(Speaks::Http2).await, "/v2/models/m/infer", length).await?;
    client.send(length, true).await?;
    client.hear_out().await?;
    if client.heard.sent < length {
        while client.heard.reset.is_none() {
            client.hear().await?;
        }
    }
    Ok(client.heard)
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_rest_of_its_request() {
    for then in ALL {
        let node = Node::of(hasty(CASES[0].answer, then).await, Timeouts::default()).await;
        let mut stream = node.connect(Speaks::Http1).await;
        let head = format!("POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {LONG}\r\n\r\nx");
        say(&mut stream, head.as_bytes()).await;
        let answer = within(http1::read(&mut stream, &mut Vec::new())).await.expect("an answer");
        assert_eq!(answer.body, CASES[0].body, "{then:?}");
        let stream = node.connect(Speaks::Http2).await;
        let mut client = within(http2::Client::begin(stream, "/v2/models/m/infer", LONG)).await.expect("a connection");
        within(client.hear_out()).await.expect("an answer");
        assert_eq!(client.heard.body, CASES[0].body.as_bytes(), "{then:?}");
    }
}

#[tokio::test]
async fn a_client_that_sends_for_ever_is_let_go_with_its_answer() {
    let node = Node::of(hasty(CASES[0].answer, Then::Closes).await, Timeouts::default()).await;
    let mut stream = node.connect(Speaks::Http1).await;
    say(&mut stream, b"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n").await;
    let (piece, mut sent) = (vec![b'x'; MIB], 0);
    while within(stream.write_all(&piece)).await.is_ok() {
        sent += MIB;
        assert!(sent < 256 * MIB, "nobody wants all that");
    }
    assert!(sent >= LONG, "it was let go after {sent} bytes");
    let answer = within(http1::read(&mut stream, &mut Vec::new())).await.expect("an answer");
    assert_eq!(answer.body, CASES[0].body);
}

#[tokio::test]
async fn a_client_that_was_refused_early_may_ask_again_on_its_connection() {
    let node = Node::of(hasty(CASES[0].answer, Then::Closes).await, Timeouts::default()).await;
    let mut stream = node.connect(Speaks::Http1).await;
    for _ in 0..3 {
        let heard = within(http1::upload(&mut stream, LONG, First::Sends)).await.expect("the connection is kept");
        assert_eq!(heard.1, "too large");
    }
}

#[tokio::test]
async fn a_client_that_was_not_asked_to_send_is_answered_at_once() {
    // Nothing listens there, so nobody wants the body.
    let node = Node::of(gone().await, Timeouts::default()).await;
    let mut stream = node.connect(Speaks::Http1).await;
    let heard = within(http1::upload(&mut stream, LONG, First::Waits)).await.expect("an answer");
    assert!(heard.0.contains(" 502 "), "{heard:?}");
    // Much sooner than what is sent is drained for.
    let closed = timeout(Duration::from_secs(5), stream.read(&mut [0; 8])).await.expect("nothing is waited for");
    assert_eq!(closed.expect("it is closed"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failure_of_a_model_reaches_who_is_still_sending() {
    for then in [Then::Closes, Then::ReadsAndCloses, Then::Resets, Then::HalfCloses] {
        let node = Node::of(hasty("", then).await, Timeouts::default()).await;
        for _ in 0..TIMES {
            let mut stream = node.connect(Speaks::Http1).await;
            let heard = within(http1::upload(&mut stream, LONG, First::Sends)).await;
            let heard = heard.unwrap_or_else(|error| panic!("{then:?}: {error}"));
            assert!(heard.0.contains(" 502 "), "{then:?}: {heard:?}");
            let heard = within(upload_by_http2(&node, LONG)).await.unwrap_or_else(|error| panic!("{then:?}: {error}"));
            assert_eq!((heard.status, heard.ended), (Some(502), true), "{then:?}");
        }
        assert_eq!(node.counted(2 * TIMES).await, (2 * TIMES, 0, 2 * TIMES), "{then:?}");
    }
}

#[tokio::test]
async fn a_model_that_takes_nothing_is_given_up_while_its_client_sends() {
    let node = Node::of(hasty("", Then::Stays).await, SHORT).await;
    let mut stream = node.connect(Speaks::Http1).await;
    let heard = within(http1::upload(&mut stream, LONG, First::Sends)).await.expect("an answer");
    assert!(heard.0.contains(" 504 "), "{heard:?}");
    let heard = within(upload_by_http2(&node, LONG)).await.expect("an answer");
    assert_eq!((heard.status, heard.ended), (Some(504), true));
    assert_eq!(node.counted(2).await, (2, 0, 2));
}

#[tokio::test]
async fn an_early_answer_that_goes_on_takes_the_rest_of_its_request() {
    // It says what it has read when it has read all, as a model does that answers while it reads.
    let echoing = raw_upstream(|mut stream| async move {
        let Some(start) = read_head(&mut stream).await else { return };
        say(&mut stream, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nreading ").await;
        let (mut read, mut piece) = (start.len(), vec![0; 64 * 1024]);
        while read < LONG {
            match stream.read(&mut piece).await {
                Ok(length) if length > 0 => read += length,
                _ => return,
            }
        }
        say(&mut stream, format!("{read}").as_bytes()).await;
    })
    .await;
    let node = Node::of(echoing, Timeouts::default()).await;
    let expected = format!("reading {LONG}");
    let mut stream = node.connect(Speaks::Http1).await;
    let heard = within(http1::upload(&mut stream, LONG, First::Sends)).await.expect("an answer");
    assert_eq!(heard.1, expected);
    let heard = within(upload_by_http2(&node, LONG)).await.expect("an answer");
    assert_eq!((heard.body.as_slice(), heard.sent, heard.reset), (expected.as_bytes(), LONG, None));
    assert_eq!(node.counted(2).await, (2, 0, 0));
}

#[tokio::test]
async fn an_early_failure_counts_while_its_client_is_still_sending() {
    let unending = "HTTP/1.1 500 Broken\r\ncontent-length: 100\r\n\r\nsorry";
    let node = Node::of(hasty(unending, Then::Reads).await, Timeouts::default()).await;
    let mut first = node.connect(Speaks::Http1).await;
    let head = format!("POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {LONG}\r\n\r\nx");
    say(&mut first, head.as_bytes()).await;
    assert_eq!(node.counted(1).await, (1, 0, 1));
    let second = node.connect(Speaks::Http2).await;
    let _second = within(http2::Client::begin(second, "/v2/models/m/infer", LONG)).await.expect("a connection");
    assert_eq!(node.counted(2).await, (2, 0, 2));
}
