//! Configuration of an engine, and the spans of time that it goes by.

use super::{IsolationPolicy, Proposal};
use model::{Ballot, NodeId, NodeSet};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// The configuration of one member: all that it knows before anything happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config<V> {
    /// The member itself.
    pub me: NodeId,
    /// All configured members, this one included.
    pub members: NodeSet,
    /// The value before any decision, at version 0; equal on all members.
    pub initial: Arc<V>,
    /// What the member serves while it is isolated.
    pub on_isolation: IsolationPolicy,
    /// What to do with an empty disk.
    pub on_empty_disk: OnEmptyDisk,
    /// The spans of time.
    pub timing: Timing,
}

/// The way of a member with an empty disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnEmptyDisk {
    /// Wait until all members say that theirs are empty too; stop when one has joined without this one.
    #[default]
    AwaitFirstBoot,
    /// The operator says that this is the first boot.
    FirstBoot,
    /// The operator says that the disk was lost: ask the others.
    Rejoin,
}

/// The spans of time that the agreement goes by. They bound waiting; safety needs none of them but the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// A member not heard for this long is taken for gone.
    pub silence: Duration,
    /// How long an echo lets a member serve the canary.
    pub lease: Duration,
    /// How long votes are awaited.
    pub vote: Duration,
    /// How long a caller waits before it is told that its question could not be sent for acceptance, or "unknown".
    pub answer: Duration,
    /// How long a decision is awaited at least, from when the question was sent for acceptance: what has waited in line for
    /// long gets its time, too.
    pub decision: Duration,
    /// How long a retreat waits for the acknowledgement of the connected members.
    pub acknowledge: Duration,
    /// How often what is unanswered is sent again.
    pub resend: Duration,
    /// The shortest wait of a refused proposer; it grows to 40 times this.
    pub backoff: Duration,
    /// How long a coordinator that stops waits for what it asked everyone to accept.
    pub farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            vote: Duration::from_secs(2),
            answer: Duration::from_secs(3),
            decision: Duration::from_secs(1),
            acknowledge: Duration::from_secs(1),
            resend: Duration::from_millis(250),
            backoff: Duration::from_millis(50),
            farewell: Duration::from_millis(200),
        }
    }
}

impl Timing {
    /// What two machines' clocks may differ over one lease: a hundredth covers every clock that is not broken.
    pub fn lease_margin(&self) -> Duration {
        self.lease / 100
    }
}

impl<V> Hash for Config<V> {
    /// The configuration tells no two engines of one member apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.me.hash(state);
    }
}

impl<V> Config<V> {
    /// The value before any decision, in the form of a proposal that nobody made.
    pub fn undecided(&self) -> Proposal<V> {
        let state = Arc::clone(&self.initial);
        Proposal { ballot: Ballot::ZERO, state, by: None, votes: BTreeMap::new(), evidence: BTreeMap::new() }
    }

    /// The members besides this one.
    pub const fn others(&self) -> NodeSet {
        self.members.without(self.me)
    }
}
