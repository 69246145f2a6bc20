//! Answers that are made here: the decision without an upstream, and problems.

use crate::body::Body;
use crate::predict::Chosen;
use crate::table::Target;
use crate::upload::BodyError;
use bytes::Bytes;
use edge::PROBLEM_JSON;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use schema::{ProblemShape, code};
use std::time::Duration;

const MODEL: HeaderName = HeaderName::from_static("x-canary-model");
const VERSION: HeaderName = HeaderName::from_static("x-canary-version");
const NODE: HeaderName = HeaderName::from_static("x-canary-node");
const REQUEST: HeaderName = HeaderName::from_static("x-canary-request");
const SHIELDED: HeaderName = HeaderName::from_static("x-canary-shielded");
/// What `/predict` answers itself.
const POST: HeaderValue = HeaderValue::from_static("POST");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a request was not answered by its model; what RFC 9457 calls a problem.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the body is not JSON that can be read: {0}; send a value such as {{\"key\": \"user-1\"}}")]
    NotJson(serde_json::Error),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("x-canary is \"always\" or \"never\", and this request has {0:?}")]
    Tester(String),
    #[error("the path has a segment \"..\", which is not passed on: write it without")]
    PathClimbs,
    #[error("the query is too long to be added to that of the upstream: shorten it")]
    UrlTooLong,
    #[error("{method} is not a method of \"/predict\" for {model}, which has no upstream on this node: use POST")]
    NoSuchMethod { method: Method, model: String },
    #[error(
        "{model} has no upstream on this node: start the node with --upstream {model}=http://HOST:PORT/PATH or name it in CANARY_UPSTREAMS"
    )]
    NoUpstream { model: String },
    #[error("the upstream of {model} cannot be called: {error}")]
    UpstreamUrl { model: String, error: String },
    #[error("the upstream of {model} cannot be reached: {error}")]
    UpstreamUnreachable { model: String, error: String },
    #[error("the upstream of {model} broke off or answered what is not HTTP: {error}")]
    UpstreamBroken { model: String, error: String },
    #[error("the upstream of {model} did not answer within {} ms", .after.as_millis())]
    UpstreamSlow { model: String, after: Duration },
}

/// Whether a problem is the model's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It says nothing about the model: it is the client's, or the node's configuration's.
    Elsewhere,
    /// It counts against the model.
    Upstream,
}

/// What the system says when it is this node that lacks what a connection takes: descriptors (EMFILE, ENFILE), ports
/// (EADDRNOTAVAIL), or memory (ENOMEM, ENOBUFS).
const OWN_SHORTAGES: [&str; 5] = ["(os error 24)", "(os error 23)", "(os error 99)", "(os error 12)", "(os error 105)"];

impl Problem {
    pub(super) fn blame(&self) -> Blame {
        match (self, self.status_and_code().0) {
            (Self::UpstreamUnreachable { error, .. }, _) if OWN_SHORTAGES.iter().any(|own| error.contains(own)) => {
                Blame::Elsewhere
            }
            (_, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) => Blame::Upstream,
            _ => Blame::Elsewhere,
        }
    }

    /// Whether nothing of the request has reached the model.
    pub(super) const fn was_not_sent(&self) -> bool {
        matches!(self, Self::UpstreamUnreachable { .. } | Self::UpstreamUrl { .. })
    }

    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotJson(_) | Self::Body(BodyError::Broken(_)) | Self::Tester(_) | Self::PathClimbs => {
                (StatusCode::BAD_REQUEST, code::BAD_REQUEST)
            }
            Self::Body(BodyError::Slow) => (StatusCode::REQUEST_TIMEOUT, code::BODY_TIMEOUT),
            Self::Body(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, code::BODY_TOO_LARGE),
            Self::UrlTooLong => (StatusCode::URI_TOO_LONG, code::URL_TOO_LONG),
            Self::NoSuchMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED),
            Self::NoUpstream { .. } => (StatusCode::NOT_FOUND, code::NO_UPSTREAM),
            Self::UpstreamUrl { .. } => (StatusCode::BAD_GATEWAY, code::UPSTREAM_URL),
            Self::UpstreamUnreachable { .. } => (StatusCode::BAD_GATEWAY, code::UPSTREAM_UNREACHABLE),
            Self::UpstreamBroken { .. } => (StatusCode::BAD_GATEWAY, code::UPSTREAM_BROKEN),
            Self::UpstreamSlow { .. } => (StatusCode::GATEWAY_TIMEOUT, code::UPSTREAM_TIMEOUT),
        }
    }

    /// The answer, with the names of the state and the model that the request belongs to.
    pub(super) fn answer(&self, chosen: &Chosen) -> Response<Body> {
        let (status, code) = self.status_and_code();
        let title = status.canonical_reason().unwrap_or_default();
        let problem = ProblemShape::new(status.as_u16(), code, title, self.to_string()).document();
        let mut response = whole(Bytes::from(problem.to_string()), PROBLEM_JSON, chosen);
        *response.status_mut() = status;
        if matches!(self, Self::NoSuchMethod { .. }) {
            response.headers_mut().insert(ALLOW, POST);
        }
        response
    }
}

/// The decision itself, for a model that has no upstream here.
pub(super) fn decision(body: Bytes, chosen: &Chosen) -> Response<Body> {
    whole(body, JSON, chosen)
}

/// Puts this node's names on an upstream's answer, over what it may have said there.
pub(super) fn sign_over(headers: &mut HeaderMap, chosen: &Chosen) {
    sign(headers, chosen);
    headers.remove(SHIELDED);
}

/// Says on an answer that it came in the place of one of `failed`.
pub(super) fn sign_shielded(headers: &mut HeaderMap, failed: &Target) {
    headers.insert(SHIELDED, failed.name.clone());
}

fn sign(headers: &mut HeaderMap, chosen: &Chosen) {
    headers.insert(MODEL, chosen.target().name.clone());
    headers.insert(VERSION, chosen.table.version.clone());
    headers.insert(NODE, chosen.table.node.clone());
    let request = HeaderValue::from_bytes(&chosen.request.text()).expect("a request's name is plain ASCII");
    headers.insert(REQUEST, request);
}

fn whole(body: Bytes, content_type: HeaderValue, chosen: &Chosen) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    let headers = response.headers_mut();
    // One allocation with room for what the server adds: length and date.
    headers.reserve(7);
    headers.insert(CONTENT_TYPE, content_type);
    sign(headers, chosen);
    response
}
