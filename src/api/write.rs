//! Changes of the routing: an operator's request, sent on to who coordinates or put to this node's own engine.
//!
//! The order is fixed: who asks, then the body's size, then who coordinates, then what the body says.

use super::shown::reasons;
use super::state::Api;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use edge::{Problem, admit, body};
use http::header::{HOST, ORIGIN};
use http::{StatusCode, Uri};
use member::{Answer, Refusal, Stopped, Vote, unix_millis};
use model::{Actor, MAX_REASON, NodeId, NodeSet, TxId, Weight};
use schema::{AgreedState, Committed, WeightRequest, code, rfc3339};
use serde_json::json;
use service::{Change, ChangeError, Model, NO_MODEL_SERVER, RoutingState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The engine answers within its own limits, a few seconds; beyond this it is taken for stuck, and the caller told so.
const ANSWER_TIME: Duration = Duration::from_secs(15);

pub(super) async fn weights(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let asked = Asked::admit(&api, request).await?;
    let wanted: WeightRequest = body::parse_object(&asked.body)?;
    let weight = Weight::from_fraction(wanted.canary_weight)
        .map_err(|error| Problem::bad_request(format!("canary_weight: {error}")))?;
    let canary = wanted.canary_model_id.map(|id| Model { id, upstream: None });
    propose(&api, asked, Change::Weight { weight, canary }, wanted.base_version).await
}

pub(super) async fn drain(api: State<Arc<Api>>, id: Path<String>, request: Request) -> Result<Response, Problem> {
    of_member(&api, &id, request, Change::Drain).await
}

pub(super) async fn undrain(api: State<Arc<Api>>, id: Path<String>, request: Request) -> Result<Response, Problem> {
    of_member(&api, &id, request, Change::Undrain).await
}

async fn of_member(
    api: &Api,
    id: &str,
    request: Request,
    change: impl Fn(NodeId) -> Change,
) -> Result<Response, Problem> {
    let asked = Asked::admit(api, request).await?;
    propose(api, asked, change(member(api, id)?), None).await
}

/// A request from someone who may make it, to the node that should decide it.
pub(super) struct Asked {
    pub(super) by: Actor,
    target: Uri,
    pub(super) body: bytes::Bytes,
}

impl Asked {
    pub(super) async fn admit(api: &Api, request: Request) -> Result<Self, Problem> {
        let by = match operator(api, &request).and_then(|by| refuse_other_sites(&request).map(|()| by)) {
            Ok(by) => by,
            Err(refused) => {
                body::discard(request).await;
                return Err(refused);
            }
        };
        let target = request.uri().clone();
        let body = body::read(request).await?;
        let view = api.handle.view();
        match view.coordinator {
            Some(other) if other != view.me => Err(elsewhere(api, other, &target)),
            Some(_) | None => Ok(Self { by, target, body }),
        }
    }
}

fn operator(api: &Api, request: &Request) -> Result<Actor, Problem> {
    admit(request, "Change refused", |caller| {
        let allowed = caller.operator(unix_millis());
        api.counters.count_auth(allowed.as_ref().err().map(Problem::status));
        if let (Err(problem), Some(by)) = (&allowed, caller.proved()) {
            let what = request.uri().path().chars().take(MAX_REASON).collect();
            let outcome = problem.status().to_string();
            api.audit.file(audit::Event::Refused { by, what, outcome });
        }
        allowed
    })
}

/// A browser that holds an operator's certificate would present it for any page that posts here. Browsers name the page's
/// site; programs do not.
pub(super) fn refuse_other_sites(request: &Request) -> Result<(), Problem> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str()).or_else(|| header(HOST));
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://"));
    if origin.is_some() && origin == authority {
        return Ok(());
    }
    let title = "Changes are not taken from other sites";
    Err(Problem::new(StatusCode::FORBIDDEN, code::OTHER_ORIGIN, title, "the page that sends this is of another site"))
}

fn elsewhere(api: &Api, other: NodeId, target: &Uri) -> Problem {
    let Some(host) = api.peers.host(other) else {
        return Problem::unavailable(code::NO_MAJORITY, format!("{other} coordinates and is not configured here"));
    };
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let location = format!("https://{}:{}{path}", host.in_url(), other.data_port());
    Problem::elsewhere(&location, format!("{other} coordinates: ask it")).with("coordinator", other.to_string())
}

fn member(api: &Api, id: &str) -> Result<NodeId, Problem> {
    let unknown = || {
        let detail = format!("no such member (members: {})", api.peers.members());
        Problem::new(StatusCode::NOT_FOUND, code::NOT_A_MEMBER, "There is no such member", detail)
    };
    let member: NodeId = id.parse().map_err(|_| unknown())?;
    if api.peers.members().contains(member) { Ok(member) } else { Err(unknown()) }
}

pub(super) async fn propose(api: &Api, asked: Asked, change: Change, base: Option<u64>) -> Result<Response, Problem> {
    let Ok(answer) = timeout(ANSWER_TIME, api.handle.propose(change.clone(), base, asked.by)).await else {
        return Err(unknown("the agreement gave no answer: see /routing/state for what became of it"));
    };
    let answer = answer.map_err(|stopped| match stopped {
        Stopped::Before => Problem::unavailable(code::STOPPING, stopped.to_string()),
        // It may have been sent for acceptance, and a majority of the others is enough.
        Stopped::Meanwhile => unknown("the node stopped before the change was settled: ask another for /routing/state"),
    })?;
    told(api, answer, &asked.target, &change)
}

/// What the client is told of the engine's answer.
fn told(api: &Api, answer: Answer, target: &Uri, change: &Change) -> Result<Response, Problem> {
    match answer {
        Answer::Committed { state, acknowledged, others_until } => {
            let members: NodeSet = api.handle.view().members;
            let committed = Committed {
                decision: "COMMIT".into(),
                state: AgreedState::of(&state, state.digest()),
                acknowledged: acknowledged.iter().collect(),
                others: members.minus(acknowledged).iter().collect(),
                others_until: others_until.map(|time| rfc3339(api.date(time))),
                note: matches!(change, Change::Approve { .. }).then(|| approvals_note(&state)).flatten(),
            };
            Ok(Json(committed).into_response())
        }
        Answer::Aborted { txid, votes } => {
            let reasons = reasons(&votes);
            let detail = reasons.iter().map(|reason| format!("{}: {}", reason.node, reason.reason));
            let detail = detail.collect::<Vec<_>>().join("; ");
            let against = |vote: &Vote| matches!(vote, Vote::Abort(reason) if reason.is_opinion());
            let title = match votes.values().any(against) {
                true => "The members voted it down",
                false => "It did not get the vote of every member",
            };
            let lacks_server = reasons.iter().any(|reason| reason.reason.contains(NO_MODEL_SERVER));
            let code = if lacks_server { code::NO_UPSTREAM } else { code::ABORTED };
            Err(aborted(code, title, txid, detail).with("reasons", json!(reasons)))
        }
        Answer::Superseded { txid, by } => {
            let detail = format!("{by} was decided at its version: it is the state now, and this change never will be");
            Err(aborted(code::SUPERSEDED, "Another change was decided first", txid, detail)
                .with("reasons", json!([]))
                .with("superseded_by", by.to_string()))
        }
        Answer::Refused(Refusal::Invalid(same @ ChangeError::AlreadyApproved { .. })) => {
            Ok(Json(unchanged(api, same.to_string())).into_response())
        }
        Answer::Refused(refusal) => Err(refused(api, refusal, target)),
        Answer::Unknown { txid, version } => {
            let detail = "it was sent for acceptance and is not settled yet: /routing/state shows it as pending";
            Err(unknown(detail).with("txid", txid.to_string()).with("version", version))
        }
    }
}

/// How far the step that an approval is for has come with it.
fn approvals_note(state: &RoutingState) -> Option<String> {
    let rollout = state.open_rollout()?;
    let step = rollout.step_to_approve()?;
    Some(match rollout.lacks(step) {
        Some(missing) => format!("waits for {missing}"),
        None => format!("step {} has the {} approvals that it asks for", step + 1, rollout.needed(step)),
    })
}

/// The answer to a request that the state there is fulfils already.
fn unchanged(api: &Api, note: String) -> Committed {
    let view = api.handle.view();
    let others = view.peers.iter().filter(|(_, peer)| peer.applied >= view.state.version).map(|(id, _)| *id);
    let acknowledged: NodeSet = others.chain([view.me]).collect();
    Committed {
        decision: "UNCHANGED".into(),
        state: AgreedState::of(&view.state, view.digest),
        acknowledged: acknowledged.iter().collect(),
        others: view.members.minus(acknowledged).iter().collect(),
        others_until: None,
        note: Some(note),
    }
}

fn aborted(code: &'static str, title: &'static str, txid: TxId, detail: String) -> Problem {
    Problem::conflict(code, title, detail).with("decision", "ABORT").with("txid", txid.to_string())
}

fn unknown(detail: &str) -> Problem {
    Problem::new(StatusCode::GATEWAY_TIMEOUT, code::OUTCOME_UNKNOWN, "The outcome is not known yet", detail)
}

fn refused(api: &Api, refusal: Refusal, target: &Uri) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NotCoordinating(other) if other != api.handle.view().me => elsewhere(api, other, target),
        Refusal::NotCoordinating(_) | Refusal::NoMajority => Problem::unavailable(code::NO_MAJORITY, detail),
        Refusal::BaseVersion { current, wanted } => {
            Problem::conflict(code::BASE_VERSION, "The state has moved on", detail)
                .with("current", current)
                .with("wanted", wanted)
        }
        Refusal::Busy => Problem::conflict(code::BUSY, "Another change is under way", detail),
        Refusal::WouldRaise { version } => {
            Problem::conflict(code::WOULD_RAISE, "It would give the canary more than it has", detail)
                .with("current", version)
        }
        Refusal::Invalid(ChangeError::WireVersion(behind)) => {
            let title = "Not all members have left version 5 of the protocol behind";
            Problem::conflict(code::WIRE_VERSION, title, detail).with("behind", json!(behind))
        }
        Refusal::Invalid(error) => {
            let detail = detail + advice(&error);
            match conflict(&error) {
                Some(code) => Problem::conflict(code, "The rollout stands in the way", detail),
                None => Problem::bad_request(detail),
            }
        }
        Refusal::NotJoined => Problem::unavailable(code::NOT_JOINED, detail),
        Refusal::Leaving => Problem::unavailable(code::STOPPING, detail),
    }
}

/// The end of the detail for a change that does not fit: what to ask for instead, in the words of requests.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others say enough")]
const fn advice(error: &ChangeError) -> &'static str {
    match error {
        ChangeError::NoCanary(_) => ": name one, as canary_model_id",
        ChangeError::RolloutOpen { .. } => ", or start the new one with supersede",
        _ => "",
    }
}

/// The stable word for a change that a rollout, or the lack of one, stands against; none for one that makes no sense
/// anywhere, or has an answer of its own.
#[expect(clippy::wildcard_enum_match_arm, reason = "what stands against the others is in the request")]
const fn conflict(error: &ChangeError) -> Option<&'static str> {
    match error {
        ChangeError::RolloutOpen { .. } => Some(code::ROLLOUT_OPEN),
        ChangeError::NoRollout => Some(code::NO_ROLLOUT),
        ChangeError::WrongPhase { .. } => Some(code::WRONG_PHASE),
        ChangeError::StepOver(_) => Some(code::STEP_OVER),
        ChangeError::NothingBefore(_) => Some(code::NOTHING_BEFORE),
        ChangeError::NotApproved(_) => Some(code::NOT_APPROVED),
        ChangeError::ApprovedByEnough { .. } | ChangeError::NothingToApprove { .. } => Some(code::NOTHING_TO_APPROVE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service::Missing;

    #[test]
    fn a_change_that_does_not_fit_is_told_with_what_to_ask_for_instead() {
        let said = |error: ChangeError| error.to_string() + advice(&error);
        let nobody = "there is no canary model to give 5 % to: name one, as canary_model_id";
        let weight = Weight::from_percent("5").expect("a weight");
        assert_eq!(said(ChangeError::NoCanary(weight)), nobody);
        let open = ChangeError::RolloutOpen { id: "r".into(), canary: "v2".parse().expect("a model id"), weight };
        let expected = "r of v2 is open at 5 %: promote, pause or abort it, or start the new one with supersede";
        assert_eq!(said(open), expected);
        let lacking = Missing { step: 1, weight, count: 1, by: Vec::new() };
        let waits = said(ChangeError::NotApproved(lacking));
        assert!(waits.ends_with("nobody approved"), "{waits}");
    }
}
