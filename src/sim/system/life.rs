//! The life of a process: it starts, does what follows from what happens to it, and ends.

use super::event::Event;
use super::node::{Leaving, Rest};
use super::sometimes::Sometimes;
use super::surroundings::{Effect, Question, Traffic};
use super::world::{Open, World, operator};
use crate::disk::{Fate, SimulatedStore};
use crate::search::observer::{Broken, Promise, Watched, broken};
use agreement::{self, IsolationPolicy, OnEmptyDisk, Timing};
use member::{Asked, Happened, Member, Progress};
use member::{DriverError, oldest_spoken};
use mesh::WireVersion;
use model::{Actor, Incarnation, NodeId, NodeSet};
use service::{Answer, Change, Config, Engine, Input, Probe, Refusal, RoutingState};
use std::sync::Arc;
use std::time::Duration;

/// How soon a process ends that nobody can ask any more: a farewell, and the wait for those who have to acknowledge a
/// retreat, by a clock that may be slow.
const LEFT_WITHIN_US: u64 = 1_500_000;
/// How long the end of one that is held up is put off each time.
const HELD_UP_US: u64 = 10_000;

impl World {
    /// Hands a member what happened, now or when it goes on.
    pub(super) fn take(&mut self, id: NodeId, happened: Happened<Question>) -> Result<(), Broken> {
        let now = self.now;
        let node = self.node(id);
        if node.rest.is_some() {
            if node.process.is_some() {
                node.mail.push_back(happened);
            }
            return Ok(());
        }
        let Some(process) = &mut node.process else { return Ok(()) };
        node.surroundings.now = node.clock.reading(now);
        let progress = process.take(node.surroundings.now, happened, &mut node.surroundings);
        self.drive(id, progress, false)
    }

    /// Carries out what a member did, and lets it go on until all is done.
    pub(super) fn drive(
        &mut self,
        id: NodeId,
        mut progress: Result<Progress, DriverError>,
        mut looked: bool,
    ) -> Result<(), Broken> {
        loop {
            let (now, node) = (self.now, self.node(id));
            let took = node.disk.lock().took();
            if took > Duration::ZERO
                && let Ok(progress) = progress
            {
                let effects = std::mem::take(&mut node.surroundings.effects);
                let run = node.run;
                node.rest = Some(Rest::Disk(now + took));
                self.watch.seen.note(Sometimes::SlowDisk);
                self.after_us(micros(took), Event::Written { node: id, run, effects, progress, looked });
                self.after_us(micros(took), Event::GoOn(id));
                return Ok(());
            }
            if !self.carry_out(id)? {
                return Ok(());
            }
            let (now, node) = (self.now, self.node(id));
            let Some(process) = &mut node.process else { return Ok(()) };
            node.surroundings.now = node.clock.reading(now);
            let (clock, surroundings) = (&node.clock, &mut node.surroundings);
            progress = match progress {
                Err(error) => return self.ended(id, &error),
                Ok(Progress::Pause) => {
                    if count_down(&mut node.dies_in_pause) {
                        self.watch.seen.note(Sometimes::DiedInAPause);
                        return self.crash(id);
                    }
                    process.go_on(surroundings.now, surroundings)
                }
                Ok(Progress::Done) if !looked && node.leaving == Some(Leaving::Ending) && process.has_left() => {
                    return self.left(id);
                }
                Ok(Progress::Done) if !looked => {
                    looked = true;
                    process.look(surroundings.now, || clock.wall(now), surroundings)
                }
                Ok(Progress::Done) => {
                    node.wake = clock.when(process.poll_timeout(surroundings.now));
                    if let Some((epoch, requests)) = surroundings.traffic.measured() {
                        self.watch.counts(id, epoch, requests);
                    }
                    return self.look_what_is_open(id);
                }
            };
        }
    }

    /// What is open on a node shows on it.
    fn look_what_is_open(&self, id: NodeId) -> Result<(), Broken> {
        let node = &self.nodes[usize::from(id.index())];
        let shows_nothing = node.view.as_ref().is_some_and(|view| view.pending.is_none());
        if shows_nothing && node.process.as_ref().is_some_and(|process| process.engine().has_open_question()) {
            return broken(Promise::NoSilentWait, format!("{id} does not show what is open: {}", self.describe()));
        }
        Ok(())
    }

    /// Carries out the effects so far; says whether the member lives on.
    fn carry_out(&mut self, id: NodeId) -> Result<bool, Broken> {
        let now = self.now;
        let node = self.node(id);
        let (run, mut effects) = (node.run, std::mem::take(&mut node.surroundings.effects));
        let Some(process) = &node.process else { return Ok(false) };
        let committed = process.engine().committed().state.version;
        let accepted = std::mem::take(&mut node.surroundings.accepted);
        if std::mem::take(&mut node.surroundings.unsaid) {
            self.watch.seen.note(Sometimes::HadNoWords);
        }
        let node = self.node(id);
        if let Some(error) = node.surroundings.unsendable.take() {
            return broken(Promise::NoAlarm, format!("{id} cannot send: {error}"));
        }
        for proposal in accepted {
            self.watch.accepted(now, id, &proposal)?;
        }
        let watched = Watched { node: id, run, committed };
        for effect in effects.drain(..) {
            if count_down(&mut self.node(id).dies_after_effects) {
                self.watch.seen.note(Sometimes::DiedBetweenEffects);
                self.crash(id)?;
                return Ok(false);
            }
            match effect {
                Effect::Send { to, frame, message } => {
                    if let Some(message) = message {
                        if self.node(id).saw_full && self.watch.observer.is_new_vote_for(id, &message) {
                            return broken(
                                Promise::Validity,
                                format!("{id} votes for an advance and its disk is full"),
                            );
                        }
                        self.watch.sent(watched, &message)?;
                    }
                    self.post(id, to, frame);
                }
                Effect::Publish(view) => {
                    if view.state.wire.is_some() {
                        self.watch.closes(id);
                    }
                    self.node(id).view = Some(view);
                    self.look_at(id)?;
                }
                Effect::Answer(question, answer) => self.answered(watched, question, answer)?,
                Effect::Probe(Probe { txid, .. }) => {
                    let takes = 500 + self.dice.below(20_000) as u64;
                    self.after_us(takes, Event::Probed(id, run, txid));
                }
                Effect::Event(event) => {
                    self.tell(|| format!("{id} {}", name_of(&event)));
                    self.note(id, &event);
                    self.watch.told(now, id, &event)?;
                }
                Effect::Close => {
                    self.node(id).closed = true;
                    self.after_us(0, Event::Shut(id));
                }
                Effect::Ejected => self.watch.seen.note(Sometimes::Ejected),
            }
        }
        // The next step finds the room that this one had.
        self.node(id).surroundings.effects = effects;
        Ok(true)
    }

    fn note(&mut self, id: NodeId, event: &service::Event) {
        let newest = self.watch.observer.newest.as_ref();
        let view = self.nodes[usize::from(id.index())].view.as_ref();
        if let (Some(newest), Some(view), service::Event::Isolated) = (newest, view, event) {
            let missed = newest.version > view.state.version && newest.canary_weight() < view.state.canary_weight();
            self.watch.seen.note_if(missed, Sometimes::IsolatedBeforeARollback);
        }
        if matches!(event, service::Event::Joined) {
            self.node(id).joined = true;
            if std::mem::take(&mut self.node(id).wiped) {
                self.watch.seen.note(Sometimes::Rejoined);
            }
        }
    }

    fn answered(&mut self, watched: Watched, question: Question, mut answer: Answer) -> Result<(), Broken> {
        if let Answer::Committed { others_until: Some(until), .. } = &mut answer {
            *until = self.node(watched.node).clock.when(*until);
        }
        self.tell(|| format!("{} answers {answer:?}", watched.node));
        self.mark(2, watched.node, &question.to_le_bytes());
        self.committed += usize::from(matches!(answer, Answer::Committed { .. }));
        self.questions[question as usize].waits_for = None;
        let open = self.questions[question as usize].clone();
        let next = super::world::id((usize::from(watched.node.index()) + 1) % self.nodes.len());
        let other = match &answer {
            Answer::Refused(Refusal::NotCoordinating(other)) => Some(*other),
            // The next node will know.
            Answer::Refused(Refusal::Leaving) => Some(next),
            Answer::Committed { .. }
            | Answer::Aborted { .. }
            | Answer::Superseded { .. }
            | Answer::Unknown { .. }
            | Answer::Refused(_) => None,
        };
        if let (Some(node), Open { change, by, tries: tries @ 1.., .. }) = (other, open) {
            self.after_us(3_000, Event::Ask { node, change, by, tries: tries - 1 });
        }
        self.watch.answered(watched, &answer)
    }

    pub(super) fn ask(&mut self, node: NodeId, change: Change, by: u8, tries: u8) -> Result<(), Broken> {
        if !self.is_up(node) || self.node(node).leaving == Some(Leaving::Ending) {
            return Ok(());
        }
        self.tell(|| format!("{node} is asked for {change:?}"));
        self.watch.operator_asks(&change);
        let waits_for = Some((node, self.node(node).run));
        let caller = u32::try_from(self.questions.len()).unwrap_or(u32::MAX);
        self.questions.push(Open { change: change.clone(), by, tries, waits_for });
        let by = Actor { id: operator(by), serial: "01".into(), remote: "-".into() };
        let now = self.now;
        let at = self.node(node).clock.wall(now);
        self.take(node, Happened::Asked(Asked { change, base_version: None, by, caller }, at))
    }

    /// A process that was told to stop has given its place up, and nobody waits for it: it ends as its driver ends.
    fn left(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.node(id);
        let run = node.run;
        let Some(process) = &mut node.process else { return Ok(()) };
        let version = process.engine().committed().state.version;
        if let Err(error) = process.end() {
            return self.ended(id, &error);
        }
        let waiting = self.questions.iter().filter(|open| open.waits_for == Some((id, run))).count();
        if waiting > 0 {
            return broken(Promise::Progress, format!("{id} ends, and {waiting} who asked it wait"));
        }
        self.watch.left(id, version);
        self.crash(id)?;
        // Machines are stopped to be turned off, too.
        if self.dice.once_in(3) {
            self.node(id).disk.lock().cut_power();
        }
        let how = self.node(id).on_empty_disk();
        let waits = if self.is_repaired { 1 } else { [5, 50, 500, 4_000, 9_000][self.dice.below(5)] };
        self.after_us(waits * 1_000, Event::Start(id, how));
        Ok(())
    }

    /// Nobody can ask a process any more that was told to stop.
    pub(super) fn end(&mut self, id: NodeId, run: u32) -> Result<(), Broken> {
        if !self.is_up(id) || self.node(id).run != run {
            return Ok(());
        }
        if self.node(id).rest.is_some() {
            // Requests that it has not looked at yet keep its port open.
            self.after_us(HELD_UP_US, Event::End(id, run));
            return Ok(());
        }
        self.node(id).leaving = Some(Leaving::Ending);
        self.after_us(LEFT_WITHIN_US, Event::MustHaveLeft(id, run));
        self.take(id, Happened::Nothing)
    }

    /// A process that was told to stop does not stay for long, whomever it can reach.
    pub(super) fn must_have_left(&mut self, id: NodeId, run: u32) -> Result<(), Broken> {
        let now = self.now;
        let node = self.node(id);
        if node.process.is_none() || node.run != run {
            return Ok(());
        }
        // One that was held up gets its time, too.
        let awake_us = u64::try_from(now.since(node.awake_since).as_micros()).unwrap_or(u64::MAX);
        if node.rest.is_some() || awake_us < LEFT_WITHIN_US {
            self.after_us(LEFT_WITHIN_US, Event::MustHaveLeft(id, run));
            return Ok(());
        }
        broken(Promise::Progress, format!("{id} was told to stop and does not end: {}", self.describe()))
    }

    /// A process ends by itself.
    fn ended(&mut self, id: NodeId, error: &DriverError) -> Result<(), Broken> {
        let fate = self.node(id).disk.lock().release();
        self.tell(|| format!("{id} ends ({fate:?}): {error}"));
        match (error, fate) {
            (DriverError::Store(_), Some(fate)) => self.note_death(fate),
            (DriverError::Stop(_), _) if self.node(id).wiped => {
                self.watch.seen.note(Sometimes::RefusedWithAnEmptyDisk);
            }
            (DriverError::Store(_) | DriverError::Stop(_), _) => {
                return broken(Promise::NoAlarm, format!("{id} ends: {error}"));
            }
        }
        self.crash(id)?;
        let how = self.node(id).on_empty_disk();
        let wait = 5_000 + self.dice.below(400_000) as u64;
        self.after_us(wait, Event::Start(id, how));
        Ok(())
    }

    fn note_death(&mut self, fate: Fate) {
        self.watch.seen.note(match fate {
            Fate::Fails => Sometimes::FailingDiskEndedAProcess,
            Fate::DiesBefore | Fate::DiesWithin | Fate::DiesAfter => Sometimes::DiedAtTheDisk,
        });
    }

    /// Ends a process at once. What it had written is still in the memory of its machine.
    pub(super) fn crash(&mut self, id: NodeId) -> Result<(), Broken> {
        self.tell(|| format!("{id} is gone"));
        let node = self.node(id);
        (node.process, node.view, node.watched, node.rest) = (None, None, None, None);
        (node.dies_after_effects, node.dies_in_pause, node.leaving) = (None, None, None);
        node.mail.clear();
        node.surroundings.effects.clear();
        node.surroundings.accepted.clear();
        node.surroundings.traffic = Traffic::new(node.surroundings.traffic.quality);
        node.disk.lock().release();
        self.mark(3, id, &[]);
        for other in self.ids().filter(|other| *other != id).collect::<Vec<_>>() {
            self.network.link(id, other).up = false;
            self.network.link(id, other).connection += 1;
            self.network.link(other, id).connection += 1;
            if self.network.link(other, id).up && !self.network.is_cut(id, other) {
                let notices = 200 + self.dice.below(2_000) as u64;
                self.after_us(notices, Event::Notice(other, id));
            }
        }
        Ok(())
    }

    pub(super) fn start(&mut self, id: NodeId, how: OnEmptyDisk) -> Result<(), Broken> {
        if self.is_up(id) {
            return Ok(());
        }
        let (now, omitted) = (self.now, self.omitted);
        let members = NodeSet::first(self.nodes.len());
        let node = self.node(id);
        let opened = SimulatedStore::open(&node.disk, id, Incarnation(node.fresh_life()), omitted.store());
        let (store, durable) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let Some(fate) = node.disk.lock().release() else {
                    return broken(Promise::Memory, format!("{id} cannot start: {error}"));
                };
                self.note_death(fate);
                self.watch.seen.note(Sometimes::DiedWhileStarting);
                let wait = 5_000 + self.dice.below(400_000) as u64;
                self.after_us(wait, Event::Start(id, how));
                return Ok(());
            }
        };
        if oldest_spoken(&durable).is_some() && node.told == WireVersion::V5 {
            // It does not start: its operator sees why, and lets it speak what the others speak.
            node.told = WireVersion::V6;
            self.watch.seen.note(Sometimes::HeldBackInVain);
            self.after_us(5_000, Event::Start(id, how));
            return Ok(());
        }
        (node.wire, node.closed) = (node.told, false);
        node.surroundings.spoken.clear();
        let dropped = store.dropped_end();
        let forgot = node.disk.lock().was_forgetful();
        node.disk.lock().took();
        node.run += 1;
        let initial = Arc::new(RoutingState::initial("v1".parse().expect("a model id")));
        let on_isolation = IsolationPolicy::Stable;
        let config = Config { me: id, members, initial, on_isolation, on_empty_disk: how, timing: Timing::default() };
        node.surroundings.now = node.clock.reading(now);
        let engine = Engine::with_rules(Arc::new(config), durable.clone(), node.surroundings.now, omitted.engine());
        node.process = Some(Member::with(omitted, engine, store, omitted.controller(id)));
        (node.look_at_room, node.awake_since) = (now, now);
        node.saw_full = false;
        self.tell(|| format!("{id} starts {how:?}: {durable:?}"));
        self.watch.seen.note_if(dropped, Sometimes::TornTailDropped);
        self.watch.seen.note_if(forgot, Sometimes::ForceForgot);
        let wire = self.node(id).wire;
        self.watch.speaks(id, wire);
        self.watch.recovered(now, id, &durable)?;
        for other in self.ids().filter(|other| *other != id).collect::<Vec<_>>() {
            for (from, to) in [(id, other), (other, id)] {
                let takes = 1_000 + self.dice.below(60_000) as u64;
                self.after_us(takes, Event::Dial(from, to));
            }
        }
        self.take(id, Happened::Input(Input::Timeout))
    }

    pub(super) fn go_on(&mut self, id: NodeId) -> Result<(), Broken> {
        let now = self.now;
        let node = self.node(id);
        if let Some(Rest::Disk(until) | Rest::Stopped(until)) = node.rest
            && until > now
        {
            return Ok(());
        }
        (node.rest, node.awake_since) = (None, now);
        while let Some(happened) = self.node(id).mail.pop_front() {
            self.take(id, happened)?;
            if self.node(id).rest.is_some() {
                break;
            }
        }
        Ok(())
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Whether what was to come after so many more is due.
fn count_down(left: &mut Option<usize>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
        None => false,
    }
}

fn name_of(event: &service::Event) -> String {
    let service::Event::Committed { proposal, .. } = event else { return format!("{event:?}") };
    format!("serves {} {:?}", proposal.state.version, proposal.state.txid)
}
