//! Requests that an upstream answers, or ought to.

use super::world::{Answer, Bench, Way, next_answer, parse, post};
use crate::world::{PATIENCE, SHORT, gone, raw_upstream, within};
use proxy::Timeouts;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Goes to the canary.
const CANARY: &str = r#"{"key":"user-42"}"#;
/// Goes to the stable model.
const STABLE: &str = r#"{"key":"alice"}"#;

/// What an upstream does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It waits for the next request.
    Stay,
    /// It closes the connection.
    Close,
    /// It says nothing more, ever.
    Hang,
}

/// An upstream that answers each request with the same bytes.
struct Upstream {
    address: SocketAddr,
    /// The lines of each request in the order of their text, and its body.
    requests: Arc<Mutex<Vec<Answer>>>,
    connections: Arc<Mutex<usize>>,
}

impl Upstream {
    async fn new(answer: &str, piece: usize, then: Then) -> Self {
        let (requests, connections) = (Arc::<Mutex<Vec<Answer>>>::default(), Arc::<Mutex<usize>>::default());
        let (seen, opened, answer) = (Arc::clone(&requests), Arc::clone(&connections), answer.to_owned());
        let address = raw_upstream(move |stream| {
            *opened.lock().expect("nothing panicked") += 1;
            serve(stream, Arc::clone(&seen), answer.clone(), piece, then)
        })
        .await;
        Self { address, requests, connections }
    }

    /// The requests since the last call.
    fn requests(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.requests.lock().expect("nothing panicked"))
    }

    fn connections(&self) -> usize {
        *self.connections.lock().expect("nothing panicked")
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Answer>>>, answer: String, piece: usize, then: Then) {
    stream.set_nodelay(true).expect("a socket");
    let mut received = Vec::new();
    loop {
        let Some(request) = parse(&mut received) else {
            if !matches!(stream.read_buf(&mut received).await, Ok(length) if length > 0) {
                return;
            }
            continue;
        };
        seen.lock().expect("nothing panicked").push(request);
        for piece in answer.as_bytes().chunks(piece) {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        match then {
            Then::Stay => {}
            Then::Close => return,
            Then::Hang => std::future::pending().await,
        }
    }
}

/// What a client and the upstream saw, and what was counted: requests, errors, redirects, the client's mistakes, and what is
/// no evidence.
type Story = (Vec<Answer>, Vec<Answer>, [u64; 5]);

async fn told(way: Way, upstream: &Upstream, script: &str, answers: usize) -> Story {
    let address = upstream.address;
    let bench = Bench::with_timeouts(&format!("v2=http://{address}/model?token=1"), SHORT);
    let answers = bench.talk(way, script.as_bytes(), 100_000, answers).await;
    let overall = bench.proxy.observations().overall;
    let counted = [overall.requests, overall.errors, overall.redirects, overall.client_errors, overall.uncounted];
    (answers, upstream.requests(), counted)
}

#[tokio::test]
async fn both_ways_tell_the_same_of_every_answer() {
    use Then::{Close, Hang, Stay};
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let middling = format!("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n{}", "x".repeat(60_000));
    let many = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n", "a: b\r\n".repeat(60));
    let answers: &[(&str, Then)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", Stay),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stay),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: Mon, 23 Nov 2026 02:05:23 GMT\r\n\r\nhello", Stay),
        ("HTTP/1.1 200 Quite Well\r\ncontent-length: 5\r\nX-A: 1\r\nx-b: 2\r\nx-a: 3\r\n\r\nhello", Stay),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy", Stay),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope", Stay),
        ("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", Stay),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello", Close),
        ("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=5\r\ncontent-length: 5\r\n\r\nhello", Stay),
        ("HTTP/1.1 200 OK\r\nconnection: x-private\r\nx-private: 1\r\ncontent-length: 5\r\n\r\nhello", Stay),
        (
            "HTTP/1.1 200 OK\r\nx-canary-model: v9\r\nx-canary-shielded: v9\r\nproxy-connection: x\r\ncontent-length: 5\r\n\r\nhello",
            Stay,
        ),
        (&long, Stay),
        (&middling, Stay),
        (&many, Stay),
        ("HTTP/1.1 204 No Content\r\n\r\n", Stay),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Stay),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Stay),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", Stay),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", Close),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", Close),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", Stay),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", Stay),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Stay),
        ("HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello", Stay),
        ("SSH-2.0-OpenSSH\r\n", Stay),
        ("", Close),
        ("HTTP/1.1 200 OK\r\ncontent-le", Close),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbroken", Close),
        ("", Hang),
        ("HTTP/1.1 200 OK\r\ncontent-le", Hang),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npauses", Hang),
    ];
    // The second goes to the stable model, which has no upstream.
    let script = [post("", CANARY), post("", STABLE)].concat();
    for (answer, then) in answers {
        for piece in [1, 100, 1_000_000] {
            if piece == 1 && answer.len() > 1_000 {
                continue;
            }
            let upstream = Upstream::new(answer, piece, *then).await;
            let short = told(Way::Short, &upstream, &script, 2).await;
            let real = told(Way::Real, &upstream, &script, 2).await;
            assert!(!real.1.is_empty(), "{answer:?}");
            assert_eq!(short, real, "for {answer:.300?} in pieces of {piece}, then {then:?}");
        }
    }
}

#[tokio::test]
async fn both_ways_tell_the_same_to_the_upstream() {
    let long = format!("a={}", "x".repeat(3_000));
    let queries =
        ["", "?", "?a=1&b=%2F", "?a=\"b\"", "?a=<b>|{c}", "?a='b'", "?a#b", "?[x]", "?a=%zz", &format!("?{long}")];
    let headers = [
        "",
        "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: x\r\n",
        "Connection: keep-alive\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nTrailer: x\r\n",
        "Proxy-Authorization: secret\r\nProxy-Authenticate: x\r\nAuthorization: Bearer kept\r\nCookie: a\r\ncookie: b\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Canary-Key: user-42\r\nAccept:\r\n",
        "Content-Type: application/json; charset=utf-8\r\nX-Bytes: \u{fc}\r\n",
    ];
    let upstream = Upstream::new("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 1_000, Then::Stay).await;
    for query in queries {
        for headers in headers {
            let script = post(headers, CANARY).replacen("/predict", &format!("/predict{query}"), 1);
            let short = told(Way::Short, &upstream, &script, 1).await;
            let real = told(Way::Real, &upstream, &script, 1).await;
            assert_eq!(short, real, "for {script:?}");
        }
    }
}

#[tokio::test]
async fn both_ways_tell_the_same_of_an_upstream_that_is_not_there() {
    let address = gone().await;
    for upstreams in [format!("v2=http://{address}/"), format!("v1=http://{address}/,v2=http://{address}/")] {
        let mut told = Vec::new();
        for way in [Way::Short, Way::Real] {
            let bench = Bench::new(&upstreams);
            let answers = bench.talk(way, [post("", CANARY), post("", STABLE)].concat().as_bytes(), 1_000, 2).await;
            let overall = bench.proxy.observations().overall;
            told.push((answers, overall.requests, overall.errors));
        }
        assert_eq!(told[0], told[1], "for {upstreams}");
        assert_eq!(told[0].0.len(), 2);
    }
}

#[tokio::test]
async fn plain_answers_need_neither_the_server_nor_a_new_connection() {
    let upstream = Upstream::new("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 1_000, Then::Stay).await;
    let bench = Bench::new(&format!("v1=http://{0}/,v2=http://{0}/", upstream.address));
    let script = [post("", CANARY), post("", STABLE), post("", "{}")].concat().repeat(20);
    for _ in 0..2 {
        let answers = bench.talk(Way::Short, script.as_bytes(), 1_000, 60).await;
        assert!(answers.len() == 60 && answers.iter().all(|(_, body)| body == "hello"));
    }
    assert_eq!((bench.seen(), upstream.requests().len(), upstream.connections()), (0, 120, 1));
    assert_eq!(bench.proxy.observations().overall.requests, 120);
}

#[tokio::test]
async fn an_upstream_that_says_too_much_is_not_believed() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let upstream = Upstream::new(answer, 1_000, Then::Stay).await;
    let bench = Bench::new(&format!("v2=http://{}/", upstream.address));
    let answers = bench.talk(Way::Short, post("", CANARY).repeat(3).as_bytes(), 1_000, 3).await;
    assert!(answers.len() == 3 && answers.iter().all(|(_, body)| body == "hello"), "{answers:?}");
    assert_eq!((bench.seen(), upstream.connections()), (0, 3));
}

#[tokio::test]
async fn an_answer_goes_on_as_it_comes() {
    let (pieces, held) = mpsc::channel::<&str>(1);
    let held = Arc::new(tokio::sync::Mutex::new(held));
    let listener = TcpListener::bind("127.24.1.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut held = held.lock().await;
        while let Some(piece) = held.recv().await {
            stream.write_all(piece.as_bytes()).await.expect("the node reads");
        }
    });
    let bench = Bench::new(&format!("v2=http://{address}/"));
    let mut client = bench.connect(Way::Short);
    client.write_all(post("", CANARY).as_bytes()).await.expect("the connection is open");
    let mut received = Vec::new();
    for piece in ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "one", "two", "six"] {
        pieces.send(piece).await.expect("the upstream sends");
        let ending = piece.rsplit("\r\n").next().filter(|ending| !ending.is_empty()).unwrap_or("\r\n\r\n");
        let read = async {
            while !received.ends_with(ending.as_bytes()) {
                assert!(client.read_buf(&mut received).await.expect("the connection is open") > 0);
            }
        };
        within(read).await;
    }
    assert_eq!((bench.seen(), bench.proxy.observations().overall.requests), (0, 1));
}

#[tokio::test]
async fn a_client_that_leaves_after_a_long_wait_leaves_an_unknown_end_and_sooner_nothing() {
    let upstream = Upstream::new("", 1, Then::Hang).await;
    let bench = Bench::new(&format!("v2=http://{}/", upstream.address));
    for (waits, unknown) in [(PATIENCE / 10, 0), (PATIENCE * 11 / 10, 1)] {
        let (mut client, server) = tokio::io::duplex(1_000);
        let leaving = async {
            client.write_all(post("", CANARY).as_bytes()).await.expect("the connection is open");
            while upstream.requests().is_empty() {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(waits).await;
            drop(client);
        };
        let ((mut rest, underway), ()) =
            within(async { tokio::join!(bench.fast.serve(server, None, bench.until.clone()), leaving) }).await;
        assert!(underway.is_none() && rest.read(&mut [0; 8]).await.is_err(), "the server must not ask again");
        let overall = bench.proxy.observations().overall;
        assert_eq!((overall.requests, overall.errors, overall.unknown), (0, 0, unknown), "{waits:?}");
        assert_eq!(overall.p50, None, "it waited, and nobody knows how long the answer would have taken");
    }
}

#[tokio::test]
async fn a_node_that_stops_leaves_what_is_under_way_to_the_server() {
    let (answer, awaited) = oneshot::channel::<()>();
    let (asked, has_asked) = oneshot::channel::<()>();
    let listener = TcpListener::bind("127.24.1.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        assert!(stream.read(&mut [0; 1_000]).await.expect("a request") > 0);
        asked.send(()).expect("the test waits");
        awaited.await.expect("the test says when");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.expect("the node reads");
        // Whoever asks again is not answered.
        std::future::pending::<()>().await;
    });
    let bench = Bench::new(&format!("v2=http://{address}/"));
    let mut client = bench.connect(Way::Short);
    client.write_all(post("", CANARY).as_bytes()).await.expect("the connection is open");
    within(has_asked).await.expect("the upstream is asked");
    bench.until.stopping.cancel();
    let taken_over = async {
        while bench.seen() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(taken_over).await;
    answer.send(()).expect("the upstream waits");
    let (_, body) = within(next_answer(&mut client, &mut Vec::new())).await.expect("an answer");
    assert_eq!((body.as_str(), bench.proxy.observations().overall.requests), ("hello", 1));
}

#[tokio::test]
async fn a_node_that_stops_leaves_new_requests_to_the_server() {
    let upstream = Upstream::new("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 1_000, Then::Stay).await;
    let bench = Bench::new(&format!("v2=http://{}/", upstream.address));
    bench.until.stopping.cancel();
    let answers = bench.talk(Way::Short, post("", CANARY).as_bytes(), 1_000, 1).await;
    assert_eq!((answers.len(), bench.seen()), (1, 1));
}

/// An address whose port takes no connection any more, for as long as what comes with it is kept.
fn overcrowded() -> (SocketAddr, Vec<OwnedFd>) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with};
    let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    let listener = socket(SocketFlags::CLOEXEC);
    bind(&listener, &SocketAddr::from(([127, 24, 1, 1], 0))).expect("loopback has free ports");
    listen(&listener, 0).expect("a socket that is bound");
    let address = SocketAddr::try_from(getsockname(&listener).expect("it is bound")).expect("an address");
    // The first waits to be accepted, and the others for their turn.
    let waiting = (0..4).map(|_| {
        let waiting = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        let _ = connect(&waiting, &address);
        waiting
    });
    (address, std::iter::once(listener).chain(waiting.collect::<Vec<_>>()).collect())
}

/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn an_upstream_has_no_more_time_to_be_reached_than_to_answer() {
    let (address, _crowd) = overcrowded();
    let timeouts = Timeouts { connect: FOR_EVER, ..SHORT };
    let mut stories = Vec::new();
    for way in [Way::Short, Way::Real] {
        let bench = Bench::with_timeouts(&format!("v1=http://{address}/,v2=http://{address}/"), timeouts);
        let answers = bench.talk(way, post("", STABLE).as_bytes(), 1_000, 1).await;
        let overall = bench.proxy.observations().overall;
        stories.push((answers, overall.requests, overall.errors));
    }
    assert!(stories[1].0[0].0.iter().any(|line| line.contains(" 504 ")), "{stories:?}");
    assert_eq!(stories[0], stories[1]);
}

#[tokio::test]
async fn a_node_that_stops_or_a_client_that_leaves_does_not_wait_for_a_connection() {
    let (address, _crowd) = overcrowded();
    let timeouts = Timeouts { connect: FOR_EVER, answer: FOR_EVER, ..SHORT };
    for leaves in [false, true] {
        let bench = Bench::with_timeouts(&format!("v2=http://{address}/"), timeouts);
        let (mut client, server) = tokio::io::duplex(1_000);
        let ending = async {
            client.write_all(post("", CANARY).as_bytes()).await.expect("the connection is open");
            // Either comes before the connection is tried, or meanwhile; most likely meanwhile. Whoever leaves has waited
            // for long enough to count.
            tokio::time::sleep(PATIENCE * 11 / 10).await;
            if leaves {
                return None;
            }
            bench.until.stopping.cancel();
            Some(client)
        };
        let ((_, underway), _client) =
            within(async { tokio::join!(bench.fast.serve(server, None, bench.until.clone()), ending) }).await;
        // What a node that stops has not sent yet, its server begins anew.
        assert!(underway.is_none());
        let counted = bench.proxy.observations().overall;
        assert_eq!((counted.requests, counted.errors, counted.unknown), (0, 0, u64::from(leaves)));
    }
}
