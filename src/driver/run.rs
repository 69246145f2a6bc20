//! The one task that owns the engine: it feeds it what happens, and carries out what it says, in that order.
//!
//! It runs alone on its thread, with the mesh: forcing a record to disk blocks that thread, and with it only what must
//! wait for the disk anyway. A store that fails ends the task, and with it the process, before anything is said that rests
//! on what it did not write.

use super::handle::{HistoryEntry, Outcome, Publisher, Request};
use super::{boottime, journal, unix_millis};
use crate::commit::{Answer, Config, Engine, Event, Input, Output, Probe, Question, Reason, Stop, Ticket};
use crate::mesh::{self, Mesh};
use crate::model::{Model, Time};
use crate::store::{Room, Store, StoreError};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the room on the disk is looked at. A disk fills in minutes, so seconds are soon enough.
const ROOM_EVERY: Duration = Duration::from_secs(2);
/// How many finished probes may wait for the driver; there is one transaction at a time.
const PROBES: usize = 16;

/// The answer of an upstream, when it comes.
pub type Probing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Finds out whether a model can be served on this node.
pub trait Prober: Send {
    /// Asks the model's upstream; none when there is nothing to ask, which is as good as ready.
    fn probe(&self, model: &Model) -> Option<Probing>;
}

/// Why the driver ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The member cannot go on.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// What the driver works with.
pub struct Driver {
    engine: Engine,
    store: Store,
    mesh: Mesh,
    publisher: Publisher,
    prober: Box<dyn Prober>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    tickets: u64,
    room: Room,
    probes: mpsc::Sender<Input>,
    probed: mpsc::Receiver<Input>,
}

/// What reaches the driver from outside.
pub struct Inbox {
    /// From the mesh.
    pub mesh: mpsc::Receiver<mesh::Event>,
    /// From the handles.
    pub requests: mpsc::Receiver<Request>,
}

impl Driver {
    /// A driver of `engine`, which was made of what `store` remembers.
    #[must_use]
    pub fn new(engine: Engine, store: Store, mesh: Mesh, publisher: Publisher, prober: Box<dyn Prober>) -> Self {
        let (probes, probed) = mpsc::channel(PROBES);
        let (waiting, tickets, room) = (BTreeMap::new(), 0, Room::Plenty);
        Self { engine, store, mesh, publisher, prober, waiting, tickets, room, probes, probed }
    }

    /// An engine that has just started, for [`Driver::new`] and the first view.
    #[must_use]
    pub fn engine(config: Config, durable: crate::commit::Durable) -> Engine {
        Engine::new(Arc::new(config), durable, boottime())
    }

    /// Runs until `shutdown` is cancelled.
    ///
    /// # Errors
    /// When the disk fails, or when the engine says that the member cannot go on.
    pub async fn run(mut self, mut inbox: Inbox, shutdown: CancellationToken) -> Result<(), DriverError> {
        let mut look_at_room = tokio::time::interval(ROOM_EVERY);
        self.step(Input::Timeout).await?;
        loop {
            let now = boottime();
            let wait = self.engine.poll_timeout(now).since(now);
            let input = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = inbox.mesh.recv() => from_mesh(event),
                Some(input) = self.probed.recv() => input,
                Some(request) = inbox.requests.recv() => self.question(request),
                () = tokio::time::sleep(wait) => Input::Timeout,
                _ = look_at_room.tick() => match self.look_at_room() {
                    Some(input) => input,
                    None => continue,
                },
            };
            self.step(input).await?;
        }
        self.store.force()?;
        Ok(())
    }

    fn question(&mut self, request: Request) -> Input {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let Request { change, base_version, by, reply } = request;
        self.waiting.insert(ticket, reply);
        Input::Propose(Question { ticket, change, base_version, by, at: unix_millis() })
    }

    fn look_at_room(&mut self) -> Option<Input> {
        let room = self.store.has_room();
        let before = std::mem::replace(&mut self.room, room);
        if room == before {
            return None;
        }
        journal::room(room);
        Some(Input::Veto((room == Room::Full).then_some(Reason::StorageFull)))
    }

    async fn step(&mut self, input: Input) -> Result<(), DriverError> {
        let now = boottime();
        let output = self.engine.step(now, input);
        self.carry_out(now, output).await
    }

    /// Carries out the effects in the order in which they are listed.
    async fn carry_out(&mut self, now: Time, output: Output) -> Result<(), DriverError> {
        let Output { ask, append, publish, send, reply, probe, events, note, stop } = output;
        for envelope in &ask {
            self.mesh.send(envelope.to, &envelope.message);
        }
        if !ask.is_empty() && !append.is_empty() {
            // The links' tasks share this thread: without this the question would leave after the forced write.
            tokio::task::yield_now().await;
        }
        if !append.is_empty() {
            self.store.append(&append)?;
        }
        if publish {
            self.publisher.publish(self.engine.view(now));
        }
        for envelope in &send {
            self.mesh.send(envelope.to, &envelope.message);
        }
        for (ticket, answer) in reply {
            if let Some(caller) = self.waiting.remove(&ticket) {
                // A caller that has gone away wants no answer.
                let _ = caller.send(answer);
            }
        }
        if let Some(probe) = probe {
            self.probe(probe);
        }
        if !send.is_empty() && (!events.is_empty() || !note.is_empty()) {
            // What is sent should not wait for what is logged, or written without haste.
            tokio::task::yield_now().await;
        }
        for event in events {
            journal::event(&event, self.engine.me());
            self.record(event);
        }
        if !note.is_empty() {
            self.store.append(&note)?;
        }
        stop.map_or(Ok(()), |stop| Err(stop.into()))
    }

    fn probe(&self, probe: Probe) {
        let Probe { txid, model, smoke: _ } = probe;
        let probes = self.probes.clone();
        match self.prober.probe(&model) {
            // There is one probe at a time, so there is room.
            None => drop(probes.try_send(Input::Probed { txid, result: Ok(()) })),
            Some(probing) => drop(tokio::spawn(async move {
                let result = probing.await;
                let _ = probes.send(Input::Probed { txid, result }).await;
            })),
        }
    }

    fn record(&self, event: Event) {
        let learned_at = unix_millis();
        match event {
            Event::Committed { proposal, took } => {
                let state = &proposal.state;
                let Some(txid) = state.txid else { return };
                self.publisher.record(HistoryEntry {
                    txid,
                    version: state.version,
                    outcome: Outcome::Commit,
                    by: proposal.by.clone(),
                    proposed_at: state.timestamp,
                    learned_at,
                    votes: proposal.votes.clone(),
                    decided: Some(Arc::clone(state)),
                    took,
                });
            }
            Event::Aborted { txid, version, by, votes, took } => self.publisher.record(HistoryEntry {
                txid,
                version,
                outcome: Outcome::Abort,
                by: Some(by),
                proposed_at: learned_at,
                learned_at,
                votes,
                decided: None,
                took,
            }),
            Event::CoordinationTaken
            | Event::CoordinationGiven
            | Event::Joined
            | Event::Isolated
            | Event::Confirmed { .. }
            | Event::Alarm(_) => {}
        }
    }
}

fn from_mesh(event: mesh::Event) -> Input {
    match event {
        mesh::Event::Up(id) => Input::PeerUp(id),
        mesh::Event::Down(id) => Input::PeerDown(id),
        mesh::Event::Message { from, message } => Input::Receive { from, message },
    }
}
