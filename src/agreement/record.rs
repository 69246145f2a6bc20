//! Records of what a member must not forget.

use super::Proposal;
use model::{Ballot, Incarnation, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing to remember. What is not [lazy](Record::is_lazy) is forced to disk before anything is said on its strength.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record<V> {
    /// The member takes part from now on: a first boot was proved by these incarnations of all members, or, when there
    /// are none, what the others hold was adopted or the operator said that it is the first boot.
    Joined(BTreeMap<NodeId, Incarnation>),
    /// Nothing below this ballot will be accepted.
    Promised(Ballot),
    /// This was accepted last; it is also a promise of its ballot.
    Accepted(Arc<Proposal<V>>),
    /// This was learned as decided. Forgetting it costs a question to the others, no more.
    Committed(Arc<Proposal<V>>),
    /// What was accepted last was learned as decided: the same in fewer words.
    AcceptedIsCommitted,
}

impl<V> Record<V> {
    /// Whether it may reach the disk later, with the next record that is forced.
    pub const fn is_lazy(&self) -> bool {
        match self {
            Self::Committed(_) | Self::AcceptedIsCommitted => true,
            Self::Joined(_) | Self::Promised(_) | Self::Accepted(_) => false,
        }
    }
}

/// All that a member remembers: what a start recovers, and what the records add up to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Durable<V> {
    /// The life of this disk, drawn at random when it was empty.
    pub incarnation: Incarnation,
    /// How often a node has started on this disk, this start included; 1 at first.
    pub epoch: u64,
    /// Whether the member takes part, and since when: see [`Record::Joined`]. A blank one promises and accepts nothing.
    pub joined: Option<BTreeMap<NodeId, Incarnation>>,
    /// Nothing below it is accepted.
    pub promise: Ballot,
    /// What was accepted last.
    pub accepted: Option<Arc<Proposal<V>>>,
    /// The newest decision learned, as far as it reached the disk.
    pub committed: Option<Arc<Proposal<V>>>,
}

impl<V> Durable<V> {
    /// An empty disk.
    pub const fn blank(incarnation: Incarnation) -> Self {
        Self { incarnation, epoch: 1, joined: None, promise: Ballot::ZERO, accepted: None, committed: None }
    }

    /// Takes one record into account.
    pub fn apply(&mut self, record: &Record<V>) {
        match record {
            Record::Joined(founders) => self.joined = Some(founders.clone()),
            Record::Promised(ballot) => self.promise = self.promise.max(*ballot),
            Record::Accepted(proposal) => {
                self.promise = self.promise.max(proposal.ballot);
                self.accepted = Some(Arc::clone(proposal));
            }
            Record::Committed(proposal) => self.committed = Some(Arc::clone(proposal)),
            Record::AcceptedIsCommitted => self.committed = self.accepted.clone(),
        }
    }
}
