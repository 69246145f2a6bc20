//! The routing state as the register of the agreement, and the agreement's values with it in them.
//!
//! The agreement itself knows no canary: what a change may follow, who has to vote for it and what a member finds out
//! before it does stands here.

use crate::{Change, ChangeError, Model, Phase, RoutingState, Smoke};
use agreement::Register;
use model::{Digest, NodeId, NodeSet, Time, TxId, UnixMillis, Weight};

/// The end of one request for a change of the routing state.
pub type Answer = agreement::Answer<RoutingState>;
/// What one member knows before anything happens.
pub type Config = agreement::Config<RoutingState>;
/// All that a member remembers.
pub type Durable = agreement::Durable<RoutingState>;
/// The agreement on the routing state as one member lives it.
pub type Engine<R = agreement::All> = agreement::Engine<RoutingState, R>;
/// A message and whom it is for.
pub type Envelope = agreement::Envelope<RoutingState>;
/// Something that operators want to know.
pub type Event = agreement::Event<RoutingState>;
/// One thing that happened to a member.
pub type Input = agreement::Input<RoutingState>;
/// One message of the agreement.
pub type Message = agreement::Message<RoutingState>;
/// What the engine's owner must do, in order.
pub type Output = agreement::Output<RoutingState>;
/// A test of an upstream, on which a member's vote waits.
pub type Probe = agreement::Probe<RoutingState>;
/// A routing state put up for acceptance.
pub type Proposal = agreement::Proposal<RoutingState>;
/// A caller's wish.
pub type Question = agreement::Question<RoutingState>;
/// One thing to remember.
pub type Record = agreement::Record<RoutingState>;
/// Why a request was turned away before anything was written.
pub type Refusal = agreement::Refusal<ChangeError>;
/// A node's picture of the agreement at one moment.
pub type View = agreement::View<RoutingState>;

/// What a node's own upstream of a model has to pass before the model gets more traffic there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The model.
    pub model: Model,
    /// The test that it has to pass before the first step of a rollout; else being there is enough.
    pub smoke: Option<Smoke>,
}

/// The share that the node of `view` gives the canary at `now`. To be asked anew for every choice: no timer sets it.
pub fn serving_weight(view: &View, now: Time) -> Weight {
    if view.is_withdrawn(now) { Weight::ZERO } else { view.state.canary_weight() }
}

impl Register for RoutingState {
    type Change = Change;
    type Refusal = ChangeError;
    type Check = Check;

    fn version(&self) -> u64 {
        self.version
    }

    fn txid(&self) -> Option<TxId> {
        self.txid
    }

    fn digest(&self) -> Digest {
        self.digest()
    }

    fn parent(&self) -> Option<Digest> {
        self.chain.last().map(|link| link.digest)
    }

    fn decided_at(&self, version: u64) -> Option<TxId> {
        self.decided_at(version)
    }

    fn drained(&self) -> NodeSet {
        self.drained
    }

    fn apply(&self, change: &Change, members: NodeSet, txid: TxId, at: UnixMillis) -> Result<Self, ChangeError> {
        change.apply(self, members, txid, at)
    }

    fn direction(&self, next: &Self) -> agreement::Direction {
        self.direction_to(next)
    }

    fn allows(&self, next: &Self, by: &str) -> Result<(), String> {
        self.plan_allows(next, by)
    }

    fn bears(&self, next: &Self, by: &str) -> Result<(), String> {
        self.door_allows(next)?;
        self.deadline_allows(next)?;
        self.approvals_allow(next, by)
    }

    fn can_come_to(&self, next: &Self) -> Result<(), String> {
        self.mark_can_become(next.wire)
    }

    /// Whether the canary that is measured now gets more by `next`, or becomes the stable model.
    fn gives_more(&self, next: &Self) -> bool {
        let Some(canary) = &self.canary else { return false };
        let kept = next.canary.as_ref().is_some_and(|next| next.model.id == canary.model.id);
        (kept && next.canary_weight() > canary.weight) || next.stable.id == canary.model.id
    }

    fn check(&self, next: &Self, me: NodeId) -> Option<Check> {
        upstream_to_ask(self, next, me).map(|model| Check { model, smoke: smoke_test(next) })
    }

    /// The clock of a step starts when the last member serves it.
    fn begins(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.epoch == self.version)
    }

    /// Who watches a rollout wants to see who serves its step.
    fn is_watched(&self) -> bool {
        self.open_rollout().is_some()
    }
}

/// The test that belongs to the first step of a rollout.
fn smoke_test(next: &RoutingState) -> Option<Smoke> {
    let rollout = next.rollout.as_deref()?;
    let first = rollout.phase == Phase::Progressing && rollout.step == 0 && rollout.epoch == next.version;
    first.then(|| rollout.plan.smoke.clone())
}

/// The model whose upstream on this node has to answer before it gets more traffic here.
fn upstream_to_ask(base: &RoutingState, next: &RoutingState, me: NodeId) -> Option<Model> {
    let was_canary = base.canary.as_ref().is_some_and(|canary| canary.model == next.stable);
    if next.stable != base.stable && !was_canary && !next.drained.contains(me) {
        return Some(next.stable.clone());
    }
    let canary = next.canary.as_ref().filter(|canary| canary.weight > Weight::ZERO)?;
    let changed = base.canary.as_ref().is_none_or(|before| before.model != canary.model);
    let gets_more = next.canary_weight() > base.canary_weight() || changed || base.drained.contains(me);
    (gets_more && !next.drained.contains(me)).then(|| canary.model.clone())
}

#[cfg(test)]
mod tests;
