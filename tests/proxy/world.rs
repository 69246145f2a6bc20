//! One node's proxy, whose picture of the agreement the test sets, and upstreams of all kinds on loopback.

use agreement::{IsolationPolicy, Stage};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use member::{Handle, Publisher, boottime};
use model::{NodeId, NodeSet, RequestId, Weight};
use proxy::{Proxy, Remote, Route, Settings, Timeouts, Upstreams};
use rollout::Trial;
use schema::ModelHealth;
use service::{Canary, Model, RoutingState, View};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Anything that hangs fails the test instead.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// For tests that wait for a timeout to happen.
pub(crate) const SHORT: Timeouts = Timeouts {
    connect: Duration::from_millis(300),
    answer: Duration::from_millis(300),
    idle: Duration::from_millis(300),
};
/// How long clients are taken to wait for the stable model as long as nothing is known of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Who sends all requests.
pub(crate) const CLIENT: Remote =
    Remote { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7)), 4711), is_certified: true };
pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) type Answer = Response<Bytes>;

/// A proxy on a node whose picture the test sets.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    publisher: Publisher,
    view: View,
}

impl Bench {
    pub(crate) fn new(weight: u16, upstreams: &str) -> Self {
        Self::with_timeouts(weight, upstreams, Timeouts::default())
    }

    pub(crate) fn with_timeouts(weight: u16, upstreams: &str, timeouts: Timeouts) -> Self {
        let upstreams: Upstreams = upstreams.parse().expect("tests give good upstreams");
        Self::with_settings(weight, Settings { upstreams, timeouts, ..Settings::default() })
    }

    pub(crate) fn with_settings(weight: u16, settings: Settings) -> Self {
        let view = view(weight);
        let (handle, publisher, _requests) = Handle::new(view.clone());
        Self { proxy: Proxy::new(handle, settings, TaskTracker::new()), publisher, view }
    }

    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut View)) {
        change(&mut self.view);
        self.publisher.publish(self.view.clone());
    }

    pub(crate) async fn post(&self, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(headers, Full::new(body.into())).await
    }

    pub(crate) async fn send<B>(&self, headers: &[(&'static str, &str)], body: B) -> Answer
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        whole(self.begin(headers, body).await).await
    }

    pub(crate) async fn begin<B>(&self, headers: &[(&'static str, &str)], body: B) -> Response<proxy::Body>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        self.start(Method::POST, "/predict?asked=1", headers, body).await
    }

    /// Asks for `target`, and waits for the whole answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        whole(self.start(method, target, headers, Full::new(body.into())).await).await
    }

    /// Asks for `target`, and waits for the head of the answer.
    pub(crate) async fn start<B>(
        &self,
        method: Method,
        target: &str,
        headers: &[(&'static str, &str)],
        body: B,
    ) -> Response<proxy::Body>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().expect("tests ask for good targets");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("tests use good header values");
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        let route = Route::of(request.method(), request.uri().path()).expect("tests ask the models");
        within(self.proxy.answer(route, Some(CLIENT), request)).await
    }

    /// Posts `{}` for somebody with this end of a connection.
    pub(crate) async fn post_from(&self, remote: Remote, headers: &[(&'static str, &str)]) -> Answer {
        let mut request = Request::post("/predict");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::from("{}")).expect("a request");
        whole(within(self.proxy.answer(Route::Prediction, Some(remote), request)).await).await
    }

    /// Counts for the trial of the canary from now on.
    pub(crate) fn begin_trial(&self) {
        self.proxy.count(Some(&trial(&self.view)));
    }

    /// Requests and errors observed of `model`.
    pub(crate) fn counts(&self, model: &str) -> (u64, u64) {
        let seen = self.observed(model);
        (seen.requests, seen.errors)
    }

    /// Requests to `model` that are no evidence.
    pub(crate) fn uncounted(&self, model: &str) -> u64 {
        self.observed(model).uncounted
    }

    fn observed(&self, model: &str) -> ModelHealth {
        let observations = self.proxy.observations();
        observations.models.into_iter().find(|(id, _)| id.as_str() == model).map(|(_, seen)| seen).unwrap_or_default()
    }
}

/// The trial of the canary that `view` shows.
pub(crate) fn trial(view: &View) -> Trial {
    Trial::of(&view.state, None).expect("a canary has some weight")
}

pub(crate) fn view(weight: u16) -> View {
    let mut state = RoutingState::initial("v1".parse().expect("v1 is a model id"));
    state.version = 7;
    state.canary = Some(Canary {
        model: Model { id: "v2".parse().expect("v2 is a model id"), upstream: None },
        weight: Weight::from_basis_points(weight).expect("tests use weights up to 10 000"),
        salt: "rollout-1".to_owned(),
    });
    View {
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
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing hangs")
}

/// A real HTTP/1 server on a free loopback port; it ends with the test's runtime.
pub(crate) async fn upstream<S, F>(serve: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    raw_upstream(move |stream| {
        let serve = serve.clone();
        let service = service_fn(move |request| {
            let answer = serve(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        async move {
            // A client that goes away in the middle is part of some tests.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

/// A TCP server that does whatever the test wants with each connection.
pub(crate) async fn raw_upstream<S, F>(serve: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.24.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    address
}

/// An upstream that says its name.
pub(crate) async fn named(name: &'static str) -> SocketAddr {
    upstream(move |_| async move { Response::new(Full::from(name)) }).await
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

pub(crate) fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(answer.body()).expect("the answer is JSON")
}

#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_unsigned(answer, status, code);
    assert_signed(answer);
}

/// A problem that belongs to no model.
#[track_caller]
pub(crate) fn assert_unsigned(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status().as_u16(), status, "{:?}", answer.body());
    assert_eq!(header(answer, "content-type"), "application/problem+json");
    let problem = json(answer);
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(u64::from(status)), Some(code)));
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

#[track_caller]
pub(crate) fn assert_signed(answer: &Answer) {
    assert!(["v1", "v2"].contains(&header(answer, "x-canary-model")));
    assert_eq!(header(answer, "x-canary-version"), "7");
    assert_eq!(header(answer, "x-canary-node"), "node-a");
    name(answer);
}

/// The name that an answer has, which must be the only one.
#[track_caller]
pub(crate) fn name(answer: &Answer) -> RequestId {
    let names: Vec<_> = answer.headers().get_all("x-canary-request").iter().collect();
    let [name] = names.as_slice() else { panic!("not one name: {names:?}") };
    name.to_str().expect("headers are text").parse().expect("a name")
}

/// An upstream that says its name, and what it is sent.
pub(crate) async fn listening(name: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<(Parts, Bytes)>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let address = upstream(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("the body is whole").to_bytes();
            sender.send((parts, body)).expect("the test listens");
            Response::new(Full::from(name))
        }
    })
    .await;
    (address, seen)
}

/// An upstream that takes requests and says nothing.
pub(crate) async fn hanging() -> SocketAddr {
    raw_upstream(|mut stream| async move {
        let mut read = [0; 1024];
        while stream.read(&mut read).await.is_ok_and(|length| length > 0) {}
    })
    .await
}

/// An address that refuses connections: nobody else uses it while the test runs.
pub(crate) async fn gone() -> SocketAddr {
    let listener = TcpListener::bind("127.24.0.2:0").await.expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address")
}

pub(crate) async fn whole(answer: Response<proxy::Body>) -> Answer {
    let (parts, body) = answer.into_parts();
    let body = within(body.collect()).await.expect("the body is whole").to_bytes();
    Response::from_parts(parts, body)
}

/// A body without a length, in pieces of 16 KiB.
pub(crate) fn chunked(length: usize) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let pieces = (0..length).step_by(16 * 1024).map(move |at| Bytes::from(vec![b' '; (length - at).min(16 * 1024)]));
    StreamBody::new(futures_util::stream::iter(pieces.map(|piece| Ok(Frame::data(piece)))))
}
