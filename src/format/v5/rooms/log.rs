//! Records, and the memory that they add up to.

use super::super::log::{Durable, Record};
use super::super::{Map, Proposal};
use super::wire::shared;
use crate::commit;
use crate::format::{Invalid, Kept};
use crate::model::RoutingState;
use std::sync::Arc;

impl<'a, S: TryFrom<&'a RoutingState>> TryFrom<&'a commit::Record> for Record<'a, S> {
    type Error = S::Error;

    #[inline]
    fn try_from(record: &'a commit::Record) -> Result<Self, S::Error> {
        Ok(match record {
            commit::Record::Joined(founders) => Self::Joined(founders.into()),
            commit::Record::Promised(ballot) => Self::Promised((*ballot).into()),
            commit::Record::Accepted(proposal) => Self::Accepted(Proposal::try_from(&**proposal)?),
            commit::Record::Committed(proposal) => Self::Committed(Proposal::try_from(&**proposal)?),
            commit::Record::AcceptedIsCommitted => Self::AcceptedIsCommitted,
        })
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Record<'_, S>> for commit::Record {
    type Error = Invalid;

    #[inline]
    fn try_from(record: Record<'_, S>) -> Result<Self, Invalid> {
        Ok(match record {
            Record::Joined(founders) => Self::Joined(founders.try_into()?),
            Record::Promised(ballot) => Self::Promised(ballot.try_into()?),
            Record::Accepted(proposal) => Self::Accepted(shared(proposal)?),
            Record::Committed(proposal) => Self::Committed(shared(proposal)?),
            Record::AcceptedIsCommitted => Self::AcceptedIsCommitted,
        })
    }
}

impl<'a, S: TryFrom<&'a RoutingState>> TryFrom<&'a commit::Durable> for Durable<'a, S> {
    type Error = S::Error;

    #[inline]
    fn try_from(durable: &'a commit::Durable) -> Result<Self, S::Error> {
        let commit::Durable { incarnation, epoch, joined, promise, accepted, committed } = durable;
        Ok(Self {
            incarnation: incarnation.into(),
            epoch: *epoch,
            joined: joined.as_ref().map(Map::from),
            promise: (*promise).into(),
            accepted: accepted.as_deref().map(Proposal::try_from).transpose()?,
            committed: committed.as_deref().map(Proposal::try_from).transpose()?,
        })
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Durable<'_, S>> for commit::Durable {
    type Error = Invalid;

    #[inline]
    fn try_from(durable: Durable<'_, S>) -> Result<Self, Invalid> {
        let Durable { incarnation, epoch, joined, promise, accepted, committed } = durable;
        Ok(Self {
            incarnation: incarnation.into(),
            epoch,
            joined: joined.map(TryInto::try_into).transpose()?,
            promise: promise.try_into()?,
            accepted: accepted.map(shared).transpose()?,
            committed: committed.map(shared).transpose()?,
        })
    }
}
