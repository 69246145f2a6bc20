//! The batches for the thread that writes the record, and the statements that it hands on.

use super::file::unix_millis;
use super::line::{Event, Verdicts};
use model::{Actor, Ballot, NodeId, NodeSet, Testimony, UnixMillis};
use service::RoutingState;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;
use tokio::sync::mpsc;

/// How many things make a batch full.
const BATCH: usize = 256;

/// Something for the record.
#[derive(Debug)]
pub(super) enum Order {
    Event(Event),
    /// This node's own word, to be signed, filed and handed to all peers.
    Say(Word),
    /// As [`Order::Say`], for this record alone.
    Decide {
        ballot: Ballot,
        state: Arc<RoutingState>,
        by: Option<Actor>,
        votes: Verdicts,
    },
    /// A peer's word.
    Hear(NodeId, Box<Testimony>),
    /// Hand the newest statements to this peer, which has just connected.
    Recall(NodeId),
    Stop,
}

/// What a node puts its name to.
#[derive(Debug)]
pub enum Word {
    /// Its vote on this state, and what speaks against it.
    Vote(Arc<RoutingState>, Option<String>),
    /// That it accepted this state under this ballot, as one of these members.
    Accepted(Ballot, Arc<RoutingState>, NodeSet),
}

/// Things for the record that are handed over together, so that whoever collects them wakes the writing thread once, and
/// not in the moment that counts.
#[derive(Debug, Default)]
pub struct Batch(pub(super) Vec<(UnixMillis, Order)>);

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it should be handed over now, however long the next moment is away.
    pub fn is_full(&self) -> bool {
        self.0.len() >= BATCH
    }

    /// Files an event.
    pub fn file(&mut self, event: Event) {
        self.add(Order::Event(event));
    }

    /// Signs this node's own word, files it and hands it to all peers.
    pub fn say(&mut self, word: Word) {
        self.add(Order::Say(word));
    }

    /// Files a decision that this node has learned, with its own signature.
    pub fn decide(&mut self, ballot: Ballot, state: Arc<RoutingState>, by: Option<Actor>, votes: Verdicts) {
        self.add(Order::Decide { ballot, state, by, votes });
    }

    /// Files what a peer has handed over.
    pub fn hear(&mut self, from: NodeId, testimony: Box<Testimony>) {
        self.add(Order::Hear(from, testimony));
    }

    /// Files that the link to a peer came up or went down; one that comes up is told the newest statements.
    pub fn peer(&mut self, peer: NodeId, connected: bool) {
        self.file(Event::Peer { peer, connected });
        if connected {
            self.add(Order::Recall(peer));
        }
    }

    pub(super) fn add(&mut self, order: Order) {
        self.0.push((unix_millis(), order));
    }
}

/// Statements on their way to a peer, or to all.
#[derive(Debug)]
pub struct Outgoing {
    /// The peer; all when there is none.
    pub to: Option<NodeId>,
    /// The statements.
    pub testimony: Testimony,
}

/// What the thread that writes is given.
pub(super) struct Inbox {
    pub(super) orders: Receiver<Batch>,
    pub(super) lost: Arc<AtomicU64>,
    pub(super) outgoing: mpsc::Sender<Outgoing>,
}
