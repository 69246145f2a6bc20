//! The way to an upstream and back, and what becomes of failures.

use crate::answer::Problem;
use crate::headers::strip_hop_by_hop;
use crate::observe::{SHARDS, own_shard};
use crate::upload::{BodyError, Progress};
use crate::upstream::dialed::{Dialed, Line, Wire, was_closed_when_used};
use crate::upstream::pool::{IDLE_CONNECTIONS, IDLE_FOR};
use crate::upstream::replay::Replay;
use bytes::Bytes;
use edge::Prefixed;
use http::header::TRANSFER_ENCODING;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::Executor;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioIo, TokioTimer};
use member::boottime;
use model::ModelId;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower::util::MapResponse;

/// How long a probe may take, connecting included.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To accept a connection. Upstreams are near: one that needs longer is as good as gone.
    pub connect: Duration,
    /// To begin its answer, from the moment that it has of the request what the client has sent. Models think for seconds,
    /// not for minutes.
    pub answer: Duration,
    /// To go on with its answer, after any part of it.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), answer: Duration::from_secs(30), idle: Duration::from_secs(30) }
    }
}

/// A request's body on its way to an upstream: all there, or streamed.
pub(crate) type Outgoing = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BodyError>>;

/// A pooled client for plain HTTP.
pub(crate) struct Forwarder {
    /// A client for each thread. A connection is driven by the thread that opened it, so that a shared pool would send most
    /// requests to another thread and back.
    clients: [Client<Dialer, Outgoing>; SHARDS],
    /// Its connections are not kept, and it never uses one that was: for probes, whose thread serves no traffic, and for
    /// what is sent once more.
    prober: Client<Dialer, Outgoing>,
    connector: HttpConnector,
    pub(crate) timeouts: Timeouts,
    pub(crate) tasks: TaskTracker,
}

/// Says of an answer that nothing but the end of its connection tells where it ends.
#[derive(Clone, Copy)]
pub(crate) struct EndsByClose;

/// What a client of hyper's gives.
type Answered = Result<Response<Incoming>, Error>;

/// A long request without an answer. When this is dropped, nobody waits for one any more, and its connection is cut: the
/// client of HTTP would keep it, and the request, until the upstream has read what was sent, which may be never.
struct Unanswered(Option<CaptureConnection>);

impl Unanswered {
    fn of(request: &mut Request<Outgoing>) -> Self {
        Self(Some(capture_connection(request)))
    }

    fn on_answer(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(connection) = &self.0
            && let Some(connected) = &*connection.connection_metadata()
            && let Some(line) = Line::of(connected)
        {
            line.cut();
        }
    }
}

/// Makes connections that know since when they are there.
type Dialer = MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> Dialed>;

/// Has the tasks counted that a client starts for its connections.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, task: F) {
        self.0.spawn(async { drop(task.await) });
    }
}

impl Forwarder {
    pub(crate) fn new(timeouts: Timeouts, tasks: TaskTracker) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        let dialer: Dialer = connector.clone().map_response(Dialed::now);
        let client = |_| {
            Client::builder(Tracked(tasks.clone()))
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_FOR)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .build(dialer.clone())
        };
        let clients = std::array::from_fn(client);
        let prober = Client::builder(Tracked(tasks.clone())).pool_max_idle_per_host(0).build(dialer.clone());
        Self { clients, prober, connector, timeouts, tasks }
    }

    /// Sends `request` to an upstream of `model` and gives the answer as soon as its head is there. A body that is still
    /// coming has its `progress`. Where a connection that had been kept is closed in the moment in which it is used, the
    /// request is sent `again` on a new one, if it may be.
    pub(crate) async fn call(
        &self,
        model: &ModelId,
        mut request: Request<Outgoing>,
        again: Option<Request<Outgoing>>,
        progress: Option<Progress>,
    ) -> Result<Response<Incoming>, Problem> {
        let limit = self.timeouts.answer;
        let mut unanswered = progress.is_some().then(|| Unanswered::of(&mut request));
        let mut answer = pin!(self.answered(request, again));
        let mut left = limit;
        loop {
            if let Ok(answer) = timeout(left, answer.as_mut()).await {
                if let Some(unanswered) = unanswered.take() {
                    unanswered.on_answer();
                }
                return end_to_end(model, answer.map_err(|error| self.problem_of(model, error))?);
            }
            left = progress.as_ref().map_or(Duration::ZERO, |progress| progress.left(limit, boottime()));
            if left.is_zero() {
                return Err(Problem::UpstreamSlow { model: model.to_string(), after: limit });
            }
        }
    }

    async fn answered(&self, request: Request<Outgoing>, again: Option<Request<Outgoing>>) -> Answered {
        let asked = boottime();
        match (self.clients[own_shard()].request(request).await, again) {
            (Err(error), Some(again)) if was_closed_when_used(&error, asked) => self.prober.request(again).await,
            (answer, _) => answer,
        }
    }

    /// A new connection to an upstream of `model`.
    pub(crate) async fn connect(&self, model: &ModelId, place: &Uri) -> Result<TcpStream, Problem> {
        let connected = self.connector.clone().oneshot(place.clone()).await;
        connected.map(TokioIo::into_inner).map_err(|error| self.unconnected(model.to_string(), reason(&error)))
    }

    /// Reads the answer to a POST request that was sent to an upstream of `model` already, and of which some was `heard`,
    /// until `until`.
    pub(crate) async fn resume(
        &self,
        model: &ModelId,
        upstream: TcpStream,
        heard: Vec<u8>,
        until: Instant,
    ) -> Result<Response<Incoming>, Problem> {
        let wire = Wire::new(upstream);
        let line = wire.line();
        let answered = async {
            let replay = Replay::new(Prefixed::new(wire, heard));
            let (mut sender, connection) = http1::handshake(TokioIo::new(replay)).await?;
            // It ends with the answer; what is wrong with it, the answer's body says.
            self.tasks.spawn(connection);
            sender.send_request(Request::post("/").body(Empty::<Bytes>::new()).expect("a request")).await
        };
        match timeout_at(until, answered).await {
            Ok(Ok(mut response)) => {
                response.extensions_mut().insert(line);
                end_to_end(model, response)
            }
            Ok(Err(error)) => Err(Problem::UpstreamBroken { model: model.to_string(), error: reason(&error) }),
            Err(_) => Err(Problem::UpstreamSlow { model: model.to_string(), after: self.timeouts.answer }),
        }
    }

    /// Whether `place` answers a GET with a status below 500 within `limit`; else why not.
    pub(crate) async fn ask(&self, place: &Uri, limit: Duration) -> Result<(), String> {
        let mut request = Request::new(Either::Left(Full::default()));
        *request.uri_mut() = place.clone();
        match timeout(limit, self.prober.request(request)).await {
            Err(_) => Err(format!("{place} did not answer within {} ms", limit.as_millis())),
            Ok(Err(error)) => Err(format!("{place} cannot be reached: {}", reason(&error))),
            Ok(Ok(response)) if response.status().is_server_error() => {
                Err(format!("{place} answered {}", response.status()))
            }
            Ok(Ok(_)) => Ok(()),
        }
    }

    fn problem_of(&self, model: &ModelId, error: Error) -> Problem {
        if let Some(own) = own_body_error(&error) {
            return own.clone().into();
        }
        let model = model.to_string();
        match (error.is_connect(), reason(&error)) {
            (true, error) => self.unconnected(model, error),
            (false, error) => Problem::UpstreamBroken { model, error },
        }
    }

    /// Why there is no connection.
    fn unconnected(&self, model: String, error: String) -> Problem {
        if error.contains("timed out") {
            return Problem::UpstreamSlow { model, after: self.timeouts.connect };
        }
        Problem::UpstreamUnreachable { model, error }
    }
}

/// An answer without what belongs to the connection to its upstream.
fn end_to_end(model: &ModelId, mut response: Response<Incoming>) -> Result<Response<Incoming>, Problem> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let error = "it switched protocols unasked".to_owned();
        return Err(Problem::UpstreamBroken { model: model.to_string(), error });
    }
    if response.body().size_hint().exact().is_none() && !response.headers().contains_key(TRANSFER_ENCODING) {
        response.extensions_mut().insert(EndsByClose);
    }
    strip_hop_by_hop(response.headers_mut());
    // What an upstream speaks is between it and this node.
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// The innermost reason, which names what happened; the layers above only say who noticed.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn own_body_error(error: &Error) -> Option<&BodyError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(own) = error.downcast_ref() {
            return Some(own);
        }
        source = error.source();
    }
    None
}
