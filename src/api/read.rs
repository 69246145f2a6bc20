//! The other reads: health, history, the routes themselves, and whether the node lives and serves.

use super::shown;
use super::state::Api;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use edge::Problem;
use http::header::CONTENT_TYPE;
use member::boottime;
use schema::{HealthSnapshot, HistoryLine, code};
use serde::Deserialize;
use std::sync::Arc;

const DEFAULT_HISTORY: usize = 50;
/// As much as a node keeps.
const MAX_HISTORY: usize = 1_000;

impl Api {
    /// The health of this node.
    pub(super) fn snapshot(&self) -> HealthSnapshot {
        let view = self.handle.view();
        let trial = self.handle.status().as_deref().map(shown::trial);
        let mut shown = shown::health(&view, boottime(), self.proxy.observations(), trial, &self.certificates.load());
        shown.stopping = self.leaving.is_cancelled();
        shown.wire_version = Some(self.wire_version);
        for (id, link) in (self.links)() {
            if let Some(peer) = shown.peers.get_mut(&id) {
                (peer.wire_version, peer.clock_skew_ms) = (Some(link.wire_version), Some(link.clock_skew_ms));
            }
        }
        shown
    }
}

pub(super) async fn health_snapshot(State(api): State<Arc<Api>>) -> Json<HealthSnapshot> {
    Json(api.snapshot())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    limit: Option<usize>,
}

pub(super) async fn history(
    State(api): State<Arc<Api>>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<Vec<HistoryLine>>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_HISTORY);
    if !(1..=MAX_HISTORY).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {MAX_HISTORY}")));
    }
    Ok(Json(api.handle.history(limit).iter().map(shown::history_line).collect()))
}

/// `GET /openapi.json`: the routes, for people and for generators of clients.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], schema::openapi::DOCUMENT)
}

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Ready is who serves from a state of its own: recovered from disk, or the first one, at which all began. A node that has
/// not joined its mesh yet is not, and neither is one that stops.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Problem> {
    if api.leaving.is_cancelled() || api.stopping.is_cancelled() {
        return Err(Problem::unavailable(code::STOPPING, "this node is stopping"));
    }
    if !api.handle.view().stage.has_joined() {
        return Err(Problem::not_joined());
    }
    Ok("ok\n")
}
