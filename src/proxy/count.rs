//! What counts for the trial of a canary: the requests to the two models that began after the trial did.

use crate::health::{Ended, Sample, Samples, Verdict};
use crate::model::{ModelId, Time};
use crate::rollout::Trial;

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

    /// Counts one request to `model` that ended at `now`.
    pub(super) fn record(&mut self, model: &ModelId, now: Time, sample: Sample) {
        let Some(counted) = &mut self.0 else { return };
        // One that was chosen under an earlier weight says nothing about this one.
        if now - sample.full < counted.since {
            return;
        }
        let measured = if *model == counted.canary {
            &mut counted.measured.canary
        } else if *model == counted.stable {
            &mut counted.measured.stable
        } else {
            return;
        };
        let ended = match sample.verdict {
            Verdict::Good => Ended::Good,
            Verdict::ClientError => Ended::ClientError,
            Verdict::Failed => Ended::Failed,
        };
        measured.record(sample.latency, ended);
    }

    /// Adds this part to `sum`.
    pub(super) fn add_to(&self, sum: &mut Samples) {
        if let Some(counted) = &self.0 {
            sum.stable.merge(&counted.measured.stable);
            sum.canary.merge(&counted.measured.canary);
        }
    }
}
