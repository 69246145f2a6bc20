//! One member: every input goes through [`Engine::step`], and nothing else changes it.

use super::acceptor::Acceptor;
use super::joining::Joining;
use super::peers::{Peer, Peers};
use super::proposer::Proposer;
use super::questions::{Known, Questions};
use super::readiness::OwnReadiness;
use super::voter::Voter;
use super::{
    All, Config, Durable, Envelope, Input, Message, Output, PeerView, Pending, Proposal, Register, Rules, View,
};
use model::{NodeId, NodeSet, Time};
use std::collections::VecDeque;
use std::sync::Arc;

/// The agreement as one member lives it, on a register of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine<V: Register, R = All> {
    /// It never changes: copies of the engine share it.
    pub(super) config: Arc<Config<V>>,
    pub(super) rules: R,
    pub(super) acceptor: Acceptor<V>,
    pub(super) voter: Voter<V>,
    pub(super) proposer: Proposer<V>,
    pub(super) questions: Questions<V>,
    pub(super) peers: Peers,
    pub(super) readiness: OwnReadiness,
    pub(super) joining: Joining<V>,
    /// Messages of this member to itself, handled before the step ends.
    pub(super) to_self: VecDeque<Message<V>>,
}

impl<V: Register> Engine<V> {
    /// A member that starts at `now` with what its disk remembers. It has no lease yet, and no links.
    pub fn new(config: Arc<Config<V>>, disk: Durable<V>, now: Time) -> Self {
        Self::with_rules(config, disk, now, All)
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// The same, going by these rules.
    pub fn with_rules(config: Arc<Config<V>>, disk: Durable<V>, now: Time, rules: R) -> Self {
        Self {
            rules,
            voter: Voter::new(),
            proposer: Proposer::new(disk.promise.round),
            questions: Questions::new(),
            peers: Peers::new(&config, now),
            readiness: OwnReadiness::new(),
            joining: Joining::new(&config, &disk),
            acceptor: Acceptor::new(&config, disk, now),
            config,
            to_self: VecDeque::new(),
        }
    }

    /// Goes by these rules from now on.
    pub fn go_by(&mut self, rules: R) {
        self.rules = rules;
    }

    /// Takes one input into account, and gives what has to be done because of it.
    pub fn step(&mut self, now: Time, input: Input<V>) -> Output<V> {
        let mut out = Output::default();
        match input {
            Input::Propose(question) => self.on_propose(now, question, &mut out),
            Input::Receive { from, message } => self.on_message(now, from, message, &mut out),
            Input::PeerUp(id) => self.on_peer_up(now, id, &mut out),
            Input::PeerDown(id) => self.on_peer_down(now, id, &mut out),
            Input::Probed { txid, result } => self.on_probed(now, txid, result, &mut out),
            Input::Veto(veto) => self.voter.veto = veto,
            Input::Measured { evidence, failing } => (self.voter.evidence, self.voter.failing) = (evidence, failing),
            Input::Stop => self.on_stop(now, &mut out),
            Input::Timeout => {}
        }
        loop {
            while let Some(message) = self.to_self.pop_front() {
                self.on_message(now, self.config.me, message, &mut out);
            }
            if !self.advance(now, &mut out) && self.to_self.is_empty() {
                break;
            }
        }
        self.answer_questions(now, &mut out);
        self.report_lease(now, &mut out);
        // Silence changes this without anything having come.
        let coordinator = self.coordinator(now);
        out.publish |= self.readiness.show(coordinator);
        out
    }

    /// Does one thing that is due; says whether there was one.
    pub(super) fn advance(&mut self, now: Time, out: &mut Output<V>) -> bool {
        self.advance_joining(now, out)
            || self.advance_readiness(now, out)
            || self.turn_away(now, out)
            || self.expire_tasks(now, out)
            || self.advance_seat(now, out)
            || self.send_due_heartbeats(now, out)
    }

    /// When the engine wants to be stepped again though nothing happens.
    pub fn poll_timeout(&self, now: Time) -> Time {
        let lease = (self.peers.shown_lease == Lease::Holds).then(|| self.lease_end());
        let readiness = self.peers.next_change(now);
        let others = [lease, readiness, self.joining.deadline(), self.poll_retry(now), self.poll_leaving(now)];
        let due = others.into_iter().flatten().chain(self.questions.deadlines()).chain(self.proposer.deadlines());
        due.fold(self.peers.next_heartbeat, Time::min)
    }

    /// The member itself.
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// All members of the cluster.
    pub fn members(&self) -> NodeSet {
        self.config.members
    }

    /// The newest decided state that this member knows.
    pub fn committed(&self) -> &Arc<Proposal<V>> {
        self.acceptor.committed()
    }

    /// What the member remembers once all records handed out are on disk.
    pub const fn durable(&self) -> &Durable<V> {
        self.acceptor.disk()
    }

    /// Whether the member's lease has run out at `now`.
    pub fn is_isolated(&self, now: Time) -> bool {
        now >= self.lease_end()
    }

    /// Whether this member coordinates.
    pub const fn acts(&self) -> bool {
        self.readiness.acts()
    }

    /// Whether the member takes part.
    pub const fn has_joined(&self) -> bool {
        self.acceptor.disk().joined.is_some()
    }

    /// The transactions that callers of this member wait for, or that it is about to settle.
    pub fn is_settled(&self) -> bool {
        self.pending().is_none() && self.is_unasked()
    }

    /// Whether a caller waits for something that was sent for acceptance and that this member knows no decision of.
    pub fn has_open_question(&self) -> bool {
        self.questions.longest().is_some()
    }

    /// The whole picture of this member at `now`.
    pub fn view(&self, now: Time) -> View<V> {
        let view = |(id, peer): (NodeId, &Peer)| {
            let committed = peer.says.as_ref().map(|says| says.committed);
            let (committed_version, digest) = committed.unzip();
            let Peer { connected, heard: last_heard, applied, .. } = *peer;
            (id, PeerView { connected, last_heard, committed_version, digest, applied })
        };
        View {
            me: self.config.me,
            members: self.config.members,
            stage: self.stage(None),
            state: Arc::clone(&self.acceptor.committed().state),
            digest: self.acceptor.digest(),
            lease_end: self.lease_end(),
            on_isolation: self.config.on_isolation,
            coordinator: self.coordinator(now),
            in_touch: self.reaches_majority(now),
            pending: self.pending(),
            ejected: None,
            peers: self.peers.iter().map(view).collect(),
        }
    }

    /// A proposal that this member holds and does not know to be decided, or drives itself, or that a caller waits for.
    /// The last may be neither of the others: when another proposer was faster, an older value takes its place on the disk.
    fn pending(&self) -> Option<Pending> {
        let own = self.acceptor.undecided().or_else(|| self.proposer.open_state());
        let awaited = || self.rules.shows(self.questions.longest());
        let (state, since) = own.map(|state| (state, self.acceptor.pending_since)).or_else(awaited)?;
        Some(Pending { txid: state.txid()?, version: state.version(), since })
    }

    fn on_message(&mut self, now: Time, from: NodeId, message: Message<V>, out: &mut Output<V>) {
        if !self.config.members.contains(from) {
            return;
        }
        match message {
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from, &heartbeat, out),
            Message::Prepare { base, next, by } => self.on_prepare(now, from, &base, &next, &by, out),
            Message::Vote { txid, vote, evidence } => self.proposer.on_vote(from, txid, vote, evidence, &self.rules),
            Message::Abort { txid, version, by, votes } => self.on_abort(from, txid, version, by, votes, out),
            Message::Campaign { ballot } => self.on_campaign(from, ballot, out),
            Message::Promise { ballot, accepted } => {
                let version = accepted.as_ref().map(|proposal| proposal.state.version());
                self.peers.on_promise(from, ballot, version);
                self.joining.on_promise(from, ballot, accepted.as_ref());
                self.proposer.on_promise(from, ballot, accepted);
            }
            Message::Accept { proposal } => self.on_accept(now, from, &proposal, out),
            Message::Accepted { ballot, version } => {
                self.peers.on_promise(from, ballot, Some(version));
                self.proposer.on_accepted(from, ballot, version);
            }
            Message::Reject { ballot, promised } => {
                self.joining.on_reject(ballot);
                self.proposer.on_reject(from, ballot, promised);
            }
            Message::Decision { proposal } => self.on_decision(now, from, &proposal, out),
            Message::Applied { version } => self.on_applied(now, from, version, out),
            Message::Report(_) | Message::Testimony(_) => {}
        }
    }

    /// Answers every caller whose question has come to its end by `now`.
    pub(super) fn answer_questions(&mut self, now: Time, out: &mut Output<V>) {
        let leaving = self.readiness.leaving();
        let (config, peers, committed) = (&*self.config, &self.peers, &**self.acceptor.committed());
        self.questions.answer(now, &Known { config, peers, committed, leaving }, &self.rules, out);
    }

    /// Hands a message to the mesh, or to this member itself before the step ends.
    pub(super) fn send(&mut self, to: NodeId, message: Message<V>, out: &mut Output<V>) {
        if to == self.config.me {
            self.to_self.push_back(message);
        } else {
            out.send.push(Envelope { to, message });
        }
    }

    /// Hands a message to the mesh for all other members.
    pub(super) fn send_to_others(&self, message: &Message<V>, out: &mut Output<V>) {
        out.send.extend(self.config.others().iter().map(|to| Envelope { to, message: message.clone() }));
    }
}

/// The state of a member's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lease {
    /// It serves what is agreed.
    Holds,
    /// It is isolated.
    Over,
}
