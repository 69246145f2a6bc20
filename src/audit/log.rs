//! The way to the record for the rest of the node: says what happened, and never waits.

use super::file::{Record, unix_millis};
use super::line::{Event, Verdicts};
use super::writer::Writer;
use model::{Actor, Ballot, Keep, NodeId, NodeSet, Testimony, UnixMillis};
use service::RoutingState;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use tls::{ControlPlane, Rejection};
use tokio::sync::{mpsc, watch};

/// How many batches may wait to be written: minutes of a busy cluster. Beyond it, lines are counted and left out.
const QUEUE: usize = 1024;
/// How many things make a batch full.
const BATCH: usize = 256;
/// What may wait to be sent to peers. What does not fit reaches a peer when it connects again.
const OUTGOING: usize = 64;

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

    fn add(&mut self, order: Order) {
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

/// A cheap, cloneable way to the record.
#[derive(Clone, Debug)]
pub struct Log(Option<Arc<Ends>>);

#[derive(Debug)]
struct Ends {
    orders: SyncSender<Batch>,
    lost: Arc<AtomicU64>,
}

/// A record that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The way to it.
    pub log: Log,
    /// What is to be handed to peers.
    pub outgoing: mpsc::Receiver<Outgoing>,
    /// Closes it.
    pub closing: Closing,
}

/// Closes the record in the end.
#[derive(Debug)]
pub struct Closing {
    log: Log,
    thread: Option<JoinHandle<()>>,
}

/// What the thread that writes is given.
pub(super) struct Inbox {
    pub(super) orders: Receiver<Batch>,
    pub(super) lost: Arc<AtomicU64>,
    pub(super) outgoing: mpsc::Sender<Outgoing>,
}

impl Opened {
    /// Opens the record of `node` in `directory`, signing with the newest of `tls`. Fails when the file cannot be
    /// opened, or there can be no thread.
    pub fn open(
        directory: &Path,
        node: NodeId,
        keep: Keep,
        tls: watch::Receiver<Arc<ControlPlane>>,
    ) -> io::Result<Self> {
        let record = Record::open(directory, node, keep)?;
        let (orders, inbox) = sync_channel(QUEUE);
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        let lost = Arc::new(AtomicU64::new(0));
        let inbox = Inbox { orders: inbox, lost: Arc::clone(&lost), outgoing: sender };
        let writer = Writer::new(record, node, tls);
        let thread = thread::Builder::new().name("audit".into()).spawn(move || writer.run(&inbox))?;
        let log = Log(Some(Arc::new(Ends { orders, lost })));
        Ok(Self { log: log.clone(), outgoing, closing: Closing { log, thread: Some(thread) } })
    }

    /// A record that keeps nothing.
    pub fn none() -> Self {
        let (_, outgoing) = mpsc::channel(1);
        Self { log: Log::none(), outgoing, closing: Closing { log: Log::none(), thread: None } }
    }
}

impl Closing {
    /// Lets everything be written that was said so far, and closes the record.
    pub fn close(self) {
        self.log.order(Order::Event(Event::Stopped));
        if let Some(ends) = &self.log.0 {
            // Here alone it is right to wait for room.
            let mut last = Batch::default();
            last.add(Order::Stop);
            let _ = ends.orders.send(last);
        }
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

impl Log {
    /// A record that keeps nothing.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Files an event.
    pub fn file(&self, event: Event) {
        self.order(Order::Event(event));
    }

    /// Hands over what was collected.
    pub fn send(&self, batch: Batch) {
        let Some(ends) = &self.0 else { return };
        let lines = batch.0.len() as u64;
        if ends.orders.try_send(batch).is_err() {
            ends.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Files that somebody was turned away who has a certificate of the cluster; there is no end of others.
    pub fn rejected(&self, rejection: &Rejection<'_>) {
        let Some(claimed) = &rejection.claim.spiffe else { return };
        self.file(Event::Rejected {
            plane: rejection.plane.to_string(),
            dir: rejection.direction.to_string(),
            remote: rejection.remote.to_string(),
            claimed: claimed.to_string(),
            serial: rejection.claim.serial.clone().unwrap_or_default(),
            reason: rejection.reason.to_string(),
            detail: rejection.detail.chars().take(model::MAX_REASON).collect(),
        });
    }

    fn order(&self, order: Order) {
        let mut batch = Batch::default();
        batch.add(order);
        self.send(batch);
    }
}
