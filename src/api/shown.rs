//! Shapes of what a node holds: its view of the agreement, its history, the votes, its health.
//!
//! They are made here, where the node's own types are known, so that clients need nothing of them.

mod rollout;

pub(super) use rollout::{current, known, trial};

use super::state::CertificateInfo;
use member::{Decision, HistoryEntry, Reason, View, Vote, Votes};
use model::{ModelId, NodeId, Time, UnixMillis};
use proxy::Observations;
use schema::{
    AgreedState, CertificateHealth, EvidenceShape, HealthSnapshot, HistoryLine, NodeReason, PeerHealth, PendingShape,
    RolloutShape, ServedState, TrialShape, UpstreamShape, VoteShape, rfc3339, shares_of,
};
use service::{Model, serving_weight};

/// The state that `view` shows at `now`; `since` turns the node's clock into a date, and `own` says where this node's own
/// configuration serves a model.
pub(super) fn served(
    view: &View,
    now: Time,
    since: impl Fn(Time) -> UnixMillis,
    own: impl Fn(&ModelId) -> Option<String>,
) -> ServedState {
    let models = std::iter::once(&view.state.stable).chain(view.state.canary.as_ref().map(|canary| &canary.model));
    let upstream = |model: &Model| {
        let shape = |url, said_by: &str| UpstreamShape { url, said_by: said_by.into() };
        let own = own(&model.id).map(|url| shape(url, "node"));
        let shape = own.or_else(|| Some(shape(model.upstream.clone()?, "agreed")))?;
        Some((model.id.clone(), shape))
    };
    ServedState {
        agreed: AgreedState::of(&view.state, view.digest),
        node_id: view.me,
        serving: AgreedState::shares(&view.state, serving_weight(view, now)),
        isolated: view.is_isolated(now),
        pending: view.pending.map(|pending| PendingShape {
            txid: pending.txid,
            version: pending.version,
            since: rfc3339(since(pending.since)),
        }),
        acting_coordinator: view.coordinator,
        upstreams: models.filter_map(upstream).collect(),
        rollout: view.state.rollout.as_deref().map(RolloutShape::of),
        ejected: view.ejected.as_deref().map(str::to_owned),
    }
}

/// The line of the history for `entry`.
pub(super) fn history_line(entry: &HistoryEntry) -> HistoryLine {
    HistoryLine {
        txid: entry.txid,
        version: entry.version,
        decision: match entry.decision {
            Decision::Commit => "COMMIT".into(),
            Decision::Abort => "ABORT".into(),
        },
        by: entry.by.as_ref().map(|actor| actor.id.clone()),
        by_serial: entry.by.as_ref().map(|actor| actor.serial.clone()).filter(|serial| !serial.is_empty()),
        votes: entry.votes.iter().map(|(node, cast)| (*node, vote(cast))).collect(),
        proposed_at: rfc3339(entry.proposed_at),
        learned_at: rfc3339(entry.learned_at),
        took_ms: entry.took.map(|took| took.as_secs_f64() * 1e3),
        evidence: entry.evidence.iter().map(|(node, evidence)| (*node, EvidenceShape::of(evidence))).collect(),
        from: entry.from.as_ref().map(|split| shares_of(&split.stable, split.canary.as_ref(), split.weight)),
        state: entry.decided.as_ref().map(|state| AgreedState::of(state, state.digest())),
        rollout: entry.decided.as_ref().and_then(|state| state.rollout.as_deref()).map(RolloutShape::of),
    }
}

fn vote(vote: &Vote) -> VoteShape {
    match vote {
        Vote::Commit => VoteShape { vote: "COMMIT".into(), reason: None },
        Vote::Abort(reason) => VoteShape { vote: "ABORT".into(), reason: Some(reason.to_string()) },
    }
}

/// Each member that spoke against a change, with its reason.
pub(super) fn reasons(votes: &Votes) -> Vec<NodeReason> {
    let reason = |(node, vote): (&NodeId, &Vote)| match vote {
        Vote::Commit => None,
        Vote::Abort(reason) => Some(NodeReason { node: *node, code: word(reason).into(), reason: reason.to_string() }),
    };
    votes.iter().filter_map(reason).collect()
}

const fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::MayNotCoordinate => "may_not_coordinate",
        Reason::BaseDiffers { .. } => "base_differs",
        Reason::Isolated => "isolated",
        Reason::PlanForbids(_) => "plan_forbids",
        Reason::UpstreamNotReady(_) => "upstream_not_ready",
        Reason::Unhealthy(_) => "unhealthy",
        Reason::StorageFull => "storage_full",
        Reason::Unreachable => "unreachable",
        Reason::NoAnswer => "no_answer",
        Reason::OvertakenByRetreat => "overtaken_by_retreat",
        Reason::CoordinatorReplaced => "coordinator_replaced",
        Reason::CoordinatorStops => "coordinator_stops",
    }
}

/// The health that `view` and `observed` show at `now`, with the certificates in use.
pub(super) fn health(
    view: &View,
    now: Time,
    observed: Observations,
    trial: Option<TrialShape>,
    certificates: &[CertificateInfo],
) -> HealthSnapshot {
    let peers = view.peers.iter().map(|(id, peer)| {
        let shown = PeerHealth {
            connected: peer.connected,
            last_seen_ms: peer.last_heard.map(|heard| rollout::millis(now.since(heard))),
            last_committed_version: peer.committed_version,
            digest: peer.digest,
            wire_version: None,
            clock_skew_ms: None,
        };
        (*id, shown)
    });
    let certificates = certificates.iter().enumerate().map(|(index, certificate)| {
        let shown = CertificateHealth {
            subject: certificate.subject.clone(),
            serial: certificate.serial.clone(),
            not_after: rfc3339(certificate.not_after),
        };
        // While one authority takes over from another there are two, and a list of each.
        let before = certificates[..index].iter().filter(|other| other.kind == certificate.kind).count();
        let ending = if before == 0 { String::new() } else { format!("-{}", before + 1) };
        (format!("{}{ending}", certificate.kind), shown)
    });
    HealthSnapshot {
        node_id: view.me,
        role: view.me.role_word(),
        coordinating: view.coordinator == Some(view.me),
        acting_coordinator: view.coordinator,
        in_touch: view.in_touch,
        isolated: view.is_isolated(now),
        stopping: false,
        p95: observed.overall.p95,
        error_rate: observed.overall.error_rate,
        window_id: observed.window_id,
        last_committed_version: view.state.version,
        digest: view.digest,
        trial,
        ejected: view.ejected.as_deref().map(str::to_owned),
        models: observed.models,
        peers: peers.collect(),
        certificates: certificates.collect(),
        software: env!("CARGO_PKG_VERSION").into(),
        wire_version: None,
    }
}
