//! The one task that owns the engine and the controller of rollouts: it feeds them what happens, and carries out what they
//! say, in that order.
//!
//! It runs alone on its thread, with the mesh: forcing a record to disk blocks that thread, and with it only what must
//! wait for the disk anyway. A store that fails ends the task, and with it the process, before anything is said that rests
//! on what it did not write.

use super::chronicle::Chronicle;
use super::handle::{Publisher, Request};
use super::witness::Witness;
use super::{boottime, journal, unix_millis};
use crate::audit::{Log, Outgoing};
use crate::commit::{
    Answer, Config, Engine, Input, Message, Output, Probe, Question, Reason, Stop, Ticket, View, Vote,
};
use crate::health::Samples;
use crate::mesh::{self, Mesh};
use crate::model::{Actor, Change, Model, NodeId, NodeSet, Report, Smoke, Testimony, Time};
use crate::rollout::{Controller, Facts, LOOK_EVERY, MayPropose, Moves, Trial};
use crate::store::{History, Room, Store, StoreError};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the room on the disk is looked at. A disk fills in minutes, so seconds are soon enough.
const ROOM_EVERY: Duration = Duration::from_secs(2);
/// How often the measurements of a canary are looked at whose weight was set by hand.
const LOOK_EVERY_BY_HAND: Duration = Duration::from_secs(1);
/// How many finished probes may wait for the driver; there is one transaction at a time.
const PROBES: usize = 16;

/// The answer of an upstream, when it comes.
pub type Probing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What serves the models on this node, and counts how they do.
pub trait Traffic: Send {
    /// Asks the model's upstream, and puts it to its smoke test if there is one; none when there is nothing to ask, which
    /// is as good as ready.
    fn probe(&self, model: &Model, smoke: Option<&Smoke>) -> Option<Probing>;
    /// Counts for this trial from now on, from nothing; or for none.
    fn count(&self, trial: Option<&Trial>);
    /// What was counted since.
    fn counted(&self) -> Samples;
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
    traffic: Box<dyn Traffic>,
    controller: Controller,
    chronicle: Chronicle,
    witness: Witness,
    waiting: BTreeMap<Ticket, Waiter>,
    tickets: u64,
    room: Room,
    probes: mpsc::Sender<Input>,
    probed: mpsc::Receiver<Input>,
    /// The version that the controller has seen.
    seen_version: Option<u64>,
    next_look: Option<Time>,
}

/// Who waits for an answer.
enum Waiter {
    Caller { reply: oneshot::Sender<Answer>, by: Actor, change: Change },
    Controller(Change),
}

/// What reaches the driver from outside.
pub struct Inbox {
    /// From the mesh.
    pub mesh: mpsc::Receiver<mesh::Event>,
    /// From the handles.
    pub requests: mpsc::Receiver<Request>,
    /// From the record: what is to be handed to peers.
    pub outgoing: mpsc::Receiver<Outgoing>,
}

impl Driver {
    /// A driver of `engine`, which was made of what `store` remembers.
    #[must_use]
    pub fn new(
        engine: Engine,
        store: Store,
        mesh: Mesh,
        publisher: Publisher,
        traffic: Box<dyn Traffic>,
        log: Log,
        (history, lines): (History, Vec<String>),
    ) -> Self {
        let (probes, probed) = mpsc::channel(PROBES);
        let chronicle = Chronicle::new(history, &lines, engine.committed(), &publisher);
        let witness = Witness::new(log, &engine);
        Self {
            controller: Controller::new(engine.me()),
            chronicle,
            witness,
            engine,
            store,
            mesh,
            publisher,
            traffic,
            waiting: BTreeMap::new(),
            tickets: 0,
            room: Room::Plenty,
            probes,
            probed,
            seen_version: None,
            next_look: None,
        }
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
        self.witness.started(self.engine.committed(), self.engine.durable().accepted.as_deref());
        self.step(Input::Timeout).await?;
        loop {
            self.look().await?;
            let now = boottime();
            self.witness.send(now);
            let others = [self.next_look, self.chronicle.poll_write(now), self.witness.poll_send(now)];
            let others = others.into_iter().flatten();
            let due = others.fold(self.engine.poll_timeout(now), Time::min);
            let happened = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = inbox.mesh.recv() => from_mesh(event),
                Some(input) = self.probed.recv() => Happened::Input(input),
                Some(outgoing) = inbox.outgoing.recv() => self.hand_on(outgoing),
                Some(request) = inbox.requests.recv() => Happened::Input(self.question(request)),
                () = tokio::time::sleep(due.since(now)) => {
                    self.chronicle.write();
                    Happened::Input(Input::Timeout)
                }
                _ = look_at_room.tick() => {
                    self.look_at_room().map_or(Happened::Nothing, Happened::Input)
                }
            };
            match happened {
                Happened::Input(input) => self.step(input).await?,
                Happened::Report(from, report) => self.on_report(from, *report),
                Happened::Testimony(from, testimony) => self.witness.heard(from, testimony),
                Happened::Nothing => {}
            }
        }
        self.chronicle.write();
        self.store.force()?;
        Ok(())
    }

    fn question(&mut self, request: Request) -> Input {
        let Request { change, base_version, by, reply } = request;
        let waiter = Waiter::Caller { reply, by: by.clone(), change: change.clone() };
        self.ask(change, base_version, by, waiter)
    }

    /// Hands statements to a peer, or to all that are connected.
    fn hand_on(&self, outgoing: Outgoing) -> Happened {
        let Outgoing { to, testimony } = outgoing;
        let message = Message::Testimony(Box::new(testimony));
        let others = self.engine.members().without(self.engine.me());
        others.iter().filter(|peer| to.is_none_or(|to| to == *peer)).for_each(|peer| self.mesh.send(peer, &message));
        Happened::Nothing
    }

    fn ask(&mut self, change: Change, base_version: Option<u64>, by: Actor, waiter: Waiter) -> Input {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, waiter);
        Input::Propose(Question { ticket, change, base_version, by, at: unix_millis() })
    }

    fn on_report(&mut self, from: NodeId, report: Report) {
        if report.ejected.is_some() {
            self.next_look = Some(Time::ZERO);
        }
        self.controller.on_report(boottime(), from, report);
    }

    /// Lets the controller look at everything when that is due, and carries out what it says.
    async fn look(&mut self) -> Result<(), DriverError> {
        let now = boottime();
        let version = self.engine.committed().state.version;
        if self.seen_version != Some(version) {
            self.seen_version = Some(version);
            let soon = self.engine.committed().state.open_rollout().is_some() || self.controller.is_judging();
            // A weight set by hand is looked at when there is time: nothing follows from it by itself.
            let look = if soon { now } else { now + LOOK_EVERY_BY_HAND };
            self.next_look = Some(self.next_look.map_or(look, |before| before.min(look)));
        }
        if self.next_look.is_none_or(|look| now < look) {
            return Ok(());
        }
        let view = self.engine.view(now);
        let own = if self.controller.is_watching() { self.traffic.counted() } else { Samples::default() };
        let facts = facts(&view, &own);
        let moves = self.controller.look(now, &facts);
        let pace = if self.controller.is_judging() { LOOK_EVERY } else { LOOK_EVERY_BY_HAND };
        self.next_look = self.controller.is_watching().then(|| now + pace);
        let connected = facts.connected;
        self.carry_out_moves(now, moves, connected).await
    }

    async fn carry_out_moves(&mut self, now: Time, moves: Moves, connected: NodeSet) -> Result<(), DriverError> {
        let Moves { count, report, propose, measured, ejection_changed, status } = moves;
        if let Some(trial) = count {
            self.traffic.count(trial.as_ref());
        }
        if let Some((evidence, failing)) = measured {
            self.step(Input::Measured { evidence, failing }).await?;
        }
        if ejection_changed {
            journal::ejection(self.engine.me(), self.controller.ejected());
            self.publish(now);
        }
        if let Some(report) = report {
            let message = Message::Report(Box::new(report));
            connected.iter().for_each(|to| self.mesh.send(to, &message));
        }
        self.publisher.show(status);
        if let Some(change) = propose {
            let me = self.engine.me();
            let by = Actor { id: format!("rollout/{me}"), serial: String::new(), remote: String::new() };
            let question = self.ask(change.clone(), None, by, Waiter::Controller(change));
            self.step(question).await?;
        }
        Ok(())
    }

    fn publish(&self, now: Time) {
        let mut view = self.engine.view(now);
        view.ejected = self.controller.ejected().map(Arc::from);
        self.publisher.publish(view);
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
        self.witness.received(&input);
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
            self.publish(now);
        }
        for envelope in &send {
            self.mesh.send(envelope.to, &envelope.message);
        }
        for (ticket, answer) in reply {
            self.answer(now, ticket, answer);
        }
        if let Some(probe) = probe {
            self.probe(probe);
        }
        self.witness.sent(&ask);
        self.witness.wrote(&append);
        self.witness.sent(&send);
        if !send.is_empty() && (!events.is_empty() || !note.is_empty()) {
            // What is sent should not wait for what is logged, or written without haste.
            tokio::task::yield_now().await;
        }
        for event in events {
            journal::event(&event, self.engine.me());
            self.witness.happened(&event);
            self.chronicle.record(event, &self.publisher);
        }
        if !note.is_empty() {
            self.store.append(&note)?;
        }
        stop.map_or(Ok(()), |stop| Err(stop.into()))
    }

    fn answer(&mut self, now: Time, ticket: Ticket, answer: Answer) {
        match self.waiting.remove(&ticket) {
            // A caller that has gone away wants no answer.
            Some(Waiter::Caller { reply, by, change }) => {
                self.witness.answered(by, &change, &answer);
                drop(reply.send(answer));
            }
            Some(Waiter::Controller(change)) => {
                self.controller.on_answer(now, &change, refused(&answer));
                self.next_look = Some(now);
            }
            None => {}
        }
    }

    fn probe(&self, probe: Probe) {
        let Probe { txid, model, smoke } = probe;
        let probes = self.probes.clone();
        match self.traffic.probe(&model, smoke.as_ref()) {
            // There is one probe at a time, so there is room.
            None => drop(probes.try_send(Input::Probed { txid, result: Ok(()) })),
            Some(probing) => drop(tokio::spawn(async move {
                let result = probing.await;
                let _ = probes.send(Input::Probed { txid, result }).await;
            })),
        }
    }
}

/// What reached the driver.
enum Happened {
    Input(Input),
    Report(NodeId, Box<Report>),
    Testimony(NodeId, Box<Testimony>),
    Nothing,
}

fn from_mesh(event: mesh::Event) -> Happened {
    match event {
        mesh::Event::Up(id) => Happened::Input(Input::PeerUp(id)),
        mesh::Event::Down(id) => Happened::Input(Input::PeerDown(id)),
        mesh::Event::Message { from, message: Message::Report(report) } => Happened::Report(from, report),
        mesh::Event::Message { from, message: Message::Testimony(testimony) } => Happened::Testimony(from, testimony),
        mesh::Event::Message { from, message } => Happened::Input(Input::Receive { from, message }),
    }
}

/// What the controller sees of `view`.
fn facts<'a>(view: &'a View, own: &'a Samples) -> Facts<'a> {
    let epoch = view.state.open_rollout().map_or(view.state.version, |rollout| rollout.epoch);
    let connected: NodeSet = view.peers.iter().filter(|(_, peer)| peer.connected).map(|(id, _)| *id).collect();
    let serving = view.peers.iter().filter(|(_, peer)| peer.applied >= epoch).map(|(id, _)| *id).collect();
    let may_propose = match view.coordinator {
        Some(coordinator) if coordinator == view.me => MayPropose::All,
        Some(_) => MayPropose::Nothing,
        None => MayPropose::Retreats,
    };
    Facts { state: &view.state, may_propose, connected, serving, members: view.members, own }
}

/// Why a change was not made, in words; none when it was.
fn refused(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Committed { .. } => None,
        Answer::Aborted { votes, .. } => {
            let against = votes.iter().filter_map(|(voter, vote)| match vote {
                Vote::Abort(reason) => Some(format!("{voter}: {reason}")),
                Vote::Commit => None,
            });
            Some(against.collect::<Vec<_>>().join("; "))
        }
        Answer::Superseded { by, .. } => Some(format!("{by} was decided first")),
        Answer::Refused(refusal) => Some(refusal.to_string()),
        Answer::Unknown { txid, .. } => Some(format!("{txid} is not settled yet")),
    }
}
