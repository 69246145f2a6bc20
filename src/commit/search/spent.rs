//! Which messages came too late to mean anything.

use super::world::Flight;
use crate::commit::coordinator::Seat;
use crate::commit::{Engine, Message};
use crate::model::Ballot;

/// Whether `engine` would only shrug at a message, now and later.
pub(super) fn is_spent(engine: &Engine, flight: &Flight) -> bool {
    let awaited =
        |ballot: &Ballot| engine.seat.asks_under() == Some(*ballot) || engine.joining.asks_under() == Some(*ballot);
    match &flight.message {
        Message::Vote { txid, .. } => engine.seat.open_state().and_then(|state| state.txid) != Some(*txid),
        // Probes are answered within a step, so nothing here waits for one.
        Message::Abort { txid, .. } => engine.probing.as_ref().is_none_or(|waiting| waiting.next.txid != Some(*txid)),
        Message::Applied { version } => engine.presence.peer(flight.from).is_some_and(|peer| peer.applied >= *version),
        Message::Decision { proposal } => {
            let (known, told) = (&engine.committed().state, &proposal.state);
            known.version > told.version || known == told
        }
        Message::Accepted { ballot, version } => match &engine.seat {
            Seat::Accepting { proposal, .. } => (proposal.ballot, proposal.state.version) != (*ballot, *version),
            Seat::Idle | Seat::Campaigning(_) | Seat::Holding { .. } | Seat::Preparing(_) => true,
        },
        // One that comes while the seat is between two questions is given again to the next.
        Message::Promise { ballot, .. } | Message::Reject { ballot, .. } => !awaited(ballot),
        Message::Heartbeat(_)
        | Message::Prepare { .. }
        | Message::Campaign { .. }
        | Message::Accept { .. }
        | Message::Report(_)
        | Message::Testimony(_) => false,
    }
}
