//! How the rest of the node sees the agreement: the newest picture, and a way to ask for a change.

use super::entry::HistoryEntry;
use super::outside::Asked;
use arc_swap::{ArcSwap, ArcSwapOption};
use model::Actor;
use rollout::Status;
use service::{Answer, Change, View};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// How many decided transactions a node keeps in memory for `GET /history`.
const HISTORY_LENGTH: usize = 1_000;
/// Requests that may wait for the driver; more are refused by waiting, which slows the caller only.
const QUEUE_LENGTH: usize = 64;

/// A caller's request for a change, and where the answer goes.
pub type Request = Asked<oneshot::Sender<Answer>>;

/// The node is stopping and gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The question was not taken: nothing comes of it.
    #[error("the node is stopping")]
    Before,
    /// It was: what comes of it, the others may know.
    #[error("the node stopped before the change was settled")]
    Meanwhile,
}

/// What everyone sees.
struct Shown {
    view: ArcSwap<View>,
    status: ArcSwapOption<Status>,
    history: Mutex<VecDeque<HistoryEntry>>,
}

/// A cheap, cloneable way to the driver.
#[derive(Clone)]
pub struct Handle {
    shown: Arc<Shown>,
    changes: watch::Receiver<Arc<View>>,
    requests: mpsc::Sender<Request>,
}

/// The driver's end of all handles.
pub struct Publisher {
    shown: Arc<Shown>,
    changes: watch::Sender<Arc<View>>,
}

impl Handle {
    /// A handle that shows `view`, the driver's end of it, and the requests made through it.
    pub fn new(view: View) -> (Self, Publisher, mpsc::Receiver<Request>) {
        let view = Arc::new(view);
        let (changed, changes) = watch::channel(Arc::clone(&view));
        let (requests, inbox) = mpsc::channel(QUEUE_LENGTH);
        let (view, status, history) = (ArcSwap::new(view), ArcSwapOption::empty(), Mutex::default());
        let shown = Arc::new(Shown { view, status, history });
        let publisher = Publisher { shown: Arc::clone(&shown), changes: changed };
        (Self { shown, changes, requests }, publisher, inbox)
    }

    /// The newest picture, without a lock: for every `/predict`.
    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.shown.view.load()
    }

    /// The newest picture, and a way to wait for the next.
    pub fn changes(&self) -> watch::Receiver<Arc<View>> {
        self.changes.clone()
    }

    /// Asks for a change and waits for its end, which comes within seconds, decided or not. Fails when the node has
    /// stopped; the error says whether anything can have come of the request.
    pub async fn propose(&self, change: Change, base_version: Option<u64>, by: Actor) -> Result<Answer, Stopped> {
        let (caller, answer) = oneshot::channel();
        self.requests.send(Asked { change, base_version, by, caller }).await.map_err(|_| Stopped::Before)?;
        answer.await.map_err(|_| Stopped::Meanwhile)
    }

    /// What this node makes of the canary that gets traffic; none when none does.
    pub fn status(&self) -> Option<Arc<Status>> {
        self.shown.status.load_full()
    }

    /// The newest `limit` decided transactions, newest first.
    pub fn history(&self, limit: usize) -> Vec<HistoryEntry> {
        self.shown.history.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().take(limit).cloned().collect()
    }
}

impl Publisher {
    /// Makes `view` what everyone sees.
    pub fn publish(&self, view: View) {
        let view = Arc::new(view);
        self.shown.view.store(Arc::clone(&view));
        self.changes.send_replace(view);
    }

    /// Makes `status` what everyone sees of the canary.
    pub fn show(&self, status: Option<Arc<Status>>) {
        self.shown.status.store(status);
    }

    /// Adds a decided transaction to the history.
    pub fn record(&self, entry: HistoryEntry) {
        let mut history = self.shown.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY_LENGTH {
            history.pop_front();
        }
        history.push_back(entry);
    }
}
