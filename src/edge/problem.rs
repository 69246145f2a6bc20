//! Errors as `application/problem+json` (RFC 9457), each with a stable `code` that scripts may compare.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode, Uri};
use schema::{ProblemShape, code};
use serde_json::Value;

/// Enough to name what is wrong; a message that quotes its input must not become as long as the input.
const MAX_DETAIL: usize = 400;

/// The media type of a problem document.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug, PartialEq)]
struct Parts {
    status: StatusCode,
    shape: ProblemShape,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of which `title` says the kind and `detail` this occurrence.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        let detail = detail.chars().take(MAX_DETAIL).collect();
        let shape = ProblemShape::new(status.as_u16(), code, title, detail);
        Self(Box::new(Parts { status, shape, header: None }))
    }

    /// The request cannot be understood, or asks for what makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_REQUEST, "The request is not valid", detail)
    }

    /// No client certificate where one is needed.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        let title = "A client certificate is needed";
        Self::new(StatusCode::UNAUTHORIZED, code::UNAUTHENTICATED, title, detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("ClientCertificate realm=\"operator\""))
    }

    /// A client certificate of another role than the one that is needed.
    pub fn role_not_allowed(have: &str, need: &str) -> Self {
        let detail = format!("this needs a certificate of role {need}; the one presented is {have}");
        Self::new(StatusCode::FORBIDDEN, code::ROLE_NOT_ALLOWED, "The certificate's role may not do this", detail)
            .with("have", have)
            .with("need", need)
    }

    /// A body longer than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code::BODY_TOO_LARGE, "The body is too large", detail)
            .with("limit", limit)
    }

    /// There is such a route, but not with this method; the `Allow` header is for whoever knows the methods to add.
    pub fn no_such_method(method: &Method, uri: &Uri) -> Self {
        let detail = format!("{method} is not a method of {:?}: the Allow header lists what is", uri.path());
        Self::new(StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED, "The route has no such method", detail)
    }

    /// Nothing can be decided here now.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Nothing can be decided here now", detail)
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// This node knows of no state that it could serve.
    pub fn not_joined() -> Self {
        let detail =
            "this node has not joined its mesh yet: it waits for the other members, or asks them what they hold";
        Self::unavailable(code::NOT_JOINED, detail)
    }

    /// The change was refused because of what the state is, or what else is under way.
    pub fn conflict(code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, title, detail)
    }

    /// Ask there instead, with the same method and body.
    pub fn elsewhere(location: &str, detail: impl Into<String>) -> Self {
        let problem =
            Self::new(StatusCode::TEMPORARY_REDIRECT, code::NOT_COORDINATING, "Another node coordinates", detail)
                .with("location", location);
        match HeaderValue::from_str(location) {
            Ok(value) => problem.with_header(LOCATION, value),
            Err(_) => Self::unavailable(code::NO_MAJORITY, "the coordinator's address cannot be written in a header"),
        }
    }

    /// Adds a member to the document.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.shape.more.insert(name.to_owned(), value.into());
        self
    }

    /// Sends this header with it; the last one given counts.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// The HTTP status it is sent with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer that says it.
    pub fn into_answer(self) -> http::Response<Bytes> {
        let mut response = http::Response::new(Bytes::from(self.0.shape.document().to_string()));
        *response.status_mut() = self.0.status;
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some((name, value)) = self.0.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_answer().map(Body::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_names_its_code_and_keeps_its_members() {
        let problem = Problem::role_not_allowed("node/node-b", "operator");
        let document = problem.0.shape.document();
        assert_eq!(document["code"], "role_not_allowed");
        assert_eq!(document["status"], 403);
        assert_eq!((&document["have"], &document["need"]), (&json!("node/node-b"), &json!("operator")));
        let response = problem.into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn a_long_detail_is_cut() {
        let problem = Problem::bad_request("é".repeat(10_000));
        assert_eq!(problem.0.shape.detail.chars().count(), MAX_DETAIL);
    }
}
