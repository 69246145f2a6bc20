//! The judgement of a step by its gates: pass, fail, pause or not enough. It decides nothing else; when a step is over,
//! and what follows, is the rollout's affair.
//!
//! A canary fails when a limit is broken beyond chance, and passes when all is within the limits: what is beyond a limit
//! without being proven so is never passed, it waits for more requests.

use super::bench::Bench;
use super::finding::{Finding, GateName, Standing};
use super::measured::{Samples, Scope};
use service::{Gates, Mode};

/// The consequence of the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// The step may be passed.
    Pass,
    /// The canary has to be rolled back, for this gate.
    Fail(GateName),
    /// An operator has to decide, for this gate.
    Pause(GateName),
    /// Neither is known yet.
    NotEnough,
}

/// A judgement and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What follows.
    pub ruling: Ruling,
    /// What each gate found, in the order of [`GateName::ALL`].
    pub findings: Vec<Finding>,
    /// Requests to the canary until the minimum sample is there; 0 when it is, even if a gate is open.
    pub missing: u64,
}

impl Judgement {
    /// The finding that a failure or a pause rests on.
    pub fn reason(&self) -> Option<&Finding> {
        match self.ruling {
            Ruling::Fail(gate) | Ruling::Pause(gate) => self.findings.iter().find(|finding| finding.gate == gate),
            Ruling::Pass | Ruling::NotEnough => None,
        }
    }

    /// The gates that hold a step up: what was seen is beyond their limit and may be chance, or nothing was seen yet.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.mode != Mode::Observe && finding.standing == Standing::Open)
    }
}

/// Judges what was counted, as often as one likes. Gates that only observe are shown and rule nothing.
///
/// A failure is proven however often one looks, a pass is not: it says that what was seen is within the limits. So let a
/// pass count only when each window in the samples has been open for a good part of its span, such as 30 s. Otherwise a
/// bad canary is lucky sooner or later in the few requests of a window that was just begun anew.
pub fn judge(gates: &Gates, min_sample: u64, samples: &Samples, scope: Scope) -> Judgement {
    let bench = Bench::new(samples, scope);
    let findings = GateName::ALL.map(|gate| bench.find(gate, gates)).to_vec();
    let broken = |mode| {
        let mut of_mode = findings.iter().filter(move |finding| finding.mode == mode);
        of_mode.find(|finding| finding.standing == Standing::Broken).map(|finding| finding.gate)
    };
    // Without any request there is nothing to pass, whatever the plan asks for.
    let missing = min_sample.max(1).saturating_sub(samples.canary.requests());
    let ruling = match (broken(Mode::Enforce), broken(Mode::Pause)) {
        (Some(gate), _) => Ruling::Fail(gate),
        (None, Some(gate)) => Ruling::Pause(gate),
        (None, None) if missing == 0 && findings.iter().all(lets_pass) => Ruling::Pass,
        (None, None) => Ruling::NotEnough,
    };
    Judgement { ruling, findings, missing }
}

fn lets_pass(finding: &Finding) -> bool {
    finding.mode == Mode::Observe || matches!(finding.standing, Standing::Kept | Standing::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Measured, Verdict};
    use model::Counts;
    use std::time::Duration;

    /// `requests` of which every `one_in`th failed (none at 0), all of the others after `millis`.
    fn counted(requests: u64, one_in: u64, millis: u64) -> Measured {
        let mut measured = Measured::default();
        for request in 1..=requests {
            let failed = one_in > 0 && request % one_in == 0;
            measured.record(Duration::from_millis(millis), if failed { Verdict::Failed } else { Verdict::Good });
        }
        measured
    }

    fn samples(stable: Measured, canary: Measured) -> Samples {
        Samples { stable, canary, step: 0, restarts: 0 }
    }

    fn ruled(samples: &Samples) -> Ruling {
        judge(&Gates::default(), 59, samples, Scope::Pooled).ruling
    }

    fn standings(samples: &Samples) -> Vec<Standing> {
        let judged = judge(&Gates::default(), 59, samples, Scope::Pooled);
        judged.findings.iter().map(|finding| finding.standing).collect()
    }

    #[test]
    fn no_data_is_neither_good_nor_bad() {
        let stable = counted(1_000, 0, 50);
        for scope in [Scope::Pooled, Scope::Node] {
            for canary in [Measured::default(), Measured::from_counts(&Counts::default())] {
                for stable in [Measured::default(), stable.clone()] {
                    let judged = judge(&Gates::default(), 59, &samples(stable, canary.clone()), scope);
                    assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 59));
                }
            }
        }
        let mut observed = Gates::default();
        for gate in [&mut observed.error_rate, &mut observed.p95] {
            gate.mode = Mode::Observe;
        }
        assert_eq!(judge(&observed, 0, &Samples::default(), Scope::Pooled).ruling, Ruling::NotEnough);
    }

    #[test]
    fn a_good_canary_passes_with_the_minimum_sample() {
        let stable = counted(1_000, 0, 50);
        assert_eq!(ruled(&samples(stable.clone(), counted(59, 0, 50))), Ruling::Pass);
        let early = judge(&Gates::default(), 59, &samples(stable, counted(50, 0, 50)), Scope::Pooled);
        assert_eq!((early.ruling, early.missing, early.open().count()), (Ruling::NotEnough, 9, 0));
    }

    #[test]
    fn each_gate_can_fail_alone() {
        let failing = samples(counted(1_000, 4, 50), counted(200, 4, 50));
        assert_eq!(ruled(&failing), Ruling::Fail(GateName::ErrorRate));
        let slow = samples(counted(1_000, 0, 300), counted(200, 0, 300));
        assert_eq!(ruled(&slow), Ruling::Fail(GateName::P95));
        let worse = samples(counted(5_000, 0, 50), counted(2_000, 22, 50));
        assert_eq!(ruled(&worse), Ruling::Fail(GateName::ErrorRateDifference));
        let slower = samples(counted(1_000, 0, 50), counted(200, 0, 90));
        assert_eq!(ruled(&slower), Ruling::Fail(GateName::P95Ratio));
    }

    #[test]
    fn modes_decide_what_a_broken_gate_does() {
        let failing = samples(counted(1_000, 4, 50), counted(200, 4, 50));
        let mut gates = Gates::default();
        for (mode, ruling) in [
            (Mode::Enforce, Ruling::Fail(GateName::ErrorRate)),
            (Mode::Pause, Ruling::Pause(GateName::ErrorRate)),
            (Mode::Observe, Ruling::Pass),
        ] {
            gates.error_rate.mode = mode;
            let judged = judge(&gates, 59, &failing, Scope::Pooled);
            assert_eq!((judged.ruling, judged.findings[0].standing), (ruling, Standing::Broken));
        }
        let both = samples(counted(1_000, 4, 50), counted(200, 4, 90));
        gates.error_rate.mode = Mode::Pause;
        assert_eq!(judge(&gates, 59, &both, Scope::Pooled).ruling, Ruling::Fail(GateName::P95Ratio));
    }

    #[test]
    fn what_is_beyond_a_limit_by_chance_waits() {
        let mut canary = counted(60, 0, 50);
        canary.merge(&counted(4, 1, 50));
        let judged = judge(&Gates::default(), 59, &samples(counted(1_000, 0, 50), canary), Scope::Pooled);
        assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 0));
        let open: Vec<_> = judged.open().map(|finding| finding.gate).collect();
        assert_eq!(open, [GateName::ErrorRate, GateName::ErrorRateDifference]);
    }

    #[test]
    fn a_canary_that_answers_nothing_is_not_passed_for_its_speed() {
        let mut gates = Gates::default();
        gates.error_rate.mode = Mode::Observe;
        gates.error_rate_difference.mode = Mode::Observe;
        let judged = judge(&gates, 59, &samples(counted(1_000, 0, 50), counted(500, 1, 1)), Scope::Pooled);
        assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 0));
    }

    #[test]
    fn without_stable_traffic_the_absolute_gates_decide() {
        for stable in [0, 29, 50] {
            let alone = samples(counted(stable, 0, 10), counted(20_000, 0, 50));
            assert_eq!(ruled(&alone), Ruling::Pass, "{stable}");
            assert_eq!(standings(&alone)[2..], [Standing::Absent; 2]);
        }
        let compared = samples(counted(1_000, 0, 10), counted(20_000, 0, 50));
        assert_eq!(ruled(&compared), Ruling::Fail(GateName::P95Ratio));
        assert_eq!(ruled(&samples(Measured::default(), counted(200, 4, 50))), Ruling::Fail(GateName::ErrorRate));
    }

    #[test]
    fn a_node_and_a_window_begun_anew_have_to_be_surer() {
        let failing = |requests| samples(Measured::default(), counted(requests, 4, 50));
        let fails_after = |scope, step, restarts| {
            (0..1_000).find(|requests| {
                let samples = Samples { step, restarts, ..failing(*requests) };
                judge(&Gates::default(), 59, &samples, scope).ruling == Ruling::Fail(GateName::ErrorRate)
            })
        };
        let first = fails_after(Scope::Pooled, 0, 0);
        assert!(first.is_some());
        for later in [(Scope::Node, 0, 0), (Scope::Pooled, 3, 0), (Scope::Pooled, 0, 3)] {
            assert!(fails_after(later.0, later.1, later.2) > first, "{later:?}");
        }
    }

    #[test]
    fn a_p95_that_cannot_be_told_from_the_limit_keeps_it() {
        let judged = judge(&Gates::default(), 59, &samples(Measured::default(), counted(500, 0, 201)), Scope::Pooled);
        assert_eq!(judged.ruling, Ruling::Pass);
        assert_eq!(judged.findings[1].value, Some(200.0));
    }

    #[test]
    fn failures_that_come_before_the_answers_prove_nothing() {
        // A model that fails at once and thinks for a second otherwise: what ended first are its failures.
        let mut canary = counted(8, 1, 5);
        let stable = counted(1_000, 0, 50);
        assert_eq!(ruled(&samples(stable.clone(), canary.clone())), Ruling::Fail(GateName::ErrorRate));
        (0..400).for_each(|_| canary.begin());
        assert_eq!(ruled(&samples(stable.clone(), canary.clone())), Ruling::NotEnough);
        // When the others fail, too, it is proven.
        (0..400).for_each(|_| canary.end());
        assert_eq!(ruled(&samples(stable, canary)), Ruling::Fail(GateName::ErrorRate));
    }

    #[test]
    fn hostile_counts_are_judged_too() {
        let hostile = Counts {
            requests: u64::MAX,
            errors: u64::MAX / 2,
            client_errors: 7,
            open: u64::MAX,
            latencies: vec![(u32::MAX, u32::MAX); 1_000],
        };
        let hostile = Measured::from_counts(&hostile);
        for (stable, canary) in
            [(&hostile, &hostile), (&hostile, &Measured::default()), (&Measured::default(), &hostile)]
        {
            let judged = judge(&Gates::default(), u64::MAX, &samples(stable.clone(), canary.clone()), Scope::Node);
            assert_ne!(judged.ruling, Ruling::Pass);
        }
    }

    #[test]
    fn the_reason_is_a_sentence() {
        let failing = samples(Measured::default(), counted(200, 4, 50));
        let judged = judge(&Gates::default(), 59, &failing, Scope::Pooled);
        let reason = judged.reason().map(ToString::to_string);
        assert_eq!(reason.as_deref(), Some("error rate 25.0 % of 200 requests, limit 5 %"));
    }
}
