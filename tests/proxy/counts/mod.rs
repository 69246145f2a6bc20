//! The moments at which requests count for a trial, whichever way they come: when a model has them, when its answer begins, and
//! when they end.

use super::raw::{Node, Speaks, http1, http2, read_head, read_out, say};
use super::world::{DEADLINE, PATIENCE, raw_upstream, trial, upstream, view, within};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use judge::{Arms, Measured};
use member::View;
use model::{Provoked, UnixMillis};
use proxy::Settings;
use service::{Approvals, GateName, Outcome, Phase, Plan, Rollout, Span, Step};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const INFER: &str = "/v2/models/m/infer";

/// How a request comes.
type Way = (Speaks, &'static str);
/// By the short way, by the long one, and by HTTP/2.
const WAYS: [Way; 3] = [(Speaks::Http1, "/predict"), (Speaks::Http1, INFER), (Speaks::Http2, INFER)];

/// For whom the canary is when it has a third of the traffic, and for whom it is not.
const KEYS: [&str; 2] = ["user-42", "alice"];
const THIRD: u16 = 3_408;
const ALL: u16 = 10_000;

/// From when on a request is slow, in microseconds: long enough that none is which need not be.
const LIMIT_MICROS: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_micros(LIMIT_MICROS);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nfirst";
const BROKEN: &str = "HTTP/1.1 500 Broken\r\ncontent-length: 5\r\nconnection: close\r\n\r\nsorry";

/// The agreement with a rollout that is open, with this much for the canary, by a plan that says what it does not usually.
fn open(weight: u16, change: impl FnOnce(&mut Plan)) -> View {
    let mut view = view(weight);
    let state = Arc::make_mut(&mut view.state);
    let on_trial = state.canary.as_ref().expect("there is a canary");
    let mut plan = Plan::of(vec![Step::new(on_trial.weight, Span(60_000))]).expect("a plan");
    plan.gates = plan.gates.changed(GateName::P95, |gate| gate.limit = LIMIT_MICROS);
    change(&mut plan);
    let rollout = Rollout {
        started: state.version,
        started_at: UnixMillis(0),
        plan: Arc::new(plan),
        canary: on_trial.model.clone(),
        stable: state.stable.clone(),
        step: 0,
        epoch: state.version,
        phase: Phase::Progressing,
        why: String::new(),
        approvals: Approvals::default(),
    };
    state.rollout = Some(Arc::new(rollout));
    view.digest = state.digest();
    view
}

/// A node that counts for the trial that `view` shows.
async fn counting(model: SocketAddr, view: View, trusted_proxies: &str) -> Node {
    let trial = trial(&view);
    let trusted_proxies = trusted_proxies.parse().expect("networks");
    let node = Node::with(model, view, Settings { trusted_proxies, ..Settings::default() }).await;
    node.proxy.count(Some(&trial));
    node
}

/// Waits until that holds of what the node has counted.
async fn until(node: &Node, what: &str, holds: impl Fn(&Arms) -> bool) -> Arms {
    let waiting = async {
        loop {
            let counted = node.proxy.counted().routed;
            if holds(&counted) {
                return counted;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = timeout(DEADLINE, waiting).await;
    reached.unwrap_or_else(|_| panic!("never {what}: {:#?}", node.proxy.counted().routed))
}

/// Whether that holds of both models.
fn both(counted: &Arms, holds: impl Fn(&Measured) -> bool) -> bool {
    holds(&counted.canary) && holds(&counted.stable)
}

/// Requests, errors, unknown ends, redirects, client errors, and what is no evidence.
fn ends(arm: &Measured) -> [u64; 6] {
    [arm.requests(), arm.errors(), arm.unknown(), arm.redirects(), arm.client_errors(), arm.uncounted()]
}

/// A client with one request.
enum Client {
    Http1(TcpStream),
    Http2(http2::Client),
}

impl Client {
    /// Asks, with `sent` bytes of a body of `length`.
    async fn begin(node: &Node, (speaks, target): Way, headers: &[(&str, &str)], length: usize, sent: usize) -> Self {
        let stream = node.connect(speaks).await;
        let mut client = match speaks {
            Speaks::Http1 => {
                let mut head = format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n");
                headers.iter().for_each(|(name, value)| head.extend([*name, ": ", *value, "\r\n"]));
                let mut client = stream;
                client.write_all(format!("{head}\r\n").as_bytes()).await.expect("the node reads");
                Self::Http1(client)
            }
            Speaks::Http2 => {
                let client = http2::Client::begin_with(headers, stream, target, length).await;
                Self::Http2(client.expect("the node reads"))
            }
        };
        client.send(sent, sent == length).await;
        client
    }

    async fn ask(node: &Node, way: Way, headers: &[(&str, &str)]) -> Self {
        Self::begin(node, way, headers, 2, 2).await
    }

    async fn send(&mut self, length: usize, is_last: bool) {
        match self {
            Self::Http1(stream) => say(stream, &vec![b'1'; length]).await,
            Self::Http2(client) => client.send(length, is_last).await.expect("the node reads"),
        }
    }

    /// The status of the answer, when that is whole.
    async fn status(&mut self) -> u16 {
        match self {
            Self::Http1(stream) => {
                let answer = within(http1::read(stream, &mut Vec::new())).await.expect("an answer");
                answer.head[0].split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
            }
            Self::Http2(client) => {
                within(client.hear_out()).await.expect("an answer");
                client.heard.status.expect("a status")
            }
        }
    }
}

/// A model that says so many of these pieces to every request as it is told.
async fn held(pieces: &'static [&'static str]) -> (SocketAddr, watch::Sender<usize>) {
    let (told, say_now) = watch::channel(0);
    let address = raw_upstream(move |mut stream| {
        let mut say_now = say_now.clone();
        async move {
            let _ = read_head(&mut stream).await;
            for (said, piece) in pieces.iter().enumerate() {
                if say_now.wait_for(|so_many| *so_many > said).await.is_err() {
                    return;
                }
                say(&mut stream, piece.as_bytes()).await;
            }
            let _ = stream.shutdown().await;
            read_out(&mut stream).await;
        }
    })
    .await;
    (address, told)
}

/// A model that answers with the status that it is asked for, and not at all where that is none.
async fn obedient() -> SocketAddr {
    upstream(|request: Request<Incoming>| async move {
        let status = request.headers().get("x-status").and_then(|status| status.to_str().ok()?.parse::<u16>().ok());
        let _ = request.into_body().collect().await;
        match status {
            Some(status) => Response::builder().status(status).body(Full::from("answer")).expect("an answer"),
            None => std::future::pending().await,
        }
    })
    .await
}

/// How a request ends that has hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Fails,
    Answers,
    Leaves,
}

#[tokio::test]
async fn a_request_that_hangs_is_slow_once_from_when_it_passes_the_limit_and_for_good() {
    for then in [Then::Fails, Then::Answers, Then::Leaves] {
        let (address, model) = held(if then == Then::Fails { &[BROKEN] } else { &[OK] }).await;
        let node = counting(address, open(THIRD, |_| ()), "").await;
        let mut clients = Vec::new();
        for key in KEYS {
            for way in WAYS {
                clients.push(Client::ask(&node, way, &[("x-canary-key", key)]).await);
            }
        }
        let counted = until(&node, "all open", |counted| both(counted, |arm| arm.open() == 3)).await;
        assert!(both(&counted, |arm| arm.answers() == 0), "{then:?}: they have time: {counted:?}");
        let slow = |arm: &Measured| (arm.exceeding(LIMIT_MICROS), arm.answers()) == (3, 3);
        let counted = until(&node, "late", |counted| both(counted, |arm| arm.exceeding(LIMIT_MICROS) > 2)).await;
        assert!(both(&counted, |arm| slow(arm) && arm.open() == 3 && arm.ended() == 0), "{then:?}: {counted:?}");
        match then {
            Then::Fails | Then::Answers => {
                model.send_replace(1);
            }
            Then::Leaves => clients.clear(),
        }
        let counted = until(&node, "over", |counted| both(counted, |arm| arm.open() == 0)).await;
        let expected = match then {
            Then::Fails => [3, 3, 0, 0, 0, 0],
            Then::Answers => [3, 0, 0, 0, 0, 0],
            Then::Leaves => [0, 0, 3, 0, 0, 0],
        };
        assert!(both(&counted, |arm| slow(arm) && ends(arm) == expected), "{then:?}: {counted:?}");
        assert!(both(&counted, |arm| arm.to_counts().waits.is_empty()), "{then:?}: {counted:?}");
    }
}

#[tokio::test]
async fn a_request_that_fails_before_the_limit_has_no_latency() {
    let (address, model) = held(&[BROKEN]).await;
    let node = counting(address, open(THIRD, |_| ()), "").await;
    model.send_replace(1);
    for key in KEYS {
        for way in WAYS {
            assert_eq!(Client::ask(&node, way, &[("x-canary-key", key)]).await.status().await, 500);
        }
    }
    sleep(LIMIT * 5 / 4).await;
    let counted = node.proxy.counted().routed;
    assert!(both(&counted, |arm| ends(arm) == [3, 3, 0, 0, 0, 0]), "{counted:?}");
    assert!(both(&counted, |arm| (arm.open(), arm.answers()) == (0, 0)), "{counted:?}");
}

#[tokio::test]
async fn an_unknown_end_is_of_the_address_that_no_trusted_proxy_wrote() {
    let ways = ["203.0.113.9", "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1", "1.1.1.1, 198.51.100.8"];
    let behind = [("203.0.113.9", 3), ("2001:db8:1:2::", 6), ("2001:db8:1:3::", 3), ("198.51.100.8", 3)];
    for (trusted, expected) in [("192.168.1.0/24", &behind[..]), ("", &[("192.168.1.7", 15)])] {
        let (address, _model) = held(&[OK]).await;
        // Longer than they wait.
        let plan = |plan: &mut Plan| plan.gates = plan.gates.changed(GateName::P95, |gate| gate.limit *= 20);
        let node = counting(address, open(ALL, plan), trusted).await;
        let mut clients = Vec::new();
        for way in WAYS {
            for (number, along) in ways.iter().enumerate() {
                let key = format!("user-{number}");
                let headers = [("x-canary-key", key.as_str()), ("x-forwarded-for", along)];
                clients.push(Client::ask(&node, way, &headers).await);
            }
        }
        until(&node, "all open", |counted| counted.canary.open() == 15).await;
        sleep(PATIENCE * 11 / 10).await;
        clients.clear();
        let canary = until(&node, "all left", |counted| counted.canary.open() == 0).await.canary;
        assert_eq!((ends(&canary), canary.answers()), ([0, 0, 15, 0, 0, 0], 0), "{trusted}");
        let counts = canary.to_counts();
        assert!(counts.sources.iter().all(|source| source.end == Provoked::Unknown), "{counts:?}");
        let found = counts.sources.iter().map(|source| (source.address.to_string(), source.count));
        let expected = expected.iter().map(|(address, count)| (address.to_string(), *count));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected.collect::<BTreeMap<_, _>>(), "{trusted}");
        // They are waits that nobody saw the end of.
        assert_eq!(counts.waits.iter().map(|(_, count)| count).sum::<u32>(), 15, "{trusted}");
    }
}

#[tokio::test]
async fn a_plan_says_what_its_service_answers_and_what_it_is_not_for_while_its_rollout_is_open() {
    let address = obedient().await;
    for way @ (_, target) in WAYS {
        let expected = |plan: &mut Plan| plan.expected = vec![302, 404];
        let uncounted = |plan: &mut Plan| {
            expected(plan);
            // In the order of the alphabet.
            plan.uncounted = vec!["/healthz".into(), target.into()];
        };
        let elsewhere = |plan: &mut Plan| {
            expected(plan);
            plan.uncounted = vec![if target == INFER { "/predict" } else { INFER }.into()];
        };
        let mut over = open(ALL, uncounted);
        let state = Arc::make_mut(&mut over.state);
        let ended = state.rollout.as_ref().expect("there is one").standing(Phase::Ended(Outcome::Aborted), "");
        state.rollout = Some(Arc::new(ended));
        for (what, view, counts, answers) in [
            ("what is expected is good", open(ALL, expected), [4, 1, 0, 1, 1, 0], 3),
            ("nothing of it counts", open(ALL, uncounted), [0, 0, 0, 0, 0, 6], 0),
            ("another path is named", open(ALL, elsewhere), [4, 1, 0, 1, 1, 0], 3),
            ("it is over", over, [2, 1, 0, 2, 2, 0], 1),
        ] {
            let node = counting(address, view, "").await;
            for status in ["200", "302", "307", "403", "404", "503"] {
                let headers = [("x-canary-key", status), ("x-status", status)];
                let answer = Client::ask(&node, way, &headers).await.status().await;
                assert_eq!(answer.to_string(), status, "{way:?}");
            }
            let canary = until(&node, "all over", |counted| counted.canary.open() == 0).await.canary;
            assert_eq!((ends(&canary), canary.answers()), (counts, answers), "{way:?}: {what}");
        }
    }
}

/// More than is looked into, and less than a window of HTTP/2.
const BODY: usize = 65_537 + 2_000;
/// What of it comes first.
const PART: usize = 40_000;

#[tokio::test]
async fn an_upload_is_open_from_when_it_is_whole() {
    let (address, model) = held(&[OK]).await;
    let node = counting(address, open(THIRD, |_| ()), "").await;
    let mut clients = Vec::new();
    for key in KEYS {
        for way in &WAYS[1..] {
            clients.push(Client::begin(&node, *way, &[("x-canary-key", key)], BODY, PART).await);
        }
    }
    sleep(LIMIT * 5 / 4).await;
    let counted = node.proxy.counted().routed;
    assert!(both(&counted, |arm| arm.is_empty() && arm.answers() == 0), "nobody waits for the model: {counted:?}");
    for client in &mut clients {
        client.send(BODY - PART, true).await;
    }
    let counted = until(&node, "all open", |counted| both(counted, |arm| arm.open() == 2)).await;
    assert!(both(&counted, |arm| arm.answers() == 0), "the model has time: {counted:?}");
    model.send_replace(1);
    for client in &mut clients {
        assert_eq!(client.status().await, 200);
    }
    let counted = until(&node, "all over", |counted| both(counted, |arm| arm.open() == 0)).await;
    assert!(both(&counted, |arm| ends(arm) == [2, 0, 0, 0, 0, 0]), "{counted:?}");
    assert!(both(&counted, |arm| (arm.answers(), arm.exceeding(LIMIT_MICROS)) == (2, 0)), "{counted:?}");
}

#[tokio::test]
async fn an_upload_that_is_answered_early_leaves_nothing_open() {
    const REFUSED: &str = "HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nsorry";
    for (answer, status, expected) in
        [(OK, 200, [2, 0, 0, 0, 0, 0]), (REFUSED, 413, [0, 0, 0, 0, 2, 0]), (BROKEN, 500, [2, 2, 0, 0, 0, 0])]
    {
        let address = raw_upstream(move |mut stream| async move {
            let _ = read_head(&mut stream).await;
            say(&mut stream, answer.as_bytes()).await;
            read_out(&mut stream).await;
        })
        .await;
        let node = counting(address, open(ALL, |_| ()), "").await;
        let mut clients = Vec::new();
        for way in &WAYS[1..] {
            let mut client = Client::begin(&node, *way, &[("x-canary-key", "alice")], BODY, PART).await;
            assert_eq!(client.status().await, status);
            clients.push(client);
        }
        let counted = until(&node, "counted", |counted| counted.canary.ended() == 2).await;
        assert_eq!((ends(&counted.canary), counted.canary.open()), (expected, 0), "{status}");
        for client in &mut clients {
            // As far as anybody takes it.
            match client {
                Client::Http1(stream) => say(stream, &[b'1'; BODY - PART]).await,
                Client::Http2(client) => drop(client.send(BODY - PART, true).await),
            }
        }
        sleep(LIMIT * 5 / 4).await;
        let canary = node.proxy.counted().routed.canary;
        let answers = if status == 200 { 2 } else { 0 };
        assert_eq!((ends(&canary), canary.open(), canary.answers()), (expected, 0, answers), "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_begins_before_its_upload_is_whole_is_not_late_when_that_is() {
    let (tell, mut has_all) = mpsc::unbounded_channel();
    let (model, told) = watch::channel(false);
    let address = raw_upstream(move |mut stream| {
        let (tell, mut told) = (tell.clone(), told.clone());
        async move {
            let Some(start) = read_head(&mut stream).await else { return };
            say(&mut stream, BEGUN.as_bytes()).await;
            let mut rest = vec![0; BODY - start.len()];
            stream.read_exact(&mut rest).await.expect("the node sends all");
            tell.send(()).expect("the test listens");
            told.wait_for(|told| *told).await.expect("the test goes on");
            say(&mut stream, b"later").await;
        }
    })
    .await;
    let node = counting(address, open(ALL, |_| ()), "").await;
    let mut clients = Vec::new();
    for way in &WAYS[1..] {
        clients.push(Client::begin(&node, *way, &[("x-canary-key", "alice")], BODY, PART).await);
    }
    until(&node, "begun", |counted| counted.canary.answers() == 2).await;
    for client in &mut clients {
        client.send(BODY - PART, true).await;
        within(has_all.recv()).await.expect("the model has all of it");
    }
    sleep(LIMIT * 5 / 4).await;
    let canary = node.proxy.counted().routed.canary;
    assert_eq!((canary.ended(), canary.answers(), canary.exceeding(LIMIT_MICROS)), (0, 2, 0));
    model.send_replace(true);
    for client in &mut clients {
        assert_eq!(client.status().await, 200);
    }
    let canary = until(&node, "over", |counted| counted.canary.ended() == 2).await.canary;
    assert_eq!((ends(&canary), canary.open(), canary.answers()), ([2, 0, 0, 0, 0, 0], 0, 2));
}

#[tokio::test]
async fn before_a_canary_is_warm_nothing_but_errors_counts() {
    let address = obedient().await;
    for (delay, expected, answers) in [(60_000, [2, 1, 0, 0, 0, 0], 0), (0, [2, 1, 1, 1, 1, 0], 2)] {
        for way in WAYS {
            let node = counting(address, open(ALL, |plan| plan.initial_delay = Span(delay)), "").await;
            let slow = Client::ask(&node, way, &[("x-canary-key", "slow")]).await;
            for status in ["200", "302", "404", "503"] {
                let headers = [("x-canary-key", status), ("x-status", status)];
                Client::ask(&node, way, &headers).await.status().await;
            }
            sleep(LIMIT * 5 / 4).await;
            let canary = node.proxy.counted().routed.canary;
            let is_slow = u64::from(delay == 0);
            assert_eq!((canary.open(), canary.exceeding(LIMIT_MICROS)), (1, is_slow), "{way:?} {delay}");
            drop(slow);
            let canary = until(&node, "over", |counted| counted.canary.open() == 0).await.canary;
            assert_eq!((ends(&canary), canary.answers()), (expected, answers), "{way:?} {delay}");
            let counts = canary.to_counts();
            assert_eq!(counts.sources.len(), if delay == 0 { 3 } else { 0 }, "{way:?} {counts:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_has_its_latency_when_its_first_byte_is_there() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";
    // The head alone is nothing to its client, so that it is late with the byte that follows too late.
    for (pieces, late) in [(&[BEGUN, "later"][..], 0), (&[HEAD, "first", "later"], 3)] {
        let (address, model) = held(pieces).await;
        let node = counting(address, open(THIRD, |_| ()), "").await;
        let mut clients = Vec::new();
        for key in KEYS {
            for way in WAYS {
                clients.push(Client::ask(&node, way, &[("x-canary-key", key)]).await);
            }
        }
        model.send_replace(1);
        let counted = until(&node, "begun", |counted| both(counted, |arm| arm.answers() == 3)).await;
        assert!(both(&counted, |arm| (arm.open(), arm.ended()) == (3, 0)), "{late}: {counted:?}");
        sleep(LIMIT * 5 / 4).await;
        model.send_replace(pieces.len() - 1);
        let is_timed = |arm: &Measured| (arm.answers(), arm.exceeding(LIMIT_MICROS)) == (3, late);
        let begun =
            |arm: &Measured| is_timed(arm) && arm.to_counts().latencies.iter().map(|(_, n)| n).sum::<u32>() == 3;
        let counted = until(&node, "timed", |counted| both(counted, begun)).await;
        assert!(both(&counted, |arm| (arm.open(), arm.ended()) == (3, 0)), "{late}: {counted:?}");
        model.send_replace(pieces.len());
        for client in &mut clients {
            assert_eq!(client.status().await, 200);
        }
        let counted = until(&node, "all over", |counted| both(counted, |arm| arm.open() == 0)).await;
        assert!(both(&counted, |arm| begun(arm) && ends(arm) == [3, 0, 0, 0, 0, 0]), "{late}: {counted:?}");
    }
}

/// How many connections come one after the other in each of the tasks, and how many of these there are.
const TURNS: usize = 40;
const TASKS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stays_open_whatever_comes_on_however_many_threads() {
    let node = Arc::new(counting(obedient().await, open(5_000, |_| ()), "").await);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let node = Arc::clone(&node);
        tasks.spawn(async move {
            let mut answers = 0;
            for turn in 0..TURNS {
                let (way, key) = (WAYS[(task + turn) % WAYS.len()], format!("user-{task}-{turn}"));
                let status = ["200", "302", "404", "503", "none"][turn % 5];
                let headers = [("x-canary-key", key.as_str()), ("x-status", status)];
                let is_upload = turn % 3 == 0 && way.1 == INFER;
                let length = if is_upload { BODY } else { 2 };
                let mut client = Client::begin(&node, way, &headers, length, length).await;
                // One that is never answered is left at once.
                if status != "none" {
                    assert_eq!(client.status().await.to_string(), status);
                    answers += 1;
                }
            }
            answers
        });
    }
    let answers: u64 = tasks.join_all().await.into_iter().sum();
    let counted = until(&node, "all over", |counted| both(counted, |arm| arm.open() == 0)).await;
    let ended = |counted: &Arms| {
        let known = |arm: &Measured| arm.ended() - arm.unknown();
        (known(&counted.canary) + known(&counted.stable), counted.canary.uncounted() + counted.stable.uncounted())
    };
    assert_eq!(ended(&counted), (answers, 0));
    let late = |counted: &Arms| (counted.canary.to_counts().late, counted.stable.to_counts().late);
    // Were anything left, it would be late by then.
    sleep(LIMIT * 5 / 4).await;
    let then = node.proxy.counted().routed;
    assert_eq!((late(&then), ended(&then)), (late(&counted), (answers, 0)));
    assert!(both(&then, |arm| arm.open() == 0), "{then:?}");
}
