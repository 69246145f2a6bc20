//! Small HTTP model servers, within this process: good ones, one that fails and one that is slow.

use super::error::DemoError;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use http::{Method, StatusCode};
use serde_json::json;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What a good answer takes: as long as a small model computes, and long against what the nodes add to it, so that a
/// comparison of two models compares the models.
const THINKING: Duration = Duration::from_millis(20);
/// What a slow answer takes: twice the p95 that plans allow where they say nothing.
const DAWDLING: Duration = Duration::from_millis(400);
/// Of ten requests, as many get an error from the model that fails.
pub(super) const ERRORS_IN_TEN: u64 = 3;
/// Of ten requests, as many wait long at the model that is slow.
pub(super) const SLOW_IN_TEN: u64 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Model {
    /// Stable before any decision.
    V1,
    /// A good one.
    V2,
    /// One that answers some requests with an error.
    V3,
    /// One that answers most requests late.
    V4,
    /// Another good one, for the visitor.
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Well,
    Badly,
    Late,
}

/// The account that a model server gives of itself.
#[derive(Debug, Default)]
pub(super) struct Deeds(Mutex<Done>);

/// What a model server has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Requests that came, without those for readiness.
    pub(super) asked: u64,
    /// Those that it answered with an error or late.
    pub(super) bad: u64,
    pub(super) first_asked: Option<Instant>,
    pub(super) first_bad: Option<Instant>,
}

struct Server {
    model: Model,
    address: SocketAddr,
    deeds: Arc<Deeds>,
}

/// The running servers; dropped, they stop.
pub(super) struct ModelServers {
    servers: Vec<Server>,
    serving: JoinSet<()>,
}

impl Model {
    const ALL: [Self; 5] = [Self::V1, Self::V2, Self::V3, Self::V4, Self::V5];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::V5 => "v5",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    /// Whether an error of it is part of the story.
    pub(super) fn may_fail(self) -> bool {
        self.answers() == Answers::Badly
    }

    const fn answers(self) -> Answers {
        match self {
            Self::V1 | Self::V2 | Self::V5 => Answers::Well,
            Self::V3 => Answers::Badly,
            Self::V4 => Answers::Late,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Deeds {
    pub(super) fn until_now(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request; gives its number, from 0.
    fn note_asked(&self) -> u64 {
        let mut done = self.until_now();
        done.first_asked.get_or_insert_with(Instant::now);
        done.asked += 1;
        done.asked - 1
    }

    fn note_bad(&self) {
        let mut done = self.until_now();
        done.first_bad.get_or_insert_with(Instant::now);
        done.bad += 1;
    }
}

impl ModelServers {
    /// Starts one for each of `models`, on ports that are free.
    pub(super) async fn start(models: &[Model]) -> Result<Self, DemoError> {
        let mut all = Self { servers: Vec::new(), serving: JoinSet::new() };
        for model in models {
            all.add(*model).await?;
        }
        Ok(all)
    }

    /// Starts one more; gives where it answers.
    pub(super) async fn add(&mut self, model: Model) -> Result<String, DemoError> {
        let failed = |error| DemoError::Wrong(format!("cannot start the model server {model}: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // A socket that cannot be told to send at once still answers.
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        let deeds = Arc::new(Deeds::default());
        let router = Router::new().fallback(answer).with_state((model, Arc::clone(&deeds)));
        self.serving.spawn(async move {
            // It ends only with the task.
            let _ = axum::serve(listener, router).await;
        });
        self.servers.push(Server { model, address, deeds });
        Ok(url(address))
    }

    /// Where each model is, as `canary node --upstream` takes it.
    pub(super) fn upstreams(&self) -> Vec<String> {
        self.servers.iter().map(|server| format!("{}={}", server.model, url(server.address))).collect()
    }

    /// Where each model is, for people.
    pub(super) fn listed(&self) -> String {
        let place = |Server { model, address, .. }: &Server| format!("{model} {address}");
        self.servers.iter().map(place).collect::<Vec<_>>().join("  ")
    }

    /// What the server of `model` has done; nothing where there is none.
    pub(super) fn deeds(&self, model: Model) -> Arc<Deeds> {
        let server = self.servers.iter().find(|server| server.model == model);
        server.map(|server| Arc::clone(&server.deeds)).unwrap_or_default()
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/predict")
}

async fn answer(State((model, deeds)): State<(Model, Arc<Deeds>)>, method: Method) -> Response {
    if method == Method::GET {
        // Whether it is ready: every one of them is.
        return Json(json!({"model": model.name(), "ready": true})).into_response();
    }
    let number = deeds.note_asked();
    let body = Json(json!({"model": model.name()}));
    match model.answers() {
        Answers::Badly if is_among(number, ERRORS_IN_TEN) => {
            sleep(THINKING).await;
            deeds.note_bad();
            (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
        }
        Answers::Late if is_among(number, SLOW_IN_TEN) => {
            sleep(DAWDLING).await;
            deeds.note_bad();
            body.into_response()
        }
        Answers::Well | Answers::Badly | Answers::Late => {
            sleep(THINKING).await;
            body.into_response()
        }
    }
}

/// Whether the request with this number is one of the `in_ten` of each ten, which do not follow one another if they are
/// few.
const fn is_among(number: u64, in_ten: u64) -> bool {
    number * in_ten % 10 < in_ten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_in_ten_as_is_said() {
        for in_ten in [ERRORS_IN_TEN, SLOW_IN_TEN] {
            let count = |tens: std::ops::Range<u64>| tens.filter(|number| is_among(*number, in_ten)).count() as u64;
            assert_eq!((count(0..10), count(10..20), count(3..13)), (in_ten, in_ten, in_ten));
        }
    }

    #[test]
    fn models_are_known_by_their_names() {
        assert!(Model::ALL.into_iter().all(|model| Model::named(model.name()) == Some(model)));
        assert_eq!(Model::named("v6"), None);
    }
}
