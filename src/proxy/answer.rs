//! Answers that are made here: the decision without an upstream, and problems.

use super::body::{BODY_LIMIT, BODY_TIMEOUT, Body, BodyError};
use super::plan::{Plan, Target};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use std::time::Duration;

const MODEL: HeaderName = HeaderName::from_static("x-canary-model");
const VERSION: HeaderName = HeaderName::from_static("x-canary-version");
const NODE: HeaderName = HeaderName::from_static("x-canary-node");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request was not answered by its model; what RFC 9457 calls a problem.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the body is not JSON that can be read: {0}; send a value such as {{\"key\": \"user-1\"}}")]
    NotJson(serde_json::Error),
    #[error("the body ended early: {0}")]
    BodyBroken(String),
    #[error("the body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    BodySlow,
    #[error("the body is longer than {BODY_LIMIT} bytes; send at most that")]
    BodyTooLarge,
    #[error("the upstream of {model} cannot be called: {error}")]
    UpstreamUrl { model: String, error: String },
    #[error("the upstream of {model} cannot be reached: {error}")]
    UpstreamUnreachable { model: String, error: String },
    #[error("the upstream of {model} broke off or answered what is not HTTP: {error}")]
    UpstreamBroken { model: String, error: String },
    #[error("the upstream of {model} did not answer within {} ms", .after.as_millis())]
    UpstreamSlow { model: String, after: Duration },
}

/// Whose fault a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It says nothing about the model.
    Client,
    /// It counts against the model.
    Upstream,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Slow => Self::BodySlow,
            BodyError::Broken(reason) => Self::BodyBroken(reason),
        }
    }
}

impl Problem {
    /// Whose fault it is.
    pub(super) const fn blame(&self) -> Blame {
        match self {
            Self::NotJson(_) | Self::BodyBroken(_) | Self::BodySlow | Self::BodyTooLarge => Blame::Client,
            Self::UpstreamUrl { .. }
            | Self::UpstreamUnreachable { .. }
            | Self::UpstreamBroken { .. }
            | Self::UpstreamSlow { .. } => Blame::Upstream,
        }
    }

    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotJson(_) | Self::BodyBroken(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::BodySlow => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::UpstreamUrl { .. } => (StatusCode::BAD_GATEWAY, "upstream_url"),
            Self::UpstreamUnreachable { .. } => (StatusCode::BAD_GATEWAY, "upstream_unreachable"),
            Self::UpstreamBroken { .. } => (StatusCode::BAD_GATEWAY, "upstream_broken"),
            Self::UpstreamSlow { .. } => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
        }
    }

    /// The answer, with the names of the state and the model that the request belongs to.
    pub(super) fn answer(&self, plan: &Plan, target: &Target) -> Response<Body> {
        let (status, code) = self.status_and_code();
        let problem = serde_json::json!({
            "type": format!("urn:canary:problem:{code}"),
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": code,
            "detail": self.to_string(),
        });
        let mut response = whole(Bytes::from(problem.to_string()), PROBLEM, plan, target);
        *response.status_mut() = status;
        response
    }
}

/// The decision itself, for a model that has no upstream here.
pub(super) fn decision(body: Bytes, plan: &Plan, target: &Target) -> Response<Body> {
    whole(body, JSON, plan, target)
}

/// Puts this node's names on an answer, over what an upstream may have said there.
pub(super) fn sign(headers: &mut HeaderMap, plan: &Plan, target: &Target) {
    headers.insert(MODEL, target.name.clone());
    headers.insert(VERSION, plan.version.clone());
    headers.insert(NODE, plan.node.clone());
}

fn whole(body: Bytes, content_type: HeaderValue, plan: &Plan, target: &Target) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    let headers = response.headers_mut();
    // One allocation with room for what the server adds: length and date.
    headers.reserve(6);
    headers.insert(CONTENT_TYPE, content_type);
    sign(headers, plan, target);
    response
}
