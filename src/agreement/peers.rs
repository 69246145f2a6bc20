//! The peers: what they last said of themselves, whom they hear, and how long this member's lease lasts.
//!
//! Everything here is for liveness, and may be wrong for a while without harm, except the lease: it bounds how long a
//! member that no rollback can reach goes on serving the canary.

mod heartbeat;

use super::{Config, Hearing, Heartbeat, Lease, Readiness, Stage};
use model::{Ballot, Digest, NodeId, NodeSet, Time};
use std::time::Duration;

/// What this member knows of all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peers {
    /// In id order. They are few, and gone through several times in each step.
    peers: Vec<(NodeId, Peer)>,
    /// A member not heard for this long is taken for gone.
    silence: Duration,
    started: Time,
    /// When the next heartbeat is due.
    pub(super) next_heartbeat: Time,
    /// What the log was told about the lease last.
    pub(super) shown_lease: Lease,
}

/// What this member knows of one other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    /// Whether there is a link to it.
    pub(super) connected: bool,
    /// When its last heartbeat came.
    pub(super) heard: Option<Time>,
    /// What that heartbeat said.
    pub(super) says: Option<Says>,
    /// The newest of its `sent`, to echo.
    stamp: Option<Time>,
    /// The latest moment at which it certainly heard this member, by this member's clock.
    hears_me: Option<Time>,
    /// The newest of this member's `sent` that it echoed cleanly.
    credit: Option<Time>,
    /// The newest version that it is known to serve, or to have served.
    pub(super) applied: u64,
}

/// The part of a heartbeat that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Says {
    pub(super) stage: Stage,
    pub(super) committed: (u64, Digest),
    pub(super) accepted: u64,
    pub(super) promise: Ballot,
    readiness: Readiness,
    hears: Vec<(NodeId, Time, Readiness)>,
}

impl Peers {
    pub(super) fn new<V>(config: &Config<V>, started: Time) -> Self {
        let peers = config.others().iter().map(|id| (id, Peer::default())).collect();
        let silence = config.timing.silence;
        Self { peers, silence, started, next_heartbeat: started, shown_lease: Lease::Over }
    }

    pub(super) fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|(peer, _)| *peer == id).map(|(_, peer)| peer)
    }

    fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|(peer, _)| *peer == id).map(|(_, peer)| peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    fn values(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().map(|(_, peer)| peer)
    }

    /// Makes the next heartbeat due at once.
    pub(super) const fn hasten_heartbeat(&mut self) {
        self.next_heartbeat = Time::ZERO;
    }

    /// The members that are known to serve `version` or a later one, this one not counted.
    pub(super) fn serving(&self, version: u64) -> impl Iterator<Item = NodeId> {
        self.iter().filter(move |(_, peer)| peer.applied >= version).map(|(id, _)| id)
    }

    /// Takes note that `from` serves `version`, or a later one; says whether that is news.
    fn on_applied(&mut self, from: NodeId, version: u64) -> bool {
        let Some(peer) = self.peer_mut(from) else { return false };
        let is_news = version > peer.applied;
        peer.applied = peer.applied.max(version);
        is_news
    }

    /// The members that there are links to.
    pub(super) fn connected(&self) -> NodeSet {
        self.iter().filter(|(_, peer)| peer.connected).map(|(id, _)| id).collect()
    }

    /// The members that say that they hold nothing: their disk is empty, and they have not joined.
    pub(super) fn blank(&self) -> NodeSet {
        self.iter().filter(|(_, peer)| peer.says.is_some() && !peer.has_joined()).map(|(id, _)| id).collect()
    }

    /// Keeps what `from` says of itself.
    pub(super) fn on_heartbeat(&mut self, now: Time, me: NodeId, from: NodeId, heartbeat: &Heartbeat) {
        let Some(peer) = self.peer_mut(from) else { return };
        let heard_at = |age_ms: u32| now - Duration::from_millis(u64::from(age_ms));
        peer.heard = Some(now);
        peer.stamp = Some(heartbeat.sent);
        if let Some(Hearing(_, age_ms, _)) = heartbeat.hears.iter().find(|hearing| hearing.0 == me) {
            peer.hears_me = peer.hears_me.max(Some(heard_at(*age_ms)));
        }
        let hears = heartbeat.hears.iter().filter(|hearing| hearing.0 != me);
        peer.says = Some(Says {
            stage: heartbeat.stage.clone(),
            committed: heartbeat.committed,
            accepted: heartbeat.accepted,
            promise: heartbeat.promise,
            readiness: heartbeat.readiness,
            hears: hears.map(|Hearing(id, age_ms, readiness)| (*id, heard_at(*age_ms), *readiness)).collect(),
        });
    }

    /// Counts an echo of the heartbeat that this member sent at `sent`.
    fn credit(&mut self, from: NodeId, sent: Time) {
        if let Some(peer) = self.peer_mut(from) {
            peer.credit = peer.credit.max(Some(sent));
        }
    }

    /// Corrects what `from` said of itself by what it has promised or accepted since.
    pub(super) fn on_promise(&mut self, from: NodeId, ballot: Ballot, accepted: Option<u64>) {
        let Some(says) = self.peer_mut(from).and_then(|peer| peer.says.as_mut()) else { return };
        says.promise = says.promise.max(ballot);
        says.accepted = accepted.unwrap_or(says.accepted);
    }

    /// What those heard lately say of themselves, if they take part.
    pub(super) fn recent_says(&self, now: Time) -> impl Iterator<Item = &Says> {
        self.heard(now).filter_map(|peer| peer.says.as_ref()).filter(|says| says.stage.has_joined())
    }

    /// Those heard lately.
    fn heard(&self, now: Time) -> impl Iterator<Item = &Peer> {
        self.values().filter(move |peer| peer.heard.is_some_and(|at| self.is_recent(at, now)))
    }

    fn is_recent(&self, at: Time, now: Time) -> bool {
        now < at + self.silence
    }

    /// What to echo to `to`.
    pub(super) fn stamp_of(&self, to: NodeId) -> Option<Time> {
        self.peer(to)?.stamp
    }

    /// When the lease ends that `echoes` clean echoes give: it runs from the oldest of the newest that many.
    fn counted_lease(&self, echoes: usize, lease: Duration) -> Option<Time> {
        let credits = || self.values().filter_map(|peer| peer.credit);
        // Asked several times in each step: so few are compared sooner than they are sorted.
        let newer = |sent: Time| credits().filter(|other| *other > sent).count();
        let as_new = |sent: Time| credits().filter(|other| *other >= sent).count();
        let is_last = |sent: &Time| newer(*sent) < echoes && echoes <= as_new(*sent);
        credits().find(is_last).map(|sent| sent + lease)
    }

    /// The members that have joined and that hear and are heard, this one not counted.
    pub(super) fn in_touch(&self, now: Time) -> NodeSet {
        let recent = |at: Option<Time>| at.is_some_and(|at| self.is_recent(at, now));
        let both_ways = |peer: &Peer| recent(peer.heard) && recent(peer.hears_me);
        self.iter().filter(|(_, peer)| both_ways(peer) && peer.has_joined()).map(|(id, _)| id).collect()
    }

    /// Whom this member hears, for its heartbeats.
    pub(super) fn hears(&self, now: Time) -> Vec<Hearing> {
        let hearing = |(id, peer): (NodeId, &Peer)| {
            let heard = peer.heard.filter(|heard| self.is_recent(*heard, now))?;
            let age_ms = u32::try_from(now.since(heard).as_micros().div_ceil(1_000)).ok()?;
            Some(Hearing(id, age_ms, peer.says.as_ref()?.readiness))
        };
        self.iter().filter_map(hearing).collect()
    }

    /// The readiness of `id` as this member hears it, if it heard it lately.
    pub(super) fn heard_readiness(&self, id: NodeId, now: Time) -> Option<Readiness> {
        let peer = self.peer(id)?;
        let heard = peer.heard.filter(|heard| self.is_recent(*heard, now));
        heard.and(peer.says.as_ref()).map(|says| says.readiness)
    }

    /// The readiness of `id` as the others that this member hears report it: the highest, unless the newest report is that
    /// it leaves.
    pub(super) fn reported_readiness(&self, id: NodeId, now: Time) -> Option<Readiness> {
        let says = self.heard(now).filter_map(|peer| peer.says.as_ref());
        let of_id = |(node, at, readiness): &(NodeId, Time, Readiness)| {
            (*node == id && self.is_recent(*at, now)).then_some((*at, *readiness))
        };
        let reports = says.flat_map(|says| says.hears.iter().filter_map(of_id));
        let (newest, highest) = reports.fold((None, None), |(newest, highest): (Option<_>, Option<_>), report| {
            (newest.max(Some(report)), highest.max(Some(report.1)))
        });
        match newest {
            Some((_, Readiness::Leaves)) => Some(Readiness::Leaves),
            Some(_) | None => highest,
        }
    }

    /// Whether so little time has passed since the start that a member not heard yet is not taken for gone.
    pub(super) fn is_young(&self, now: Time) -> bool {
        self.is_recent(self.started, now)
    }

    /// The next moment at which an answer of this module changes without anything being heard.
    pub(super) fn next_change(&self, now: Time) -> Option<Time> {
        let heard = self.values().flat_map(|peer| [peer.heard, peer.hears_me]).flatten();
        let says = self.values().filter_map(|peer| peer.says.as_ref());
        let reported = says.flat_map(|says| says.hears.iter().map(|(_, at, _)| *at));
        let moments = heard.chain(reported).chain([self.started]).map(|at| at + self.silence);
        moments.filter(|moment| *moment > now).min()
    }
}

impl Peer {
    fn has_joined(&self) -> bool {
        self.says.as_ref().is_some_and(|says| says.stage.has_joined())
    }
}
