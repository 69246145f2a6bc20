//! The client: many users who ask all three nodes over HTTPS, all the time.

use super::error::DemoError;
use super::ledger::{Answer, Ledger, Observation, Refusal, USERS, Worth};
use super::models::Model;
use super::stage::Stage;
use bytes::Bytes;
use client::{Https, HttpsError, whole};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, StatusCode};
use model::NodeId;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

/// Requests to one node that are on their way at once.
const ASKERS: usize = 8;
/// Between two requests of one asker, a little longer than an answer takes: 320 a second to each node, which two
/// processors do with ease beside other work, and which at 5 % give the canary its minimum sample of 59 in little more
/// than a second.
const PACE: Duration = Duration::from_millis(25);
/// After this long without an answer a request has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read; those of the model servers have some thirty bytes, a problem a few hundred.
const MAX_ANSWER: usize = 4096;
/// Observations that wait to be looked at; the pace fills it in a quarter of a minute, and then the askers wait.
const BACKLOG: usize = 16 * 1024;

/// The running traffic and what came of it. Dropped, it ends.
pub(super) struct Traffic {
    pub(super) ledger: Ledger,
    news: mpsc::Receiver<Observation>,
    gates: BTreeMap<NodeId, watch::Sender<Gate>>,
    _asking: JoinSet<()>,
}

/// Whether a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Closed,
}

impl Traffic {
    /// Starts to ask all nodes.
    pub(super) fn start(stage: &Stage) -> Result<Self, DemoError> {
        let ca = trust::load_ca(&stage.certs()).map_err(DemoError::Certificates)?;
        let tls = tls::api_client(&ca, None).map_err(DemoError::failed)?;
        let https = Https::new(tls, PATIENCE);
        let (sender, news) = mpsc::channel(BACKLOG);
        let (mut gates, mut asking) = (BTreeMap::new(), JoinSet::new());
        for (node, _) in stage.peers.iter() {
            let (gate, watched) = watch::channel(Gate::Open);
            gates.insert(node, gate);
            let asked = Arc::new(AtomicU32::new(0));
            let url = format!("https://{}:{}/predict", stage.host(node), node.data_port());
            for _ in 0..ASKERS {
                let asker = Asker { https: https.clone(), node, url: url.clone(), asked: Arc::clone(&asked) };
                asking.spawn(asker.ask_on_and_on(watched.clone(), sender.clone()));
            }
        }
        Ok(Self { ledger: Ledger::new(), news, gates, _asking: asking })
    }

    /// Asks `node` again, or no more: then what is on its way may fail.
    pub(super) fn gate(&self, node: NodeId, state: Gate) {
        if let Some(gate) = self.gates.get(&node) {
            gate.send_replace(state);
        }
    }

    /// Takes in observations until `enough` or until `longest` has passed.
    pub(super) async fn observe(&mut self, longest: Duration, enough: impl Fn(&Ledger) -> bool) {
        let end = tokio::time::Instant::now() + longest;
        while !enough(&self.ledger) {
            // The askers hold the other end for as long as this value lives.
            let Ok(Some(observation)) = timeout_at(end, self.news.recv()).await else { return };
            self.ledger.record(observation);
        }
    }
}

/// Asks one node, one request after another.
struct Asker {
    https: Https,
    node: NodeId,
    url: String,
    /// Requests to the node so far.
    asked: Arc<AtomicU32>,
}

impl Asker {
    async fn ask_on_and_on(self, mut gate: watch::Receiver<Gate>, news: mpsc::Sender<Observation>) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut newest = 0;
        loop {
            pace.tick().await;
            if *gate.borrow() == Gate::Closed {
                if gate.wait_for(|state| *state == Gate::Open).await.is_err() {
                    return;
                }
                // Until its version is confirmed, a restarted node may show one that is older than what it had.
                newest = 0;
            }
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let user = number % USERS;
            let asked = Instant::now();
            let result = match self.ask(user, number).await.and_then(|answer| not_older(answer, &mut newest)) {
                Err(_) if *gate.borrow() == Gate::Closed => Err(Refusal::CutOff),
                result => result.map_err(Refusal::Failed),
            };
            if news.send(Observation { node: self.node, user, asked, result }).await.is_err() {
                return;
            }
        }
    }

    /// Users want something else each time: the same once more would not be counted.
    async fn ask(&self, user: u32, number: u32) -> Result<Answer, String> {
        let asked = Instant::now();
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("x-canary-key", format!("user-{user}"))
            .body(Bytes::from(format!(r#"{{"features":[{user},{number}]}}"#)))
            .map_err(|error| error.to_string())?;
        let answered = async {
            let (head, body) = self.https.send(request).await?.into_parts();
            Ok((head, whole(body, MAX_ANSWER).await?))
        };
        let answered =
            timeout(PATIENCE, answered).await.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
        let (head, body) = answered.map_err(|error: HttpsError| innermost(error.as_ref()))?;
        let (version, model, worth) = read(head.status, &head.headers, &body)?;
        Ok(Answer { version, model, worth, took: asked.elapsed() })
    }
}

/// Two requests one after the other must not see the version go back.
fn not_older(answer: Answer, newest: &mut u64) -> Result<Answer, String> {
    if answer.version < *newest {
        return Err(format!("its version went back from {newest} to {}", answer.version));
    }
    *newest = answer.version;
    Ok(answer)
}

/// The version and the model that an answer names; the node and the model server must name the same model. An error of
/// the model server itself is an answer, too: the node passes it on.
fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(u64, Model, Worth), String> {
    let text = || String::from_utf8_lossy(body).into_owned();
    let worth = match status {
        StatusCode::OK => Worth::Good,
        StatusCode::INTERNAL_SERVER_ERROR => Worth::Error,
        _ => return Err(format!("{status}: {}", text())),
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let version = header("x-canary-version").parse().map_err(|_| "its answer has no x-canary-version".to_owned())?;
    let name = header("x-canary-model");
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if document["model"] != name {
        return Err(format!("{status}: x-canary-model is {name:?}, but what answered says {}", text()));
    }
    let model =
        Model::named(name).ok_or_else(|| format!("x-canary-model is {name:?}, which is no model of the demo"))?;
    Ok((version, model, worth))
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(model: &'static str) -> HeaderMap {
        let value = |text: &'static str| http::HeaderValue::from_static(text);
        [("x-canary-version", value("3")), ("x-canary-model", value(model))]
            .into_iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value))
            .collect()
    }

    #[test]
    fn the_node_and_the_model_server_must_name_the_same_model() {
        let (ok, broken) = (StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(read(ok, &headers("v2"), br#"{"model":"v2"}"#), Ok((3, Model::V2, Worth::Good)));
        assert_eq!(read(broken, &headers("v3"), br#"{"model":"v3"}"#), Ok((3, Model::V3, Worth::Error)));
        assert!(read(ok, &headers("v1"), br#"{"model":"v2"}"#).is_err());
        assert!(read(ok, &headers("v9"), br#"{"model":"v9"}"#).is_err());
        assert!(read(ok, &HeaderMap::new(), br#"{"model":"v1"}"#).is_err());
        assert!(read(broken, &headers("v3"), br#"{"title":"a problem of the node"}"#).is_err());
        assert!(read(StatusCode::BAD_GATEWAY, &headers("v1"), br#"{"model":"v1"}"#).is_err());
    }

    #[test]
    fn a_version_that_goes_back_is_a_failure() {
        let (model, worth, took) = (Model::V1, Worth::Good, Duration::ZERO);
        let answer = |version| Answer { version, model, worth, took };
        let mut newest = 0;
        assert!(not_older(answer(2), &mut newest).is_ok() && not_older(answer(2), &mut newest).is_ok());
        assert!(not_older(answer(1), &mut newest).is_err());
    }
}
