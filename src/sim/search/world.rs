//! Some members, their disks, what is on the wire between them, and all that can happen to these.

use super::fingerprint::{Fold, fingerprint};
use super::observer::{Broken, Lease, Observer, Promise, Watched, broken};
use super::rules::Without;
use super::subject::Subject;
use agreement::{
    Config, Durable, Engine, Event, Input, IsolationPolicy, Message, OnEmptyDisk, Output, Question, Record, Ticket,
    Timing,
};
use model::{Actor, Incarnation, NodeId, NodeSet, Time, UnixMillis, Weight};
use service::RoutingState;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A member and its disk.
#[derive(Clone, Debug, Hash)]
pub(super) struct Node<V: Subject> {
    pub(super) engine: Option<Engine<V, Without>>,
    /// What was forced.
    disk: Durable<V>,
    /// What was written and not forced.
    unforced: Vec<Record<V>>,
    /// Counts the processes and the disks.
    run: u32,
    lives: u32,
    /// The disk was lost, and the operator knows.
    wiped: bool,
    /// When it wants to be woken.
    wake: Time,
}

/// A message on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight<V: Subject> {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message<V>,
}

/// How the wire carries heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heartbeats {
    /// At once, and only when the world lets time pass: for searching the rest to the end.
    Instant,
    /// Like all other messages.
    OnTheWire,
}

/// When within a step a crash may strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Survives,
    /// After what rests on no record was sent, before anything reached the disk.
    DiesBeforeDisk,
    /// After the disk, before anything else.
    DiesAfterDisk,
}

/// Everything.
#[derive(Clone, Debug)]
pub(super) struct World<V: Subject = RoutingState> {
    pub(super) nodes: Vec<Arc<Node<V>>>,
    prints: Vec<u64>,
    pub(super) wire: Vec<(u64, Arc<Flight<V>>)>,
    /// Messages that were delivered long ago and may come once more.
    pub(super) delivered: Vec<Arc<Flight<V>>>,
    pub(super) now: Time,
    pub(super) observer: Arc<Observer<V>>,
    /// Pairs that cannot reach each other, by one direction.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    linked: BTreeSet<(NodeId, NodeId)>,
    /// A member whose heartbeats go nowhere, and to whom none come, though its links seem to be up.
    pub(super) silent: Option<NodeId>,
    heartbeats: Heartbeats,
    timing: Timing,
    rules: Without,
    tickets: u64,
    /// Probes whose answer the world still owes.
    pub(super) probes_fail: bool,
    /// Print every step, to follow one schedule.
    pub(super) trace: bool,
}

pub(super) fn id(index: usize) -> NodeId {
    NodeId::from_index(u8::try_from(index).expect("few nodes")).expect("few nodes")
}

impl<V: Subject> World<V> {
    /// Members with empty disks, all started and linked.
    pub(super) fn new(members: usize, heartbeats: Heartbeats, timing: Timing, rules: Without) -> Result<Self, Broken> {
        let observer = Arc::new(Observer::new(NodeSet::first(members)));
        let node = |index: usize| Node {
            engine: None,
            disk: Durable::blank(Incarnation(index as u64 + 1)),
            unforced: Vec::new(),
            run: 0,
            lives: 1,
            wiped: false,
            wake: Time::ZERO,
        };
        let nodes: Vec<Arc<Node<V>>> = (0..members).map(|index| Arc::new(node(index))).collect();
        let mut world = Self {
            prints: vec![0; members],
            nodes,
            wire: Vec::new(),
            delivered: Vec::new(),
            now: Time::from_micros(1_000_000_000),
            observer,
            cut: BTreeSet::new(),
            linked: BTreeSet::new(),
            silent: None,
            heartbeats,
            timing,
            rules,
            tickets: 0,
            probes_fail: false,
            trace: false,
        };
        for index in 0..members {
            world.start(id(index))?;
        }
        Ok(world)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<V> {
        (0..self.nodes.len()).map(id)
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<V> {
        Arc::make_mut(&mut self.nodes[usize::from(id.index())])
    }

    pub(super) fn node(&self, id: NodeId) -> &Node<V> {
        &self.nodes[usize::from(id.index())]
    }

    pub(super) fn engine(&self, id: NodeId) -> Option<&Engine<V, Without>> {
        self.node(id).engine.as_ref()
    }

    pub(super) fn is_up(&self, id: NodeId) -> bool {
        self.engine(id).is_some()
    }

    /// What tells this world from others, as far as the future goes.
    pub(super) fn print(&self) -> u64 {
        let mut hasher = Fold::default();
        self.prints.hash(&mut hasher);
        for (print, _) in &self.wire {
            print.hash(&mut hasher);
        }
        self.now.hash(&mut hasher);
        self.observer.hash(&mut hasher);
        self.cut.hash(&mut hasher);
        self.linked.hash(&mut hasher);
        hasher.finish()
    }

    /// Starts a member on its disk; one whose disk was lost rejoins.
    pub(super) fn start(&mut self, id: NodeId) -> Result<(), Broken> {
        let lost = self.node(id).wiped && self.node(id).disk.joined.is_none();
        self.start_with(id, if lost { OnEmptyDisk::Rejoin } else { OnEmptyDisk::AwaitFirstBoot })
    }

    /// Starts a member on its disk, as its operator says.
    pub(super) fn start_with(&mut self, id: NodeId, on_empty_disk: OnEmptyDisk) -> Result<(), Broken> {
        let members = NodeSet::first(self.nodes.len());
        let (timing, now, rules) = (self.timing, self.now, self.rules);
        let node = self.node_mut(id);
        let initial = Arc::new(V::initial());
        let on_isolation = IsolationPolicy::Stable;
        let config = Config { me: id, members, initial, on_isolation, on_empty_disk, timing };
        if node.run > 0 {
            node.disk.epoch += 1;
        }
        node.run += 1;
        node.engine = Some(Engine::with_rules(Arc::new(config), node.disk.clone(), now, rules));
        self.step(id, Input::Timeout, Fate::Survives)?;
        self.link()
    }

    /// Makes links where both ends live and none is cut, and breaks those that cannot be.
    pub(super) fn link(&mut self) -> Result<(), Broken> {
        let pairs: Vec<(NodeId, NodeId)> =
            self.ids().flat_map(|from| self.ids().map(move |to| (from, to))).filter(|(from, to)| from != to).collect();
        for (from, to) in pairs {
            let possible = self.is_up(from) && self.is_up(to) && !self.cut.contains(&(from, to));
            if possible && self.linked.insert((from, to)) {
                self.step(from, Input::PeerUp(to), Fate::Survives)?;
            } else if !possible && self.linked.remove(&(from, to)) && self.is_up(from) {
                self.step(from, Input::PeerDown(to), Fate::Survives)?;
            }
        }
        Ok(())
    }

    /// Ends a member's process at once: what was not forced is lost.
    pub(super) fn crash(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.node_mut(id);
        node.engine = None;
        node.unforced.clear();
        self.print_node(id);
        self.link()
    }

    /// Tells a member that its process is about to end.
    pub(super) fn stop(&mut self, id: NodeId) -> Result<(), Broken> {
        self.step(id, Input::Stop, Fate::Survives)
    }

    /// Ends a member's process as its owner does after a stop: all that was written is forced first.
    pub(super) fn end(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.node_mut(id);
        for record in std::mem::take(&mut node.unforced) {
            node.disk.apply(&record);
        }
        self.crash(id)
    }

    /// Takes a member's disk away.
    pub(super) fn wipe(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.node_mut(id);
        node.lives += 1;
        node.wiped = true;
        let life = u64::from(node.lives) * 100 + u64::from(id.index()) + 1;
        node.disk = Durable::blank(Incarnation(life));
        self.crash(id)
    }

    /// How many members lost their disk and have not joined again; none while some have not joined for the first time.
    pub(super) fn without_disk(&self) -> Option<usize> {
        let outside = self.nodes.iter().filter(|node| node.disk.joined.is_none());
        outside.clone().all(|node| node.wiped).then(|| outside.count())
    }

    pub(super) fn propose(&mut self, id: NodeId, change: V::Change) -> Result<(), Broken> {
        self.tickets += 1;
        let by = Actor { id: String::new(), serial: String::new(), remote: String::new() };
        let ticket = Ticket(self.tickets);
        let question = Question { ticket, change, base_version: None, by, at: UnixMillis(0) };
        self.step(id, Input::Propose(question), Fate::Survives)
    }

    /// Takes a message off the wire and hands it over.
    pub(super) fn deliver(&mut self, position: usize, fate: Fate) -> Result<(), Broken> {
        let (_, flight) = self.wire.remove(position);
        self.hand_over(&flight, fate)
    }

    /// Remembers a message on the wire, to deliver it once more much later.
    pub(super) fn remember(&mut self, position: usize) {
        const MOST: usize = 24;
        if self.delivered.len() == MOST {
            self.delivered.remove(0);
        }
        self.delivered.push(Arc::clone(&self.wire[position].1));
    }

    /// Delivers a remembered message once more.
    pub(super) fn repeat_old(&mut self, position: usize) -> Result<(), Broken> {
        let flight = Arc::clone(&self.delivered[position]);
        self.hand_over(&flight, Fate::Survives)
    }

    /// Hands a message over and leaves it on the wire.
    pub(super) fn repeat(&mut self, position: usize) -> Result<(), Broken> {
        let flight = Arc::clone(&self.wire[position].1);
        self.hand_over(&flight, Fate::Survives)
    }

    /// Takes messages off the wire that came too late to mean anything: votes and acknowledgements of what is settled,
    /// answers to questions that are asked no more, decisions that are known (so that their acknowledgement is one of
    /// those that are lost). While the receiver lives it would learn from them nothing but what the next heartbeat tells
    /// it, and its next process never sees them, because a connection ends with the process; each that is kept doubles
    /// the states that are the same but for it.
    pub(super) fn drop_spent(&mut self) {
        let nodes = &self.nodes;
        self.wire.retain(|(_, flight)| {
            let engine = nodes[usize::from(flight.to.index())].engine.as_ref();
            engine.is_none_or(|engine| !engine.is_spent(flight.from, &flight.message))
        });
    }

    fn hand_over(&mut self, flight: &Flight<V>, fate: Fate) -> Result<(), Broken> {
        if !self.is_up(flight.to) {
            return Ok(());
        }
        self.step(flight.to, Input::Receive { from: flight.from, message: flight.message.clone() }, fate)
    }

    /// Steps a member and carries out what it says, as its owner would.
    pub(super) fn step(&mut self, id: NodeId, input: Input<V>, fate: Fate) -> Result<(), Broken> {
        let mut inputs = VecDeque::from([(id, input, fate)]);
        while let Some((id, input, fate)) = inputs.pop_front() {
            let (now, trace) = (self.now, self.trace);
            let Some(engine) = &mut self.node_mut(id).engine else { continue };
            if trace {
                eprintln!("{} {id} {input:?} {fate:?}", now.as_micros());
            }
            let out = engine.step(now, input);
            if trace {
                eprintln!("    {out:?}");
            }
            let wake = engine.poll_timeout(now);
            self.node_mut(id).wake = wake;
            self.carry_out(id, out, fate, &mut inputs)?;
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        id: NodeId,
        mut out: Output<V>,
        fate: Fate,
        inputs: &mut VecDeque<(NodeId, Input<V>, Fate)>,
    ) -> Result<(), Broken> {
        if fate == Fate::DiesBeforeDisk {
            out = Output { ask: out.ask, ..Output::default() };
        }
        if fate == Fate::DiesAfterDisk {
            out = Output { ask: out.ask, append: out.append, ..Output::default() };
        }
        let stored = self.force(id, &out.append);
        self.node_mut(id).unforced.append(&mut out.note);
        let run = self.node(id).run;
        let mut observer = Arc::clone(&self.observer);
        let committed = self.engine(id).map_or(0, |engine| engine.committed().state.version());
        Arc::make_mut(&mut observer).observe(Watched { node: id, run, committed }, &out, &stored)?;
        self.observer = observer;
        for envelope in std::mem::take(&mut out.ask) {
            self.put_on_wire(Flight { from: id, to: envelope.to, message: envelope.message }, inputs);
        }
        if fate != Fate::Survives {
            return self.crash(id);
        }
        for event in &out.events {
            if let Event::Alarm(alarm) = event {
                return broken(Promise::NoAlarm, format!("{id}: {alarm}"));
            }
        }
        if let Some(stop) = &out.stop {
            // A member whose disk was lost must not take part as if nothing had been; any other has no reason to stop.
            return if self.node(id).wiped {
                self.crash(id)
            } else {
                broken(Promise::NoAlarm, format!("{id} stops: {stop}"))
            };
        }
        for envelope in out.send {
            self.put_on_wire(Flight { from: id, to: envelope.to, message: envelope.message }, inputs);
        }
        if let Some(probe) = out.probe {
            let result = if self.probes_fail { Err("it does not answer".to_owned()) } else { Ok(()) };
            inputs.push_back((id, Input::Probed { txid: probe.txid, result }, Fate::Survives));
        }
        self.observe_node(id)
    }

    /// Forces records to disk, as the store does: with all that were written before.
    fn force(&mut self, id: NodeId, records: &[Record<V>]) -> Vec<Record<V>> {
        if records.is_empty() {
            return Vec::new();
        }
        let node = self.node_mut(id);
        node.unforced.extend(records.iter().cloned());
        let stored = std::mem::take(&mut node.unforced);
        for record in &stored {
            node.disk.apply(record);
        }
        stored
    }

    fn put_on_wire(&mut self, flight: Flight<V>, inputs: &mut VecDeque<(NodeId, Input<V>, Fate)>) {
        if self.cut.contains(&(flight.from, flight.to)) || !self.is_up(flight.to) {
            return;
        }
        let is_heartbeat = matches!(flight.message, Message::Heartbeat(_));
        if is_heartbeat && self.heartbeats == Heartbeats::Instant {
            let Flight { from, to, message } = flight;
            if self.silent == Some(from) || self.silent == Some(to) {
                return;
            }
            return inputs.push_back((to, Input::Receive { from, message }, Fate::Survives));
        }
        let print = fingerprint(&flight);
        let position = match self.heartbeats {
            // The order on the wire means nothing to an exhaustive search, and a message that is there twice is there.
            Heartbeats::Instant => match self.wire.binary_search_by_key(&print, |(print, _)| *print) {
                Ok(_) => return,
                Err(position) => position,
            },
            Heartbeats::OnTheWire => self.wire.len(),
        };
        self.wire.insert(position, (print, Arc::new(flight)));
    }

    fn print_node(&mut self, id: NodeId) {
        let index = usize::from(id.index());
        self.prints[index] = fingerprint(&*self.nodes[index]);
    }

    fn observe_node(&mut self, id: NodeId) -> Result<(), Broken> {
        self.print_node(id);
        let Some(engine) = self.engine(id) else { return Ok(()) };
        let lease = if engine.is_isolated(self.now) { Lease::Over } else { Lease::Holds };
        let state = Arc::clone(&engine.committed().state);
        let mut observer = Arc::clone(&self.observer);
        Arc::make_mut(&mut observer).observe_served(id, &state, lease)?;
        self.observer = observer;
        Ok(())
    }

    /// Looks at what everyone serves at this moment, without waking anyone up.
    pub(super) fn look(&self) -> Result<(), Broken> {
        for id in self.ids() {
            let Some(engine) = self.engine(id) else { continue };
            let version = engine.committed().state.version();
            let view = engine.view(self.now);
            if engine.has_open_question() && view.pending.is_none() {
                return broken(Promise::NoSilentWait, format!("{id} shows nothing of it: {}", self.describe()));
            }
            let serving = if view.is_withdrawn(self.now) { Weight::ZERO } else { view.state.weight() };
            self.observer.observe_serving(id, version, serving, self.now)?;
        }
        Ok(())
    }

    /// Steps every living member whose deadline has come.
    pub(super) fn wake_due(&mut self) -> Result<(), Broken> {
        for id in self.ids() {
            for _ in 0..100 {
                if !self.is_due(id) {
                    break;
                }
                self.step(id, Input::Timeout, Fate::Survives)?;
            }
            if self.is_due(id) {
                let how = format!("{id} wants to be woken again and again: {}", self.describe());
                return broken(Promise::Progress, how);
            }
        }
        Ok(())
    }

    fn is_due(&self, id: NodeId) -> bool {
        self.is_up(id) && self.node(id).wake <= self.now
    }

    /// Delivers everything on the wire, in order, and what that leads to.
    pub(super) fn deliver_all(&mut self) -> Result<(), Broken> {
        for _ in 0..5_000 {
            if self.wire.is_empty() {
                return Ok(());
            }
            self.deliver(0, Fate::Survives)?;
        }
        let flights = self
            .wire
            .iter()
            .take(6)
            .map(|(_, flight)| format!("{} to {}: {:?}", flight.from, flight.to, flight.message));
        broken(Promise::Progress, format!("the members talk without end: {}", flights.collect::<Vec<_>>().join("; ")))
    }

    /// Lets `span` pass in small steps, with everything on the wire delivered.
    pub(super) fn pass(&mut self, span: Duration) -> Result<(), Broken> {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Duration::from_millis(50);
            self.look()?;
            self.wake_due()?;
            self.deliver_all()?;
        }
        Ok(())
    }

    /// Repairs everything and checks that all is settled in time: the promise of progress.
    pub(super) fn heal(&mut self, within: Duration) -> Result<(), Broken> {
        self.cut.clear();
        self.wire.clear();
        self.probes_fail = false;
        let deadline = self.now + within;
        // Who was told to stop is not among those who have to settle anything.
        for id in self.ids() {
            if self.engine(id).is_some_and(Engine::is_leaving) {
                self.end(id)?;
            }
        }
        loop {
            // Also those that stop now, because they were started on an empty disk as if nothing had been lost.
            for id in self.ids() {
                if !self.is_up(id) {
                    self.start(id)?;
                }
            }
            self.link()?;
            self.deliver_all()?;
            if self.is_settled() || self.now >= deadline {
                break;
            }
            self.pass(Duration::from_millis(50))?;
        }
        if self.is_settled() { Ok(()) } else { broken(Promise::Progress, self.describe()) }
    }

    /// Whether all are at one version, nothing is pending, all hold a lease and exactly one coordinates.
    pub(super) fn is_settled(&self) -> bool {
        let engines: Vec<&Engine<V, Without>> = self.nodes.iter().filter_map(|node| node.engine.as_ref()).collect();
        let newest = self.observer.newest.as_ref().map_or(0, |newest| newest.version());
        let settled = |engine: &&Engine<V, Without>| {
            engine.is_settled() && engine.committed().state.version() == newest && !engine.is_isolated(self.now)
        };
        engines.len() == self.nodes.len()
            && engines.iter().all(settled)
            && engines.iter().filter(|engine| engine.acts()).count() == 1
    }

    pub(super) fn describe(&self) -> String {
        let line = |id: NodeId| {
            let Some(engine) = self.engine(id) else { return format!("{id} is down") };
            let view = engine.view(self.now);
            format!(
                "{id} v{} isolated={} acts={} pending={:?} coordinator={:?}",
                view.state.version(),
                view.is_isolated(self.now),
                engine.acts(),
                view.pending,
                view.coordinator
            )
        };
        let newest = self.observer.newest.as_ref().map_or(0, |newest| newest.version());
        format!("newest v{newest}; {}", self.ids().map(line).collect::<Vec<_>>().join("; "))
    }
}
