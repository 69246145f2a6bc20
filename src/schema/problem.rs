//! The JSON of an error, `application/problem+json` (RFC 9457), and its codes.

use super::shapes::NodeReason;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// Stable words for the kinds of errors, which scripts may compare. Requests to models have some more.
pub mod code {
    /// The members voted it down, or not all of them voted.
    pub const ABORTED: &str = "aborted";
    /// The request cannot be understood, or asks for what makes no sense.
    pub const BAD_REQUEST: &str = "bad_request";
    /// The state is not at the version that the change was based on.
    pub const BASE_VERSION: &str = "base_version";
    /// The body came too slowly.
    pub const BODY_TIMEOUT: &str = "body_timeout";
    /// The body is too large.
    pub const BODY_TOO_LARGE: &str = "body_too_large";
    /// Another change is under way.
    pub const BUSY: &str = "busy";
    /// The route has no such method.
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    /// This node is not in touch with a majority.
    pub const NO_MAJORITY: &str = "no_majority";
    /// There is no rollout.
    pub const NO_ROLLOUT: &str = "no_rollout";
    /// There is no such member.
    pub const NOT_A_MEMBER: &str = "not_a_member";
    /// Operators have to approve the step first.
    pub const NOT_APPROVED: &str = "not_approved";
    /// Another node coordinates.
    pub const NOT_COORDINATING: &str = "not_coordinating";
    /// There is no such route.
    pub const NOT_FOUND: &str = "not_found";
    /// This node asks the others what they hold.
    pub const NOT_JOINED: &str = "not_joined";
    /// No other model was stable before.
    pub const NOTHING_BEFORE: &str = "nothing_before";
    /// No step needs another approval.
    pub const NOTHING_TO_APPROVE: &str = "nothing_to_approve";
    /// The request comes from another site's page.
    pub const OTHER_ORIGIN: &str = "other_origin";
    /// It was sent and is not settled.
    pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";
    /// The certificate's role may not do this.
    pub const ROLE_NOT_ALLOWED: &str = "role_not_allowed";
    /// A rollout is open.
    pub const ROLLOUT_OPEN: &str = "rollout_open";
    /// The step is over.
    pub const STEP_OVER: &str = "step_over";
    /// This node is stopping.
    pub const STOPPING: &str = "stopping";
    /// Another change was decided at its version.
    pub const SUPERSEDED: &str = "superseded";
    /// A client certificate is needed.
    pub const UNAUTHENTICATED: &str = "unauthenticated";
    /// The state has no such model.
    pub const UNKNOWN_MODEL: &str = "unknown_model";
    /// It would give the canary more than it has.
    pub const WOULD_RAISE: &str = "would_raise";
    /// The rollout is not in the phase that this is for.
    pub const WRONG_PHASE: &str = "wrong_phase";

    /// Every one of them.
    #[cfg(test)]
    pub(super) const ALL: [&str; 27] = [
        ABORTED,
        BAD_REQUEST,
        BASE_VERSION,
        BODY_TIMEOUT,
        BODY_TOO_LARGE,
        BUSY,
        METHOD_NOT_ALLOWED,
        NO_MAJORITY,
        NO_ROLLOUT,
        NOT_A_MEMBER,
        NOT_APPROVED,
        NOT_COORDINATING,
        NOT_FOUND,
        NOT_JOINED,
        NOTHING_BEFORE,
        NOTHING_TO_APPROVE,
        OTHER_ORIGIN,
        OUTCOME_UNKNOWN,
        ROLE_NOT_ALLOWED,
        ROLLOUT_OPEN,
        STEP_OVER,
        STOPPING,
        SUPERSEDED,
        UNAUTHENTICATED,
        UNKNOWN_MODEL,
        WOULD_RAISE,
        WRONG_PHASE,
    ];
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
    /// The kind of error, for scripts: one of [`code`], or of those of requests to models.
    pub code: String,
    /// What else belongs to it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ProblemShape {
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
        for code in code::ALL.into_iter().filter(|code| *code != code::NOT_FOUND) {
            assert!(crate::openapi::DOCUMENT.contains(&format!("`{code}`")), "{code} is not described");
        }
    }
}
