//! The register: the one value that the members agree on, from version to version.
//!
//! The agreement knows of it what stands here and no more, so that it can be searched with values of any kind. All of it
//! is a function of the values alone: every member that asks the same gets the same answer.

use model::{Digest, NodeId, NodeSet, TxId, UnixMillis};
use std::error::Error;
use std::fmt::Debug;
use std::hash::Hash;

/// A value with a version that members agree on.
///
/// Every version but the first, 0, names the transaction that decided it, and some of those before it: a member that
/// missed decisions learns from that chain what became of its own.
pub trait Register: Clone + Debug + Eq + Hash {
    /// A request to change the value. It is applied to whatever value the proposer finds itself built on.
    type Change: Clone + Debug + Eq + Hash;
    /// Why a change does not fit a value.
    type Refusal: Clone + Debug + Eq + Hash + Error + 'static;
    /// A test of a member's surroundings that it has to pass before it votes.
    type Check: Clone + Debug + Eq;

    /// The version: how many decisions led to this value.
    fn version(&self) -> u64;

    /// The transaction that decides it; none at version 0.
    fn txid(&self) -> Option<TxId>;

    /// A digest of everything in it and of the values before, so that equal digests mean equal histories.
    fn digest(&self) -> Digest;

    /// The digest of the value that this one was built on; none where that was at version 0.
    fn parent(&self) -> Option<Digest>;

    /// The transaction that was decided at `version`, as far back as the chain goes.
    fn decided_at(&self, version: u64) -> Option<TxId>;

    /// The members taken out of the vote.
    fn drained(&self) -> NodeSet;

    /// The value that follows this one by `change`, decided by `txid`. Fails when the change does not fit this value,
    /// or names a node outside `members`.
    fn apply(&self, change: &Self::Change, members: NodeSet, txid: TxId, at: UnixMillis)
    -> Result<Self, Self::Refusal>;

    /// What going from this value to `next` takes.
    fn direction(&self, next: &Self) -> Direction;

    /// Whether a member may vote for going from this value to `next` at the word of `by`. Fails with what stands
    /// against it.
    fn allows(&self, next: &Self, by: &str) -> Result<(), String>;

    /// Whether a member may accept `next` on this value at the word of `by`: what holds for every change, also for
    /// those that nobody votes on. Fails with what stands against it.
    fn bears(&self, next: &Self, by: &str) -> Result<(), String>;

    /// Whether `next` can come after this value at all, however many others are between them and whoever decided them.
    /// Fails with what stands against it.
    fn can_come_to(&self, next: &Self) -> Result<(), String>;

    /// Whether what is measured now would get more by `next`, so that measurements that speak against it count.
    fn gives_more(&self, next: &Self) -> bool;

    /// What `me` has to find out about its surroundings before it votes for going from this value to `next`.
    fn check(&self, next: &Self, me: NodeId) -> Option<Self::Check>;

    /// Whether something begins when the last member serves this value, so that all want to know who does.
    fn begins(&self) -> bool;

    /// Whether callers watch who serves this value.
    fn is_watched(&self) -> bool;
}

/// The direction of a change: it needs every vote, or only a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It gives more away than there was: all must vote for it.
    Advance,
    /// It takes back, or changes nothing: a majority suffices and nobody has a veto.
    Retreat,
}
