//! Requests to nodes: reads, long polls and changes, over HTTPS.

use crate::https::{Https, whole};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use model::{NodeId, Peers};
use rustls::ClientConfig;
use schema::{Document, HealthSnapshot, ProblemShape, ServedState};
use serde::Serialize;
use serde_json::Value;
use std::error::Error;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest answer that is read: a full history is a third of it.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Who coordinates may change while a request is on its way, but not this often.
const MAX_REDIRECTS: usize = 3;
/// A node answers a change within 15 s, decided or not; the rest is for the way.
const CHANGE_TIME: Duration = Duration::from_secs(20);

/// Reads nodes and asks them for changes. Cheap to clone: clones share connections.
#[derive(Clone)]
pub struct Client {
    https: Https,
    peers: Peers,
    patience: Duration,
}

/// The reason for which there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ClientError {
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("connection refused: no node runs at {0}")]
    ConnectionRefused(String),
    /// The connection could not be made or broke.
    #[error("{0}")]
    Connection(String),
    /// The server's certificate, or this client's, was not accepted.
    #[error("{0}")]
    Tls(String),
    #[error("not the answer of a canary node: {0}")]
    NotANode(String),
    #[error("{found} answers at the address of {wanted}: check PEERS_NODE_*")]
    OtherNode { wanted: NodeId, found: NodeId },
    #[error("the node sent this request on to {0}, which is not the address of a configured node")]
    Stray(String),
    #[error("the nodes do not agree on who coordinates: try again")]
    Circles,
}

/// A node's answer to a request for a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The node that gave the answer.
    pub node: NodeId,
    /// 200, or the status of a problem.
    pub status: StatusCode,
    /// The document.
    pub document: Value,
    /// From when this node was asked to when its answer was there.
    pub took: Duration,
}

impl Told {
    /// The document as that of a problem.
    pub fn problem(&self) -> ProblemShape {
        ProblemShape::read(&self.document)
    }
}

/// The reason for which a change got no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ChangeFailure {
    /// It was not sent: another node may be asked.
    #[error("{node}: {error}")]
    NotSent { node: NodeId, error: ClientError },
    /// It was sent, and may have been decided.
    #[error("{node} took the request and gave no answer: {error}")]
    Unknown { node: NodeId, error: ClientError },
}

/// The outcome of a wait for another state.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// The state and its tag.
    State(Box<ServedState>, String),
    /// It is still the one whose tag was named.
    Unchanged,
}

impl Client {
    /// A client for the nodes at `peers`, each of which has `patience` to answer a read.
    pub fn new(tls: ClientConfig, peers: Peers, patience: Duration) -> Self {
        Self { https: Https::new(tls, patience), peers, patience }
    }

    /// The nodes there are.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The state that `node` shows. Fails when it does not answer, or is not that node.
    pub async fn state(&self, node: NodeId) -> Result<ServedState, ClientError> {
        state_of(node, self.document(node, "/routing/state").await?)
    }

    /// Waits at most `wait` for another state than the one with `tag`. Fails when it does not answer, or is not that
    /// node.
    pub async fn poll(&self, node: NodeId, tag: Option<&str>, wait: Duration) -> Result<Polled, ClientError> {
        let mut request = Request::get(self.uri(node, &format!("/routing/state?wait={}", wait.as_secs())));
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = self.send(request, Bytes::new(), wait + self.patience).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Polled::Unchanged);
        }
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        let state = state_of(node, document(response, self.patience).await?)?;
        Ok(Polled::State(Box::new(state), tag))
    }

    /// The health of `node`: its measurements, and whom it hears. Fails when it does not answer.
    pub async fn health(&self, node: NodeId) -> Result<HealthSnapshot, ClientError> {
        self.read(node, "/health/snapshot").await
    }

    /// Reads any document of `node`. Fails when it does not answer, or answers something else.
    pub async fn read<T: Document>(&self, node: NodeId, path: &str) -> Result<T, ClientError> {
        said(self.document(node, path).await?)
    }

    async fn document(&self, node: NodeId, path: &str) -> Result<Value, ClientError> {
        let response = self.send(Request::get(self.uri(node, path)), Bytes::new(), self.patience).await?;
        document(response, self.patience).await
    }

    /// Asks `node` for a change, and whoever it names instead. An error tells whether the change was perhaps made.
    pub async fn change(&self, node: NodeId, path: &str, body: &impl Serialize) -> Result<Told, ChangeFailure> {
        let body = serde_json::to_vec(body).map(Bytes::from).unwrap_or_default();
        let mut node = node;
        for _ in 0..=MAX_REDIRECTS {
            // A node that is gone is noticed before the change is sent, so that another one can be asked.
            let not_sent = |error| ChangeFailure::NotSent { node, error };
            self.state(node).await.map_err(not_sent)?;
            let unknown = |error| ChangeFailure::Unknown { node, error };
            let request = Request::post(self.uri(node, path)).header(CONTENT_TYPE, "application/json");
            let asked = Instant::now();
            let response = self.send(request, body.clone(), CHANGE_TIME).await.map_err(unknown)?;
            let status = response.status();
            if status != StatusCode::TEMPORARY_REDIRECT {
                let document = document_of(response, self.patience).await.map_err(unknown)?;
                return Ok(Told { node, status, document, took: asked.elapsed() });
            }
            node = self.sent_to(&response).map_err(|error| ChangeFailure::NotSent { node, error })?;
        }
        Err(ChangeFailure::NotSent { node, error: ClientError::Circles })
    }

    /// Which configured node a redirection names.
    fn sent_to(&self, response: &Response<Incoming>) -> Result<NodeId, ClientError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let stray = || ClientError::Stray(location.chars().take(200).collect());
        let uri: Uri = location.parse().map_err(|_| stray())?;
        if uri.scheme_str() != Some("https") {
            return Err(stray());
        }
        let is_named = |(id, host): &(NodeId, &model::Host)| {
            uri.host() == Some(host.in_url().as_str()) && uri.port_u16() == Some(id.data_port())
        };
        self.peers.iter().find(is_named).map(|(id, _)| id).ok_or_else(stray)
    }

    fn uri(&self, node: NodeId, path: &str) -> String {
        let host = self.peers.host(node).map(model::Host::in_url).unwrap_or_default();
        format!("https://{host}:{}{path}", node.data_port())
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
        patience: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request.body(body).map_err(|error| ClientError::Connection(error.to_string()))?;
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        match timeout(patience, self.https.send(request)).await {
            Err(_) => Err(ClientError::Silent(patience)),
            Ok(Err(error)) => Err(explain(error.as_ref(), place)),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

fn state_of(node: NodeId, document: Value) -> Result<ServedState, ClientError> {
    let state: ServedState = said(document)?;
    let found = state.node_id;
    if found == node { Ok(state) } else { Err(ClientError::OtherNode { wanted: node, found }) }
}

fn said<T: Document>(document: Value) -> Result<T, ClientError> {
    T::read(document).map_err(|error| ClientError::NotANode(error.to_string()))
}

/// The document of a successful answer.
async fn document(response: Response<Incoming>, patience: Duration) -> Result<Value, ClientError> {
    let status = response.status();
    let document = document_of(response, patience).await?;
    if !status.is_success() {
        let detail = document["detail"].as_str().unwrap_or("no reason given").to_owned();
        return Err(ClientError::NotANode(format!("{status}: {detail}")));
    }
    Ok(document)
}

async fn document_of(response: Response<Incoming>, patience: Duration) -> Result<Value, ClientError> {
    let body = timeout(patience, whole(response.into_body(), MAX_ANSWER)).await;
    let body = body.map_err(|_| ClientError::Silent(patience))?;
    let body = body.map_err(|error| ClientError::Connection(format!("the answer broke off: {error}")))?;
    json_in(&body)
}

// A function of its own is there once, and not in every crate that awaits it.
fn json_in(bytes: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::NotANode(error.to_string()))
}

/// The cause that an operator can do something about, from the innermost error outward.
fn explain(error: &(dyn Error + 'static), place: String) -> ClientError {
    let mut causes = vec![error];
    while let Some(cause) = causes.last().and_then(|cause| inner(*cause)) {
        causes.push(cause);
    }
    if let Some(tls) = causes.iter().rev().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return ClientError::Tls(explain_tls(tls));
    }
    let refused = |cause: &&(dyn Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    if causes.iter().any(refused) {
        return ClientError::ConnectionRefused(place);
    }
    ClientError::Connection(causes.last().map_or_else(String::new, ToString::to_string))
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An I/O error hides what it wraps behind that one's own source.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return format!("TLS: {error}");
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds kinds; its own words serve for the others")]
    match wrong {
        Certificate::UnknownIssuer | Certificate::BadSignature => {
            "the node's certificate is not of the authority in ca.pem: copy this cluster's ca.pem".into()
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            format!("the node's certificate has expired, or a clock is wrong: {wrong}")
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            format!("the node's certificate is not valid yet, or a clock is wrong: {wrong}")
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            format!("the node's certificate is for another address: {wrong}")
        }
        other => format!("the node's certificate is refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_innermost_cause_is_told() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let explain = |error: &(dyn Error + 'static)| explain(error, "127.0.0.1:50051".into());
        assert_eq!(
            explain(&io::Error::other(refused)).to_string(),
            "connection refused: no node runs at 127.0.0.1:50051"
        );
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let ClientError::Tls(text) = explain(&io::Error::other(io::Error::other(expired))) else {
            panic!("an error of TLS")
        };
        assert!(text.contains("expired"), "{text}");
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(matches!(explain(&unknown), ClientError::Tls(text) if text.contains("ca.pem")));
        assert_eq!(explain(&io::Error::other("it rains")), ClientError::Connection("it rains".into()));
    }
}
