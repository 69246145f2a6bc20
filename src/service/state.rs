//! The routing state: the one value that the members agree on.

use crate::{Outcome, Phase, Rollout};
use model::{Digest, ModelId, NodeId, NodeSet, TxId, UnixMillis, Weight};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How many earlier decisions a state names. A proposer that missed decisions learns from them what became of its own;
/// one that missed more than this many answers "unknown", which is honest and rare.
pub const CHAIN_LENGTH: usize = 8;
/// How many models that were stable before can be gone back to.
pub const MAX_EARLIER: usize = 5;

/// A model and, if it was given with it, the URL that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    /// Its name.
    pub id: ModelId,
    /// Where it is served, unless a node's own configuration says otherwise.
    pub upstream: Option<String>,
}

/// The new version on trial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Canary {
    /// The model.
    pub model: Model,
    /// The share of the traffic it gets.
    pub weight: Weight,
    /// What keys are hashed with; it changes when the canary model does, so that the same users are not always first.
    pub salt: String,
}

/// One decided version: what was decided there, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The version.
    pub version: u64,
    /// The transaction that was decided at it.
    pub txid: TxId,
    /// The digest of the state that it decided.
    pub digest: Digest,
}

/// How the traffic is split, from one decision to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingState {
    /// Counts the decisions; 0 before any.
    pub version: u64,
    /// What decided it; none at version 0.
    pub txid: Option<TxId>,
    /// Who drove the decision.
    pub coordinator: NodeId,
    /// When it was proposed, by the coordinator's wall clock.
    pub timestamp: UnixMillis,
    /// The model that gets all traffic that the canary does not get.
    pub stable: Model,
    /// The model on trial, if there is one.
    pub canary: Option<Canary>,
    /// Members taken out of the vote; they serve the stable model only.
    pub drained: NodeSet,
    /// The models that were stable before, oldest first, at most [`MAX_EARLIER`].
    pub earlier: Vec<Model>,
    /// The rollout that is open, or the one that ended last.
    pub rollout: Option<Arc<Rollout>>,
    /// The decisions before this one, oldest first, at most [`CHAIN_LENGTH`].
    pub chain: Vec<Link>,
    /// The mark of the door: from this state on the members speak this version of the wire and no older one. Whatever
    /// follows keeps it.
    pub wire: Option<u16>,
}

impl Hash for RoutingState {
    /// A transaction makes one state and no other, so its name stands for the whole.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.version.hash(hasher);
        self.txid.hash(hasher);
    }
}

impl RoutingState {
    /// The state before any decision: all traffic to `stable`.
    pub const fn initial(stable: ModelId) -> Self {
        Self {
            version: 0,
            txid: None,
            coordinator: NodeId::A,
            timestamp: UnixMillis(0),
            stable: Model { id: stable, upstream: None },
            canary: None,
            drained: NodeSet::EMPTY,
            earlier: Vec::new(),
            rollout: None,
            chain: Vec::new(),
            wire: None,
        }
    }

    /// The agreed share of the canary, zero when there is none.
    pub fn canary_weight(&self) -> Weight {
        self.canary.as_ref().map_or(Weight::ZERO, |canary| canary.weight)
    }

    /// The transaction that was decided at `version`, as far back as this state remembers.
    pub fn decided_at(&self, version: u64) -> Option<TxId> {
        if version == self.version {
            return self.txid;
        }
        self.chain.iter().find(|link| link.version == version).map(|link| link.txid)
    }

    /// The chain of a state that follows this one.
    pub fn extended_chain(&self) -> Vec<Link> {
        let own = self.txid.map(|txid| Link { version: self.version, txid, digest: self.digest() });
        let chain: Vec<Link> = self.chain.iter().cloned().chain(own).collect();
        let surplus = chain.len().saturating_sub(CHAIN_LENGTH);
        chain.into_iter().skip(surplus).collect()
    }

    /// SHA-256 over every agreed field and the digest of the state before, so that equal digests mean equal histories.
    pub fn digest(&self) -> Digest {
        let mut hash = Fields(Sha256::new());
        hash.number(self.version);
        hash.optional(self.txid.map(|txid| txid.text()).as_deref());
        hash.text(self.coordinator.as_str());
        hash.number(self.timestamp.0);
        hash.model(&self.stable);
        match &self.canary {
            None => hash.number(0),
            Some(canary) => {
                hash.number(1);
                hash.model(&canary.model);
                hash.number(u64::from(canary.weight.basis_points()));
                hash.text(&canary.salt);
            }
        }
        hash.text(&self.drained.to_string());
        hash.number(self.earlier.len() as u64);
        self.earlier.iter().for_each(|model| hash.model(model));
        if let Some(rollout) = &self.rollout {
            hash.rollout(rollout);
        }
        // Without a mark there is nothing, so that a state keeps the digest that version 5 computes.
        if let Some(wire) = self.wire {
            hash.text("wire");
            hash.number(u64::from(wire));
        }
        let parent = self.chain.last().map_or(Digest::default(), |link| link.digest);
        hash.0.update(parent.0);
        Digest(hash.0.finalize().into())
    }
}

/// Feeds fields to a hash so that no two different sequences of fields give the same bytes.
struct Fields(Sha256);

impl Fields {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn rollout(&mut self, rollout: &Rollout) {
        let Rollout { started, started_at, plan, canary, stable, step, epoch, phase, why, approvals, deadline } =
            rollout;
        for number in [*started, started_at.0, *step as u64, *epoch, phase_number(*phase)] {
            self.number(number);
        }
        self.0.update(plan.digest().0);
        self.model(canary);
        self.model(stable);
        self.text(why);
        // Without any there is nothing, so that a state from before there were approvals keeps its digest.
        for (step, by) in approvals.steps() {
            self.number(*step as u64);
            self.number(by.len() as u64);
            by.iter().for_each(|operator| self.text(operator));
        }
        // Likewise: version 5 knows none.
        if let Some(deadline) = deadline {
            self.text("deadline");
            self.number(deadline.0);
        }
    }

    fn model(&mut self, model: &Model) {
        self.text(model.id.as_str());
        self.optional(model.upstream.as_deref());
    }
}

const fn phase_number(phase: Phase) -> u64 {
    match phase {
        Phase::Progressing => 0,
        Phase::Paused => 1,
        Phase::Ended(Outcome::Promoted) => 2,
        Phase::Ended(Outcome::FastPromoted) => 3,
        Phase::Ended(Outcome::Aborted) => 4,
        Phase::Ended(Outcome::RolledBack) => 5,
        Phase::Ended(Outcome::Superseded) => 6,
    }
}
