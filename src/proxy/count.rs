//! The count for the trial of a canary: the requests to the two models that began after the trial did.

use crate::given::End;
use judge::{Measured, Sample, Samples, Verdict};
use model::{ModelId, Time};
use rollout::Trial;

/// One thread's part of the count.
#[derive(Default)]
pub(super) struct Count(Option<Counted>);

struct Counted {
    since: Time,
    stable: ModelId,
    canary: ModelId,
    measured: Samples,
}

impl Count {
    /// Begins anew for `trial`, or ends.
    pub(super) fn begin(&mut self, trial: Option<&Trial>, since: Time) {
        self.0 = trial.map(|trial| Counted {
            since,
            stable: trial.stable.clone(),
            canary: trial.canary.clone(),
            measured: Samples::default(),
        });
    }

    /// Notes that a request to `model` begins at `now`.
    pub(super) fn open(&mut self, model: &ModelId, now: Time) {
        if let Some(measured) = self.of(model, now) {
            measured.begin();
        }
    }

    /// Notes that a request to `model` that began at `started` has ended.
    pub(super) fn close(&mut self, model: &ModelId, started: Time) {
        if let Some(measured) = self.of(model, started) {
            measured.end();
        }
    }

    /// Counts one request to `model` that ended at `now`.
    pub(super) fn record(&mut self, model: &ModelId, now: Time, sample: Sample) {
        let Some(measured) = self.of(model, now - sample.full) else { return };
        measured.record(sample.latency, sample.verdict);
    }

    /// Counts a request to `model` as `to` that began at `started` and was counted with this end.
    pub(super) fn amend(&mut self, model: &ModelId, started: Time, end: End, to: Verdict) {
        if let Some(measured) = self.of(model, started) {
            measured.amend(end.latency, end.verdict, to);
        }
    }

    /// Where a request to `model` that began at `started` counts. One that was chosen under an earlier weight says nothing
    /// about this one.
    fn of(&mut self, model: &ModelId, started: Time) -> Option<&mut Measured> {
        let counted = self.0.as_mut().filter(|counted| started >= counted.since)?;
        if *model == counted.canary {
            Some(&mut counted.measured.canary)
        } else if *model == counted.stable {
            Some(&mut counted.measured.stable)
        } else {
            None
        }
    }

    /// Adds this part to `sum`.
    pub(super) fn add_to(&self, sum: &mut Samples) {
        if let Some(counted) = &self.0 {
            sum.stable.merge(&counted.measured.stable);
            sum.canary.merge(&counted.measured.canary);
        }
    }
}
