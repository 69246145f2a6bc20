//! One node's routes over an agreement that the test plays.

use api::{Api, Counters, Reporters, WallClock, router};
use audit::Log;
use axum::Router;
use axum::body::Body;
use edge::{Caller, Identity};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either};
use member::{
    Answer, Handle, IsolationPolicy, PeerView, Publisher, Request as Proposed, Stage, View, boottime, unix_millis,
};
use model::{Incarnation, Networks, NodeId, NodeSet, Peers, TxId, UnixMillis, Weight};
use proxy::{Entry, Proxy, Settings};
use serde_json::Value;
use service::{Canary, Model, RoutingState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tls::Rejections;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const MEMBERS: usize = 3;
/// Long enough that no test sees it end.
const LEASE: Duration = Duration::from_secs(600);

pub(crate) struct World {
    pub(crate) api: Arc<Api>,
    pub(crate) entry: Entry<Router>,
    pub(crate) publisher: Publisher,
    pub(crate) inbox: mpsc::Receiver<Proposed>,
}

pub(crate) fn node(letter: char) -> NodeId {
    NodeId::from_letter(letter).unwrap()
}

/// Three members at 127.25.`octet`.1, .2 and .3.
pub(crate) fn peers_on(octet: u8) -> Peers {
    let hosts = "abc"
        .chars()
        .zip(1..)
        .map(|(letter, number): (char, u8)| (node(letter), format!("127.25.{octet}.{number}").parse().unwrap()));
    Peers::new(hosts).unwrap()
}

pub(crate) fn txid(sequence: u64) -> TxId {
    TxId { node: NodeId::A, incarnation: Incarnation(0xc0ffee), epoch: 1, sequence }
}

pub(crate) fn state(version: u64, points: u16) -> RoutingState {
    let model = |id: &str| Model { id: id.parse().unwrap(), upstream: None };
    RoutingState {
        version,
        txid: Some(txid(version)),
        timestamp: UnixMillis(1_795_399_200_000),
        canary: Some(Canary {
            model: model("v2"),
            weight: Weight::from_basis_points(points).unwrap(),
            salt: "rollout-1".into(),
        }),
        ..RoutingState::initial("v1".parse().unwrap())
    }
}

pub(crate) fn view(state: RoutingState) -> View {
    let heard = PeerView {
        connected: true,
        last_heard: Some(boottime()),
        committed_version: Some(3),
        digest: None,
        applied: 3,
    };
    View {
        me: NodeId::A,
        members: NodeSet::first(MEMBERS),
        stage: Stage::Member,
        digest: state.digest(),
        state: Arc::new(state),
        lease_end: boottime() + LEASE,
        on_isolation: IsolationPolicy::Stable,
        coordinator: Some(NodeId::A),
        in_touch: true,
        pending: None,
        ejected: None,
        peers: [(node('b'), heard), (node('c'), PeerView::default())].into(),
    }
}

/// What the routes of a node work with that is alone and shows no certificates.
pub(crate) fn api(handle: Handle, peers: Peers, rejections: Arc<Rejections>) -> Api {
    Api {
        proxy: Proxy::new(handle.clone(), Settings::default(), TaskTracker::new()),
        handle,
        peers,
        reporters: Reporters::Certificate,
        trusted_proxies: Networks::default(),
        rejections,
        certificates: Arc::default(),
        handshakes: Arc::default(),
        more_metrics: Arc::new(|_| ()),
        audit: Log::none(),
        leaving: CancellationToken::new(),
        stopping: CancellationToken::new(),
        links: Arc::new(BTreeMap::new),
        wire_version: 6,
        counters: Counters::default(),
        gauges: Arc::default(),
        wall: WallClock::default(),
    }
}

/// The entry to its models and routes.
pub(crate) fn entry(api: &Arc<Api>) -> Entry<Router> {
    Entry::new(api.proxy.clone(), router(Arc::clone(api)))
}

impl World {
    pub(crate) fn new(view: View) -> Self {
        let (handle, publisher, inbox) = Handle::new(view);
        Self::of(api(handle, peers_on(0), Arc::default()), publisher, inbox)
    }

    /// One whose routes work with what `change` makes of the usual.
    pub(crate) fn with(view: View, change: impl FnOnce(&mut Api)) -> Self {
        let (handle, publisher, inbox) = Handle::new(view);
        let mut api = api(handle, peers_on(0), Arc::default());
        change(&mut api);
        Self::of(api, publisher, inbox)
    }

    fn of(api: Api, publisher: Publisher, inbox: mpsc::Receiver<Proposed>) -> Self {
        let api = Arc::new(api);
        Self { entry: entry(&api), api, publisher, inbox }
    }

    /// Sends one request as `role`, without a certificate where that is empty.
    pub(crate) async fn send(&self, role: &str, request: Request<Body>) -> Reply {
        ask(self.entry.clone(), role, request).await
    }

    /// The same from this end of a connection.
    pub(crate) async fn send_from(&self, remote: &str, role: &str, request: Request<Body>) -> Reply {
        ask_from(remote, self.entry.clone(), role, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("", Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Posts `body` as an operator, while the agreement answers with `answer`; gives what it was asked, too.
    pub(crate) async fn change(&mut self, path: &str, body: &str, answer: Answer) -> (Reply, Proposed) {
        let asked = ask(self.entry.clone(), "operator/admin", post(path, body));
        let played = async {
            let mut proposed = self.inbox.recv().await.unwrap();
            let reply = std::mem::replace(&mut proposed.caller, tokio::sync::oneshot::channel().0);
            reply.send(answer).unwrap();
            proposed
        };
        tokio::join!(asked, played)
    }
}

pub(crate) fn post(path: &str, body: &str) -> Request<Body> {
    Request::post(path).body(Body::from(body.to_owned())).unwrap()
}

pub(crate) async fn ask(entry: Entry<Router>, role: &str, request: Request<Body>) -> Reply {
    ask_from("192.168.1.7:4711", entry, role, request).await
}

async fn ask_from(remote: &str, mut entry: Entry<Router>, role: &str, request: Request<Body>) -> Reply {
    let (remote, local) = (remote.parse().unwrap(), "192.168.1.10:50051".parse().unwrap());
    let caller = Caller { remote, local, identity: identity(role) };
    Reply::of(entry.answer(&Arc::new(caller), None, request).await).await
}

fn identity(role: &str) -> Option<Identity> {
    (!role.is_empty()).then(|| Identity {
        spiffe: format!("spiffe://c-1.canary/{role}").parse().unwrap(),
        serial: "0a0b".into(),
        not_after: UnixMillis(unix_millis().0 + 60_000),
    })
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    async fn of(response: Response<Either<proxy::Body, Body>>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and the stable code of a problem, which must be one.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let document = self.json();
        assert_eq!(document["status"], self.status.as_u16());
        for member in ["type", "title", "detail"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {}", self.body);
        }
        (self.status.as_u16(), document["code"].as_str().unwrap().to_owned())
    }
}

pub(crate) fn method(name: &str) -> Method {
    name.parse().unwrap()
}
