//! The measurements of all nodes put together.

use judge::{Arms, Measured, Samples};
use model::{Judging, NodeId, NodeSet, Recent, Report, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// More than a node tells; what follows is not looked at.
const MOST_RECENT: usize = 16;

/// The newest report of each other node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pool {
    reports: BTreeMap<NodeId, Reported>,
    /// How often a node has begun its count anew without a window of its own coming to an end: it was restarted.
    restarts: u32,
}

/// A report and when it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reported {
    pub(super) at: Time,
    pub(super) report: Report,
    /// What its counts say.
    routed: Arms,
    told: Arms,
}

/// Whose reports are heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    /// All nodes': they may all speak against the canary.
    All,
    /// Those of nodes that tell good ends from others as this one does: they may speak for it.
    Strict,
    /// All nodes' but this one's, which may have made up what it says.
    AllBut(NodeId),
}

impl Pool {
    /// Keeps what `from` has measured.
    pub(super) fn keep(&mut self, now: Time, from: NodeId, report: Report) {
        if let Some(Reported { report: known, .. }) = self.reports.get(&from)
            && known.epoch == report.epoch
            && known.window == report.window
            && known.canary.requests > report.canary.requests
        {
            self.restarts = self.restarts.saturating_add(1);
        }
        let arms =
            |stable, canary| Arms { stable: Measured::from_counts(stable), canary: Measured::from_counts(canary) };
        let routed = arms(&report.stable, &report.canary);
        let told = report.told.as_deref().map(|told| arms(&told.stable, &told.canary)).unwrap_or_default();
        self.reports.insert(from, Reported { at: now, report, routed, told });
    }

    /// What `node` said of `epoch` last.
    pub(super) fn of(&self, node: NodeId, epoch: u64) -> Option<&Reported> {
        self.reports.get(&node).filter(|reported| reported.report.epoch == epoch)
    }

    /// What `own` and the reports on `epoch` that are heeded add up to.
    pub(super) fn sum(&self, epoch: u64, own: &Samples, heed: Heed) -> Samples {
        let mut sum = own.clone();
        sum.restarts = sum.restarts.saturating_add(self.restarts);
        let heeded = |node, report: &Report| match heed {
            Heed::All => true,
            Heed::Strict => report.judging == Judging::Strict,
            Heed::AllBut(other) => node != other,
        };
        for (node, Reported { report, routed, told, .. }) in self.on(epoch) {
            if heeded(node, report) {
                sum.routed.merge(routed);
                sum.told.merge(told);
            }
            sum.restarts = sum.restarts.saturating_add(report.window);
        }
        sum
    }

    /// The nodes whose reports on `epoch` can speak against the canary only.
    pub(super) fn lenient(&self, epoch: u64) -> NodeSet {
        let lenient = |(_, reported): &(NodeId, &Reported)| reported.report.judging == Judging::Lenient;
        self.on(epoch).filter(lenient).map(|(node, _)| node).collect()
    }

    /// The nodes that have reported on `epoch`.
    pub(super) fn reporters(&self, epoch: u64) -> impl Iterator<Item = NodeId> {
        self.on(epoch).map(|(node, _)| node)
    }

    fn on(&self, epoch: u64) -> impl Iterator<Item = (NodeId, &Reported)> {
        let reports = self.reports.iter().map(|(node, reported)| (*node, reported));
        reports.filter(move |(_, reported)| reported.report.epoch == epoch)
    }

    /// What `own` and the reports on `epoch` add up to, for each second that this node has.
    pub(super) fn recent(&self, epoch: u64, own: &[Recent]) -> Vec<Recent> {
        let sum = |own: &Recent| {
            let of_second = |reported: &Reported| {
                reported.report.recent.iter().take(MOST_RECENT).find(|recent| recent.second == own.second).copied()
            };
            self.on(epoch).filter_map(|(_, reported)| of_second(reported)).fold(*own, Recent::with)
        };
        own.iter().map(sum).collect()
    }

    /// How long the youngest of the windows of others that were begun anew is open.
    pub(super) fn shortest_renewed(&self, now: Time, epoch: u64) -> Option<Duration> {
        let renewed = |reported: &&Reported| reported.report.epoch == epoch && reported.report.window > 0;
        let open = |Reported { at, report, .. }: &Reported| {
            Duration::from_millis(report.open_ms).saturating_add(now.since(*at))
        };
        self.reports.values().filter(renewed).map(open).min()
    }

    /// The first node that has stopped serving the canary of `epoch` by itself, and why.
    pub(super) fn ejected(&self, epoch: u64) -> Option<(NodeId, &str)> {
        self.reports.iter().find_map(|(node, Reported { report, .. })| {
            let why = report.ejected.as_deref().filter(|_| report.epoch == epoch)?;
            Some((*node, why))
        })
    }
}
