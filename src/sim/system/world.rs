//! Some machines, what lies between them, and time: one event after the other, all of it drawn from one seed.

use super::event::Event;
use super::network::Network;
use super::node::{Node, Rest};
use super::omitted::Omitted;
use super::surroundings::Quality;
use super::watch::Watch;
use crate::dice::Dice;
use crate::disk::Shared;
use crate::search::observer::{Broken, Lease, Promise, broken};
use crate::search::rules::Without;
use bytes::Bytes;
use member::{Happened, Member};
use model::{NodeId, NodeSet, Time, Weight};
use service::{Change, Engine, Input, serving_weight};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use store::Room;

/// How often a node looks at the room on its disk.
const ROOM_EVERY: Duration = Duration::from_secs(2);
/// A member that wants to be woken more often than this without time passing will never rest.
const MOST_WAKES: usize = 200;

/// What is to happen, in order of time: the queue is small numbers, which move faster than events.
#[derive(Default)]
struct Agenda {
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    order: u64,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
}

impl Agenda {
    fn push(&mut self, at: Time, event: Event) {
        self.order += 1;
        let place = self.free.pop().unwrap_or(self.events.len());
        if place == self.events.len() {
            self.events.push(None);
        }
        self.events[place] = Some(event);
        self.queue.push(Reverse((at, self.order, place)));
    }

    /// When the next event happens.
    fn next(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    fn pop(&mut self) -> Option<Event> {
        let Reverse((.., place)) = self.queue.pop()?;
        self.free.push(place);
        self.events[place].take()
    }

    fn retain(&mut self, keep: impl Fn(&Event) -> bool) {
        let Self { queue, events, free, .. } = self;
        queue.retain(|Reverse((.., place))| {
            let kept = events[*place].as_ref().is_some_and(&keep);
            if !kept {
                events[*place] = None;
                free.push(*place);
            }
            kept
        });
    }
}

/// An operator's question.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) change: Change,
    pub(super) by: u8,
    /// How often she asks again where she is told to.
    pub(super) tries: u8,
    /// Whom, and which of its processes, as long as she waits.
    pub(super) waits_for: Option<(NodeId, u32)>,
}

/// Everything.
pub(super) struct World {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    agenda: Agenda,
    pub(super) watch: Watch,
    pub(super) dice: Dice,
    pub(super) omitted: Omitted,
    pub(super) questions: Vec<Open>,
    pub(super) committed: usize,
    /// Messages that may come once more.
    pub(super) old: Vec<(NodeId, NodeId, Bytes)>,
    /// Nothing goes wrong any more.
    pub(super) is_repaired: bool,
    /// Events so far.
    pub(super) steps: u64,
    print: crc32fast::Hasher,
    /// What happened, in words, when someone wants to follow it.
    pub(super) story: Option<String>,
}

pub(super) fn id(index: usize) -> NodeId {
    NodeId::from_index(u8::try_from(index).expect("few nodes")).expect("few nodes")
}

impl World {
    /// Machines with empty disks, none of them started.
    pub(super) fn new(members: usize, seed: u64, omitted: Omitted, quality: Quality) -> Self {
        let node = |index: usize| Node::new(id(index), Shared::new(seed ^ (index as u64) << 40, members), quality);
        Self {
            now: Time::from_micros(1_000_000),
            nodes: (0..members).map(node).collect(),
            network: Network::new(members),
            agenda: Agenda::default(),
            watch: Watch::new(NodeSet::first(members)),
            dice: Dice::new(seed),
            omitted,
            questions: Vec::new(),
            committed: 0,
            old: Vec::new(),
            is_repaired: false,
            steps: 0,
            print: crc32fast::Hasher::new(),
            story: None,
        }
    }

    /// The same world on a way of its own, drawn from another seed. Nothing may be under way in it.
    pub(super) fn branch(&self, seed: u64, omitted: Omitted, quality: Quality) -> Self {
        let mut world = Self::new(self.nodes.len(), seed, omitted, quality);
        world.now = self.now;
        world.network = self.network.clone();
        world.watch = self.watch.clone();
        for (index, from) in self.nodes.iter().enumerate() {
            let node = &mut world.nodes[index];
            let disk = from.disk.copied(seed ^ (index as u64) << 40);
            if let Some(process) = &from.process {
                let mut engine = process.engine().clone();
                engine.go_by(omitted.engine());
                let store = process.store().fork(&disk, omitted.store());
                node.process = Some(Member::with(omitted, engine, store, omitted.controller(node.id)));
            }
            (node.disk, node.clock, node.run, node.joined) = (disk, from.clock.clone(), from.run, from.joined);
            (node.wire, node.told, node.surroundings.spoken) = (from.wire, from.told, from.surroundings.spoken.clone());
            (node.view, node.look_at_room) = (from.view.clone(), self.now + ROOM_EVERY);
            node.surroundings.now = node.clock.reading(self.now);
            node.wake = self.now;
        }
        world
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(id)
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(id.index())]
    }

    pub(super) fn engine(&self, id: NodeId) -> Option<&Engine<Without>> {
        self.nodes[usize::from(id.index())].process.as_ref().map(Member::engine)
    }

    pub(super) fn is_up(&self, id: NodeId) -> bool {
        self.nodes[usize::from(id.index())].process.is_some()
    }

    /// The member that coordinates, as an operator finds it.
    pub(super) fn acting(&self) -> Option<NodeId> {
        self.ids().find(|id| self.engine(*id).is_some_and(Engine::acts))
    }

    pub(super) fn at(&mut self, at: Time, event: Event) {
        self.agenda.push(at.max(self.now), event);
    }

    pub(super) fn after_us(&mut self, micros: u64, event: Event) {
        self.at(self.now + Duration::from_micros(micros), event);
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            use std::fmt::Write;
            let _ = writeln!(story, "{:>10} {}", self.now.as_micros(), what());
        }
    }

    /// A number that is the same only for runs that are the same to the byte.
    pub(super) fn print(&self) -> u32 {
        let mut print = self.print.clone();
        self.nodes.iter().for_each(|node| node.disk.lock().print(&mut print));
        print.finalize()
    }

    /// No trouble that was to come comes any more.
    pub(super) fn forget_trouble(&mut self) {
        self.agenda.retain(|event| !matches!(event, Event::Trouble(_)));
    }

    /// Makes what happened count in the number that tells runs apart.
    pub(super) fn mark(&mut self, kind: u8, node: NodeId, bytes: &[u8]) {
        self.print.update(&self.now.as_micros().to_le_bytes());
        self.print.update(&[kind, node.index()]);
        self.print.update(bytes);
    }

    /// Lets everything happen until `end`, or until `enough`.
    pub(super) fn run_until(&mut self, end: Time, enough: impl Fn(&Self) -> bool) -> Result<(), Broken> {
        let mut wakes = 0;
        while !enough(self) {
            let (at, sleeper) = self.next();
            if at > end {
                self.now = end;
                break;
            }
            wakes = if at > self.now { 0 } else { wakes + 1 };
            self.now = self.now.max(at);
            self.look()?;
            self.steps += 1;
            match sleeper {
                Some(node) => self.wake(node)?,
                None => {
                    if let Some(event) = self.agenda.pop() {
                        self.happen(event)?;
                    }
                }
            }
            if wakes > MOST_WAKES {
                return broken(Promise::Progress, format!("no rest at {}: {}", self.now.as_micros(), self.describe()));
            }
        }
        self.look()
    }

    /// When the next thing happens, and whose deadline it is, if it is one.
    fn next(&self) -> (Time, Option<NodeId>) {
        let event = self.agenda.next().unwrap_or(Time::MAX);
        let mut next = (event, None);
        for node in self.nodes.iter().filter(|node| node.process.is_some() && node.rest.is_none()) {
            let wake = node.wake.min(node.look_at_room);
            if wake < next.0 {
                next = (wake, Some(node.id));
            }
        }
        next
    }

    fn wake(&mut self, id: NodeId) -> Result<(), Broken> {
        let now = self.now;
        let node = self.node(id);
        if node.look_at_room <= now {
            node.look_at_room = now + ROOM_EVERY;
            node.saw_full = node.disk.lock().room == Room::Full;
            return self.take(id, Happened::LookAtRoom);
        }
        self.take(id, Happened::Input(Input::Timeout))
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Arrive { from, to, connection, frame } => self.arrive(from, to, connection, frame),
            Event::Dial(from, to) => self.dial(from, to),
            Event::Notice(from, to) => self.notice(from, to),
            Event::Probed(id, run, txid) => {
                let node = self.node(id);
                if node.run != run {
                    return Ok(());
                }
                let result = if node.upstream_is_ready { Ok(()) } else { Err("it does not answer".to_owned()) };
                self.take(id, Happened::Input(Input::Probed { txid, result }))
            }
            Event::Written { node, run, effects, progress, looked } => {
                if self.node(node).run != run || !self.is_up(node) {
                    return Ok(());
                }
                self.node(node).rest.take_if(|rest| matches!(rest, Rest::Disk(_)));
                self.node(node).awake_since = self.now;
                self.node(node).surroundings.effects = effects;
                self.drive(node, Ok(progress), looked)
            }
            Event::GoOn(node) => self.go_on(node),
            Event::End(node, run) => self.end(node, run),
            Event::MustHaveLeft(node, run) => self.must_have_left(node, run),
            Event::Start(node, how) => self.start(node, how),
            Event::Ask { node, change, by, tries } => self.ask(node, change, by, tries),
            Event::Shut(node) => self.shut(node),
            Event::Trouble(trouble) => self.strike(trouble),
        }
    }

    /// Looks at what everyone serves at this moment, without waking anyone up.
    pub(super) fn look(&self) -> Result<(), Broken> {
        if !self.watch.observer.has_rollbacks() {
            return Ok(());
        }
        for node in self.nodes.iter().filter(|node| node.serves()) {
            let Some(view) = &node.view else { continue };
            let serving = serving_weight(view, node.clock.reading(self.now));
            self.watch.observer.observe_serving(node.id, view.state.version, serving, self.now)?;
        }
        Ok(())
    }

    /// Looks at what a node has just made visible.
    pub(super) fn look_at(&mut self, id: NodeId) -> Result<(), Broken> {
        let now = self.now;
        let node = &mut self.nodes[usize::from(id.index())];
        let Some(view) = &node.view else { return Ok(()) };
        let at = node.clock.reading(now);
        let isolated = view.is_isolated(at);
        if let Some(process) = &node.process
            && process.controller().ejected().is_some()
            && serving_weight(view, at) > Weight::ZERO
        {
            return broken(Promise::Ejection, format!("{id} serves a canary that it has found to be bad"));
        }
        let seen = Some((view.state.version, view.digest, isolated));
        if node.watched == seen {
            return Ok(());
        }
        node.watched = seen;
        let lease = if isolated { Lease::Over } else { Lease::Holds };
        self.watch.observer.observe_view(id, &view.state, view.digest, lease)
    }

    /// Whether all are up and at one version, nothing is pending, all hold a lease, and node-a alone coordinates.
    pub(super) fn is_settled(&self) -> bool {
        let newest = self.watch.observer.newest.as_ref().map_or(0, |newest| newest.version);
        self.nodes.iter().all(|node| {
            let Some(engine) = node.process.as_ref().map(Member::engine) else { return false };
            node.rest.is_none()
                && node.leaving.is_none()
                && engine.has_joined()
                && engine.is_settled()
                && engine.committed().state.version == newest
                && engine.acts() == (node.id == NodeId::A)
                && !engine.is_isolated(node.clock.reading(self.now))
        })
    }

    pub(super) fn describe(&self) -> String {
        let line = |node: &Node| {
            let id = node.id;
            let Some(engine) = node.process.as_ref().map(Member::engine) else { return format!("{id} is down") };
            let view = engine.view(node.clock.reading(self.now));
            format!(
                "{id} v{} joined={} isolated={} acts={} pending={:?} settled={} rest={:?} leaving={:?}",
                view.state.version,
                engine.has_joined(),
                view.is_isolated(node.clock.reading(self.now)),
                engine.acts(),
                view.pending.map(|pending| pending.version),
                engine.is_settled(),
                node.rest,
                node.leaving,
            )
        };
        let newest = self.watch.observer.newest.as_ref().map_or(0, |newest| newest.version);
        format!("newest v{newest}; {}", self.nodes.iter().map(line).collect::<Vec<_>>().join("; "))
    }
}

/// The name of an operator.
pub(super) fn operator(number: u8) -> String {
    format!("operator/{}", char::from(b'a' + number))
}
