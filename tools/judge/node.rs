//! One node of a rollout: the requests that it passes on, and what it has counted of them.

use crate::course::{Client, Course, LATE, Pending, seconds};
use judge::{Arms, Measured, Samples, Verdict};
use model::Recent;
use std::collections::VecDeque;

/// A node begins its window anew when it is older than this, in seconds, ...
const WINDOW: u64 = 60;
/// ... and has as many requests to the canary of its own.
const WINDOW_REQUESTS: u64 = 2_000;
/// A pass counts when each node's window that was begun anew has been open for this long, in seconds: in the few requests of
/// one that was just begun a bad canary is lucky sooner or later.
const SETTLED: u64 = 30;
/// Seconds of a step that have tests of their own at a time.
const RECENT: usize = 4;

/// Which of the two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Stable,
    Canary,
}

/// One node in one step.
pub(crate) struct Node {
    stable: Arm,
    canary: Arm,
    pub(crate) told: Arms,
    /// How long clients of the stable model wait, in seconds.
    pub(crate) patience: f64,
    /// Windows before this one.
    window: u32,
    /// Seconds for which it is open.
    open: u64,
    starts: VecDeque<Recent>,
    second: u32,
}

#[derive(Default)]
struct Arm {
    measured: Measured,
    pending: Vec<Pending>,
}

impl Arm {
    fn begin(&mut self, mut pending: Pending, now: f64) {
        if !pending.settle(now, &mut self.measured) {
            self.pending.push(pending);
        }
    }

    fn settle(&mut self, now: f64) {
        let measured = &mut self.measured;
        self.pending.retain_mut(|pending| !pending.settle(now, measured));
    }

    fn counted(&self, now: f64) -> Measured {
        let mut counted = self.measured.clone();
        counted.under_way(self.pending.len() as u64);
        let late = self.pending.iter().filter(|pending| pending.is_late(now)).count() as u64;
        counted.late(seconds(LATE), seconds(LATE), late);
        counted
    }
}

impl Node {
    /// One that has counted nothing in this step.
    pub(crate) fn new(patience: f64) -> Self {
        Self {
            stable: Arm::default(),
            canary: Arm::default(),
            told: Arms::default(),
            patience,
            window: 0,
            open: 0,
            starts: VecDeque::new(),
            second: 0,
        }
    }

    /// Passes on a request that begins at `began`; whatever happens until `now` is counted.
    pub(crate) fn pass_on(&mut self, to: To, began: f64, now: f64, course: Course, client: Client) -> bool {
        let pending = Pending::new(began, course, client, self.patience);
        self.arm(to).begin(pending, now);
        pending.is_well()
    }

    /// Passes on a request that is no evidence.
    pub(crate) fn pass_over(&mut self, to: To) {
        self.arm(to).measured.pass_over();
    }

    /// Is told that a good answer was none.
    pub(crate) fn amend(&mut self, to: To) {
        let measured = &mut self.arm(to).measured;
        if measured.requests() > measured.errors() {
            measured.amend(Verdict::Good, Verdict::Failed);
        }
    }

    fn arm(&mut self, to: To) -> &mut Arm {
        match to {
            To::Stable => &mut self.stable,
            To::Canary => &mut self.canary,
        }
    }

    /// Counts what has happened by the end of this second.
    pub(crate) fn settle(&mut self, now: f64) {
        self.stable.settle(now);
        self.canary.settle(now);
        self.open += 1;
        self.second += 1;
        if self.second.is_multiple_of(5)
            && let Some(p95) = self.stable.measured.quantile(0.95)
        {
            self.patience = p95.as_secs_f64();
        }
    }

    /// What it has counted at `now`.
    pub(crate) fn samples(&self, now: f64) -> Samples {
        let routed = Arms { stable: self.stable.counted(now), canary: self.canary.counted(now) };
        Samples { routed, told: self.told.clone(), restarts: self.window, ..Samples::default() }
    }

    /// What was counted of the canary since each of the last seconds.
    pub(crate) fn recent(&mut self, own: &Samples) -> Vec<Recent> {
        let all = own.canary_at(self.second, 200_000);
        self.starts.push_back(all);
        if self.starts.len() > RECENT {
            self.starts.pop_front();
        }
        self.starts.iter().map(|start| all.since(*start)).collect()
    }

    /// Begins its window anew when it is old and full.
    pub(crate) fn begin_anew_if_due(&mut self, own: &Samples) {
        if self.open >= WINDOW && own.routed.canary.requests() + own.told.canary.requests() >= WINDOW_REQUESTS {
            (self.stable, self.canary, self.told) = (Arm::default(), Arm::default(), Arms::default());
            self.window += 1;
            self.open = 0;
            self.starts.clear();
        }
    }

    pub(crate) const fn has_settled(&self) -> bool {
        self.window == 0 || self.open >= SETTLED
    }
}
