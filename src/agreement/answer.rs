//! Answers to callers who asked for a change.

use super::{Register, Votes};
use model::{NodeId, NodeSet, Time, TxId};
use std::sync::Arc;

/// Names one caller's question until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The end of one request for a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Answer<V: Register> {
    /// It is decided and will never be undone.
    Committed {
        state: Arc<V>,
        /// The members known to serve it.
        acknowledged: NodeSet,
        /// When every other member serves it, or stable only, at the latest: none when all have acknowledged it, or when
        /// they hold their weights while isolated.
        others_until: Option<Time>,
    },
    /// It was voted down, or overtaken, before anything was sent for acceptance; it will never be decided.
    Aborted { txid: TxId, votes: Votes },
    /// Another transaction was decided at its version; this one will never be.
    Superseded { txid: TxId, by: TxId },
    /// Nothing was written and nothing was sent.
    Refused(Refusal<V::Refusal>),
    /// It was sent for acceptance, and whether it is decided is not known yet; the state shows it as pending.
    Unknown { txid: TxId, version: u64 },
}

/// The reason for which a request was turned away before anything was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Refusal<E> {
    /// Another member coordinates.
    #[error("{0} coordinates")]
    NotCoordinating(NodeId),
    /// This node is not in touch with a majority, or knows of no coordinator for an advance.
    #[error("this node is not in touch with a majority of the members")]
    NoMajority,
    /// The state is no longer the one that the caller based the change on.
    #[error("the state is at version {current}, not at {wanted}")]
    BaseVersion { current: u64, wanted: u64 },
    /// Another change is under way.
    #[error("another change is under way")]
    Busy,
    /// A retreat would give the canary more than the state that it is built on.
    #[error("version {version} was decided meanwhile and gives the canary less than this change would")]
    WouldRaise { version: u64 },
    /// The change does not fit the state.
    #[error(transparent)]
    Invalid(E),
    /// This node takes no part yet: its disk is empty.
    #[error("this node has not joined the mesh yet")]
    NotJoined,
    /// This node is stopping, and who coordinates after it is not known yet.
    #[error("this node is stopping")]
    Leaving,
}
