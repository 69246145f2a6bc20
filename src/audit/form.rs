//! To and from the forms of lines.

use super::line;
use format::v5::audit::{Event, Line};
use format::{Form, Invalid, Kept, State, v5};
use model::UnixMillis;
use service::RoutingState;
use std::sync::Arc;

impl<'a, S: State<'a>> From<&'a line::Line> for Line<'a, S> {
    fn from(line: &'a line::Line) -> Self {
        let line::Line { seq, prev, at: UnixMillis(at), node, event } = line;
        let (format, prev, node) = (S::VERSION.line(), (*prev).into(), (*node).into());
        Self { format, seq: *seq, prev, at: *at, node, event: event.into() }
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Line<'_, S>> for line::Line {
    type Error = Invalid;

    fn try_from(Line { format: _, seq, prev, at, node, event }: Line<'_, S>) -> Result<Self, Invalid> {
        let (prev, at) = (prev.into(), UnixMillis(at));
        Ok(Self { seq, prev, at, node: node.try_into()?, event: event.try_into()? })
    }
}

impl<'a, S: Form<'a, Value = RoutingState>> From<&'a line::Event> for Event<'a, S> {
    fn from(event: &'a line::Event) -> Self {
        use line::Event as E;
        match event {
            E::Started { version, members } => Self::Started { version: *version, members: (*members).into() },
            E::Stopped => Self::Stopped,
            E::Certificate { of, serial, der } => {
                Self::Certificate { of: (*of).into(), serial: serial.into(), der: der.into() }
            }
            E::Said { signed } => Self::Said { signed: signed.into() },
            E::Decided { signed, by, state, votes } => {
                let by = by.as_ref().map(v5::Actor::from);
                Self::Decided { signed: signed.into(), by, state: S::of(state), votes: votes.into() }
            }
            E::Aborted { txid, version, by, votes } => {
                Self::Aborted { txid: (*txid).into(), version: *version, by: by.into(), votes: votes.into() }
            }
            E::Refused { by, what, outcome } => {
                Self::Refused { by: by.into(), what: what.into(), outcome: outcome.into() }
            }
            E::Peer { peer, connected } => Self::Peer { peer: (*peer).into(), connected: *connected },
            E::Rejected { plane, dir, remote, claimed, serial, reason, detail } => Self::Rejected {
                plane: plane.into(),
                dir: dir.into(),
                remote: remote.into(),
                claimed: claimed.into(),
                serial: serial.into(),
                reason: reason.into(),
                detail: detail.into(),
            },
            E::Reloaded { outcome, lists, revoked } => {
                Self::Reloaded { outcome: outcome.into(), lists: lists.into(), revoked: revoked.into() }
            }
            E::Disbelieved { peer, why } => Self::Disbelieved { peer: (*peer).into(), why: why.into() },
            E::Lost { lines } => Self::Lost { lines: *lines },
            E::Shortened { head, found } => Self::Shortened { head: *head, found: *found },
        }
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Event<'_, S>> for line::Event {
    type Error = Invalid;

    fn try_from(event: Event<'_, S>) -> Result<Self, Invalid> {
        use Event as F;
        Ok(match event {
            F::Started { version, members } => Self::Started { version, members: members.try_into()? },
            F::Stopped => Self::Stopped,
            F::Certificate { of, serial, der } => {
                Self::Certificate { of: of.try_into()?, serial: serial.into(), der: der.into() }
            }
            F::Said { signed } => Self::Said { signed: signed.try_into()? },
            F::Decided { signed, by, state, votes } => Self::Decided {
                signed: signed.try_into()?,
                by: by.map(Into::into),
                state: Box::new(Arc::unwrap_or_clone(state.kept()?)),
                votes: votes.try_into()?,
            },
            F::Aborted { txid, version, by, votes } => {
                Self::Aborted { txid: txid.try_into()?, version, by: by.into(), votes: votes.try_into()? }
            }
            F::Refused { by, what, outcome } => {
                Self::Refused { by: by.into(), what: what.into(), outcome: outcome.into() }
            }
            F::Peer { peer, connected } => Self::Peer { peer: peer.try_into()?, connected },
            F::Rejected { plane, dir, remote, claimed, serial, reason, detail } => Self::Rejected {
                plane: plane.into(),
                dir: dir.into(),
                remote: remote.into(),
                claimed: claimed.into(),
                serial: serial.into(),
                reason: reason.into(),
                detail: detail.into(),
            },
            F::Reloaded { outcome, lists, revoked } => {
                Self::Reloaded { outcome: outcome.into(), lists: lists.try_into()?, revoked: revoked.try_into()? }
            }
            F::Disbelieved { peer, why } => Self::Disbelieved { peer: peer.try_into()?, why: why.into() },
            F::Lost { lines } => Self::Lost { lines },
            F::Shortened { head, found } => Self::Shortened { head, found },
        })
    }
}
