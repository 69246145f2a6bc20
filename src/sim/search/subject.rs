//! The registers that are searched: the routing state, and a toy of a few values that shows that the agreement itself
//! keeps the promises, whatever it agrees on.

use agreement::{Direction, Register};
use model::{Digest, NodeId, NodeSet, TxId, UnixMillis, Weight};
use service::{CHAIN_LENGTH, Change, Link, Model, RoutingState};
use std::convert::Infallible;
use std::hash::{Hash, Hasher};

/// A register that the searches can drive and look at.
pub(crate) trait Subject: Register {
    /// The value before any decision.
    fn initial() -> Self;
    /// A change that is an advance on that.
    fn raise() -> Self::Change;
    /// A change that is a retreat on everything.
    fn clear() -> Self::Change;
    /// What there is to take back.
    fn weight(&self) -> Weight;
    /// The decisions before this one, oldest first, at most [`CHAIN_LENGTH`].
    fn chain(&self) -> &[Link];
}

impl Subject for RoutingState {
    fn initial() -> Self {
        Self::initial("v1".parse().expect("a model id"))
    }

    fn raise() -> Change {
        share(20)
    }

    fn clear() -> Change {
        pull_back()
    }

    fn weight(&self) -> Weight {
        self.canary_weight()
    }

    fn chain(&self) -> &[Link] {
        &self.chain
    }
}

/// Gives v2 this share.
pub(super) fn share(percent: u16) -> Change {
    let canary = Some(Model { id: "v2".parse().expect("a model id"), upstream: None });
    Change::Weight { weight: Weight::from_basis_points(percent * 100).expect("a share"), canary }
}

/// Takes all traffic back.
pub(super) fn pull_back() -> Change {
    Change::Weight { weight: Weight::ZERO, canary: None }
}

/// A number with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Toy {
    version: u64,
    txid: Option<TxId>,
    value: Weight,
    chain: Vec<Link>,
}

impl Hash for Toy {
    /// A transaction makes one value and no other, so its name stands for the whole.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.version.hash(hasher);
        self.txid.hash(hasher);
    }
}

impl Register for Toy {
    /// The number from now on; every one fits.
    type Change = Weight;
    type Refusal = Infallible;
    type Check = Infallible;

    fn version(&self) -> u64 {
        self.version
    }

    fn txid(&self) -> Option<TxId> {
        self.txid
    }

    /// Not one that resists anybody: equal values have equal ones, and the two that a search meets at a version differ.
    fn digest(&self) -> Digest {
        let before = self.chain.last().map_or([0; 32], |link| link.digest.0);
        let print = super::fingerprint::fingerprint(&(before, self.version, self.txid, self.value));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&print.to_be_bytes());
        Digest(bytes)
    }

    fn parent(&self) -> Option<Digest> {
        self.chain.last().map(|link| link.digest)
    }

    fn decided_at(&self, version: u64) -> Option<TxId> {
        let before = self.chain.iter().find(|link| link.version == version).map(|link| link.txid);
        if version == self.version { self.txid } else { before }
    }

    fn drained(&self) -> NodeSet {
        NodeSet::EMPTY
    }

    fn apply(&self, change: &Weight, _members: NodeSet, txid: TxId, _at: UnixMillis) -> Result<Self, Infallible> {
        let own = self.txid.map(|txid| Link { version: self.version, txid, digest: self.digest() });
        let chain: Vec<Link> = self.chain.iter().cloned().chain(own).collect();
        let surplus = chain.len().saturating_sub(CHAIN_LENGTH);
        let chain = chain.into_iter().skip(surplus).collect();
        Ok(Self { version: self.version + 1, txid: Some(txid), value: *change, chain })
    }

    fn direction(&self, next: &Self) -> Direction {
        if next.value > self.value { Direction::Advance } else { Direction::Retreat }
    }

    fn allows(&self, _next: &Self, _by: &str) -> Result<(), String> {
        Ok(())
    }

    fn can_come_to(&self, _: &Self) -> Result<(), String> {
        Ok(())
    }

    fn bears(&self, _next: &Self, _by: &str) -> Result<(), String> {
        Ok(())
    }

    fn gives_more(&self, next: &Self) -> bool {
        next.value > self.value
    }

    fn check(&self, _next: &Self, _me: NodeId) -> Option<Infallible> {
        None
    }

    fn begins(&self) -> bool {
        false
    }

    fn is_watched(&self) -> bool {
        false
    }
}

impl Subject for Toy {
    fn initial() -> Self {
        Self { version: 0, txid: None, value: Weight::ZERO, chain: Vec::new() }
    }

    fn raise() -> Weight {
        Weight::FULL
    }

    fn clear() -> Weight {
        Weight::ZERO
    }

    fn weight(&self) -> Weight {
        self.value
    }

    fn chain(&self) -> &[Link] {
        &self.chain
    }
}
