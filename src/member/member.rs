//! One member without its surroundings: the engine, the controller of rollouts and the store, and what becomes of
//! everything that happens to them.
//!
//! It waits for nothing, reads no clock and opens no socket. What happens is handed to it with the time of that moment, and
//! what has to be done because of it is done in the one order that is right: on its store, and on what the [`Outside`] is
//! made of. So a simulation runs what a node runs, to the last line.

use super::door::{Door, TRY_EVERY, oldest_spoken};
use super::facts::{facts, refused};
use super::outside::{Asked, DriverError, Happened, Outside, Progress};
use super::rules::{All, Effect, Rules};
use agreement::Ticket;
use judge::Samples;
use model::{Actor, NodeId, NodeSet, Report, Time, UnixMillis};
use rollout::{Controller, LOOK_EVERY, Moves, Status};
use service::{Answer, Change, Engine, Input, Message, Output, Question, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use store::{Memory, Room};

/// How often the measurements of a canary are looked at whose weight was set by hand.
const LOOK_EVERY_BY_HAND: Duration = Duration::from_secs(1);

/// Who waits for an answer.
enum Waiter<Caller> {
    Caller(Asked<Caller>),
    Controller(Change),
    Door,
}

/// What is left to do.
enum Act {
    /// Tell the engine.
    Step(Input),
    /// Carry out what it said, from the forced write on. It was asked at this time.
    Settle(Time, Box<Output>),
    /// Log it, and write what nothing rests on.
    Note(Box<Output>),
    /// Make known that the member serves the canary, or no longer does.
    Ejection,
    /// Tell these members what was measured.
    Report(NodeSet, Box<Report>),
    /// Show what was made of it.
    Show(Option<Arc<Status>>),
    /// Ask for a change in the name of the rollout.
    Ask(Change, UnixMillis),
    /// Ask for the mark by which all members leave version 5 of the wire behind.
    Close(UnixMillis),
}

/// One member: its engine, its controller and its store, by the rules `R`.
pub struct Member<M, Caller, R: Rules = All> {
    engine: Engine<R::Engine>,
    store: M,
    controller: Controller<R::Controller>,
    waiting: BTreeMap<Ticket, Waiter<Caller>>,
    tickets: u64,
    room: Room,
    /// The version that the controller has seen.
    seen_version: Option<u64>,
    next_look: Option<Time>,
    door: Door,
    to_do: VecDeque<Act>,
    rules: R,
}

impl<M: Memory, Caller> Member<M, Caller> {
    /// The member of `engine`, which was made of what `store` remembers.
    pub fn new(engine: Engine, store: M) -> Self {
        let controller = Controller::new(engine.me());
        Self::with(All, engine, store, controller)
    }
}

impl<M: Memory, Caller, R: Rules> Member<M, Caller, R> {
    /// The same by other rules, with a controller that has seen nothing yet.
    pub fn with(rules: R, engine: Engine<R::Engine>, store: M, controller: Controller<R::Controller>) -> Self {
        Self {
            engine,
            store,
            controller,
            waiting: BTreeMap::new(),
            tickets: 0,
            room: Room::Plenty,
            seen_version: None,
            next_look: None,
            door: Door::default(),
            to_do: VecDeque::new(),
            rules,
        }
    }

    /// The agreement as this member lives it.
    pub const fn engine(&self) -> &Engine<R::Engine> {
        &self.engine
    }

    /// The controller of rollouts as this member runs it.
    pub const fn controller(&self) -> &Controller<R::Controller> {
        &self.controller
    }

    /// The store of all that it must not forget.
    pub const fn store(&self) -> &M {
        &self.store
    }

    /// Whether a member that was told to stop has nothing left to do: others may coordinate, and no caller waits.
    pub fn has_left(&self) -> bool {
        self.rules.may_end(self.engine.has_left())
    }

    /// Ends the member. What was written without haste is on disk then, so that the next start asks nobody for it.
    pub fn end(&mut self) -> Result<(), DriverError> {
        Ok(self.rules.end(&mut self.store)?)
    }

    /// When the member wants to be told [`Input::Timeout`] though nothing happens.
    pub fn poll_timeout(&self, now: Time) -> Time {
        let door = self.door.may_close(&self.engine, &self.rules).then_some(self.door.next_try);
        [self.next_look, door].into_iter().flatten().fold(self.engine.poll_timeout(now), Time::min)
    }

    /// Takes in what happened. After this, and all that [`go_on`](Self::go_on) does, comes [`look`](Self::look).
    pub fn take(
        &mut self,
        now: Time,
        happened: Happened<Caller>,
        outside: &mut impl Outside<Caller = Caller>,
    ) -> Result<Progress, DriverError> {
        let input = match happened {
            Happened::Up(id, wire) => {
                self.door.up(id, wire);
                Some(Input::PeerUp(id))
            }
            Happened::Down(id) => {
                self.door.down(id);
                Some(Input::PeerDown(id))
            }
            Happened::Message(from, Message::Report(report)) => {
                self.on_report(now, from, *report);
                None
            }
            Happened::Message(from, Message::Testimony(testimony)) => {
                outside.heard(from, testimony);
                None
            }
            Happened::Message(_, message) if self.door.is_early(&message, &self.engine, &self.rules) => None,
            Happened::Message(from, message) => Some(Input::Receive { from, message }),
            Happened::Input(input) => Some(input),
            Happened::Asked(asked, at) => {
                if let Err(error) = self.door.must_be_said(&asked.change, &self.engine, &self.rules) {
                    outside.answer(asked, Answer::Refused(Refusal::Invalid(error)));
                    None
                } else {
                    let (change, by) = (asked.change.clone(), asked.by.clone());
                    Some(self.ask(change, asked.base_version, by, at, Waiter::Caller(asked), outside))
                }
            }
            Happened::LookAtRoom => self.look_at_room(outside),
            Happened::Nothing => None,
        };
        self.to_do.extend(input.map(Act::Step));
        self.go_on(now, outside)
    }

    /// Lets the controller look at everything when that is due, and carries out what it says.
    pub fn look(
        &mut self,
        now: Time,
        wall: impl Fn() -> UnixMillis,
        outside: &mut impl Outside<Caller = Caller>,
    ) -> Result<Progress, DriverError> {
        let version = self.engine.committed().state.version;
        if self.seen_version != Some(version) {
            self.seen_version = Some(version);
            let soon = self.engine.committed().state.open_rollout().is_some() || self.controller.is_judging();
            // A weight set by hand is looked at when there is time: nothing follows from it by itself.
            let look = if soon { now } else { now + LOOK_EVERY_BY_HAND };
            self.next_look = Some(self.next_look.map_or(look, |before| before.min(look)));
        }
        if self.door.may_close(&self.engine, &self.rules) && now >= self.door.next_try {
            self.door.next_try = now + TRY_EVERY;
            self.to_do.push_back(Act::Close(wall()));
        }
        if self.next_look.is_none_or(|look| now < look) {
            return self.go_on(now, outside);
        }
        let view = self.engine.view(now);
        let own = if self.controller.is_watching() { outside.counted() } else { Samples::default() };
        let facts = facts(&view, &own);
        let moves = self.controller.look(now, &facts);
        let pace = if self.controller.is_judging() { LOOK_EVERY } else { LOOK_EVERY_BY_HAND };
        self.next_look = self.controller.is_watching().then(|| now + pace);
        let Moves { count, report, propose, measured, ejection_changed, held_up, status } = moves;
        if let Some(trial) = count {
            outside.count(trial.as_ref());
        }
        if let Some(next) = held_up {
            outside.held_up(&next);
        }
        let measured = measured.map(|(evidence, failing)| Act::Step(Input::Measured { evidence, failing }));
        self.to_do.extend(measured);
        self.to_do.extend(ejection_changed.then_some(Act::Ejection));
        self.to_do.extend(report.map(|report| Act::Report(facts.connected, Box::new(report))));
        self.to_do.push_back(Act::Show(status));
        self.to_do.extend(propose.map(|change| Act::Ask(change, wall())));
        self.go_on(now, outside)
    }

    /// Does what is left to do, up to the next pause or to the end.
    pub fn go_on(&mut self, now: Time, outside: &mut impl Outside<Caller = Caller>) -> Result<Progress, DriverError> {
        while let Some(act) = self.to_do.pop_front() {
            let progress = match act {
                Act::Step(input) => self.step(now, input, outside)?,
                Act::Settle(asked_at, output) => self.settle(asked_at, output, outside)?,
                Act::Note(output) => self.note(output, outside)?,
                Act::Ejection => {
                    outside.ejected(self.controller.ejected());
                    self.publish(now, outside);
                    Progress::Done
                }
                Act::Report(connected, report) => {
                    let message = Message::Report(report);
                    connected.iter().for_each(|to| outside.send(to, &message));
                    Progress::Done
                }
                Act::Show(status) => {
                    outside.show(status);
                    Progress::Done
                }
                Act::Ask(change, at) => {
                    let by = self.signed("rollout");
                    let question = self.ask(change.clone(), None, by, at, Waiter::Controller(change), outside);
                    self.step(now, question, outside)?
                }
                Act::Close(at) => {
                    let by = self.signed("wire");
                    let question = self.ask(Change::Close(None), None, by, at, Waiter::Door, outside);
                    self.step(now, question, outside)?
                }
            };
            if progress == Progress::Pause {
                return Ok(progress);
            }
        }
        Ok(Progress::Done)
    }

    /// Who asks, where that is a part of this member.
    fn signed(&self, part: &str) -> Actor {
        Actor { id: format!("{part}/{}", self.engine.me()), serial: String::new(), remote: String::new() }
    }

    fn ask(
        &mut self,
        change: Change,
        base_version: Option<u64>,
        by: Actor,
        at: UnixMillis,
        waiter: Waiter<Caller>,
        outside: &mut impl Outside<Caller = Caller>,
    ) -> Input {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, waiter);
        let change = if change.begins_step() { self.paced(change, outside) } else { change };
        let is_first = self.door.comes_with_first(&self.engine, &self.rules);
        let change = if is_first { Change::Close(Some(Box::new(change))) } else { change };
        Input::Propose(Question { ticket, change, base_version, by, at })
    }

    /// The change at the rate at which requests come: on all nodes as far as that is counted, else on this one.
    fn paced(&self, change: Change, outside: &mut impl Outside<Caller = Caller>) -> Change {
        let rate = self.controller.rate().unwrap_or_else(|| outside.rate());
        Change::At { rate, change: Box::new(change) }
    }

    fn on_report(&mut self, now: Time, from: NodeId, report: Report) {
        if report.ejected.is_some() {
            self.next_look = Some(Time::ZERO);
        }
        self.rules.hear(&mut self.controller, now, from, report);
    }

    fn look_at_room(&mut self, outside: &mut impl Outside<Caller = Caller>) -> Option<Input> {
        let room = self.store.has_room();
        let before = std::mem::replace(&mut self.room, room);
        if room == before {
            return None;
        }
        outside.room(room);
        Some(Input::Veto(self.rules.veto(room)))
    }

    fn publish(&self, now: Time, outside: &mut impl Outside<Caller = Caller>) {
        let mut view = self.engine.view(now);
        view.ejected = self.rules.shown(self.controller.ejected()).map(Arc::from);
        outside.publish(view);
    }

    /// Tells the engine, and asks the others what rests on no record.
    fn step(
        &mut self,
        now: Time,
        input: Input,
        outside: &mut impl Outside<Caller = Caller>,
    ) -> Result<Progress, DriverError> {
        outside.received(&input);
        // It goes through several hands: moving it costs more than the room for it.
        let output = Box::new(self.engine.step(now, input));
        for envelope in &output.ask {
            outside.send(envelope.to, &envelope.message);
        }
        if !output.ask.is_empty() && !output.append.is_empty() {
            // The links' tasks share this thread: without a pause the question would leave after the forced write.
            self.to_do.push_front(Act::Settle(now, output));
            return Ok(Progress::Pause);
        }
        self.settle(now, output, outside)
    }

    /// Carries out the effects from the forced write on, in the order in which they are listed.
    fn settle(
        &mut self,
        now: Time,
        mut output: Box<Output>,
        outside: &mut impl Outside<Caller = Caller>,
    ) -> Result<Progress, DriverError> {
        for effect in self.rules.order() {
            match effect {
                Effect::Write => self.write(&mut output, outside)?,
                Effect::Publish if output.publish => self.publish(now, outside),
                Effect::Publish => {}
                Effect::Send => output.send.iter().for_each(|envelope| outside.send(envelope.to, &envelope.message)),
            }
        }
        for (ticket, answer) in output.reply.drain(..) {
            self.answer(now, ticket, answer, outside);
        }
        if let Some(probe) = output.probe.take() {
            outside.probe(probe);
        }
        outside.sent(&output.ask);
        outside.wrote(&output.append);
        outside.sent(&output.send);
        if !output.send.is_empty() && (!output.events.is_empty() || !output.note.is_empty()) {
            // What is sent should not wait for what is logged, or written without haste.
            self.to_do.push_front(Act::Note(output));
            return Ok(Progress::Pause);
        }
        self.note(output, outside)
    }

    /// Brings the records to disk. Where the state is marked from now on that has to be there, too, before anyone sees it.
    fn write(&mut self, output: &mut Output, outside: &mut impl Outside<Caller = Caller>) -> Result<(), DriverError> {
        if !output.append.is_empty() {
            self.store.append(&output.append)?;
        }
        if !self.door.is_closed && self.rules.closes(oldest_spoken(self.engine.durable()).is_some()) {
            self.store.append(&std::mem::take(&mut output.note))?;
            self.store.force()?;
            self.door.is_closed = true;
            outside.close();
        }
        Ok(())
    }

    fn note(
        &mut self,
        output: Box<Output>,
        outside: &mut impl Outside<Caller = Caller>,
    ) -> Result<Progress, DriverError> {
        for event in output.events {
            outside.happened(event);
        }
        if !output.note.is_empty() {
            self.store.append(&output.note)?;
        }
        output.stop.map_or(Ok(Progress::Done), |stop| Err(stop.into()))
    }

    fn answer(&mut self, now: Time, ticket: Ticket, answer: Answer, outside: &mut impl Outside<Caller = Caller>) {
        match self.waiting.remove(&ticket) {
            Some(Waiter::Caller(asked)) => outside.answer(asked, answer),
            Some(Waiter::Controller(change)) => {
                self.rules.tell(&mut self.controller, now, &change, refused(&answer));
                self.next_look = Some(now);
            }
            // Where nothing came of it, it is asked for again in a while.
            Some(Waiter::Door) | None => {}
        }
    }
}
