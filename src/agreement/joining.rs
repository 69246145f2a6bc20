//! Joining: a member with an empty disk comes to take part, at the first boot of all, or after its disk was lost.
//!
//! Until then it says nothing that anyone could build on.

use super::{
    Config, Durable, Engine, Envelope, Event, Heartbeat, Message, OnEmptyDisk, Output, Proposal, Record, Register,
    Rules, Stage, Stop,
};
use model::{Ballot, Incarnation, NodeId, NodeSet, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The stage that a member has come to in joining.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Joining<V> {
    /// It takes part.
    Done,
    /// It waits for the proof that this is the first boot: every other member, blank, saying that it has seen this one
    /// blank in its present life; or one that has joined by such a proof.
    Blank { seen: BTreeMap<NodeId, Incarnation>, seen_by: BTreeMap<NodeId, Incarnation> },
    /// It asks the others what they hold, under a ballot of its new life.
    Asking { ballot: Option<Ballot>, promises: BTreeMap<NodeId, Option<Arc<Proposal<V>>>>, resend_at: Time },
}

impl<V> Joining<V> {
    pub(super) fn new(config: &Config<V>, disk: &Durable<V>) -> Self {
        match config.on_empty_disk {
            _ if disk.joined.is_some() => Self::Done,
            OnEmptyDisk::AwaitFirstBoot | OnEmptyDisk::FirstBoot => {
                Self::Blank { seen: BTreeMap::from([(config.me, disk.incarnation)]), seen_by: BTreeMap::new() }
            }
            OnEmptyDisk::Rejoin => Self::Asking { ballot: None, promises: BTreeMap::new(), resend_at: Time::ZERO },
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Done => Stage::Member,
            Self::Blank { seen, .. } => Stage::Blank { seen: seen.clone() },
            Self::Asking { .. } => Stage::Rejoining,
        }
    }

    /// The ballot that answers are awaited for.
    pub(super) const fn asks_under(&self) -> Option<Ballot> {
        match self {
            Self::Done | Self::Blank { .. } => None,
            Self::Asking { ballot, .. } => *ballot,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Time> {
        match self {
            Self::Done | Self::Blank { .. } => None,
            Self::Asking { resend_at, .. } => Some(*resend_at),
        }
    }

    pub(super) fn on_promise(&mut self, from: NodeId, ballot: Ballot, accepted: Option<&Arc<Proposal<V>>>) {
        if let Self::Asking { ballot: Some(own), promises, .. } = self
            && *own == ballot
        {
            promises.insert(from, accepted.cloned());
        }
    }

    /// Makes the next question go out under a higher ballot.
    pub(super) fn on_reject(&mut self, refused: Ballot) {
        if let Self::Asking { ballot, promises, .. } = self
            && *ballot == Some(refused)
        {
            *ballot = None;
            promises.clear();
        }
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    /// Takes into account whether another member takes part, while this one does not.
    pub(super) fn on_stage(&mut self, from: NodeId, heartbeat: &Heartbeat, out: &mut Output<V>) {
        let Joining::Blank { seen, seen_by } = &mut self.joining else { return };
        let me = (self.config.me, self.acceptor.disk().incarnation);
        let knows_me = |known: &BTreeMap<NodeId, Incarnation>| known.get(&me.0) == Some(&me.1);
        match &heartbeat.stage {
            Stage::Blank { seen: theirs } => {
                let is_new = seen.insert(from, heartbeat.incarnation) != Some(heartbeat.incarnation);
                if knows_me(theirs) {
                    seen_by.insert(from, heartbeat.incarnation);
                }
                if is_new {
                    self.peers.hasten_heartbeat();
                }
            }
            Stage::Founder { founders } if knows_me(founders) => {
                let founders = founders.clone();
                self.join(founders, None, out);
            }
            Stage::Founder { .. } | Stage::Member => {
                out.stop = Some(Stop::EmptyDisk { peer: from, version: heartbeat.committed.0 });
            }
            Stage::Rejoining => {}
        }
    }

    pub(super) fn advance_joining(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let others = self.config.others();
        match &mut self.joining {
            Joining::Done => false,
            Joining::Blank { seen, seen_by } => {
                let all = seen_by.len() == others.len() && seen_by.iter().all(|(id, life)| seen.get(id) == Some(life));
                let founders = seen.clone();
                if all && self.config.on_empty_disk == OnEmptyDisk::AwaitFirstBoot {
                    self.join(founders, None, out);
                } else if self.rules.boots_unproved(self.config.on_empty_disk) {
                    self.join(BTreeMap::new(), None, out);
                } else {
                    return false;
                }
                true
            }
            Joining::Asking { .. } => self.advance_asking(now, out),
        }
    }

    /// The lost disk may have promised a ballot whose proposer goes on, and nobody but the two may know. So everybody is asked
    /// who has anything to tell: the proposer is among them, has its own promise on disk, and refuses a lower ballot. Those
    /// whose disk was lost, too, began anew with their ballots.
    fn advance_asking(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let others = self.config.others();
        let (awaited, enough) = self.rules.awaited_to_rejoin(others, self.peers.blank());
        let fresh = Ballot {
            round: self.proposer.round() + 1,
            node: self.config.me,
            incarnation: self.acceptor.disk().incarnation,
        };
        let connected = self.peers.connected();
        let Joining::Asking { ballot, promises, resend_at } = &mut self.joining else { return false };
        let promised: NodeSet = promises.keys().copied().collect();
        if let Some(ballot) = *ballot
            && promised.len() >= enough
            && awaited.minus(promised).is_empty()
        {
            let held = promises.values().flatten().max_by_key(|held| (held.ballot, held.state.version()));
            let held = held.map(|held| Proposal { ballot, ..Proposal::clone(held) });
            self.join(BTreeMap::new(), held, out);
            return true;
        }
        if now < *resend_at {
            return false;
        }
        let is_new = ballot.is_none();
        let ballot = *ballot.get_or_insert(fresh);
        *resend_at = now + self.config.timing.resend;
        let silent = connected.minus(promised);
        self.proposer.hear(ballot.round);
        if is_new {
            // So that a restart takes another.
            self.acceptor.append(Record::Promised(ballot), out);
        }
        out.send.extend(silent.iter().map(|to| Envelope { to, message: Message::Campaign { ballot } }));
        true
    }

    /// Takes part from now on, once that and what the others hold is on disk.
    fn join(&mut self, founders: BTreeMap<NodeId, Incarnation>, held: Option<Proposal<V>>, out: &mut Output<V>) {
        if let Some(held) = self.rules.adopts(held) {
            self.acceptor.append(Record::Accepted(Arc::new(held)), out);
        }
        self.acceptor.append(Record::Joined(founders), out);
        self.joining = Joining::Done;
        self.peers.hasten_heartbeat();
        out.events.push(Event::Joined);
    }
}
