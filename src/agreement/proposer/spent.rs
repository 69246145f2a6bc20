//! Messages that came too late to mean anything.

use super::{Accepting, Proposing};
use crate::{Engine, Message, Register, Rules};
use model::{Ballot, NodeId};

impl<V: Register, R: Rules> Engine<V, R> {
    /// Whether the member would only shrug at a message, now and later. A search of schedules need not look at it.
    pub fn is_spent(&self, from: NodeId, message: &Message<V>) -> bool {
        let awaited = |ballot: &Ballot| {
            self.proposer.proposing.asks_under() == Some(*ballot) || self.joining.asks_under() == Some(*ballot)
        };
        match message {
            Message::Vote { txid, .. } => self.proposer.open_state().and_then(|state| state.txid()) != Some(*txid),
            // Probes are answered within a step, so nothing here waits for one.
            Message::Abort { txid, .. } => !self.voter.awaits(*txid),
            Message::Applied { version } => self.peers.peer(from).is_some_and(|peer| peer.applied >= *version),
            Message::Decision { proposal } => {
                let (known, told) = (&self.committed().state, &proposal.state);
                known.version() > told.version() || known == told
            }
            Message::Accepted { ballot, version } => match &self.proposer.proposing {
                Proposing::Accepting(Accepting { proposal, .. }) => {
                    (proposal.ballot, proposal.state.version()) != (*ballot, *version)
                }
                Proposing::Idle | Proposing::Campaigning(_) | Proposing::Holding { .. } | Proposing::Preparing(_) => {
                    true
                }
            },
            // One that comes while the proposing is between two questions is given again to the next.
            Message::Promise { ballot, .. } | Message::Reject { ballot, .. } => !awaited(ballot),
            Message::Heartbeat(_)
            | Message::Prepare { .. }
            | Message::Campaign { .. }
            | Message::Accept { .. }
            | Message::Report(_)
            | Message::Testimony(_) => false,
        }
    }
}
