//! One member: every input goes through [`Engine::step`], and nothing else changes it.

use super::asked::Asked;
use super::coordinator::{Seat, Task};
use super::joining::Joining;
use super::participant::Probing;
use super::presence::{Link, Presence};
use super::{
    All, Config, Durable, Envelope, Event, Heartbeat, Input, IsolationPolicy, Message, Output, PeerView, Pending,
    Proposal, Reason, Register, Rules, Stage, Standing, View, Vote,
};
use model::{Digest, Evidence, NodeId, NodeSet, Time, TxId};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A lease that ends sooner than this many heartbeats from now is renewed with an echo asked for at once.
const RENEW_BEFORE: u32 = 2;

/// The agreement as one member lives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine<V: Register, R = All> {
    pub(super) config: Shared<V>,
    /// What is on disk once the records handed out so far are.
    pub(super) disk: Durable<V>,
    /// The newest decision that this member knows.
    pub(super) committed: Arc<Proposal<V>>,
    pub(super) committed_digest: Digest,
    pub(super) presence: Presence,
    pub(super) joining: Joining<V>,
    /// The newest votes given.
    pub(super) voted: VecDeque<(TxId, Vote)>,
    /// The prepare that waits for this node's upstream to answer.
    pub(super) probing: Option<Box<Probing<V>>>,
    pub(super) veto: Option<Reason>,
    pub(super) evidence: Evidence,
    pub(super) failing: Option<String>,
    pub(super) seat: Seat<V>,
    /// Whether this member coordinates.
    pub(super) acts: bool,
    /// Set once the member was told to stop: until when what it asked everyone to accept is awaited.
    pub(super) leaving: Option<Time>,
    pub(super) tasks: VecDeque<Task<V>>,
    pub(super) asked: Vec<Asked<V>>,
    pub(super) sequence: u64,
    /// The highest round heard of.
    pub(super) round: u64,
    pub(super) retry_at: Time,
    pub(super) refusals: u32,
    pub(super) pending_since: Time,
    pub(super) next_heartbeat: Time,
    /// The standing that the last heartbeats told.
    pub(super) told: Standing,
    /// What the log was told about the lease last.
    shown_lease: Lease,
    /// Who coordinates, as it was shown last.
    shown_coordinator: Option<NodeId>,
    started: Time,
    /// Messages of this member to itself, handled before the step ends.
    pub(super) to_self: VecDeque<Message<V>>,
    pub(super) rules: R,
}

/// The configuration, which never changes: copies share it, and it tells no two engines of one member apart.
#[derive(Clone, Debug)]
pub(super) struct Shared<V>(Arc<Config<V>>);

impl<V> std::ops::Deref for Shared<V> {
    type Target = Config<V>;

    fn deref(&self) -> &Config<V> {
        &self.0
    }
}

impl<V: Eq> PartialEq for Shared<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<V: Eq> Eq for Shared<V> {}

impl<V> Hash for Shared<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.me.hash(state);
    }
}

impl<V: Register> Engine<V> {
    /// A member that starts at `now` with what its disk remembers. It has no lease yet, and no links.
    #[must_use]
    pub fn new(config: Arc<Config<V>>, disk: Durable<V>, now: Time) -> Self {
        Self::with_rules(config, disk, now, All)
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// The same, going by these rules.
    #[must_use]
    pub fn with_rules(config: Arc<Config<V>>, disk: Durable<V>, now: Time, rules: R) -> Self {
        let committed = disk.committed.clone().unwrap_or_else(|| Arc::new(config.undecided()));
        Self {
            committed_digest: committed.state.digest(),
            presence: Presence::new(config.others(), now),
            joining: Joining::new(&config, &disk),
            round: disk.promise.round,
            config: Shared(config),
            committed,
            disk,
            voted: VecDeque::new(),
            probing: None,
            veto: None,
            evidence: Evidence::default(),
            failing: None,
            seat: Seat::Idle,
            acts: false,
            leaving: None,
            tasks: VecDeque::new(),
            asked: Vec::new(),
            sequence: 0,
            retry_at: Time::ZERO,
            refusals: 0,
            pending_since: now,
            next_heartbeat: now,
            told: Standing::Follows,
            shown_lease: Lease::Over,
            shown_coordinator: None,
            started: now,
            to_self: VecDeque::new(),
            rules,
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
            Input::Veto(veto) => self.veto = veto,
            Input::Measured { evidence, failing } => (self.evidence, self.failing) = (evidence, failing),
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
        self.check_acknowledged(now, &mut out);
        self.report_lease(now, &mut out);
        // Silence changes this without anything having come.
        let coordinator = self.coordinator(now);
        out.publish |= coordinator != self.shown_coordinator;
        self.shown_coordinator = coordinator;
        out
    }

    /// When the engine wants to be stepped again though nothing happens.
    #[must_use]
    pub fn poll_timeout(&self, now: Time) -> Time {
        let lease = (self.shown_lease == Lease::Holds).then(|| self.lease_end());
        let standing = self.presence.next_change(now, self.config.timing.silence);
        let questions = self.asked.iter().map(Asked::deadline);
        let tasks = self.tasks.iter().map(|task| task.deadline);
        let others = [lease, standing, self.seat.deadline(), self.joining.deadline(), self.poll_retry(now)];
        let others = others.into_iter().chain([self.poll_leaving(now)]).flatten();
        others.chain(questions).chain(tasks).fold(self.next_heartbeat, Time::min)
    }

    /// The member itself.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// All members of the cluster.
    #[must_use]
    pub fn members(&self) -> NodeSet {
        self.config.members
    }

    /// The newest decided state that this member knows.
    #[must_use]
    pub fn committed(&self) -> &Arc<Proposal<V>> {
        &self.committed
    }

    /// What the member remembers once all records handed out are on disk.
    #[must_use]
    pub const fn durable(&self) -> &Durable<V> {
        &self.disk
    }

    /// Whether the member's lease has run out at `now`.
    #[must_use]
    pub fn is_isolated(&self, now: Time) -> bool {
        now >= self.lease_end()
    }

    /// Whether this member coordinates.
    #[must_use]
    pub const fn acts(&self) -> bool {
        self.acts
    }

    /// Whether the member takes part.
    #[must_use]
    pub const fn has_joined(&self) -> bool {
        self.disk.joined.is_some()
    }

    /// The transactions that callers of this member wait for, or that it is about to settle.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending().is_none() && self.asked.is_empty() && self.tasks.is_empty()
    }

    /// The whole picture of this member at `now`.
    #[must_use]
    pub fn view(&self, now: Time) -> View<V> {
        let mut peers = BTreeMap::new();
        for (id, peer) in self.presence.iter() {
            let says = peer.says.as_ref();
            let view = PeerView {
                connected: peer.connected,
                last_heard: peer.heard,
                committed_version: says.map(|says| says.committed.0),
                digest: says.map(|says| says.committed.1),
                applied: peer.applied,
            };
            peers.insert(id, view);
        }
        View {
            me: self.config.me,
            members: self.config.members,
            stage: self.stage(None),
            state: Arc::clone(&self.committed.state),
            digest: self.committed_digest,
            lease_end: self.lease_end(),
            on_isolation: self.config.on_isolation,
            coordinator: self.coordinator(now),
            in_touch: self.reaches_majority(now),
            pending: self.pending(),
            ejected: None,
            peers,
        }
    }

    /// The member that coordinates, as far as this one hears.
    pub(super) fn coordinator(&self, now: Time) -> Option<NodeId> {
        let silence = self.config.timing.silence;
        let leads = |id: &NodeId| self.presence.heard_standing(*id, now, silence) == Some(Standing::Leads);
        if self.acts { Some(self.config.me) } else { self.config.others().iter().find(leads) }
    }

    fn on_message(&mut self, now: Time, from: NodeId, message: Message<V>, out: &mut Output<V>) {
        if !self.config.members.contains(from) {
            return;
        }
        match message {
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from, &heartbeat, out),
            Message::Prepare { base, next, by } => self.on_prepare(now, from, &base, &next, &by, out),
            Message::Vote { txid, vote, evidence } => self.on_vote(from, txid, vote, evidence),
            Message::Abort { txid, version, by, votes } => self.on_abort(from, txid, version, by, votes, out),
            Message::Campaign { ballot } => self.on_campaign(from, ballot, out),
            Message::Promise { ballot, accepted } => self.on_promise(from, ballot, accepted),
            Message::Accept { proposal } => self.on_accept(now, from, &proposal, out),
            Message::Accepted { ballot, version } => self.on_accepted(from, ballot, version),
            Message::Reject { ballot, promised } => self.on_reject(from, ballot, promised),
            Message::Decision { proposal } => self.on_decision(now, from, &proposal, out),
            Message::Applied { version } => self.on_applied(now, from, version, out),
            Message::Report(_) | Message::Testimony(_) => {}
        }
    }

    fn on_peer_up(&mut self, now: Time, id: NodeId, out: &mut Output<V>) {
        self.presence.on_link(id, Link::Up);
        out.publish = true;
        self.send_heartbeat(now, id, EchoWish::IfNeeded, out);
        self.remind(id, out);
    }

    fn on_peer_down(&mut self, now: Time, id: NodeId, out: &mut Output<V>) {
        self.presence.on_link(id, Link::Down);
        out.publish = true;
        self.count_as_unreachable(id);
        self.check_acknowledged(now, out);
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

    /// The members in touch both ways, this one included.
    pub(super) fn in_touch(&self, now: Time) -> NodeSet {
        self.presence.in_touch(now, self.config.timing.silence).with(self.config.me)
    }

    /// Whether this member is in touch with a majority and could tell it something now: a link that is known to be closed
    /// says so before the silence does.
    pub(super) fn reaches_majority(&self, now: Time) -> bool {
        let reachable = self.in_touch(now).and(self.presence.connected().with(self.config.me));
        reachable.len() >= self.config.members.majority()
    }

    fn on_heartbeat(&mut self, now: Time, from: NodeId, heartbeat: &Heartbeat, out: &mut Output<V>) {
        let was_heard = self.presence.heard_standing(from, now, self.config.timing.silence).is_some();
        self.presence.on_heartbeat(now, self.config.me, from, heartbeat);
        self.round = self.round.max(heartbeat.promise.round);
        out.publish = true;
        self.on_stage(from, heartbeat, out);
        self.count_echo(now, from, heartbeat);
        // One that was not heard for a while wants to know soon that it is heard again.
        if heartbeat.wants_echo || !was_heard {
            self.send_heartbeat(now, from, EchoWish::Never, out);
        }
        if !self.has_joined() {
            return;
        }
        let (version, digest) = heartbeat.committed;
        if version == self.committed.state.version() && digest != self.committed_digest && heartbeat.stage.has_joined()
        {
            out.events.push(Event::Alarm(super::Alarm::Diverged { from, version }));
        }
        if version < self.committed.state.version() && heartbeat.stage.has_joined() {
            let proposal = Arc::clone(&self.committed);
            self.send(from, Message::Decision { proposal }, out);
        }
        self.on_applied(now, from, version, out);
    }

    /// An echo counts when neither its sender nor this member holds anything accepted above what is committed here:
    /// then nothing that this member does not know was decided before the echoed heartbeat was sent.
    fn count_echo(&mut self, now: Time, from: NodeId, heartbeat: &Heartbeat) {
        // An echo of what an earlier process sent says nothing of what this one has forgotten.
        let Some(sent) = heartbeat.echo.filter(|sent| *sent >= self.started) else { return };
        let committed = self.committed.state.version();
        let counts = self.rules.echoes_count(&heartbeat.stage);
        let clean_echo = self.rules.is_clean_echo(heartbeat.accepted.max(heartbeat.committed.0), committed);
        let clean_self = self.rules.is_clean_self(self.accepted_version(), committed);
        if counts && clean_echo && clean_self && self.has_joined() {
            self.presence.credit(from, self.rules.lease_begins(sent, now));
        }
    }

    /// The version that this member accepted last, 0 before any.
    fn accepted_version(&self) -> u64 {
        self.disk.accepted.as_ref().map_or(0, |proposal| proposal.state.version())
    }

    /// When the lease ends.
    pub(super) fn lease_end(&self) -> Time {
        let timing = &self.config.timing;
        let counted = self.presence.lease_end(self.rules.echoes(self.config.members), timing.lease);
        let at_start = self.rules.lease_at_start(self.started, timing);
        self.rules.lease_end(counted.map_or(at_start, |end| end.max(at_start)), self.shown_lease, timing)
    }

    /// Tells the log when the lease comes or goes. What is served does not wait for this.
    fn report_lease(&mut self, now: Time, out: &mut Output<V>) {
        let lease = if now < self.lease_end() { Lease::Holds } else { Lease::Over };
        if lease == self.shown_lease {
            return;
        }
        self.shown_lease = lease;
        out.publish = true;
        match lease {
            Lease::Holds => out.events.push(Event::Confirmed { version: self.committed.state.version() }),
            Lease::Over => {
                out.events.push(Event::Isolated);
                self.send_heartbeats(now, out);
            }
        }
    }

    /// A proposal that this member holds and does not know to be decided, or drives itself, or that a caller waits for.
    /// The last may be neither of the others: when another proposer was faster, an older value takes its place on the disk.
    fn pending(&self) -> Option<Pending> {
        let accepted =
            self.disk.accepted.as_ref().filter(|proposal| proposal.state.version() > self.committed.state.version());
        let own = accepted.map(|proposal| &proposal.state).or_else(|| self.seat.open_state());
        let awaited = || self.rules.shows(self.longest_asked());
        let (state, since) = own.map(|state| (state, self.pending_since)).or_else(awaited)?;
        Some(Pending { txid: state.txid()?, version: state.version(), since })
    }

    /// Sends a heartbeat to every connected member.
    pub(super) fn send_heartbeats(&mut self, now: Time, out: &mut Output<V>) {
        self.next_heartbeat = now + self.config.timing.heartbeat;
        for to in self.presence.connected().iter() {
            self.send_heartbeat(now, to, EchoWish::IfNeeded, out);
        }
    }

    pub(super) fn send_heartbeat(&mut self, now: Time, to: NodeId, wish: EchoWish, out: &mut Output<V>) {
        let timing = &self.config.timing;
        let renew = now + timing.heartbeat * RENEW_BEFORE >= self.lease_end();
        let stage = self.stage(Some(to));
        let committed = (self.committed.state.version(), self.committed_digest);
        let heartbeat = Heartbeat {
            sent: now,
            echo: self.presence.stamp_of(to).filter(|_| self.rules.echoes_count(&stage)),
            wants_echo: wish == EchoWish::IfNeeded && renew,
            stage,
            incarnation: self.disk.incarnation,
            committed,
            accepted: self.accepted_version().max(committed.0),
            promise: self.disk.promise,
            standing: self.standing(now),
            hears: self.presence.hears(now, timing.silence),
        };
        out.send.push(Envelope { to, message: Message::Heartbeat(Box::new(heartbeat)) });
    }

    /// This member's stage, as it shows it to everyone or to one member.
    fn stage(&self, to: Option<NodeId>) -> Stage {
        let Some(founders) = &self.disk.joined else { return self.joining.stage() };
        // Only those who may still be blank need the proof of the first boot; the others are spared its bytes.
        let says = to.and_then(|to| self.presence.peer(to)).and_then(|peer| peer.says.as_ref());
        if founders.is_empty() || to.is_none() || says.is_some_and(|says| says.stage.has_joined()) {
            return Stage::Member;
        }
        Stage::Founder { founders: founders.clone() }
    }

    /// Whether this member coordinates, or could. It could when it is in touch with a majority, and holds a lease, so that
    /// it is known to have caught up, or hears of nobody else who coordinates, or could before: without that, two members
    /// could go on making room for each other.
    pub(super) fn standing(&self, now: Time) -> Standing {
        if self.acts {
            return Standing::Leads;
        }
        match (self.is_leaving(), self.is_ready(now)) {
            (true, _) => Standing::Leaves,
            (false, true) => Standing::Ready,
            (false, false) => Standing::Follows,
        }
    }

    fn is_ready(&self, now: Time) -> bool {
        let in_touch = self.in_touch(now).len() >= self.config.members.majority();
        let others_lead = || self.config.others().iter().any(|id| self.standing_of(id, now) == Some(Standing::Leads));
        let was_ready = self.told != Standing::Follows;
        !self.is_leaving() && self.has_joined() && in_touch && (was_ready || !self.is_isolated(now) || !others_lead())
    }

    /// Another member's standing, as heard or as reported.
    fn standing_of(&self, id: NodeId, now: Time) -> Option<Standing> {
        let silence = self.config.timing.silence;
        let reported = || self.presence.reported_standing(id, now, silence);
        self.rules.standing(self.presence.heard_standing(id, now, silence), reported)
    }

    /// Whether this member should coordinate: it is ready, and no member before it in id order is.
    pub(super) fn should_act(&self, now: Time) -> bool {
        let silence = self.config.timing.silence;
        let is_before = |id: &NodeId| *id < self.config.me;
        let may_come = |id: NodeId| match self.standing_of(id, now) {
            Some(Standing::Ready | Standing::Leads) => true,
            Some(Standing::Follows) | None => self.presence.is_young(now, silence),
            Some(Standing::Leaves) => false,
        };
        self.is_ready(now) && !self.config.others().iter().filter(is_before).any(may_come)
    }

    /// How long a lease lasts at the longest after `now` on a member that was not reached, by this member's clock.
    pub(super) fn others_until(&self, now: Time) -> Option<Time> {
        let timing = &self.config.timing;
        match self.config.on_isolation {
            IsolationPolicy::Stable => Some(now + timing.lease + timing.lease_margin()),
            IsolationPolicy::Hold => None,
        }
    }

    /// The wait of a proposer that was refused: random within a span that doubles from refusal to refusal, so that two
    /// proposers do not keep meeting. The engine has no randomness; a hash of who and when will do.
    pub(super) fn backoff(&self) -> Duration {
        const MOST_DOUBLINGS: u32 = 5;
        let span = self.config.timing.backoff * (1 << self.refusals.min(MOST_DOUBLINGS));
        let mut seed =
            self.disk.incarnation.0 ^ (self.disk.epoch << 32) ^ self.round ^ u64::from(self.config.me.index()) << 56;
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = u32::try_from((seed ^ (seed >> 31)) % 256).unwrap_or(0);
        span + span * part / 256
    }
}

/// Whether a heartbeat may ask for an echo at once. One that answers such a wish does not, or two members without a
/// lease would answer each other for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EchoWish {
    IfNeeded,
    Never,
}

/// Whether a member's lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lease {
    /// It serves what is agreed.
    Holds,
    /// It is isolated.
    Over,
}
