//! A member's part as the one who drives transactions: prepare, accept, decide.
//!
//! Any member may take this seat at any time; promises keep two who sit in it from harming each other.

use super::campaign::Campaigning;
use super::{Answer, Direction, Register, Rules, Ticket};
use super::{Base, Engine, Envelope, Event, Message, Output, Proposal, Question, Reason, Refusal, Vote, Votes};
use model::{Ballot, Evidence, NodeId, NodeSet, Time, TxId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many requests may wait at once; one advance, and retreats, which all say much the same.
const MOST_TASKS: usize = 16;

/// Where a proposer stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seat<V: Register> {
    /// It holds no ballot.
    Idle,
    /// Phase one: it has asked for promises.
    Campaigning(Box<Campaigning<V>>),
    /// It may propose without phase one: a majority has promised its ballot, and `chosen` was chosen last under it.
    Holding { ballot: Ballot, chosen: Arc<Proposal<V>> },
    /// It has asked for votes on what would follow `chosen`.
    Preparing(Box<Preparing<V>>),
    /// It has asked for acceptance.
    Accepting { proposal: Arc<Proposal<V>>, accepted: NodeSet, rejected: NodeSet, resend_at: Time },
}

/// An advance that is being voted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Preparing<V: Register> {
    ballot: Ballot,
    chosen: Arc<Proposal<V>>,
    next: Arc<V>,
    task: Task<V>,
    voters: NodeSet,
    votes: Votes,
    evidence: BTreeMap<NodeId, Evidence>,
    deadline: Time,
}

/// A request that has not been sent for acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Task<V: Register> {
    pub(super) question: Question<V>,
    pub(super) direction: Direction,
    pub(super) since: Time,
    pub(super) deadline: Time,
}

impl<V: Register> Seat<V> {
    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Idle | Self::Holding { .. } => None,
            Self::Campaigning(campaigning) => Some(campaigning.resend_at),
            Self::Accepting { resend_at, .. } => Some(*resend_at),
            Self::Preparing(preparing) => Some(preparing.deadline),
        }
    }

    /// The ballot that answers are awaited for.
    pub(super) fn asks_under(&self) -> Option<Ballot> {
        match self {
            Self::Idle | Self::Holding { .. } | Self::Preparing(_) => None,
            Self::Campaigning(campaigning) => Some(campaigning.ballot),
            Self::Accepting { proposal, .. } => Some(proposal.ballot),
        }
    }

    /// The state that is being voted on or was sent for acceptance.
    pub(super) fn open_state(&self) -> Option<&Arc<V>> {
        match self {
            Self::Idle | Self::Campaigning(_) | Self::Holding { .. } | Self::Accepting { .. } => None,
            Self::Preparing(preparing) => Some(&preparing.next),
        }
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// Takes a caller's request, or says at once why not.
    pub(super) fn on_propose(&mut self, now: Time, question: Question<V>, out: &mut Output<V>) {
        let ticket = question.ticket;
        match self.admit(now, question) {
            Ok(task) => self.tasks.push_back(task),
            Err(refusal) => out.reply.push((ticket, Answer::Refused(refusal))),
        }
    }

    fn admit(&self, now: Time, question: Question<V>) -> Result<Task<V>, Refusal<V::Refusal>> {
        if !self.has_joined() {
            return Err(Refusal::NotJoined);
        }
        if self.is_leaving() {
            return Err(self.leaving_refusal(now));
        }
        if !self.acts
            && let Some(id) = self.coordinator(now)
        {
            return Err(Refusal::NotCoordinating(id));
        }
        if !self.reaches_majority(now) {
            return Err(Refusal::NoMajority);
        }
        let committed = &self.committed.state;
        if let Some(wanted) = question.base_version.filter(|wanted| *wanted != committed.version()) {
            return Err(Refusal::BaseVersion { current: committed.version(), wanted });
        }
        let next = self.follow(committed, &question, self.next_txid())?;
        let direction = committed.direction(&next);
        // What is written again while this member takes its seat is no change under way.
        let advance_is_open = matches!(self.seat, Seat::Preparing(_))
            || matches!(&self.seat, Seat::Accepting { proposal, .. } if proposal.state.version() > committed.version())
            || self.tasks.iter().any(|task| task.direction == Direction::Advance);
        match direction {
            Direction::Advance if !self.acts => return Err(Refusal::NoMajority),
            Direction::Advance if advance_is_open => return Err(Refusal::Busy),
            Direction::Advance | Direction::Retreat => {}
        }
        if self.tasks.len() >= MOST_TASKS {
            return Err(Refusal::Busy);
        }
        Ok(Task { question, direction, since: now, deadline: now + self.config.timing.answer })
    }

    /// Does one thing that is due; says whether there was one.
    pub(super) fn advance(&mut self, now: Time, out: &mut Output<V>) -> bool {
        self.advance_joining(now, out)
            || self.advance_standing(now, out)
            || self.turn_away(now, out)
            || self.expire_tasks(now, out)
            || self.advance_seat(now, out)
            || self.send_due_heartbeats(now, out)
    }

    fn advance_standing(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let should = self.should_act(now) || self.settles(now);
        if should != self.acts {
            self.acts = should;
            out.publish = true;
            out.events.push(if should { Event::CoordinationTaken } else { Event::CoordinationGiven });
        }
        let standing = self.standing(now);
        let changed = standing != self.told;
        self.told = standing;
        if changed {
            // The others should not have to wait for the next heartbeat to know whom to turn to.
            self.send_heartbeats(now, out);
        }
        changed
    }

    fn send_due_heartbeats(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let due = now >= self.next_heartbeat;
        if due {
            self.send_heartbeats(now, out);
        }
        due
    }

    /// Gives up requests that could not even be sent for acceptance in time, or that are no longer this member's
    /// business: advances when it does not coordinate, and all when it hears who does.
    fn expire_tasks(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let other = if self.acts { None } else { self.coordinator(now) };
        let expired = |task: &Task<V>| {
            let astray = !self.acts && (other.is_some() || task.direction == Direction::Advance);
            astray || now >= task.deadline
        };
        let Some(position) = self.tasks.iter().position(expired) else { return false };
        if let Some(task) = self.tasks.remove(position) {
            let refusal = other.map_or(Refusal::NoMajority, Refusal::NotCoordinating);
            out.reply.push((task.question.ticket, Answer::Refused(refusal)));
        }
        true
    }

    fn advance_seat(&mut self, now: Time, out: &mut Output<V>) -> bool {
        match std::mem::replace(&mut self.seat, Seat::Idle) {
            Seat::Idle => self.advance_idle(now, out),
            Seat::Campaigning(campaigning) => self.advance_campaign(now, campaigning, out),
            Seat::Holding { ballot, chosen } => self.advance_holding(now, ballot, chosen, out),
            Seat::Preparing(preparing) => self.advance_preparing(now, preparing, out),
            Seat::Accepting { proposal, accepted, rejected, resend_at } => {
                self.advance_accepting(now, proposal, accepted, rejected, resend_at, out)
            }
        }
    }

    pub(super) fn take_retreat(&mut self) -> Option<Task<V>> {
        let position = self.tasks.iter().position(|task| task.direction == Direction::Retreat)?;
        self.tasks.remove(position)
    }

    /// What a retreat makes of `base`, unless that would be no retreat.
    pub(super) fn retreat_from(&mut self, base: &V, task: &Task<V>) -> Result<Arc<V>, Refusal<V::Refusal>> {
        let next = self.follow(base, &task.question, self.next_txid())?;
        if !self.rules.is_retreat(base.direction(&next)) {
            return Err(Refusal::WouldRaise { version: base.version() });
        }
        self.sequence += 1;
        Ok(Arc::new(next))
    }

    fn follow(&self, base: &V, question: &Question<V>, txid: TxId) -> Result<V, Refusal<V::Refusal>> {
        base.apply(&question.change, self.config.members, txid, question.at).map_err(Refusal::Invalid)
    }

    fn next_txid(&self) -> TxId {
        let Self { disk, sequence, .. } = self;
        TxId { node: self.config.me, incarnation: disk.incarnation, epoch: disk.epoch, sequence: sequence + 1 }
    }

    fn advance_holding(&mut self, now: Time, ballot: Ballot, chosen: Arc<Proposal<V>>, out: &mut Output<V>) -> bool {
        let replaced = self.disk.promise != ballot || self.committed.state.version() > chosen.state.version();
        let unwanted = !self.acts && self.tasks.is_empty();
        if replaced || unwanted || (self.acts && now >= self.retry_at && self.is_unsettled(now, ballot)) {
            return true;
        }
        let task = self.take_retreat().or_else(|| self.tasks.pop_front());
        let Some(task) = task else {
            self.seat = Seat::Holding { ballot, chosen };
            return false;
        };
        match self.begin(now, ballot, &chosen, task, out) {
            Ok(()) => {}
            Err((ticket, refusal)) => {
                out.reply.push((ticket, Answer::Refused(refusal)));
                self.seat = Seat::Holding { ballot, chosen };
            }
        }
        true
    }

    /// Begins the transaction for `task` on top of `chosen`.
    fn begin(
        &mut self,
        now: Time,
        ballot: Ballot,
        chosen: &Arc<Proposal<V>>,
        task: Task<V>,
        out: &mut Output<V>,
    ) -> Result<(), (Ticket, Refusal<V::Refusal>)> {
        let ticket = task.question.ticket;
        let refuse = |refusal: Refusal<V::Refusal>| (ticket, refusal);
        if task.direction == Direction::Retreat {
            let state = self.retreat_from(&chosen.state, &task).map_err(refuse)?;
            self.await_decision(now, &task, &state);
            let by = Some(task.question.by);
            let (votes, evidence) = (Votes::new(), BTreeMap::new());
            self.ask_to_accept(now, Proposal { ballot, state, by, votes, evidence }, out);
            return Ok(());
        }
        let current = chosen.state.version();
        if let Some(wanted) = task.question.base_version.filter(|wanted| *wanted != current) {
            return Err(refuse(Refusal::BaseVersion { current, wanted }));
        }
        let next = self.follow(&chosen.state, &task.question, self.next_txid()).map_err(refuse)?;
        self.sequence += 1;
        self.prepare(now, ballot, Arc::clone(chosen), next, task, out);
        Ok(())
    }

    /// Asks every member that is not drained for its vote. One known to be unreachable has as good as voted.
    fn prepare(
        &mut self,
        now: Time,
        ballot: Ballot,
        chosen: Arc<Proposal<V>>,
        next: V,
        task: Task<V>,
        out: &mut Output<V>,
    ) {
        let voters = self.config.members.minus(next.drained());
        let unreachable = voters.minus(self.presence.connected()).without(self.config.me);
        let votes: Votes = unreachable.iter().map(|id| (id, Vote::Abort(Reason::Unreachable))).collect();
        let next = Arc::new(next);
        if votes.is_empty() {
            let base = Base { version: chosen.state.version(), digest: chosen.state.digest() };
            for to in voters.iter() {
                let (base, next, by) = (base.clone(), Arc::clone(&next), task.question.by.clone());
                self.send(to, Message::Prepare { base, next, by }, out);
            }
        }
        let deadline = now + self.config.timing.vote;
        self.pending_since = now;
        out.publish = true;
        self.seat = Seat::Preparing(Box::new(Preparing {
            ballot,
            chosen,
            next,
            task,
            voters,
            votes,
            evidence: BTreeMap::new(),
            deadline,
        }));
    }

    pub(super) fn on_vote(&mut self, from: NodeId, txid: TxId, vote: Vote, evidence: Evidence) {
        if let Seat::Preparing(preparing) = &mut self.seat
            && self.rules.counts(txid, preparing.next.txid())
            && preparing.voters.contains(from)
        {
            preparing.votes.entry(from).or_insert(vote);
            if evidence != Evidence::default() {
                preparing.evidence.insert(from, evidence);
            }
        }
    }

    /// Counts a member that the link was lost to as one that votes against.
    pub(super) fn count_as_unreachable(&mut self, id: NodeId) {
        if let Seat::Preparing(preparing) = &mut self.seat
            && preparing.voters.contains(id)
        {
            preparing.votes.entry(id).or_insert(Vote::Abort(Reason::Unreachable));
        }
    }

    fn advance_preparing(&mut self, now: Time, mut preparing: Box<Preparing<V>>, out: &mut Output<V>) -> bool {
        let (base, decided) = (preparing.chosen.state.version(), self.committed.state.version());
        let base_is_chosen = self.rules.is_still_chosen(base, decided);
        let replaced = self.disk.promise != preparing.ballot || !base_is_chosen || !self.acts;
        let overtaken = self.tasks.iter().any(|task| task.direction == Direction::Retreat);
        let late = now >= preparing.deadline;
        let missing = preparing.voters.minus(preparing.votes.keys().copied().collect());
        let reason = match (replaced, overtaken, late) {
            _ if self.is_leaving() => Some(Reason::CoordinatorStops),
            (true, ..) => Some(Reason::CoordinatorReplaced),
            (false, true, _) => Some(Reason::OvertakenByRetreat),
            (false, false, true) => Some(Reason::NoAnswer),
            (false, false, false) => None,
        };
        if let Some(reason) = reason {
            let blamed = if reason == Reason::NoAnswer { missing } else { NodeSet::EMPTY.with(self.config.me) };
            for id in blamed.iter() {
                preparing.votes.insert(id, Vote::Abort(reason.clone()));
            }
        }
        let against = preparing.votes.values().any(|vote| matches!(vote, Vote::Abort(_)));
        let complete = self.rules.has_all_votes(missing);
        if against {
            self.abort(now, *preparing, out);
        } else if complete {
            let Preparing { ballot, next, task, votes, evidence, .. } = *preparing;
            self.await_decision(now, &task, &next);
            let by = Some(task.question.by);
            self.ask_to_accept(now, Proposal { ballot, state: next, by, votes, evidence }, out);
        } else {
            self.seat = Seat::Preparing(preparing);
            return false;
        }
        true
    }

    /// Ends an advance before anything was sent for acceptance: final at once.
    fn abort(&mut self, now: Time, preparing: Preparing<V>, out: &mut Output<V>) {
        let Preparing { ballot, chosen, next, task, votes, .. } = preparing;
        self.seat = Seat::Holding { ballot, chosen };
        out.publish = true;
        let Some(txid) = next.txid() else { return };
        let (version, by) = (next.version(), task.question.by);
        let message = Message::Abort { txid, version, by: by.clone(), votes: votes.clone() };
        self.send_to_others(&message, out);
        let took = Some(now.since(task.since));
        out.reply.push((task.question.ticket, Answer::Aborted { txid, votes: votes.clone() }));
        out.events.push(Event::Aborted { txid, version, by, votes, took });
    }

    /// Phase two. The others are asked before this member's own disk is, so that all write at the same time.
    pub(super) fn ask_to_accept(&mut self, now: Time, proposal: Proposal<V>, out: &mut Output<V>) {
        let proposal = Arc::new(proposal);
        let accept = |to| Envelope { to, message: Message::Accept { proposal: Arc::clone(&proposal) } };
        out.ask.extend(self.config.others().iter().map(accept));
        self.take_in(now, &proposal, out);
        let accepted = NodeSet::EMPTY.with(self.config.me);
        let resend_at = now + self.config.timing.resend;
        self.seat = Seat::Accepting { proposal, accepted, rejected: NodeSet::EMPTY, resend_at };
    }

    pub(super) fn on_accepted(&mut self, from: NodeId, ballot: Ballot, version: u64) {
        self.presence.on_promise(from, ballot, Some(version));
        if let Seat::Accepting { proposal, accepted, .. } = &mut self.seat
            && (proposal.ballot, proposal.state.version()) == (ballot, version)
        {
            accepted.insert(from);
        }
    }

    pub(super) fn on_reject(&mut self, from: NodeId, ballot: Ballot, promised: Ballot) {
        self.round = self.round.max(promised.round);
        self.joining.on_reject(ballot);
        match &mut self.seat {
            Seat::Campaigning(campaigning) if campaigning.ballot == ballot => campaigning.rejected.insert(from),
            Seat::Accepting { proposal, rejected, .. } if proposal.ballot == ballot => rejected.insert(from),
            Seat::Idle | Seat::Campaigning(_) | Seat::Holding { .. } | Seat::Preparing(_) | Seat::Accepting { .. } => {}
        }
    }

    fn advance_accepting(
        &mut self,
        now: Time,
        proposal: Arc<Proposal<V>>,
        accepted: NodeSet,
        rejected: NodeSet,
        resend_at: Time,
        out: &mut Output<V>,
    ) -> bool {
        let members = self.config.members;
        let (version, decided) = (proposal.state.version(), self.committed.state.version());
        if decided > version || (decided == version && self.committed.state.txid() != proposal.state.txid()) {
            // Another proposer was faster; the caller learns it from the decision.
            return true;
        }
        if self.rules.decides(accepted, members) {
            self.decide(now, proposal, out);
            return true;
        }
        if members.minus(rejected).len() < members.majority() {
            self.step_back(now);
            return true;
        }
        let advances = self.committed.state.direction(&proposal.state) == Direction::Advance;
        if advances && self.tasks.iter().any(|task| task.direction == Direction::Retreat) {
            self.give_up(now, &proposal, out);
            return true;
        }
        let due = now >= resend_at;
        let resend_at = if due { now + self.config.timing.resend } else { resend_at };
        if due {
            let silent = self.presence.connected().minus(accepted);
            let accept = |to| Envelope { to, message: Message::Accept { proposal: Arc::clone(&proposal) } };
            out.send.extend(silent.iter().map(accept));
        }
        self.seat = Seat::Accepting { proposal, accepted, rejected, resend_at };
        due
    }

    /// Gives up an open advance for a retreat: it may have been chosen, so only phase one can tell what to build on.
    fn give_up(&mut self, now: Time, proposal: &Proposal<V>, out: &mut Output<V>) {
        match self.rules.ballot_after_giving_up(proposal.ballot) {
            None => self.campaign(now, out),
            Some(ballot) => self.seat = Seat::Holding { ballot, chosen: Arc::clone(&self.committed) },
        }
    }

    /// A majority has accepted: the state is chosen.
    fn decide(&mut self, now: Time, proposal: Arc<Proposal<V>>, out: &mut Output<V>) {
        let version = proposal.state.version();
        self.refusals = 0;
        let before = Arc::clone(&self.committed);
        if version > before.state.version() {
            self.apply(now, &proposal, out);
        }
        for (to, _) in self.presence.iter().filter(|(_, peer)| peer.connected && peer.applied < version) {
            out.send.push(Envelope { to, message: Message::Decision { proposal: Arc::clone(&proposal) } });
        }
        let ballot = proposal.ballot;
        let chosen = self.rules.builds_on(proposal, before);
        self.seat = Seat::Holding { ballot, chosen };
    }

    /// Says again to a member that has just been connected what it may have missed.
    pub(super) fn remind(&self, id: NodeId, out: &mut Output<V>) {
        let message = match &self.seat {
            Seat::Idle | Seat::Holding { .. } | Seat::Preparing(_) => return,
            Seat::Campaigning(campaigning) => Message::Campaign { ballot: campaigning.ballot },
            Seat::Accepting { proposal, .. } => Message::Accept { proposal: Arc::clone(proposal) },
        };
        out.send.push(Envelope { to: id, message });
    }
}
