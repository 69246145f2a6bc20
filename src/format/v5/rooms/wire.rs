//! Messages and proposals, whatever the form of the states in them.

use super::super::wire::Message;
use super::super::{Actor, Base, Evidence, Proposal, Reason, Summary, Vote};
use crate::{Form, Invalid, Kept};
use service::RoutingState;
use std::sync::Arc;

impl<'a, S, H, R> From<&'a service::Message> for Message<'a, S, H, R>
where
    S: Form<'a, Value = RoutingState>,
    H: Form<'a, Value = agreement::Heartbeat>,
    R: Form<'a, Value = model::Report>,
{
    #[inline]
    fn from(message: &'a service::Message) -> Self {
        use service::Message as M;
        match message {
            M::Heartbeat(heartbeat) => Self::Heartbeat(H::of(heartbeat)),
            M::Prepare { base, next, by } => Self::Prepare { base: base.into(), next: S::of(next), by: by.into() },
            M::Vote { txid, vote, evidence } => {
                Self::Vote { txid: (*txid).into(), vote: vote.into(), evidence: evidence.into() }
            }
            M::Abort { txid, version, by, votes } => {
                Self::Abort { txid: (*txid).into(), version: *version, by: by.into(), votes: votes.into() }
            }
            M::Campaign { ballot } => Self::Campaign { ballot: (*ballot).into() },
            M::Promise { ballot, accepted } => {
                Self::Promise { ballot: (*ballot).into(), accepted: accepted.as_deref().map(Proposal::from) }
            }
            M::Accept { proposal } => Self::Accept { proposal: (&**proposal).into() },
            M::Accepted { ballot, version } => Self::Accepted { ballot: (*ballot).into(), version: *version },
            M::Reject { ballot, promised } => Self::Reject { ballot: (*ballot).into(), promised: (*promised).into() },
            M::Decision { proposal } => Self::Decision { proposal: (&**proposal).into() },
            M::Applied { version } => Self::Applied { version: *version },
            M::Report(report) => Self::Report(R::of(report)),
            M::Testimony(testimony) => Self::Testimony((&**testimony).into()),
        }
    }
}

impl<S, H, R> TryFrom<Message<'_, S, H, R>> for service::Message
where
    S: Kept<Arc<RoutingState>>,
    H: Kept<Box<agreement::Heartbeat>>,
    R: Kept<Box<model::Report>>,
{
    type Error = Invalid;

    #[inline]
    fn try_from(message: Message<'_, S, H, R>) -> Result<Self, Invalid> {
        use Message as F;
        Ok(match message {
            F::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat.kept()?),
            F::Prepare { base, next, by } => Self::Prepare { base: base.into(), next: next.kept()?, by: by.into() },
            F::Vote { txid, vote, evidence } => {
                Self::Vote { txid: txid.try_into()?, vote: vote.into(), evidence: evidence.into() }
            }
            F::Abort { txid, version, by, votes } => {
                Self::Abort { txid: txid.try_into()?, version, by: by.into(), votes: votes.try_into()? }
            }
            F::Campaign { ballot } => Self::Campaign { ballot: ballot.try_into()? },
            F::Promise { ballot, accepted } => {
                Self::Promise { ballot: ballot.try_into()?, accepted: accepted.map(shared).transpose()? }
            }
            F::Accept { proposal } => Self::Accept { proposal: shared(proposal)? },
            F::Accepted { ballot, version } => Self::Accepted { ballot: ballot.try_into()?, version },
            F::Reject { ballot, promised } => {
                Self::Reject { ballot: ballot.try_into()?, promised: promised.try_into()? }
            }
            F::Decision { proposal } => Self::Decision { proposal: shared(proposal)? },
            F::Applied { version } => Self::Applied { version },
            F::Report(report) => Self::Report(report.kept()?),
            F::Testimony(testimony) => Self::Testimony(Box::new(testimony.try_into()?)),
        })
    }
}

/// The proposal as the agreement keeps it.
pub(super) fn shared<S: Kept<Arc<RoutingState>>>(proposal: Proposal<'_, S>) -> Result<Arc<service::Proposal>, Invalid> {
    proposal.try_into().map(Arc::new)
}

impl<'a, S: Form<'a, Value = RoutingState>> From<&'a service::Proposal> for Proposal<'a, S> {
    #[inline]
    fn from(proposal: &'a service::Proposal) -> Self {
        let service::Proposal { ballot, state, by, votes, evidence } = proposal;
        let by = by.as_ref().map(Actor::from);
        let (votes, evidence) = (votes.into(), evidence.into());
        Self { ballot: (*ballot).into(), state: S::of(state), by, votes, evidence }
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Proposal<'_, S>> for service::Proposal {
    type Error = Invalid;

    #[inline]
    fn try_from(Proposal { ballot, state, by, votes, evidence }: Proposal<'_, S>) -> Result<Self, Invalid> {
        Ok(Self {
            ballot: ballot.try_into()?,
            state: state.kept()?,
            by: by.map(model::Actor::from),
            votes: votes.try_into()?,
            evidence: evidence.try_into()?,
        })
    }
}

impl<'a> From<&'a model::Actor> for Actor<'a> {
    #[inline]
    fn from(model::Actor { id, serial, remote }: &'a model::Actor) -> Self {
        Self { id: id.into(), serial: serial.into(), remote: remote.into() }
    }
}

impl From<Actor<'_>> for model::Actor {
    #[inline]
    fn from(Actor { id, serial, remote }: Actor<'_>) -> Self {
        Self { id: id.into(), serial: serial.into(), remote: remote.into() }
    }
}

impl<'a> From<&'a agreement::Vote> for Vote<'a> {
    #[inline]
    fn from(vote: &'a agreement::Vote) -> Self {
        match vote {
            agreement::Vote::Commit => Self::Commit,
            agreement::Vote::Abort(reason) => Self::Abort(reason.into()),
        }
    }
}

impl From<Vote<'_>> for agreement::Vote {
    #[inline]
    fn from(vote: Vote<'_>) -> Self {
        match vote {
            Vote::Commit => Self::Commit,
            Vote::Abort(reason) => Self::Abort(reason.into()),
        }
    }
}

impl<'a> From<&'a agreement::Reason> for Reason<'a> {
    #[inline]
    fn from(reason: &'a agreement::Reason) -> Self {
        use agreement::Reason as R;
        match reason {
            R::MayNotCoordinate => Self::MayNotCoordinate,
            R::BaseDiffers { has } => Self::BaseDiffers { has: *has },
            R::Isolated => Self::Isolated,
            R::PlanForbids(why) => Self::PlanForbids(why.into()),
            R::UpstreamNotReady(why) => Self::UpstreamNotReady(why.into()),
            R::Unhealthy(why) => Self::Unhealthy(why.into()),
            R::StorageFull => Self::StorageFull,
            R::Unreachable => Self::Unreachable,
            R::NoAnswer => Self::NoAnswer,
            R::OvertakenByRetreat => Self::OvertakenByRetreat,
            R::CoordinatorReplaced => Self::CoordinatorReplaced,
            R::CoordinatorStops => Self::CoordinatorStops,
        }
    }
}

impl From<Reason<'_>> for agreement::Reason {
    #[inline]
    fn from(reason: Reason<'_>) -> Self {
        use Reason as R;
        match reason {
            R::MayNotCoordinate => Self::MayNotCoordinate,
            R::BaseDiffers { has } => Self::BaseDiffers { has },
            R::Isolated => Self::Isolated,
            R::PlanForbids(why) => Self::PlanForbids(why.into()),
            R::UpstreamNotReady(why) => Self::UpstreamNotReady(why.into()),
            R::Unhealthy(why) => Self::Unhealthy(why.into()),
            R::StorageFull => Self::StorageFull,
            R::Unreachable => Self::Unreachable,
            R::NoAnswer => Self::NoAnswer,
            R::OvertakenByRetreat => Self::OvertakenByRetreat,
            R::CoordinatorReplaced => Self::CoordinatorReplaced,
            R::CoordinatorStops => Self::CoordinatorStops,
        }
    }
}

impl From<&model::Evidence> for Evidence {
    #[inline]
    fn from(model::Evidence { stable, canary }: &model::Evidence) -> Self {
        let summary = |summary: &model::Summary| {
            let model::Summary { requests, errors, p95_us } = *summary;
            Summary { requests, errors, p95_us }
        };
        Self { stable: summary(stable), canary: summary(canary) }
    }
}

impl From<Evidence> for model::Evidence {
    #[inline]
    fn from(Evidence { stable, canary }: Evidence) -> Self {
        let summary = |Summary { requests, errors, p95_us }| model::Summary { requests, errors, p95_us };
        Self { stable: summary(stable), canary: summary(canary) }
    }
}

impl From<&agreement::Base> for Base {
    #[inline]
    fn from(agreement::Base { version, digest }: &agreement::Base) -> Self {
        Self { version: *version, digest: (*digest).into() }
    }
}

impl From<Base> for agreement::Base {
    #[inline]
    fn from(Base { version, digest }: Base) -> Self {
        Self { version, digest: digest.into() }
    }
}
