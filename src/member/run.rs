//! The one task that owns a member: it waits for what happens, hands it over, and gives the member the mesh, the handles,
//! the upstreams and the records to act on.
//!
//! It runs alone on its thread, with the mesh: forcing a record to disk blocks that thread, and with it only what must
//! wait for the disk anyway. A store that fails ends the task, and with it the process, before anything is said that rests
//! on what it did not write.

use super::audit_tap::AuditTap;
use super::handle::{Publisher, Request};
use super::history::HistoryWriter;
use super::member::Member;
use super::outside::{Asked, DriverError, Happened, Outside, Progress};
use super::{boottime, journal, unix_millis};
use audit::{Log, Outgoing};
use crash::{Step, around};
use judge::Samples;
use mesh::{self, Mesh};
use model::{NodeId, NodeSet, Testimony, Time};
use rollout::{Next, Status, Trial};
use service::{
    Answer, Check, Config, Engine, Envelope, Event, Input, Message, Model, Probe, Rate, Record, Smoke, View,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{History, Room, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How often the room on the disk is looked at. A disk fills in minutes, so seconds are soon enough.
const ROOM_EVERY: Duration = Duration::from_secs(2);
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
    /// The rate of the requests in the last minute, to all models.
    fn rate(&self) -> Rate;
}

/// Where an answer to a caller goes.
type Reply = oneshot::Sender<Answer>;

/// What the driver works with.
pub struct Driver {
    member: Member<Store, Reply>,
    node: Node,
}

/// The rest of the node, as far as the member acts on it.
struct Node {
    me: NodeId,
    others: NodeSet,
    mesh: Mesh,
    publisher: Publisher,
    traffic: Box<dyn Traffic>,
    history: HistoryWriter,
    audit_tap: AuditTap,
    /// Questions to upstreams that are under way.
    probes: JoinSet<Input>,
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

/// How the driver is ended.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// Cancelled first: the others are to coordinate. What others ask of this member is answered still.
    pub leave: CancellationToken,
    /// Cancelled when no caller can ask anything any more. It means nothing without the first.
    pub end: CancellationToken,
}

impl Driver {
    /// A driver of `engine`, which was made of what `store` remembers.
    pub fn new(
        engine: Engine,
        store: Store,
        mesh: Mesh,
        publisher: Publisher,
        traffic: Box<dyn Traffic>,
        log: Log,
        (history, lines): (History, Vec<String>),
    ) -> Self {
        let history = HistoryWriter::new(history, &lines, engine.committed(), &publisher);
        let audit_tap = AuditTap::new(log, &engine);
        let me = engine.me();
        let others = engine.members().without(me);
        let node = Node { me, others, mesh, publisher, traffic, history, audit_tap, probes: JoinSet::new() };
        Self { member: Member::new(engine, store), node }
    }

    /// An engine that has just started, for [`Driver::new`] and the first view.
    pub fn engine(config: Config, durable: service::Durable) -> Engine {
        Engine::new(Arc::new(config), durable, boottime())
    }

    /// Runs until it was told to stop and to end, and nobody waits any more for what it began before. Fails when the
    /// disk fails, or when the engine says that the member cannot go on.
    pub async fn run(mut self, mut inbox: Inbox, stop: Stopping) -> Result<(), DriverError> {
        let (mut told, mut ending) = (false, false);
        let mut look_at_room = tokio::time::interval(ROOM_EVERY);
        let engine = self.member.engine();
        self.node.audit_tap.started(engine.committed(), engine.durable().accepted.as_deref());
        self.take(Happened::Input(Input::Timeout)).await?;
        loop {
            if ending && self.member.has_left() {
                break;
            }
            let progress = self.member.look(boottime(), unix_millis, &mut self.node)?;
            self.finish(progress).await?;
            let now = boottime();
            self.node.audit_tap.send(now);
            let others = [self.node.history.poll_write(now), self.node.audit_tap.poll_send(now)];
            let due = others.into_iter().flatten().fold(self.member.poll_timeout(now), Time::min);
            let happened = tokio::select! {
                biased;
                () = stop.leave.cancelled(), if !told => {
                    told = true;
                    Happened::Input(Input::Stop)
                }
                () = stop.end.cancelled(), if told && !ending => {
                    ending = true;
                    Happened::Nothing
                }
                Some(event) = inbox.mesh.recv() => from_mesh(event),
                Some(probed) = self.node.probes.join_next() => from_probe(probed),
                Some(outgoing) = inbox.outgoing.recv() => self.node.hand_on(outgoing),
                Some(request) = inbox.requests.recv() => Happened::Asked(request, unix_millis()),
                () = tokio::time::sleep(due.since(now)) => {
                    self.node.history.write();
                    Happened::Input(Input::Timeout)
                }
                _ = look_at_room.tick() => Happened::LookAtRoom,
            };
            self.take(happened).await?;
        }
        self.node.history.write();
        // Whoever asked has left, and nobody waits for the answer.
        self.node.probes.shutdown().await;
        self.member.end()
    }

    async fn take(&mut self, happened: Happened<Reply>) -> Result<(), DriverError> {
        let progress = self.member.take(boottime(), happened, &mut self.node)?;
        self.finish(progress).await
    }

    /// Lets the links' tasks, which share this thread, have a turn wherever the member pauses.
    async fn finish(&mut self, mut progress: Progress) -> Result<(), DriverError> {
        while progress == Progress::Pause {
            tokio::task::yield_now().await;
            progress = self.member.go_on(boottime(), &mut self.node)?;
        }
        Ok(())
    }
}

impl Node {
    /// Hands statements to a peer, or to all that are connected.
    fn hand_on(&self, outgoing: Outgoing) -> Happened<Reply> {
        let Outgoing { to, testimony } = outgoing;
        let message = Message::Testimony(Box::new(testimony));
        let receivers = self.others.iter().filter(|peer| to.is_none_or(|to| to == *peer));
        receivers.for_each(|peer| around(Step::Send, || self.mesh.send(peer, &message)));
        Happened::Nothing
    }
}

impl Outside for Node {
    type Caller = Reply;

    fn send(&mut self, to: NodeId, message: &Message) {
        around(Step::Send, || self.mesh.send(to, message));
    }

    fn publish(&mut self, view: View) {
        around(Step::Publish, || self.publisher.publish(view));
    }

    fn show(&mut self, status: Option<Arc<Status>>) {
        self.publisher.show(status);
    }

    fn close(&mut self) {
        journal::closed(self.me);
        self.mesh.close();
    }

    fn answer(&mut self, asked: Asked<Reply>, answer: Answer) {
        let Asked { change, by, caller, .. } = asked;
        self.audit_tap.answered(by, &change, &answer);
        // A caller that has gone away wants no answer.
        around(Step::Reply, || drop(caller.send(answer)));
    }

    fn probe(&mut self, probe: Probe) {
        let Probe { txid, check: Check { model, smoke } } = probe;
        let probing = self.traffic.probe(&model, smoke.as_ref());
        self.probes.spawn(async move {
            let result = match probing {
                None => Ok(()),
                Some(probing) => probing.await,
            };
            Input::Probed { txid, result }
        });
    }

    fn count(&mut self, trial: Option<&Trial>) {
        self.traffic.count(trial);
    }

    fn counted(&mut self) -> Samples {
        self.traffic.counted()
    }

    fn rate(&mut self) -> Rate {
        self.traffic.rate()
    }

    fn held_up(&mut self, next: &Next) {
        journal::held_up(self.me, next);
    }

    fn received(&mut self, input: &Input) {
        self.audit_tap.received(input);
    }

    fn heard(&mut self, from: NodeId, testimony: Box<Testimony>) {
        self.audit_tap.heard(from, testimony);
    }

    fn sent(&mut self, envelopes: &[Envelope]) {
        self.audit_tap.sent(envelopes);
    }

    fn wrote(&mut self, records: &[Record]) {
        self.audit_tap.wrote(records);
    }

    fn happened(&mut self, event: Event) {
        journal::event(&event, self.me);
        self.audit_tap.happened(&event);
        self.history.record(event, &self.publisher);
    }

    fn ejected(&mut self, why: Option<&str>) {
        journal::ejection(self.me, why);
    }

    fn room(&mut self, room: Room) {
        journal::room(room);
    }
}

fn from_mesh(event: mesh::Event) -> Happened<Reply> {
    match event {
        mesh::Event::Up(id, wire) => Happened::Up(id, wire),
        mesh::Event::Down(id) => Happened::Down(id),
        mesh::Event::Message(from, message) => Happened::Message(from, message),
    }
}

/// The answer of a probe. One that panicked answers nothing, and the transaction's time runs out.
fn from_probe(probed: Result<Input, JoinError>) -> Happened<Reply> {
    probed.map_or(Happened::Nothing, Happened::Input)
}
