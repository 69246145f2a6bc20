//! The last few seconds of a canary, judged by themselves: in what was counted since the step began, a good past would hide
//! for a while that it has turned bad.
//!
//! Every second of the step begins a test of its own, and has a part of the level that all of them share, as windows do
//! that are begun anew. A test that is a few seconds old is dropped; that can only make a failure less likely.

use super::bench::{Levels, TAIL};
use super::measured::Scope;
use super::sequential::{log_evidence_above, log_threshold};
use super::tally::share;
use model::Recent;
use service::{Gate, Gates, MILLION, Mode};

/// Say why what was counted since one second of the step proves that an absolute limit is broken that is enforced, in words;
/// none when it does not.
pub fn judge_recent(gates: &Gates, step: u32, recent: &Recent, scope: Scope) -> Option<String> {
    let Recent { second, begun, errors, answers, slow } = *recent;
    // As much as in all that was counted.
    let levels = Levels::of(scope);
    let is_broken = |gate: Gate, all, bad, rate, level| {
        let needed = log_threshold(level, second) + log_threshold(1.0, step);
        gate.mode == Mode::Enforce && log_evidence_above(all, bad, rate) >= needed
    };
    #[allow(clippy::cast_precision_loss, reason = "a limit is at most a million, or a minute in microseconds")]
    let (rate, millis) = (gates.error_rate.limit as f64 / MILLION as f64, gates.p95.limit as f64 / 1_000.0);
    let percent = |share: f64| (share * 1e4).round() / 1e2;
    if is_broken(gates.error_rate, begun, errors, rate, levels.error_rate) {
        let seen = percent(share(errors, begun)?);
        return Some(format!("error rate {seen} % of the last {begun} requests, limit {} %", percent(rate)));
    }
    if is_broken(gates.p95, answers, slow, TAIL, levels.p95) {
        let seen = percent(share(slow, answers)?);
        return Some(format!("{seen} % of the last {answers} answers took longer than the p95's limit, {millis} ms"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(recent: Recent, scope: Scope) -> Option<String> {
        judge_recent(&Gates::default(), 0, &recent, scope)
    }

    #[test]
    fn a_canary_that_turns_bad_is_found_whatever_it_was_before() {
        // A second in the tenth minute, in which 60 of 200 requests failed, or as many answers were slow.
        let errors = Recent { second: 599, begun: 200, errors: 60, answers: 140, slow: 0 };
        let slow = Recent { second: 599, begun: 200, errors: 0, answers: 200, slow: 60 };
        for scope in [Scope::Pooled, Scope::Node] {
            let told = Some("error rate 30 % of the last 200 requests, limit 5 %".to_owned());
            assert_eq!(judged(errors, scope), told);
            let told = Some("30 % of the last 200 answers took longer than the p95's limit, 200 ms".to_owned());
            assert_eq!(judged(slow, scope), told);
        }
    }

    #[test]
    fn what_keeps_the_limits_is_let_alone_and_so_is_what_only_observes() {
        let good = Recent { second: 3, begun: 200, errors: 10, answers: 190, slow: 9 };
        assert_eq!(judged(good, Scope::Pooled), None);
        assert_eq!(judged(Recent::default(), Scope::Pooled), None);
        let bad = Recent { second: 3, begun: 200, errors: 100, answers: 100, slow: 0 };
        let mut gates = Gates::default();
        gates.error_rate.mode = Mode::Observe;
        assert_eq!(judge_recent(&gates, 0, &bad, Scope::Pooled), None);
    }

    #[test]
    fn later_seconds_need_more_to_be_sure() {
        let at = |second| judged(Recent { second, begun: 60, errors: 13, answers: 47, slow: 0 }, Scope::Pooled);
        assert_eq!((at(0).is_some(), at(100_000)), (true, None));
    }
}
