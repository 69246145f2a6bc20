//! One entry of the history, and the line that it is on disk.

use agreement::Votes;
pub use format::v5::history::Decision;
use format::v5::history::{self, Entry};
use format::{Invalid, Kept, State, Unreadable, lines, v5, v6};
use model::{Actor, Evidence, ModelId, NodeId, TxId, UnixMillis, Weight};
use service::RoutingState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One decided transaction, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction.
    pub txid: TxId,
    /// Its version, or the one it was meant for.
    pub version: u64,
    /// How it ended.
    pub decision: Decision,
    /// Who asked for it; none where this node learned it without that.
    pub by: Option<Actor>,
    /// When it was proposed, by the coordinator's wall clock.
    pub proposed_at: UnixMillis,
    /// When this node learned the end, by its own.
    pub learned_at: UnixMillis,
    /// Each member's vote; empty for a retreat.
    pub votes: Votes,
    /// What the voters had measured.
    pub evidence: BTreeMap<NodeId, Evidence>,
    /// What was decided before, as far as this node knows.
    pub from: Option<Split>,
    /// What it decided; none for an abort.
    pub decided: Option<Arc<RoutingState>>,
    /// On the coordinator, how long it took from the request to the end.
    pub took: Option<Duration>,
}

/// Who gets how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The stable model.
    pub stable: ModelId,
    /// The canary.
    pub canary: Option<ModelId>,
    /// Its share.
    pub weight: Weight,
}

impl Split {
    /// The split by `state`.
    pub fn of(state: &RoutingState) -> Self {
        let canary = state.canary.as_ref().map(|canary| canary.model.id.clone());
        Self { stable: state.stable.id.clone(), canary, weight: state.canary_weight() }
    }
}

impl HistoryEntry {
    /// The line, without its end.
    pub(super) fn text(&self) -> String {
        let state = self.decided.as_deref();
        lines::text::<_, Entry<'_, v5::RoutingState<'_>>, Entry<'_, v6::RoutingState<'_>>>(self, state)
    }

    /// The entry that a line tells of.
    pub(super) fn read(line: &str) -> Result<Self, Unreadable> {
        lines::read::<_, Entry<'_, v5::RoutingState<'_>>, Entry<'_, v6::RoutingState<'_>>>(line)
    }
}

impl<'a, S: State<'a>> From<&'a HistoryEntry> for Entry<'a, S> {
    fn from(entry: &'a HistoryEntry) -> Self {
        Self {
            format: S::VERSION.line(),
            txid: entry.txid.into(),
            version: entry.version,
            decision: entry.decision,
            by: entry.by.as_ref().map(v5::Actor::from),
            proposed_at: entry.proposed_at.0,
            learned_at: entry.learned_at.0,
            votes: (&entry.votes).into(),
            evidence: (&entry.evidence).into(),
            from: entry.from.as_ref().map(history::Split::from),
            decided: entry.decided.as_deref().map(S::of),
            took: entry.took.map(history::Duration::from),
        }
    }
}

impl<S: Kept<Arc<RoutingState>>> TryFrom<Entry<'_, S>> for HistoryEntry {
    type Error = Invalid;

    fn try_from(entry: Entry<'_, S>) -> Result<Self, Invalid> {
        Ok(Self {
            txid: entry.txid.try_into()?,
            version: entry.version,
            decision: entry.decision,
            by: entry.by.map(Into::into),
            proposed_at: UnixMillis(entry.proposed_at),
            learned_at: UnixMillis(entry.learned_at),
            votes: entry.votes.try_into()?,
            evidence: entry.evidence.try_into()?,
            from: entry.from.map(Split::try_from).transpose()?,
            decided: entry.decided.map(S::kept).transpose()?,
            took: entry.took.map(Duration::try_from).transpose()?,
        })
    }
}

impl<'a> From<&'a Split> for history::Split<'a> {
    fn from(Split { stable, canary, weight }: &'a Split) -> Self {
        let canary = canary.as_ref().map(v5::Text::from);
        Self { stable: stable.into(), canary, weight: weight.basis_points() }
    }
}

impl TryFrom<history::Split<'_>> for Split {
    type Error = Invalid;

    fn try_from(history::Split { stable, canary, weight }: history::Split<'_>) -> Result<Self, Invalid> {
        let canary = canary.map(TryInto::try_into).transpose()?;
        let weight = Weight::from_basis_points(weight).ok_or(Invalid::Weight(weight))?;
        Ok(Self { stable: stable.try_into()?, canary, weight })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! lines_of {
        ($($name:literal)+) => { [$(include_str!(concat!("../format/golden/", $name, ".jsonl"))),+].concat() };
    }

    fn again(line: &str) -> String {
        HistoryEntry::read(line).expect("an entry").text()
    }

    /// A line is of the oldest version that has words for it, whichever it was read in.
    #[test]
    fn lines_of_every_version_come_through_this_room_as_they_are() {
        let (older, newer) = (lines_of!("v5/history/commit" "v5/history/abort"), lines_of!("v6/history/commit"));
        older.lines().for_each(|line| assert_eq!(again(line), line));
        let marked: Vec<&str> = newer.lines().filter(|line| line.contains("\"wire\":6")).collect();
        assert_eq!(marked.iter().map(|line| again(line)).collect::<Vec<_>>(), marked);
        assert!(marked.len() == 1 && newer.lines().all(|line| marked[0] == line || older.contains(&again(line))));
    }

    /// Before there were rollouts, what voters had measured, and models to go back to.
    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let (before, after) = (lines_of!("v5/history/old/commit"), lines_of!("v5/history/old/commit.rewritten"));
        assert_eq!(before.lines().map(again).collect::<Vec<_>>(), after.lines().collect::<Vec<_>>());
    }
}
