//! The way to the record for the rest of the node: says what happened, and never waits.

use super::batch::{Batch, Inbox, Order, Outgoing};
use super::file::Record;
use super::line::Event;
use super::writer::Writer;
use model::{Keep, NodeId};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use tls::{ControlPlane, Rejection};
use tokio::sync::{mpsc, watch};

/// How many batches may wait to be written: minutes of a busy cluster. Beyond it, lines are counted and left out.
const QUEUE: usize = 1024;
/// What may wait to be sent to peers. What does not fit reaches a peer when it connects again.
const OUTGOING: usize = 64;

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
        self.log.file(Event::Stopped);
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
        let mut batch = Batch::default();
        batch.file(event);
        self.send(batch);
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
}
