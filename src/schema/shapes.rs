//! The JSON of the state, of an answer to a change, and of the history.

use super::rollout::RolloutShape;
use super::values::{Shares, rfc3339, shares_of};
use model::{Digest, Evidence, ModelId, NodeId, NodeSet, Summary, TxId, Weight};
use serde::{Deserialize, Serialize};
use service::RoutingState;
use std::collections::BTreeMap;

/// The part of a state that all members agree on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgreedState {
    /// Counts the decisions; 0 before any.
    pub version: u64,
    /// The model that gets what the canary does not get.
    pub stable_model_id: ModelId,
    /// The model on trial.
    pub canary_model_id: Option<ModelId>,
    /// What was agreed, by model.
    pub weights: Shares,
    /// Always `COMMITTED`: what is undecided is never shown as the state.
    pub status: String,
    /// What decided it; none at version 0.
    pub txid: Option<TxId>,
    /// When it was proposed, RFC 3339.
    pub timestamp: String,
    /// Over the agreed part, so that equal states have equal digests on all nodes.
    pub digest: Digest,
    /// Who drove the decision.
    pub coordinator: NodeId,
    /// What keys are hashed with; none without a canary.
    pub salt: Option<String>,
    /// Members taken out of the vote.
    pub drained: NodeSet,
    /// The version of the nodes' protocol that all members have gone on to for good; none before they have.
    #[serde(default)]
    pub wire: Option<u16>,
}

/// The answer to `GET /routing/state`: the agreed part, and what this node makes of it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedState {
    /// The agreed part.
    #[serde(flatten)]
    pub agreed: AgreedState,
    /// The node that answers.
    pub node_id: NodeId,
    /// What this node gives each model at this moment.
    pub serving: Shares,
    /// Whether this node's lease has run out.
    pub isolated: bool,
    /// A proposal that is not decided yet.
    pub pending: Option<PendingShape>,
    /// Who coordinates now, as far as this node knows.
    pub acting_coordinator: Option<NodeId>,
    /// Where this node serves each model, where it is served by a server of its own.
    #[serde(default)]
    pub upstreams: BTreeMap<ModelId, UpstreamShape>,
    /// The rollout that is open, or the one that ended last.
    pub rollout: Option<RolloutShape>,
    /// Why this node has stopped serving the canary by itself, if it has.
    pub ejected: Option<String>,
}

/// The place where a model is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamShape {
    /// The URL.
    pub url: String,
    /// `node` when this node's own configuration says so, `agreed` when the agreed state does.
    pub said_by: String,
}

/// A proposal that is not decided yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingShape {
    /// The transaction.
    pub txid: TxId,
    /// The version it is meant for.
    pub version: u64,
    /// Since when this node knows it, RFC 3339.
    pub since: String,
}

/// The answer to a change that was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// `COMMIT`; `UNCHANGED` for an approval that the same operator has given before.
    pub decision: String,
    /// The state that this request made, or found.
    pub state: AgreedState,
    /// The members known to serve it.
    pub acknowledged: Vec<NodeId>,
    /// All other members.
    pub others: Vec<NodeId>,
    /// When the others serve it, or stable only, at the latest, RFC 3339. None when there are no others, and also when
    /// they hold their weights while isolated: then there is no bound.
    pub others_until: Option<String>,
    /// For `approve`: who has approved, and what is still missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One member's reason against a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReason {
    /// The member.
    pub node: NodeId,
    /// The kind of reason, a stable word.
    #[serde(default)]
    pub code: String,
    /// The reason in words.
    pub reason: String,
}

/// One line of `GET /history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// The transaction.
    pub txid: TxId,
    /// Its version, or the one it was meant for.
    pub version: u64,
    /// `COMMIT` or `ABORT`.
    pub decision: String,
    /// Who asked, `operator/admin`; `rollout/node-a` where that node's controller did.
    pub by: Option<String>,
    /// The serial number of the certificate that proved it.
    pub by_serial: Option<String>,
    /// Each member's vote; empty for a retreat, which needs none.
    pub votes: BTreeMap<NodeId, VoteShape>,
    /// When it was proposed, by the coordinator's clock, RFC 3339.
    pub proposed_at: String,
    /// When this node learned the end, by its own clock, RFC 3339.
    pub learned_at: String,
    /// On the coordinator, milliseconds from the request to the end.
    pub took_ms: Option<f64>,
    /// What each voter had measured of the canary and the stable model.
    #[serde(default)]
    pub evidence: BTreeMap<NodeId, EvidenceShape>,
    /// What was decided before, as far as this node knows.
    pub from: Option<Shares>,
    /// What was decided; none for an abort.
    pub state: Option<AgreedState>,
    /// The rollout as it stood after it.
    pub rollout: Option<RolloutShape>,
}

/// A voter's measurements on its own node in the step before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceShape {
    /// Requests to the canary.
    pub canary_requests: u64,
    /// Those that failed.
    pub canary_errors: u64,
    /// Milliseconds; none without answers.
    pub canary_p95: Option<f64>,
    /// Requests to the stable model.
    pub stable_requests: u64,
    /// Those that failed.
    pub stable_errors: u64,
    /// Milliseconds; none without answers.
    pub stable_p95: Option<f64>,
}

/// One member's vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteShape {
    /// `COMMIT` or `ABORT`.
    pub vote: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl AgreedState {
    /// The agreed part of `state`, whose digest is `digest`.
    pub fn of(state: &RoutingState, digest: Digest) -> Self {
        Self {
            version: state.version,
            stable_model_id: state.stable.id.clone(),
            canary_model_id: state.canary.as_ref().map(|canary| canary.model.id.clone()),
            weights: Self::shares(state, state.canary_weight()),
            status: "COMMITTED".into(),
            txid: state.txid,
            timestamp: rfc3339(state.timestamp),
            digest,
            coordinator: state.coordinator,
            salt: state.canary.as_ref().map(|canary| canary.salt.clone()),
            drained: state.drained,
            wire: state.wire,
        }
    }

    /// Each model's share of the traffic where `state` holds and the canary gets `weight`.
    pub fn shares(state: &RoutingState, weight: Weight) -> Shares {
        shares_of(&state.stable.id, state.canary.as_ref().map(|canary| &canary.model.id), weight)
    }
}

impl EvidenceShape {
    /// The figures of `evidence`.
    #[allow(clippy::cast_precision_loss, reason = "latencies of at most a minute")]
    pub fn of(evidence: &Evidence) -> Self {
        let millis = |summary: &Summary| (summary.p95_us > 0).then(|| summary.p95_us as f64 / 1e3);
        let Evidence { stable, canary } = evidence;
        Self {
            canary_requests: canary.requests,
            canary_errors: canary.errors,
            canary_p95: millis(canary),
            stable_requests: stable.requests,
            stable_errors: stable.errors,
            stable_p95: millis(stable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::UnixMillis;
    use service::{Canary, Model};

    fn state(points: u16) -> RoutingState {
        let model = |id: &str| Model { id: id.parse().expect("a model id"), upstream: None };
        let weight = Weight::from_basis_points(points).expect("a weight");
        RoutingState {
            canary: Some(Canary { model: model("v2"), weight, salt: "rollout-1".into() }),
            ..RoutingState::initial("v1".parse().expect("a model id"))
        }
    }

    #[test]
    fn shares_are_exact_fractions() {
        let shown = |points| serde_json::to_string(&AgreedState::of(&state(points), Digest::default()).weights);
        assert_eq!(shown(2000).expect("JSON"), r#"{"v1":0.8,"v2":0.2}"#);
        assert_eq!(shown(0).expect("JSON"), r#"{"v1":1.0,"v2":0.0}"#);
        assert_eq!(shown(7).expect("JSON"), r#"{"v1":0.9993,"v2":0.0007}"#);
    }

    #[test]
    fn without_a_canary_stable_has_everything() {
        let state = RoutingState::initial("v1".parse().expect("a model id"));
        let shown = AgreedState::of(&state, state.digest());
        assert_eq!(shown.weights.into_iter().collect::<Vec<_>>(), [("v1".parse().expect("a model id"), 1.0)]);
        assert_eq!((shown.canary_model_id, shown.salt, shown.txid), (None, None, None));
    }

    #[test]
    fn dates_are_utc() {
        assert_eq!(rfc3339(UnixMillis(1_795_399_200_250)), "2026-11-23T02:00:00.25Z");
        assert!(rfc3339(UnixMillis(u64::MAX)).starts_with("9999-"));
    }
}
