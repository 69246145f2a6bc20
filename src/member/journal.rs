//! What operators read in the log about the agreement. The words are fixed: people search for them.

use super::facts::against;
use agreement::Votes;
use model::{NodeId, TxId};
use rollout::{HeldUp, Next};
use service::{Event, Proposal};
use std::time::Duration;
use store::Room;

/// Writes one event down.
pub(super) fn event(event: &Event, node: NodeId) {
    match event {
        Event::CoordinationTaken => tracing::info!(%node, "This node coordinates"),
        Event::CoordinationGiven => tracing::info!(%node, "This node no longer coordinates"),
        Event::Joined => tracing::info!(%node, "This node has joined the mesh"),
        Event::Committed { proposal, took } => committed(node, proposal, *took),
        Event::Aborted { txid, version, by, votes, took } => aborted(node, *txid, *version, &by.id, votes, *took),
        Event::Isolated => {
            tracing::warn!(%node, "Isolated: not in touch with a majority, serving as the isolation policy says");
        }
        Event::Confirmed { version } => tracing::info!(%node, version, "In touch with a majority, version confirmed"),
        Event::Alarm(alarm) => tracing::error!(%node, reason = %alarm, "Alarm: a member does what it must not"),
    }
}

fn committed(node: NodeId, proposal: &Proposal, took: Option<Duration>) {
    let state = &proposal.state;
    let (Some(txid), version, weight) = (state.txid, state.version, state.canary_weight()) else { return };
    let canary = state.canary.as_ref().map_or("-", |canary| canary.model.id.as_str());
    let stable = state.stable.id.as_str();
    if proposal.ballot.node == node {
        let by = proposal.by.as_ref().map_or("-", |by| by.id.as_str());
        let took_us = micros(took);
        tracing::info!(%node, %txid, version, stable, canary, %weight, by, took_us, "2PC: COMMIT");
    }
    tracing::info!(%node, %txid, version, stable, canary, %weight, "Routing state updated");
}

fn aborted(node: NodeId, txid: TxId, version: u64, by: &str, votes: &Votes, took: Option<Duration>) {
    let (reason, took_us) = (against(votes), micros(took));
    tracing::warn!(%node, %txid, version, by, took_us, reason, "2PC: ABORT");
}

fn micros(took: Option<Duration>) -> Option<u64> {
    took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

/// Tells that there is no way back to a program that speaks version 5 of the wire.
pub(super) fn closed(node: NodeId) {
    tracing::info!(%node, wire = service::MARK, "All members speak this version of the protocol for good: no older one is spoken any more");
}

/// Tells that this node has stopped serving the canary by itself, or may serve it again.
pub(super) fn ejection(node: NodeId, why: Option<&str>) {
    match why {
        Some(reason) => tracing::warn!(%node, reason, "Canary ejected: this node serves stable only"),
        None => tracing::info!(%node, "Canary no longer ejected: this node serves what is agreed"),
    }
}

/// Tells what holds the present step up: the limit and what was measured, the requests that are missing, or approvals.
pub(super) fn held_up(node: NodeId, next: &Next) {
    match next {
        Next::Undecided { left, by, why } => {
            let (held_by, reason, aborted_in_s) = (by.word(), why.as_str(), left.as_secs());
            tracing::info!(%node, held_by, reason, aborted_in_s, "Step held up");
        }
        Next::AwaitsApproval(missing) => {
            tracing::info!(%node, held_by = HeldUp::Approvals.word(), reason = %missing, "Step held up");
        }
        Next::Begins | Next::Holds { .. } | Next::Advances | Next::RollsBack | Next::Waits | Next::Manual => {}
    }
}

/// Tells that the disk is full, or no longer.
pub(super) fn room(room: Room) {
    match room {
        Room::Plenty => tracing::info!("The disk has room again: this node votes for advances"),
        Room::Full => tracing::error!("The disk is full: this node votes against every advance until there is room"),
    }
}
