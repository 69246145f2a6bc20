//! The bodies of requests for a change. A field that is not known is refused by name.

use super::plan::PlanShape;
use model::ModelId;
use serde::{Deserialize, Serialize};

/// Only these fields are read from `POST /routing/weights`; others are refused by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    /// The canary's share as a fraction, 0 to 1.
    pub canary_weight: f64,
    /// The canary from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_model_id: Option<ModelId>,
    /// The version that the change is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<u64>,
}

/// The body of `POST /rollouts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The model on trial.
    pub canary_model_id: ModelId,
    /// Where it is served, on every node; a node's own configuration goes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The plan; 5, 20, 50 and 100 %, each held for 30 s, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanShape>,
    /// End the rollout that is open, if there is one.
    #[serde(default)]
    pub supersede: bool,
    /// The version that the change is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<u64>,
}

/// The body of what an operator says of the open rollout; an empty one says nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerbRequest {
    /// For `promote`: to the end, not to the next step.
    #[serde(default)]
    pub full: bool,
    /// For `pause` and `abort`: why, for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The body of `POST /rollouts/undo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// The model to go back to; the one before the present one where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ModelId>,
}

/// The body of `POST /models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRequest {
    /// The stable model or the canary.
    pub id: ModelId,
    /// Where it is served; null where every node says so for itself.
    pub upstream: Option<String>,
}
