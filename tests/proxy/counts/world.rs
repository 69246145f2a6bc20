//! A node that counts for a trial, the ways to it, and models that do as they are told.

use crate::raw::{Node, Speaks, http1, http2, read_head, read_out, say};
use crate::world::{DEADLINE, raw_upstream, trial, upstream, view, within};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use judge::{Arms, Measured};
use member::View;
use model::UnixMillis;
use proxy::Settings;
use service::{Approvals, GateName, Phase, Plan, Rollout, Span, Step};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

pub(crate) const INFER: &str = "/v2/models/m/infer";

/// How a request comes.
pub(crate) type Way = (Speaks, &'static str);
/// By the short way, by the long one, and by HTTP/2.
pub(crate) const WAYS: [Way; 3] = [(Speaks::Http1, "/predict"), (Speaks::Http1, INFER), (Speaks::Http2, INFER)];

/// For whom the canary is when it has a third of the traffic, and for whom it is not.
pub(crate) const KEYS: [&str; 2] = ["user-42", "alice"];
pub(crate) const THIRD: u16 = 3_408;
pub(crate) const ALL: u16 = 10_000;

/// From when on a request is slow, in microseconds: long enough that none is which need not be.
pub(crate) const LIMIT_MICROS: u64 = 1_000_000;
pub(crate) const LIMIT: Duration = Duration::from_micros(LIMIT_MICROS);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
pub(crate) const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nfirst";
pub(crate) const BROKEN: &str = "HTTP/1.1 500 Broken\r\ncontent-length: 5\r\nconnection: close\r\n\r\nsorry";

/// The agreement with a rollout that is open, with this much for the canary, by a plan that says what it does not usually.
pub(crate) fn open(weight: u16, change: impl FnOnce(&mut Plan)) -> View {
    let mut view = view(weight);
    let state = Arc::make_mut(&mut view.state);
    let on_trial = state.canary.as_ref().expect("there is a canary");
    let mut plan = Plan::of(vec![Step::new(on_trial.weight, Span(60_000))]).expect("a plan");
    plan.gates = plan.gates.changed(GateName::P95, |gate| gate.limit = LIMIT_MICROS);
    change(&mut plan);
    let rollout = Rollout {
        deadline: None,
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
pub(crate) async fn counting(model: SocketAddr, view: View, trusted_proxies: &str) -> Node {
    let trial = trial(&view);
    let trusted_proxies = trusted_proxies.parse().expect("networks");
    let node = Node::with(model, view, Settings { trusted_proxies, ..Settings::default() }).await;
    node.proxy.count(Some(&trial));
    node
}

/// Waits until that holds of what the node has counted.
pub(crate) async fn until(node: &Node, what: &str, holds: impl Fn(&Arms) -> bool) -> Arms {
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
pub(crate) fn both(counted: &Arms, holds: impl Fn(&Measured) -> bool) -> bool {
    holds(&counted.canary) && holds(&counted.stable)
}

/// Requests, errors, unknown ends, redirects, client errors, and what is no evidence.
pub(crate) fn ends(arm: &Measured) -> [u64; 6] {
    [arm.requests(), arm.errors(), arm.unknown(), arm.redirects(), arm.client_errors(), arm.uncounted()]
}

/// A client with one request.
pub(crate) enum Client {
    Http1(TcpStream),
    Http2(http2::Client),
}

impl Client {
    /// Asks, with `sent` bytes of a body of `length`.
    pub(crate) async fn begin(
        node: &Node,
        (speaks, target): Way,
        headers: &[(&str, &str)],
        length: usize,
        sent: usize,
    ) -> Self {
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

    pub(crate) async fn ask(node: &Node, way: Way, headers: &[(&str, &str)]) -> Self {
        Self::begin(node, way, headers, 2, 2).await
    }

    pub(crate) async fn send(&mut self, length: usize, is_last: bool) {
        match self {
            Self::Http1(stream) => say(stream, &vec![b'1'; length]).await,
            Self::Http2(client) => client.send(length, is_last).await.expect("the node reads"),
        }
    }

    /// The status of the answer, when that is whole.
    pub(crate) async fn status(&mut self) -> u16 {
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
pub(crate) async fn held(pieces: &'static [&'static str]) -> (SocketAddr, watch::Sender<usize>) {
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
pub(crate) async fn obedient() -> SocketAddr {
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
