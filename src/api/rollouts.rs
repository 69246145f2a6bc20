//! The routes of rollouts: start one, look at it, say how it goes on.

use super::shown;
use super::state::Api;
use super::write::{Asked, propose};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use edge::{Problem, body};
use http::StatusCode;
use model::ModelId;
use proxy::Upstream;
use schema::{CurrentRollout, ModelRequest, PlanShape, RolloutShape, StartRequest, UndoRequest, VerbRequest, code};
use serde::de::DeserializeOwned;
use service::{Change, Extent, Model, Plan, WhenOpen};
use std::sync::Arc;

pub(super) async fn start(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let asked = Asked::admit(&api, request).await?;
    let wanted: StartRequest = body::parse_object(&asked.body)?;
    let plan = plan_of(wanted.plan)?;
    let canary = model(wanted.canary_model_id, wanted.upstream)?;
    let when_open = if wanted.supersede { WhenOpen::Supersede } else { WhenOpen::Refuse };
    propose(&api, asked, Change::Start { canary, plan: Arc::new(plan), when_open }, wanted.base_version).await
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Vec<RolloutShape>> {
    Json(shown::known(&api.handle.view(), &api.handle.history(usize::MAX)))
}

pub(super) async fn current(State(api): State<Arc<Api>>) -> Result<Json<CurrentRollout>, Problem> {
    let status = api.handle.status();
    let current = shown::current(&api.handle.view(), status.as_deref());
    current.map(Json).ok_or_else(|| {
        let detail = "there has been no rollout, and the canary gets nothing: start one with POST /rollouts";
        Problem::new(StatusCode::NOT_FOUND, code::NO_ROLLOUT, "There is no rollout", detail)
    })
}

pub(super) async fn say(
    State(api): State<Arc<Api>>,
    Path(verb): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = Asked::admit(&api, request).await?;
    let VerbRequest { full, why } = optional(&asked.body)?;
    let by = asked.by.id.clone();
    let why = || why.clone().unwrap_or_else(|| format!("by {by}"));
    let change = match verb.as_str() {
        "pause" => Change::Pause { why: why(), epoch: None },
        "resume" => Change::Resume,
        "promote" => Change::Promote(if full { Extent::Full } else { Extent::Step }),
        "abort" => Change::Abort { why: why(), started: None },
        "approve" => Change::Approve { operator: by.clone() },
        "retry" => Change::Retry,
        _ => {
            let detail = "a rollout can be told to pause, resume, promote, approve, abort or retry";
            return Err(Problem::new(StatusCode::NOT_FOUND, code::NOT_FOUND, "There is no such route", detail));
        }
    };
    propose(&api, asked, change, None).await
}

pub(super) async fn undo(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let asked = Asked::admit(&api, request).await?;
    let UndoRequest { to } = optional(&asked.body)?;
    propose(&api, asked, Change::Undo { to }, None).await
}

pub(super) async fn set_model(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let asked = Asked::admit(&api, request).await?;
    let ModelRequest { id, upstream } = body::parse_object(&asked.body)?;
    let model = model(id, upstream)?;
    propose(&api, asked, Change::Model(model), None).await
}

pub(super) fn plan_of(said: Option<PlanShape>) -> Result<Plan, Problem> {
    let plan = said.unwrap_or_else(PlanShape::usual).plan();
    plan.map_err(|error| Problem::bad_request(format!("plan: {error}")))
}

pub(super) fn model(id: ModelId, upstream: Option<String>) -> Result<Model, Problem> {
    if let Some(url) = &upstream {
        url.parse::<Upstream>().map_err(|error| Problem::bad_request(format!("upstream: {error}")))?;
    }
    Ok(Model { id, upstream })
}

/// What a body says, where an empty one is as good as none.
fn optional<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() { Ok(T::default()) } else { body::parse_object(body) }
}
