//! Records, and the memory that they add up to.

use super::super::log::{Durable, Record};
use super::super::{Map, Proposal};
use super::wire::shared;
use crate::{Form, Invalid, Kept};
use service::RoutingState;
use std::sync::Arc;

impl<'a, S: Form<'a, Value = RoutingState>> From<&'a service::Record> for Record<'a, S> {
    #[inline]
    fn from(record: &'a service::Record) -> Self {
        match record {
            service::Record::Joined(founders) => Self::Joined(founders.into()),
            service::Record::Promised(ballot) => Self::Promised((*ballot).into()),
            service::Record::Accepted(proposal) => Self::Accepted(Proposal::from(&**proposal)),
            service::Record::Committed(proposal) => Self::Committed(Proposal::from(&**proposal)),
            service::Record::AcceptedIsCommitted => Self::AcceptedIsCommitted,
        }
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Record<'_, S>> for service::Record {
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

impl<'a, S: Form<'a, Value = RoutingState>> From<&'a service::Durable> for Durable<'a, S> {
    #[inline]
    fn from(durable: &'a service::Durable) -> Self {
        let service::Durable { incarnation, epoch, joined, promise, accepted, committed } = durable;
        Self {
            incarnation: incarnation.into(),
            epoch: *epoch,
            joined: joined.as_ref().map(Map::from),
            promise: (*promise).into(),
            accepted: accepted.as_deref().map(Proposal::from),
            committed: committed.as_deref().map(Proposal::from),
        }
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Durable<'_, S>> for service::Durable {
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
