//! Names and numbers.

use super::super::history::Duration;
use super::super::{Ballot, Digest, Incarnation, NodeId, NodeSet, Octets, Text, TxId};
use crate::Invalid;
use std::borrow::Cow;

impl From<model::NodeId> for NodeId {
    #[inline]
    fn from(id: model::NodeId) -> Self {
        Self(id.index())
    }
}

impl From<&model::NodeId> for NodeId {
    #[inline]
    fn from(id: &model::NodeId) -> Self {
        (*id).into()
    }
}

impl TryFrom<NodeId> for model::NodeId {
    type Error = Invalid;

    #[inline]
    fn try_from(NodeId(index): NodeId) -> Result<Self, Invalid> {
        Self::from_index(index).ok_or(Invalid::Node(index))
    }
}

impl From<model::NodeSet> for NodeSet {
    #[inline]
    fn from(set: model::NodeSet) -> Self {
        Self(set.bits())
    }
}

impl TryFrom<NodeSet> for model::NodeSet {
    type Error = Invalid;

    #[inline]
    fn try_from(NodeSet(bits): NodeSet) -> Result<Self, Invalid> {
        Self::from_bits(bits).ok_or(Invalid::Nodes(bits))
    }
}

impl From<model::Incarnation> for Incarnation {
    #[inline]
    fn from(model::Incarnation(number): model::Incarnation) -> Self {
        Self(number)
    }
}

impl From<&model::Incarnation> for Incarnation {
    #[inline]
    fn from(incarnation: &model::Incarnation) -> Self {
        (*incarnation).into()
    }
}

impl From<Incarnation> for model::Incarnation {
    #[inline]
    fn from(Incarnation(number): Incarnation) -> Self {
        Self(number)
    }
}

impl From<model::TxId> for TxId {
    #[inline]
    fn from(model::TxId { node, incarnation, epoch, sequence }: model::TxId) -> Self {
        Self { node: node.into(), incarnation: incarnation.into(), epoch, sequence }
    }
}

impl TryFrom<TxId> for model::TxId {
    type Error = Invalid;

    #[inline]
    fn try_from(TxId { node, incarnation, epoch, sequence }: TxId) -> Result<Self, Invalid> {
        Ok(Self { node: node.try_into()?, incarnation: incarnation.into(), epoch, sequence })
    }
}

impl From<model::Ballot> for Ballot {
    #[inline]
    fn from(model::Ballot { round, node, incarnation }: model::Ballot) -> Self {
        Self { round, node: node.into(), incarnation: incarnation.into() }
    }
}

impl TryFrom<Ballot> for model::Ballot {
    type Error = Invalid;

    #[inline]
    fn try_from(Ballot { round, node, incarnation }: Ballot) -> Result<Self, Invalid> {
        Ok(Self { round, node: node.try_into()?, incarnation: incarnation.into() })
    }
}

impl From<model::Digest> for Digest {
    #[inline]
    fn from(model::Digest(bytes): model::Digest) -> Self {
        Self(bytes)
    }
}

impl From<Digest> for model::Digest {
    #[inline]
    fn from(Digest(bytes): Digest) -> Self {
        Self(bytes)
    }
}

impl<'a> From<&'a model::Octets> for Octets<'a> {
    #[inline]
    fn from(model::Octets(bytes): &'a model::Octets) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<Octets<'_>> for model::Octets {
    #[inline]
    fn from(Octets(bytes): Octets<'_>) -> Self {
        Self(bytes.into_owned())
    }
}

impl From<std::time::Duration> for Duration {
    #[inline]
    fn from(duration: std::time::Duration) -> Self {
        Self { secs: duration.as_secs(), nanos: duration.subsec_nanos() }
    }
}

impl TryFrom<Duration> for std::time::Duration {
    type Error = Invalid;

    #[inline]
    fn try_from(Duration { secs, nanos }: Duration) -> Result<Self, Invalid> {
        let duration = Self::from_secs(secs).checked_add(Self::from_nanos(nanos.into()));
        duration.ok_or(Invalid::Duration { secs, nanos })
    }
}

impl<'a> From<&'a model::ModelId> for Text<'a> {
    #[inline]
    fn from(id: &'a model::ModelId) -> Self {
        id.as_str().into()
    }
}

impl TryFrom<Text<'_>> for model::ModelId {
    type Error = Invalid;

    #[inline]
    fn try_from(text: Text<'_>) -> Result<Self, Invalid> {
        Ok(text.as_str().parse()?)
    }
}
