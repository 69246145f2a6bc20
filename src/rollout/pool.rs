//! The measurements of all nodes put together.

use judge::{Measured, Samples};
use model::{NodeId, Recent, Report, Time};
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
    stable: Measured,
    canary: Measured,
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
        let (stable, canary) = (Measured::from_counts(&report.stable), Measured::from_counts(&report.canary));
        self.reports.insert(from, Reported { at: now, report, stable, canary });
    }

    /// What `node` said of `epoch` last.
    pub(super) fn of(&self, node: NodeId, epoch: u64) -> Option<&Reported> {
        self.reports.get(&node).filter(|reported| reported.report.epoch == epoch)
    }

    /// What `own` and the reports on `epoch` add up to.
    pub(super) fn sum(&self, epoch: u64, own: &Samples) -> Samples {
        let mut sum = own.clone();
        sum.restarts = sum.restarts.saturating_add(self.restarts);
        for Reported { report, stable, canary, .. } in
            self.reports.values().filter(|reported| reported.report.epoch == epoch)
        {
            sum.stable.merge(stable);
            sum.canary.merge(canary);
            sum.restarts = sum.restarts.saturating_add(report.window);
        }
        sum
    }

    /// What `own` and the reports on `epoch` add up to, for each second that this node has.
    pub(super) fn recent(&self, epoch: u64, own: &[Recent]) -> Vec<Recent> {
        let reports = || self.reports.values().filter(|reported| reported.report.epoch == epoch);
        let sum = |own: &Recent| {
            let of_second = |reported: &Reported| {
                reported.report.recent.iter().take(MOST_RECENT).find(|recent| recent.second == own.second).copied()
            };
            reports().filter_map(of_second).fold(*own, |sum, other| Recent {
                second: sum.second,
                begun: sum.begun.saturating_add(other.begun),
                errors: sum.errors.saturating_add(other.errors),
                answers: sum.answers.saturating_add(other.answers),
                slow: sum.slow.saturating_add(other.slow),
            })
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
