//! Snapshots of one node: an immutable picture of the agreement there, replaced as a whole.

use super::{Register, Stage};
use model::{Digest, NodeId, NodeSet, Time, TxId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The policy for what an isolated node serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IsolationPolicy {
    /// The stable model only: a rollback that cannot reach the node takes effect when its lease ends.
    #[default]
    Stable,
    /// The weights agreed last, without any bound.
    Hold,
}

/// A node's picture of the agreement at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<V> {
    /// The node itself.
    pub me: NodeId,
    /// All configured members.
    pub members: NodeSet,
    /// Whether the node takes part yet.
    pub stage: Stage,
    /// The committed state.
    pub state: Arc<V>,
    /// Its digest.
    pub digest: Digest,
    /// From this moment on the node is isolated, unless it hears from a majority before.
    pub lease_end: Time,
    /// What it serves then.
    pub on_isolation: IsolationPolicy,
    /// The member that coordinates, as far as this node knows; itself included.
    pub coordinator: Option<NodeId>,
    /// Whether the node is in touch with a majority, both ways.
    pub in_touch: bool,
    /// A proposal that was sent for acceptance, or is being voted on here, and is not decided yet.
    pub pending: Option<Pending>,
    /// Why this node has stopped serving the canary by itself, if it has; the engine does not know.
    pub ejected: Option<Arc<str>>,
    /// Every other member.
    pub peers: BTreeMap<NodeId, PeerView>,
}

/// A proposal that is not decided yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The transaction.
    pub txid: TxId,
    /// The version it is meant for.
    pub version: u64,
    /// Since when this node knows it.
    pub since: Time,
}

/// The picture of another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerView {
    /// Whether there is a link to it.
    pub connected: bool,
    /// When it was heard last.
    pub last_heard: Option<Time>,
    /// Its committed version, as it said last.
    pub committed_version: Option<u64>,
    /// The digest of that state.
    pub digest: Option<Digest>,
    /// The newest version that it is known to serve.
    pub applied: u64,
}

impl<V: Register> View<V> {
    /// Whether the node's lease has run out at `now`.
    pub fn is_isolated(&self, now: Time) -> bool {
        now >= self.lease_end
    }

    /// Whether the node serves only what needs no agreement at `now`: the stable model. To be asked anew for every choice:
    /// no timer sets it.
    pub fn is_withdrawn(&self, now: Time) -> bool {
        let cut_off = self.on_isolation == IsolationPolicy::Stable && self.is_isolated(now);
        cut_off || self.ejected.is_some() || self.state.drained().contains(self.me)
    }
}
