//! Two small HTTP model servers, within this process.

use crate::cli::failure::{Exit, Failure};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The model that serves before any decision.
pub(super) const STABLE: &str = "v1";
/// The model on trial.
pub(super) const CANARY: &str = "v2";

/// The running servers; dropped, they stop.
pub(super) struct ModelServers {
    places: Vec<(&'static str, SocketAddr)>,
    _serving: JoinSet<()>,
}

impl ModelServers {
    /// Starts one for each model, on ports that are free.
    pub(super) async fn start() -> Result<Self, Failure> {
        let (mut places, mut serving) = (Vec::new(), JoinSet::new());
        for model in [STABLE, CANARY] {
            let failed =
                |error| Failure::message(Exit::Failed, format!("cannot start the model server {model}: {error}"));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
            places.push((model, listener.local_addr().map_err(failed)?));
            // A socket that cannot be told to send at once still answers.
            let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
            serving.spawn(async move {
                let answer = move |asked: Bytes| async move { Json(json!({"model": model, "bytes": asked.len()})) };
                // It ends only with the task.
                let _ = axum::serve(listener, Router::new().fallback(answer)).await;
            });
        }
        Ok(Self { places, _serving: serving })
    }

    /// Where each model is, as `canary node --upstream` takes it.
    pub(super) fn upstreams(&self) -> Vec<String> {
        self.places.iter().map(|(model, address)| format!("{model}=http://{address}/predict")).collect()
    }

    /// Where each model is, for people.
    pub(super) fn listed(&self) -> String {
        self.places.iter().map(|(model, address)| format!("{model} {address}")).collect::<Vec<_>>().join("   ")
    }
}
