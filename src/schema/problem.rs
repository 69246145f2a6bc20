//! The JSON of an error, `application/problem+json` (RFC 9457), and its codes.

use super::shapes::NodeReason;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// Stable words for the kinds of errors, which scripts may compare.
pub mod code {
    macro_rules! codes {
        ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
            $($(#[$doc])* pub const $name: &str = $word;)*

            #[cfg(test)]
            pub(super) const ALL: &[&str] = &[$($name,)*];
        };
    }

    codes! {
        /// The members voted it down, or not all of them voted.
        ABORTED = "aborted",
        /// The request cannot be understood, or asks for what makes no sense.
        BAD_REQUEST = "bad_request",
        /// The state is not at the version that the change was based on.
        BASE_VERSION = "base_version",
        /// The body came too slowly.
        BODY_TIMEOUT = "body_timeout",
        /// The body is too large.
        BODY_TOO_LARGE = "body_too_large",
        /// Another change is under way.
        BUSY = "busy",
        /// The route has no such method.
        METHOD_NOT_ALLOWED = "method_not_allowed",
        /// No other model was stable before.
        NOTHING_BEFORE = "nothing_before",
        /// No step needs another approval.
        NOTHING_TO_APPROVE = "nothing_to_approve",
        /// Operators have to approve the step first.
        NOT_APPROVED = "not_approved",
        /// There is no such member.
        NOT_A_MEMBER = "not_a_member",
        /// Another node coordinates.
        NOT_COORDINATING = "not_coordinating",
        /// There is no such route.
        NOT_FOUND = "not_found",
        /// This node asks the others what they hold.
        NOT_JOINED = "not_joined",
        /// This node is not in touch with a majority.
        NO_MAJORITY = "no_majority",
        /// There is no rollout.
        NO_ROLLOUT = "no_rollout",
        /// The model has no upstream on this node.
        NO_UPSTREAM = "no_upstream",
        /// The request comes from another site's page.
        OTHER_ORIGIN = "other_origin",
        /// The node takes no outcomes.
        OUTCOMES_OFF = "outcomes_off",
        /// It was sent and is not settled.
        OUTCOME_UNKNOWN = "outcome_unknown",
        /// The certificate's role may not do this.
        ROLE_NOT_ALLOWED = "role_not_allowed",
        /// A rollout is open.
        ROLLOUT_OPEN = "rollout_open",
        /// The step is over.
        STEP_OVER = "step_over",
        /// This node is stopping.
        STOPPING = "stopping",
        /// Another change was decided at its version.
        SUPERSEDED = "superseded",
        /// A client certificate is needed.
        UNAUTHENTICATED = "unauthenticated",
        /// The state has no such model.
        UNKNOWN_MODEL = "unknown_model",
        /// The upstream broke off, or answered what is not HTTP.
        UPSTREAM_BROKEN = "upstream_broken",
        /// The upstream did not answer in time.
        UPSTREAM_TIMEOUT = "upstream_timeout",
        /// The upstream cannot be reached.
        UPSTREAM_UNREACHABLE = "upstream_unreachable",
        /// The agreed upstream cannot be called.
        UPSTREAM_URL = "upstream_url",
        /// The query is too long for the upstream.
        URL_TOO_LONG = "url_too_long",
        /// Members that speak version 5 of the nodes' protocol have no words for it.
        WIRE_VERSION = "wire_version",
        /// It would give the canary more than it has.
        WOULD_RAISE = "would_raise",
        /// Another node gave the request its answer.
        WRONG_NODE = "wrong_node",
        /// The rollout is not in the phase that this is for.
        WRONG_PHASE = "wrong_phase",
    }
}

/// An error as it is written and read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProblemShape {
    /// A name for the kind of error, `urn:canary:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of error, for people.
    pub title: String,
    /// The HTTP status that it is sent with.
    pub status: u16,
    /// This occurrence, for people.
    pub detail: String,
    /// The kind of error, for scripts: one of [`code`].
    pub code: String,
    /// What else belongs to it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ProblemShape {
    /// An error of the kind `code` and `title` with nothing else to it.
    pub fn new(status: u16, code: &str, title: &str, detail: String) -> Self {
        let kind = format!("urn:canary:problem:{code}");
        Self { kind, title: title.into(), status, detail, code: code.into(), more: Map::new() }
    }

    /// The document that describes it; what it holds is all JSON.
    pub fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The error that a document describes. What it lacks is empty: also an answer that no node gave can be told.
    pub fn read(document: &Value) -> Self {
        let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        let status = document["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let mut more = document.as_object().cloned().unwrap_or_default();
        more.retain(|name, _| !["type", "title", "status", "detail", "code"].contains(&name.as_str()));
        Self {
            kind: text("type"),
            title: text("title"),
            status: status.unwrap_or_default(),
            detail: text("detail"),
            code: text("code"),
            more,
        }
    }

    /// The members that spoke against a change, each with its reason; mostly none.
    pub fn reasons(&self) -> Vec<NodeReason> {
        self.more.get("reasons").and_then(|reasons| serde_json::from_value(reasons.clone()).ok()).unwrap_or_default()
    }
}

/// The detail, or each member's reason in a line of its own where there are some.
impl fmt::Display for ProblemShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision =
            if self.more.get("decision").is_some_and(|decision| decision == "ABORT") { "ABORT: " } else { "" };
        write!(f, "{decision}{} ({})", self.title, self.code)?;
        let reasons = self.reasons();
        if reasons.is_empty() {
            return write!(f, ": {}", self.detail);
        }
        reasons.iter().try_for_each(|reason| write!(f, "\n  {}: {}", reason.node, reason.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let more = json!({"reasons": [{"node": "node-b", "code": "storage_full", "reason": "its disk is full"}]});
        let problem = ProblemShape {
            kind: "urn:canary:problem:aborted".into(),
            title: "Voted down".into(),
            status: 409,
            detail: "d".into(),
            code: code::ABORTED.into(),
            more: more.as_object().cloned().unwrap_or_default(),
        };
        let document = serde_json::to_value(&problem).expect("JSON");
        assert_eq!(ProblemShape::read(&document), problem);
        assert_eq!(problem.to_string(), "Voted down (aborted)\n  node-b: its disk is full");
        assert_eq!(ProblemShape::read(&json!("what?")), ProblemShape::default());
    }

    #[test]
    fn the_description_of_the_routes_names_every_code() {
        // No route answers that there is no such route.
        for code in code::ALL.iter().filter(|code| **code != code::NOT_FOUND) {
            assert!(crate::openapi::DOCUMENT.contains(&format!("`{code}`")), "{code} is not described");
        }
    }
}
