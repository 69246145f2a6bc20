//! What a member must not forget.

use super::Proposal;
use crate::model::{Ballot, Incarnation, RoutingState};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One thing to remember. What is not [lazy](Record::is_lazy) is forced to disk before anything is said on its strength.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The member takes part from now on: a first boot was proved, or what the others hold was adopted.
    Joined,
    /// Nothing below this ballot will be accepted.
    Promised(Ballot),
    /// This was accepted last; it is also a promise of its ballot.
    Accepted(Arc<Proposal>),
    /// This was learned as decided. Forgetting it costs a question to the others, no more.
    Committed(Arc<Proposal>),
}

impl Record {
    /// Whether it may reach the disk later, with the next record that is forced.
    #[must_use]
    pub const fn is_lazy(&self) -> bool {
        match self {
            Self::Committed(_) => true,
            Self::Joined | Self::Promised(_) | Self::Accepted(_) => false,
        }
    }
}

/// All that a member remembers: what a start recovers, and what the records add up to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durable {
    /// The life of this disk, drawn at random when it was empty.
    pub incarnation: Incarnation,
    /// How often a node has started on this disk, this start included; 1 at first.
    pub epoch: u64,
    /// Whether the member takes part; a blank one promises and accepts nothing.
    pub joined: bool,
    /// Nothing below it is accepted.
    pub promise: Ballot,
    /// What was accepted last.
    pub accepted: Option<Arc<Proposal>>,
    /// The newest decision learned, as far as it reached the disk.
    pub committed: Option<Arc<Proposal>>,
}

impl Durable {
    /// An empty disk.
    #[must_use]
    pub const fn blank(incarnation: Incarnation) -> Self {
        Self { incarnation, epoch: 1, joined: false, promise: Ballot::ZERO, accepted: None, committed: None }
    }

    /// Takes one record into account.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Joined => self.joined = true,
            Record::Promised(ballot) => self.promise = self.promise.max(*ballot),
            Record::Accepted(proposal) => {
                self.promise = self.promise.max(proposal.ballot);
                self.accepted = Some(Arc::clone(proposal));
            }
            Record::Committed(proposal) => self.committed = Some(Arc::clone(proposal)),
        }
    }

    /// The newest decided state known to this disk, or `initial`.
    #[must_use]
    pub fn committed_state(&self, initial: &Arc<RoutingState>) -> Arc<RoutingState> {
        self.committed.as_ref().map_or_else(|| Arc::clone(initial), |proposal| Arc::clone(&proposal.state))
    }
}
