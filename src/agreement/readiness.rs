//! OwnReadiness: whether a member coordinates, or could, or is about to stop.
//!
//! All of this is for liveness: safety does not hang on who coordinates.

mod leaving;

use super::{Engine, Event, Output, Readiness, Register, Rules};
use model::{NodeId, Time};

/// A member's place among those who could coordinate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OwnReadiness {
    /// Whether this member coordinates.
    acts: bool,
    /// The readiness that the last heartbeats told.
    told: Readiness,
    /// Set once the member was told to stop: until when what it asked everyone to accept is awaited.
    leaving: Option<Time>,
    /// Who coordinates, as it was shown last.
    shown: Option<NodeId>,
}

impl OwnReadiness {
    pub(super) const fn new() -> Self {
        Self { acts: false, told: Readiness::Follows, leaving: None, shown: None }
    }

    /// Whether this member coordinates.
    pub(super) const fn acts(&self) -> bool {
        self.acts
    }

    /// Takes note of who coordinates; says whether that is news.
    pub(super) fn show(&mut self, coordinator: Option<NodeId>) -> bool {
        std::mem::replace(&mut self.shown, coordinator) != coordinator
    }

    /// Until when a member that was told to stop awaits what it asked everyone to accept.
    pub(super) const fn leaving(&self) -> Option<Time> {
        self.leaving
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// The member that coordinates, as far as this one hears.
    pub(super) fn coordinator(&self, now: Time) -> Option<NodeId> {
        let leads = |id: &NodeId| self.peers.heard_readiness(*id, now) == Some(Readiness::Leads);
        if self.readiness.acts { Some(self.config.me) } else { self.config.others().iter().find(leads) }
    }

    /// That member where it is another one.
    pub(super) fn other_coordinator(&self, now: Time) -> Option<NodeId> {
        self.coordinator(now).filter(|id| *id != self.config.me)
    }

    /// Whether this member coordinates, or could. It could when it is in touch with a majority, and holds a lease, so that
    /// it is known to have caught up, or hears of nobody else who coordinates, or could before: without that, two members
    /// could go on making room for each other.
    pub(super) fn readiness(&self, now: Time) -> Readiness {
        if self.readiness.acts {
            return Readiness::Leads;
        }
        match (self.is_leaving(), self.is_ready(now)) {
            (true, _) => Readiness::Leaves,
            (false, true) => Readiness::Ready,
            (false, false) => Readiness::Follows,
        }
    }

    fn is_ready(&self, now: Time) -> bool {
        let in_touch = self.in_touch(now).len() >= self.config.members.majority();
        let others_lead = || self.config.others().iter().any(|id| self.readiness_of(id, now) == Some(Readiness::Leads));
        let was_ready = self.readiness.told != Readiness::Follows;
        !self.is_leaving() && self.has_joined() && in_touch && (was_ready || !self.is_isolated(now) || !others_lead())
    }

    /// Another member's readiness, as heard or as reported.
    fn readiness_of(&self, id: NodeId, now: Time) -> Option<Readiness> {
        self.rules.readiness(self.peers.heard_readiness(id, now), || self.peers.reported_readiness(id, now))
    }

    /// Whether this member should coordinate: it is ready, and no member before it in id order is.
    pub(super) fn should_act(&self, now: Time) -> bool {
        let is_before = |id: &NodeId| *id < self.config.me;
        let may_come = |id: NodeId| match self.readiness_of(id, now) {
            Some(Readiness::Ready | Readiness::Leads) => true,
            Some(Readiness::Follows) | None => self.peers.is_young(now),
            Some(Readiness::Leaves) => false,
        };
        self.is_ready(now) && !self.config.others().iter().filter(is_before).any(may_come)
    }

    pub(super) fn advance_readiness(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let should = self.should_act(now) || self.settles(now);
        if should != self.readiness.acts {
            self.readiness.acts = should;
            out.publish = true;
            out.events.push(if should { Event::CoordinationTaken } else { Event::CoordinationGiven });
        }
        let readiness = self.readiness(now);
        let changed = readiness != self.readiness.told;
        self.readiness.told = readiness;
        if changed {
            // The others should not have to wait for the next heartbeat to know whom to turn to.
            self.send_heartbeats(now, out);
        }
        changed
    }
}
