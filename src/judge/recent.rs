//! The last few seconds of a canary, judged by themselves: in what was counted since the step began, a good past would hide
//! for a while that it has turned bad.
//!
//! Every second of the step begins a test of its own, and has a part of the level that all of them share, as windows do
//! that are begun anew. A test that is a few seconds old is dropped; that can only make a failure less likely.

use super::bench::{Ends, TAIL, can_be_compared_with};
use super::finding::Group;
use super::judge::Terms;
use super::levels::{has_recent, level};
use super::measured::Measured;
use super::samples::{Samples, Scope};
use super::sequential::{log_evidence_above, log_threshold, rate_lower_bound, rate_upper_bound};
use super::tally::share;
use model::Recent;
use service::{Compare, Gate, Metric, Mode};

/// Say why what was counted since one second of the step proves that a limit is broken that is enforced, in words; none when it
/// does not. What is compared with the stable model is held against all that was counted of it in `samples`.
pub fn judge_recent(terms: &Terms, samples: &Samples, recent: &Recent, scope: Scope) -> Option<String> {
    let mut judged = terms.gates.iter().filter(|gate| gate.mode == Mode::Enforce && has_recent(gate.name));
    judged.find_map(|gate| judged_by(terms, &gate, samples, recent, scope))
}

#[allow(clippy::cast_precision_loss, reason = "a limit is at most a million, or a minute in microseconds")]
fn judged_by(terms: &Terms, gate: &Gate, samples: &Samples, recent: &Recent, scope: Scope) -> Option<String> {
    let Gate { name, limit, .. } = *gate;
    let needed = |parts: f64| {
        let level = level(&terms.gates, name, scope, Group::Routed) / parts;
        log_threshold(level, recent.second) + log_threshold(1.0, samples.step)
    };
    let percent = |share: f64| (share * 1e4).round() / 1e2;
    let limit_is = limit as f64 / name.unit() as f64;
    if name.metric == Metric::P95 {
        let is_broken = log_evidence_above(recent.answers, recent.slow, TAIL) >= needed(1.0);
        let (seen, answers) = (percent(share(recent.slow, recent.answers)?), recent.answers);
        let told = format!("{seen} % of the last {answers} answers took longer than the p95's limit, {limit_is} ms");
        return is_broken.then_some(told);
    }
    let canary = ends(recent, name.metric)?;
    let canary_share = share(canary.of, canary.all)?;
    // What keeps the limit by itself proves nothing, and most of what is looked at does.
    if canary_share <= limit_is {
        return None;
    }
    let is_broken = match name.compare {
        Compare::Limit => log_evidence_above(canary.all, canary.of, limit_is) >= needed(1.0),
        Compare::Stable => {
            let stable = stable_of(samples, name.metric)?;
            let at_most = rate_upper_bound(stable.all, stable.of, needed(2.0));
            rate_lower_bound(canary.all, canary.of, needed(2.0)) > at_most + limit_is
        }
    };
    // Who gave how many is known of the whole step only: whoever gave as many in all may have given them now.
    let is_one_clients = name.can_be_provoked() && samples.routed.canary.is_dominated(name.metric, canary.of);
    let (seen, all, limit) = (percent(canary_share), canary.all, percent(limit_is));
    (is_broken && !is_one_clients).then(|| format!("{name} {seen} % of the last {all} requests, limit {limit} %"))
}

/// What the stable model is held to: what was counted of it now, or else in an earlier step.
fn stable_of(samples: &Samples, metric: Metric) -> Option<Ends> {
    let before = samples.stable_before.as_deref();
    let enough = |measured: &&Measured| can_be_compared_with(measured);
    let stable = Some(&samples.routed.stable).filter(enough).or(before)?;
    Ends::of(stable, metric)
}

/// The canary's requests that ended in the way that `metric` is about, of those that have begun.
const fn ends(recent: &Recent, metric: Metric) -> Option<Ends> {
    let Recent { begun, errors, unknown, redirects, client_errors, .. } = *recent;
    let all = begun.saturating_add(unknown).saturating_add(redirects).saturating_add(client_errors);
    Some(match metric {
        Metric::ErrorRate => Ends { of: errors, all: begun },
        Metric::UnknownRate => Ends { of: unknown, all: begun.saturating_add(unknown) },
        Metric::Rate4xx => Ends { of: client_errors, all },
        Metric::Rate3xx => Ends { of: redirects, all },
        Metric::P95 => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{Arms, Verdict};
    use service::{GateName, Gates};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    fn terms() -> Terms {
        Terms { gates: Gates::default(), min_sample: 59, ..Terms::default() }
    }

    fn judged(recent: Recent, scope: Scope) -> Option<String> {
        judge_recent(&terms(), &Samples::default(), &recent, scope)
    }

    #[test]
    fn a_canary_that_turns_bad_is_found_whatever_it_was_before() {
        // A second in the tenth minute, in which 60 of 200 requests failed, or as many answers were slow.
        let errors = Recent { second: 599, begun: 200, errors: 60, answers: 140, ..Recent::default() };
        let slow = Recent { second: 599, begun: 200, answers: 200, slow: 60, ..Recent::default() };
        for scope in [Scope::Pooled, Scope::Node] {
            let told = Some("error rate 30 % of the last 200 requests, limit 5 %".to_owned());
            assert_eq!(judged(errors, scope), told);
            let told = Some("30 % of the last 200 answers took longer than the p95's limit, 200 ms".to_owned());
            assert_eq!(judged(slow, scope), told);
        }
    }

    /// `good` requests of each model, and of the canary as many others as it ended in this way, from so many hosts.
    fn samples(good: u32, others: u32, verdict: Verdict, hosts: u32) -> Samples {
        let mut arms = Arms::default();
        for number in 0..good {
            for measured in [&mut arms.stable, &mut arms.canary] {
                measured.record(Duration::from_millis(60), Verdict::Good, None);
            }
            if number < others {
                let source = IpAddr::V4(Ipv4Addr::from_bits(number % hosts));
                arms.canary.record(Duration::from_millis(150), verdict, Some(source));
            }
        }
        Samples { routed: arms, ..Samples::default() }
    }

    #[test]
    fn one_that_begins_to_hang_is_found_by_the_clients_that_leave_it() {
        let hangs = Recent { second: 59, begun: 20, unknown: 80, answers: 80, ..Recent::default() };
        let found = |samples: &Samples, recent: &Recent| judge_recent(&terms(), samples, recent, Scope::Pooled);
        let why = found(&samples(6_000, 80, Verdict::Unknown, 40), &hangs).expect("most left");
        assert_eq!(why, "share of unknown ends difference to stable 80 % of the last 100 requests, limit 5 %");
        assert_eq!(found(&samples(6_000, 80, Verdict::Unknown, 1), &hangs), None, "one client may be the cause");
        let refuses = Recent { second: 59, begun: 20, client_errors: 80, ..Recent::default() };
        assert!(found(&samples(6_000, 80, Verdict::ClientError, 40), &refuses).is_some());
        assert_eq!(found(&Samples::default(), &refuses), None, "nothing to compare with");
    }

    #[test]
    fn what_keeps_the_limits_is_let_alone_and_so_is_what_only_observes() {
        let good = Recent { second: 3, begun: 200, errors: 10, answers: 190, slow: 9, ..Recent::default() };
        assert_eq!(judged(good, Scope::Pooled), None);
        assert_eq!(judged(Recent::default(), Scope::Pooled), None);
        let bad = Recent { second: 3, begun: 200, errors: 100, answers: 100, ..Recent::default() };
        let gates = Gates::default().changed(GateName::ERROR_RATE, |gate| gate.mode = Mode::Observe);
        assert_eq!(judge_recent(&Terms { gates, ..terms() }, &Samples::default(), &bad, Scope::Pooled), None);
    }

    #[test]
    fn later_seconds_need_more_to_be_sure() {
        let recent = |second| Recent { second, begun: 60, errors: 13, answers: 47, ..Recent::default() };
        let at = |second| judged(recent(second), Scope::Pooled);
        assert_eq!((at(0).is_some(), at(100_000)), (true, None));
    }
}
