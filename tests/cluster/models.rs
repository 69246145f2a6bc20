//! Real model servers for real nodes.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A model: it says its name to every request, and can be told to think for long, or to fail.
pub(crate) struct ModelServer {
    name: &'static str,
    address: SocketAddr,
    gate: Arc<Gate>,
    _runtime: Runtime,
}

struct Gate {
    held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
    /// Of how many predictions one fails; none at 0.
    fails_one_in: watch::Sender<u64>,
    predictions: watch::Sender<u64>,
    /// How long everything takes.
    delay: watch::Sender<Duration>,
}

impl ModelServer {
    pub(crate) fn start(host: &str, name: &'static str) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a thread");
        let listener = runtime.block_on(TcpListener::bind((host, 0))).expect("this test's own address");
        let address = listener.local_addr().expect("bound");
        let gate = Arc::new(Gate {
            held: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
            fails_one_in: watch::Sender::new(0),
            predictions: watch::Sender::new(0),
            delay: watch::Sender::new(Duration::ZERO),
        });
        let shared = Arc::clone(&gate);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let gate = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, name, Arc::clone(&gate)));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { name, address, gate, _runtime: runtime }
    }

    /// As `--upstream` takes it.
    pub(crate) fn upstream(&self) -> String {
        format!("{}={}", self.name, self.url())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/model", self.address)
    }

    pub(crate) fn hold(&self) {
        self.gate.held.send_replace(true);
    }

    pub(crate) fn holds_one(&self) -> bool {
        *self.gate.waiting.borrow() > 0
    }

    pub(crate) fn release(&self) {
        self.gate.held.send_replace(false);
    }

    /// From now on one of so many predictions fails.
    pub(crate) fn fail_one_in(&self, number: u64) {
        self.gate.fails_one_in.send_replace(number);
    }

    /// From now on everything takes so long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.gate.delay.send_replace(delay);
    }
}

async fn answer(
    request: Request<Incoming>,
    name: &'static str,
    gate: Arc<Gate>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let delay = *gate.delay.borrow();
    tokio::time::sleep(delay).await;
    let mut response = Response::new(Full::from(name));
    if request.method() == Method::POST {
        gate.waiting.send_modify(|waiting| *waiting += usize::from(*gate.held.borrow()));
        // The gate outlives every request.
        let _ = gate.held.subscribe().wait_for(|held| !held).await;
        gate.predictions.send_modify(|predictions| *predictions += 1);
        let (number, one_in) = (*gate.predictions.borrow(), *gate.fails_one_in.borrow());
        if one_in > 0 && number.is_multiple_of(one_in) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    Ok(response)
}
