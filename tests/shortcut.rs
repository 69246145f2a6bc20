//! The short way for plain requests must not be told apart from the real server: the same bytes go both ways, and the
//! same answers must come back.

use bytes::Bytes;
use canary::commit::{IsolationPolicy, Stage, View};
use canary::driver::{Handle, boottime};
use canary::model::{Canary, Model, NodeId, NodeSet, RoutingState, Weight};
use canary::proxy::{Proxy, Rewound, Route, Shortcut, Upstreams};
use http::header::{HeaderName, HeaderValue, SERVER};
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Anything that hangs fails the test instead.
const DEADLINE: Duration = Duration::from_secs(20);
const COMMON: (HeaderName, HeaderValue) = (SERVER, HeaderValue::from_static("test"));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Short,
    Real,
}

/// A node whose connections the test makes.
struct Bench {
    proxy: Proxy,
    shortcut: Shortcut,
    stopping: CancellationToken,
    /// Requests that the real server saw.
    seen: Arc<AtomicUsize>,
}

impl Bench {
    fn new(upstreams: &str) -> Self {
        let mut state = RoutingState::initial("v1".parse().expect("v1 is a model id"));
        state.version = 7;
        state.canary = Some(Canary {
            model: Model { id: "v2".parse().expect("v2 is a model id"), upstream: None },
            weight: Weight::from_basis_points(3_408).expect("3 408 is a weight"),
            salt: "rollout-1".to_owned(),
        });
        let view = View {
            me: NodeId::A,
            members: NodeSet::first(3),
            stage: Stage::Member,
            digest: state.digest(),
            state: Arc::new(state),
            lease_end: boottime() + Duration::from_secs(3_600),
            on_isolation: IsolationPolicy::Stable,
            coordinator: Some(NodeId::A),
            in_touch: true,
            pending: None,
            ejected: None,
            peers: BTreeMap::new(),
        };
        let (handle, _publisher, _requests) = Handle::new(view);
        let proxy = Proxy::new(handle, upstreams.parse::<Upstreams>().expect("tests give good upstreams"));
        let stopping = CancellationToken::new();
        let shortcut = Shortcut::new(proxy.clone(), &[COMMON], stopping.clone());
        Self { proxy, shortcut, stopping, seen: Arc::default() }
    }

    /// A connection that is served one way or the other.
    fn connect(&self, way: Way) -> DuplexStream {
        let (client, server) = duplex(1024 * 1024);
        let (proxy, shortcut, seen) = (self.proxy.clone(), self.shortcut.clone(), Arc::clone(&self.seen));
        tokio::spawn(async move {
            let stream = match way {
                Way::Short => shortcut.serve(server).await,
                Way::Real => Rewound::new(server, Vec::new()),
            };
            let service = service_fn(move |request| {
                seen.fetch_add(1, Ordering::SeqCst);
                answer(proxy.clone(), request)
            });
            // Broken requests are part of the tests; what the client saw of it is what counts.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        client
    }

    /// What comes back for `bytes`, sent in pieces of `piece` bytes, up to `answers` answers or the connection's end.
    async fn talk(&self, way: Way, bytes: &[u8], piece: usize, answers: usize) -> Vec<Answer> {
        let mut client = self.connect(way);
        for piece in bytes.chunks(piece) {
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut received = Vec::new();
        let mut read = Vec::new();
        while read.len() < answers {
            match within(next_answer(&mut client, &mut received)).await {
                Some(answer) => read.push(answer),
                None => break,
            }
        }
        read
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

async fn answer(
    proxy: Proxy,
    request: Request<Incoming>,
) -> Result<Response<Either<canary::proxy::Body, Full<Bytes>>>, Infallible> {
    let mut answer = match Route::of(request.method(), request.uri().path()) {
        Some(route) => proxy.answer(route, None, request).await.map(Either::Left),
        None => Response::new(Either::Right(Full::from("another route"))),
    };
    answer.headers_mut().insert(COMMON.0, COMMON.1);
    Ok(answer)
}

/// Status line and headers in order of their text, without the date's value; and the body.
type Answer = (Vec<String>, String);

async fn next_answer(client: &mut DuplexStream, received: &mut Vec<u8>) -> Option<Answer> {
    loop {
        if let Some(answer) = parse_answer(received) {
            return Some(answer);
        }
        if client.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse_answer(received: &mut Vec<u8>) -> Option<Answer> {
    let head = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8(received[..head].to_vec()).expect("heads are text");
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
    let end = head + 4 + length.map_or(0, |length| length.parse().expect("a length is a number"));
    let body = String::from_utf8(received.get(head + 4..end)?.to_vec()).expect("bodies are text");
    received.drain(..end);
    for line in &mut lines {
        if line.starts_with("date: ") {
            assert_eq!(line.len(), "date: Mon, 23 Nov 2026 02:05:23 GMT".len());
            line.truncate(4);
        }
    }
    lines.sort();
    Some((lines, body))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing hangs")
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

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
async fn plain_requests_do_not_reach_the_server_and_are_counted() {
    let bench = Bench::new("");
    let plain = post("", r#"{"key":"user-42"}"#);
    let answers = bench.talk(Way::Short, plain.repeat(200).as_bytes(), 1_000, 200).await;
    assert_eq!((answers.len(), bench.seen()), (200, 0));
    assert!(
        answers.iter().all(|(_, body)| body.contains(r#""model_selected":"v2""#) && body.contains(r#""sticky":true"#))
    );
    let observations = bench.proxy.observations();
    assert_eq!((observations.overall.requests, observations.overall.errors), (200, 0));
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
    let observations = bench.proxy.observations();
    assert_eq!((observations.overall.requests, observations.overall.errors), (4, 1));
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
    bench.stopping.cancel();
    // A client that never pauses is handed over all the same.
    let handed_over = async {
        while bench.seen() == 1 {
            client.write_all(plain.as_bytes()).await.expect("the connection is open");
            assert!(next_answer(&mut client, &mut received).await.is_some());
        }
    };
    within(handed_over).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_connection() {
    let bench = Bench::new("");
    let (client, server) = duplex(1024);
    drop(client);
    let mut rest = within(bench.shortcut.serve(server)).await;
    assert_eq!(within(rest.read(&mut [0; 8])).await.expect("an end is no error"), 0);
    let (mut client, server) = duplex(16);
    let writing = async {
        client.write_all(post("", "{}").as_bytes()).await.expect("the server reads");
        drop(client);
    };
    let (mut rest, ()) = within(async { tokio::join!(bench.shortcut.serve(server), writing) }).await;
    assert!(rest.read(&mut [0; 8]).await.is_err(), "nothing may follow an answer that was cut off");
}
