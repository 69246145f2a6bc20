//! Inputs and effects of the engine: effects are values, listed in the order they must happen.

use super::{Answer, Message, Proposal, Record, Register, Ticket, Votes};
use model::{Actor, Evidence, NodeId, TxId, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

/// One thing that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Input<V: Register> {
    /// A caller asks for a change.
    Propose(Question<V>),
    /// A message arrived from a member, whose name is its certificate's.
    Receive { from: NodeId, message: Message<V> },
    /// There is a link to this member now.
    PeerUp(NodeId),
    /// The link to this member is lost.
    PeerDown(NodeId),
    /// The answer to a [`Probe`]: why the upstream is not ready, if it is not.
    Probed { txid: TxId, result: Result<(), String> },
    /// What speaks against every advance on this node from now on, if anything does.
    Veto(Option<super::Reason>),
    /// What this node has measured in the present step, and why it holds the canary to be bad, if it does.
    Measured { evidence: Evidence, failing: Option<String> },
    /// The process is about to end: others are to coordinate, and nothing more is to be begun.
    Stop,
    /// A deadline has passed, or nothing in particular happened.
    Timeout,
}

/// A caller's wish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question<V: Register> {
    /// Names the question until it is answered.
    pub ticket: Ticket,
    /// What is to change.
    pub change: V::Change,
    /// The version that the caller bases it on, if it names one.
    pub base_version: Option<u64>,
    /// Who asks.
    pub by: Actor,
    /// When, by the wall clock.
    pub at: UnixMillis,
}

/// The effects of one step: what the engine's owner must do, in this order.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output<V: Register> {
    /// 1: hand these to the mesh at once. They rest on nothing that is in `append`, so the others' disks can work while
    /// this one does: that is what makes a commit cost one forced write in series.
    pub ask: Vec<Envelope<V>>,
    /// 2: write these in their order and force them. An error ends the process.
    pub append: Vec<Record<V>>,
    /// 3: make the engine's view visible.
    pub publish: bool,
    /// 4: hand these to the mesh.
    pub send: Vec<Envelope<V>>,
    /// 5: answer local callers.
    pub reply: Vec<(Ticket, Answer<V>)>,
    /// 6: find this out, and come back with [`Input::Probed`].
    pub probe: Option<Probe<V>>,
    /// 7: tell the log and the history.
    pub events: Vec<Event<V>>,
    /// 8: write these, after those of 2, without forcing them: nothing that is said rests on them. An error ends the
    /// process.
    pub note: Vec<Record<V>>,
    /// 9: end the process.
    pub stop: Option<Stop>,
}

impl<V: Register> Default for Output<V> {
    fn default() -> Self {
        Self {
            ask: Vec::new(),
            append: Vec::new(),
            publish: false,
            send: Vec::new(),
            reply: Vec::new(),
            probe: None,
            events: Vec::new(),
            note: Vec::new(),
            stop: None,
        }
    }
}

/// A message and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope<V> {
    /// The receiver.
    pub to: NodeId,
    /// The message.
    pub message: Message<V>,
}

/// A test of the member's surroundings, on which its vote waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe<V: Register> {
    /// The transaction that waits for the answer.
    pub txid: TxId,
    /// The test.
    pub check: V::Check,
}

/// Something that operators want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Event<V> {
    /// This member coordinates from now on.
    CoordinationTaken,
    /// This member coordinates no more.
    CoordinationGiven,
    /// This member takes part from now on.
    Joined,
    /// A state was decided, and this member serves it. Where it drove that, it `took` so long from the request.
    Committed { proposal: Arc<Proposal<V>>, took: Option<Duration> },
    /// A transaction ended before anything was sent for acceptance. Where this member drove it, it `took` so long from
    /// the request.
    Aborted { txid: TxId, version: u64, by: Actor, votes: Votes, took: Option<Duration> },
    /// The lease has run out: the member serves stable only.
    Isolated,
    /// The lease is there, and with it the proof that the committed state is the newest.
    Confirmed { version: u64 },
    /// Something that cannot happen unless a member misbehaves or is misconfigured.
    Alarm(Alarm),
}

/// A sight that should not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Alarm {
    /// A ballot in another member's name.
    #[error("{from} used a ballot of {owner}")]
    ForeignBallot { from: NodeId, owner: NodeId },
    /// An acceptance was asked for a transaction that this member voted down.
    #[error("{from} asks to accept {txid}, which this member voted down")]
    VotedDown { from: NodeId, txid: TxId },
    /// An acceptance was asked for what lacks approvals, or adds them in another's name.
    #[error("{from} asks to accept {txid}, which no member may: {why}")]
    NotApproved { from: NodeId, txid: TxId, why: String },
    /// One ballot with two proposals for one version.
    #[error("{from} proposes two states for version {version} under one ballot")]
    TwoProposals { from: NodeId, version: u64 },
    /// One version with two digests.
    #[error("{from} has another state at version {version}{}", if *version == 0 { ": is CANARY_STABLE the same on all nodes?" } else { "" })]
    Diverged { from: NodeId, version: u64 },
    /// A majority does not hold what was decided before.
    #[error("a majority holds version {found} while version {known} was decided: a disk went back in time")]
    Forgotten { found: u64, known: u64 },
    /// A proposal without a transaction.
    #[error("{from} sent a state at version {version} without a transaction")]
    NoTransaction { from: NodeId, version: u64 },
}

/// The reason for which a member cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Stop {
    /// The disk is empty, but the others know this member.
    #[error("the data directory is empty, but {peer} has already joined the mesh (version {version})")]
    EmptyDisk { peer: NodeId, version: u64 },
}
