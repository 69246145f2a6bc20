//! To and from the history's entries, as the member keeps them for whoever asks.

use super::v5::history::{Decision, Duration, Entry, Split};
use super::{Invalid, Kept, State, v5};
use crate::driver::{self, HistoryEntry};
use crate::model::{RoutingState, UnixMillis, Weight};
use std::sync::Arc;

impl<'a, S: State + TryFrom<&'a RoutingState>> TryFrom<&'a HistoryEntry> for Entry<'a, S> {
    type Error = S::Error;

    fn try_from(entry: &'a HistoryEntry) -> Result<Self, S::Error> {
        let HistoryEntry {
            txid,
            version,
            decision,
            by,
            proposed_at: UnixMillis(proposed_at),
            learned_at: UnixMillis(learned_at),
            votes,
            evidence,
            from,
            decided,
            took,
        } = entry;
        Ok(Self {
            format: S::VERSION.line(),
            txid: (*txid).into(),
            version: *version,
            decision: (*decision).into(),
            by: by.as_ref().map(v5::Actor::from),
            proposed_at: *proposed_at,
            learned_at: *learned_at,
            votes: votes.into(),
            evidence: evidence.into(),
            from: from.as_ref().map(Split::from),
            decided: decided.as_deref().map(S::try_from).transpose()?,
            took: took.map(Duration::from),
        })
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Entry<'_, S>> for HistoryEntry {
    type Error = Invalid;

    fn try_from(entry: Entry<'_, S>) -> Result<Self, Invalid> {
        let Entry {
            format: _,
            txid,
            version,
            decision,
            by,
            proposed_at,
            learned_at,
            votes,
            evidence,
            from,
            decided,
            took,
        } = entry;
        Ok(Self {
            txid: txid.try_into()?,
            version,
            decision: decision.into(),
            by: by.map(Into::into),
            proposed_at: UnixMillis(proposed_at),
            learned_at: UnixMillis(learned_at),
            votes: votes.try_into()?,
            evidence: evidence.try_into()?,
            from: from.map(driver::Split::try_from).transpose()?,
            decided: decided.map(S::kept).transpose()?,
            took: took.map(std::time::Duration::try_from).transpose()?,
        })
    }
}

impl From<driver::Decision> for Decision {
    fn from(decision: driver::Decision) -> Self {
        match decision {
            driver::Decision::Commit => Self::Commit,
            driver::Decision::Abort => Self::Abort,
        }
    }
}

impl From<Decision> for driver::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Commit => Self::Commit,
            Decision::Abort => Self::Abort,
        }
    }
}

impl<'a> From<&'a driver::Split> for Split<'a> {
    fn from(driver::Split { stable, canary, weight }: &'a driver::Split) -> Self {
        let canary = canary.as_ref().map(v5::Text::from);
        Self { stable: stable.into(), canary, weight: weight.basis_points() }
    }
}

impl TryFrom<Split<'_>> for driver::Split {
    type Error = Invalid;

    fn try_from(Split { stable, canary, weight }: Split<'_>) -> Result<Self, Invalid> {
        let canary = canary.map(TryInto::try_into).transpose()?;
        let weight = Weight::from_basis_points(weight).ok_or(Invalid::Weight(weight))?;
        Ok(Self { stable: stable.try_into()?, canary, weight })
    }
}
