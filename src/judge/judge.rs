//! The judgement of a step by its gates: pass, fail, pause or not enough. It decides nothing else; when a step is over,
//! and what follows, is the rollout's affair.
//!
//! A canary fails when a limit is broken beyond chance, and passes when all is within the limits: what is beyond a limit
//! without being proven so is never passed, it waits for more requests.

use super::bench::Bench;
use super::finding::{Finding, Group, Standing};
use super::samples::{Samples, Scope};
use service::{Compare, GateName, Gates, Mode};

/// What a canary has to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The limits.
    pub gates: Gates,
    /// Requests to the canary, with a known end, below which nothing is passed.
    pub min_sample: u64,
    /// Answers of the canary from which on a ratio of latencies that is not proven to be beyond its limit holds nothing up.
    pub compare_sample: Option<u64>,
    /// Whether applications can be all who know how requests end.
    pub witnesses: Witnesses,
}

/// Who knows how the canary's requests end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Witnesses {
    /// The routers, which pass them on: what applications tell comes on top, and is no sample by itself.
    #[default]
    Routers,
    /// Applications alone may: no place is agreed at which the canary is served.
    Applications,
}

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
    /// What each gate found, in their order; after them what they found of the requests that applications told of, if any did.
    pub findings: Vec<Finding>,
    /// Requests to the canary until the minimum sample is there; 0 when it is, even if a gate is open.
    pub missing: u64,
    /// Requests to the canary that are no evidence.
    pub uncounted: u64,
}

impl Judgement {
    /// The finding that a failure or a pause rests on.
    pub fn reason(&self) -> Option<&Finding> {
        let (gate, mode) = match self.ruling {
            Ruling::Fail(gate) => (gate, Mode::Enforce),
            Ruling::Pause(gate) => (gate, Mode::Pause),
            Ruling::Pass | Ruling::NotEnough => return None,
        };
        let is_it = |finding: &&Finding| finding.gate == gate && finding.is_broken(mode);
        self.findings.iter().find(is_it)
    }

    /// The gates that hold a step up: what was seen is beyond their limit and may be chance, or nothing was seen yet.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.mode != Mode::Observe && finding.standing == Standing::Open)
    }

    /// The limit that these counts are beyond, by chance or not, where there are enough of them. Counts that some members made,
    /// and could only be found good with those of another, speak against a further step: so no counts that one member has made
    /// up can make a step pass.
    pub fn objection(&self) -> Option<&Finding> {
        let is_beyond = |finding: &&Finding| matches!(finding.standing, Standing::Open | Standing::Broken);
        let is_limit = |finding: &&Finding| finding.gate.compare == Compare::Limit && finding.value.is_some();
        let ruling = self.findings.iter().filter(|finding| finding.mode != Mode::Observe);
        ruling.filter(is_beyond).find(is_limit).filter(|_| self.missing == 0)
    }
}

/// Judges what was counted, as often as one likes. Gates that only observe are shown and rule nothing.
///
/// A failure is proven however often one looks, a pass is not: it says that what was seen is within the limits. So let a
/// pass count only when each window in the samples has been open for a good part of its span, such as 30 s. Otherwise a
/// bad canary is lucky sooner or later in the few requests of a window that was just begun anew.
pub fn judge(terms: &Terms, samples: &Samples, scope: Scope) -> Judgement {
    let Terms { gates, min_sample, compare_sample, witnesses } = terms;
    let (routed, told) = (&samples.routed.canary, &samples.told.canary);
    let of_group = |group| {
        let bench = Bench::new(samples, gates, *compare_sample, scope, group);
        gates.iter().map(move |gate| bench.find(&gate))
    };
    // Where the routers saw nothing, what was told is all there is; where nothing was told, that is no finding.
    let is_told_only = routed.is_empty() && !told.is_empty();
    let seen = of_group(Group::Routed).filter(|_| !is_told_only);
    let heard = of_group(Group::Told).filter(|finding| !told.is_empty() && is_told_of(&finding.gate));
    let findings: Vec<_> = seen.chain(heard).collect();
    let broken = |mode| findings.iter().find(|finding| finding.is_broken(mode)).map(|finding| finding.gate);
    // Without any request there is nothing to pass, whatever the plan asks for.
    let counted = match witnesses {
        Witnesses::Routers => routed.requests(),
        Witnesses::Applications => routed.requests().max(told.requests()),
    };
    let missing = (*min_sample).max(1).saturating_sub(counted);
    let ruling = match (broken(Mode::Enforce), broken(Mode::Pause)) {
        (Some(gate), _) => Ruling::Fail(gate),
        (None, Some(gate)) => Ruling::Pause(gate),
        (None, None) if missing == 0 && lets_pass(&findings) => Ruling::Pass,
        (None, None) => Ruling::NotEnough,
    };
    Judgement { ruling, findings, missing, uncounted: routed.uncounted() }
}

/// Whether an application can tell what the gate is about.
fn is_told_of(gate: &GateName) -> bool {
    !gate.can_be_provoked()
}

/// Whether nothing that rules is open, and not all of it is absent.
fn lets_pass(findings: &[Finding]) -> bool {
    let mut ruling = findings.iter().filter(|finding| finding.mode != Mode::Observe);
    let lets = |finding: &Finding| match finding.standing {
        Standing::Kept | Standing::Unproven | Standing::Absent => true,
        Standing::Open | Standing::Broken => false,
    };
    let is_absent = |finding: &Finding| finding.standing == Standing::Absent;
    ruling.clone().all(lets) && (ruling.clone().next().is_none() || !ruling.all(is_absent))
}

impl Finding {
    /// Whether the limit is broken, and that has this consequence.
    fn is_broken(&self, consequence: Mode) -> bool {
        self.standing == Standing::Broken && self.consequence() == consequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arms, Doubt, Measured, Verdict};
    use model::Counts;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    /// `requests` of which every `one_in`th failed (none at 0), all of the others after `millis`.
    fn counted(requests: u64, one_in: u64, millis: u64) -> Measured {
        let mut measured = Measured::default();
        for request in 1..=requests {
            let failed = one_in > 0 && request % one_in == 0;
            let verdict = if failed { Verdict::Failed } else { Verdict::Good };
            measured.record(Duration::from_millis(millis), verdict, None);
        }
        measured
    }

    fn samples(stable: Measured, canary: Measured) -> Samples {
        Samples { routed: Arms { stable, canary }, ..Samples::default() }
    }

    fn terms(gates: &Gates) -> Terms {
        Terms { gates: gates.clone(), min_sample: 59, compare_sample: Some(400), witnesses: Witnesses::Routers }
    }

    fn usual() -> Terms {
        terms(&Gates::default())
    }

    fn standing(judged: &Judgement, gate: GateName) -> Standing {
        judged.findings.iter().find(|finding| finding.gate == gate).expect("the gate is in the plan").standing
    }

    fn ruled(samples: &Samples) -> Ruling {
        judge(&usual(), samples, Scope::Pooled).ruling
    }

    #[test]
    fn no_data_is_neither_good_nor_bad() {
        let stable = counted(1_000, 0, 50);
        for scope in [Scope::Pooled, Scope::Node] {
            for canary in [Measured::default(), Measured::from_counts(&Counts::default())] {
                for stable in [Measured::default(), stable.clone()] {
                    let judged = judge(&usual(), &samples(stable, canary.clone()), scope);
                    assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 59));
                }
            }
        }
        let observe = |gates: Gates, name| gates.changed(name, |gate| gate.mode = Mode::Observe);
        let observed = [GateName::ERROR_RATE, GateName::P95].into_iter().fold(Gates::default(), observe);
        let none = Terms { min_sample: 0, ..terms(&observed) };
        assert_eq!(judge(&none, &Samples::default(), Scope::Pooled).ruling, Ruling::NotEnough);
    }

    #[test]
    fn a_good_canary_passes_with_the_minimum_sample() {
        let stable = counted(1_000, 0, 50);
        assert_eq!(ruled(&samples(stable.clone(), counted(59, 0, 50))), Ruling::Pass);
        let early = judge(&usual(), &samples(stable, counted(50, 0, 50)), Scope::Pooled);
        assert_eq!((early.ruling, early.missing, early.open().count()), (Ruling::NotEnough, 9, 0));
    }

    #[test]
    fn each_gate_can_fail_alone() {
        let failing = samples(counted(1_000, 4, 50), counted(200, 4, 50));
        assert_eq!(ruled(&failing), Ruling::Fail(GateName::ERROR_RATE));
        let slow = samples(counted(1_000, 0, 300), counted(200, 0, 300));
        assert_eq!(ruled(&slow), Ruling::Fail(GateName::P95));
        let worse = samples(counted(5_000, 0, 50), counted(2_000, 22, 50));
        assert_eq!(ruled(&worse), Ruling::Fail(GateName::ERROR_RATE_DIFFERENCE));
        let slower = samples(counted(1_000, 0, 50), counted(200, 0, 90));
        assert_eq!(ruled(&slower), Ruling::Fail(GateName::P95_RATIO));
    }

    #[test]
    fn modes_decide_what_a_broken_gate_does() {
        let failing = samples(counted(1_000, 4, 50), counted(200, 4, 50));
        let mut gates = Gates::default();
        for (mode, ruling) in [
            (Mode::Enforce, Ruling::Fail(GateName::ERROR_RATE)),
            (Mode::Pause, Ruling::Pause(GateName::ERROR_RATE)),
            (Mode::Observe, Ruling::Pass),
        ] {
            gates = gates.changed(GateName::ERROR_RATE, |gate| gate.mode = mode);
            let judged = judge(&terms(&gates), &failing, Scope::Pooled);
            assert_eq!((judged.ruling, judged.findings[0].standing), (ruling, Standing::Broken));
        }
        let both = samples(counted(1_000, 4, 50), counted(200, 4, 90));
        gates = gates.changed(GateName::ERROR_RATE, |gate| gate.mode = Mode::Pause);
        assert_eq!(judge(&terms(&gates), &both, Scope::Pooled).ruling, Ruling::Fail(GateName::P95_RATIO));
    }

    #[test]
    fn what_is_beyond_a_limit_by_chance_waits() {
        let mut canary = counted(60, 0, 50);
        canary.merge(&counted(4, 1, 50));
        let judged = judge(&usual(), &samples(counted(1_000, 0, 50), canary), Scope::Pooled);
        assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 0));
        let open: Vec<_> = judged.open().map(|finding| finding.gate).collect();
        assert_eq!(open, [GateName::ERROR_RATE, GateName::ERROR_RATE_DIFFERENCE]);
    }

    #[test]
    fn a_canary_that_answers_nothing_is_not_passed_for_its_speed() {
        let observe = |gates: Gates, name| gates.changed(name, |gate| gate.mode = Mode::Observe);
        let gates = [GateName::ERROR_RATE, GateName::ERROR_RATE_DIFFERENCE].into_iter().fold(Gates::default(), observe);
        let judged = judge(&terms(&gates), &samples(counted(1_000, 0, 50), counted(500, 1, 1)), Scope::Pooled);
        assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 0));
    }

    #[test]
    fn without_stable_traffic_the_absolute_gates_decide() {
        for stable in [0, 29, 50] {
            let alone = samples(counted(stable, 0, 10), counted(20_000, 0, 50));
            assert_eq!(ruled(&alone), Ruling::Pass, "{stable}");
            let judged = judge(&usual(), &alone, Scope::Pooled);
            assert_eq!(standing(&judged, GateName::P95_RATIO), Standing::Absent);
            assert_eq!(standing(&judged, GateName::ERROR_RATE_DIFFERENCE), Standing::Absent);
        }
        let compared = samples(counted(1_000, 0, 10), counted(20_000, 0, 50));
        assert_eq!(ruled(&compared), Ruling::Fail(GateName::P95_RATIO));
        assert_eq!(ruled(&samples(Measured::default(), counted(200, 4, 50))), Ruling::Fail(GateName::ERROR_RATE));
    }

    #[test]
    fn a_node_and_a_window_begun_anew_have_to_be_surer() {
        let failing = |requests| samples(Measured::default(), counted(requests, 4, 50));
        let fails_after = |scope, step, restarts| {
            (0..1_000).find(|requests| {
                let samples = Samples { step, restarts, ..failing(*requests) };
                judge(&usual(), &samples, scope).ruling == Ruling::Fail(GateName::ERROR_RATE)
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
        let judged = judge(&usual(), &samples(Measured::default(), counted(500, 0, 201)), Scope::Pooled);
        assert_eq!(judged.ruling, Ruling::Pass);
        assert_eq!(judged.findings[1].value, Some(200.0));
    }

    #[test]
    fn failures_that_come_before_the_answers_prove_nothing() {
        // A model that fails at once and thinks for a second otherwise: what ended first are its failures.
        let mut canary = counted(8, 1, 5);
        let stable = counted(1_000, 0, 50);
        assert_eq!(ruled(&samples(stable.clone(), canary.clone())), Ruling::Fail(GateName::ERROR_RATE));
        canary.under_way(400);
        assert_eq!(ruled(&samples(stable.clone(), canary.clone())), Ruling::NotEnough);
        // When the others fail, too, it is proven.
        assert_eq!(ruled(&samples(stable, counted(8, 1, 5))), Ruling::Fail(GateName::ERROR_RATE));
    }

    #[test]
    fn hostile_counts_are_judged_too() {
        let hostile = Counts {
            requests: u64::MAX,
            errors: u64::MAX / 2,
            client_errors: u64::MAX,
            open: u64::MAX,
            latencies: vec![(u32::MAX, u32::MAX); 1_000],
            ..Counts::default()
        };
        let hostile = Measured::from_counts(&hostile);
        for (stable, canary) in
            [(&hostile, &hostile), (&hostile, &Measured::default()), (&Measured::default(), &hostile)]
        {
            let most = Terms { min_sample: u64::MAX, ..usual() };
            let judged = judge(&most, &samples(stable.clone(), canary.clone()), Scope::Node);
            assert_ne!(judged.ruling, Ruling::Pass);
        }
    }

    #[test]
    fn the_reason_is_a_sentence() {
        let failing = samples(Measured::default(), counted(200, 4, 50));
        let judged = judge(&usual(), &failing, Scope::Pooled);
        let reason = judged.reason().map(ToString::to_string);
        assert_eq!(reason.as_deref(), Some("error rate 25.0 % of 200 requests, limit 5 %"));
    }

    /// Adds `count` ends of this kind, from so many hosts.
    fn add(measured: &mut Measured, verdict: Verdict, count: u32, hosts: u32) {
        for number in 0..count {
            let source = IpAddr::V4(Ipv4Addr::from_bits(0xc633_6400 + number % hosts));
            measured.record(Duration::from_millis(150), verdict, Some(source));
        }
    }

    #[test]
    fn ends_of_many_clients_roll_back_and_those_of_one_pause() {
        let gates = [
            (Verdict::Unknown, GateName::UNKNOWN_RATE_DIFFERENCE),
            (Verdict::ClientError, GateName::RATE_4XX_DIFFERENCE),
            (Verdict::Redirect, GateName::RATE_3XX_DIFFERENCE),
        ];
        for (verdict, gate) in gates {
            let ruled = |hosts| {
                let mut canary = counted(60, 0, 50);
                add(&mut canary, verdict, 60, hosts);
                let judged = judge(&usual(), &samples(counted(1_000, 0, 50), canary), Scope::Pooled);
                (judged.ruling, judged.reason().map(ToString::to_string).unwrap_or_default())
            };
            assert!(matches!(ruled(20).0, Ruling::Fail(_)));
            let (ruling, why) = ruled(1);
            assert_eq!(ruling, Ruling::Pause(gate));
            assert!(why.contains("198.51.100.0 alone gave 100 % of them"), "{why}");
            assert_eq!(ruled(4).0, Ruling::Pause(gate), "four are too few to be many");
        }
    }

    #[test]
    fn what_clients_bring_about_dilutes_nothing() {
        let failing = counted(200, 4, 50);
        let mut diluted = failing.clone();
        for verdict in [Verdict::Redirect, Verdict::ClientError] {
            add(&mut diluted, verdict, 100_000, 1_000);
        }
        let mut stable = counted(1_000, 0, 50);
        add(&mut stable, Verdict::ClientError, 100_000, 1_000);
        for canary in [failing, diluted] {
            assert_eq!(ruled(&samples(stable.clone(), canary)), Ruling::Fail(GateName::ERROR_RATE));
        }
        let mut few = counted(20, 0, 50);
        add(&mut few, Verdict::ClientError, 100_000, 1_000);
        let judged = judge(&usual(), &samples(stable, few), Scope::Pooled);
        assert_eq!((judged.ruling, judged.missing), (Ruling::NotEnough, 39), "they are no sample either");
    }

    #[test]
    fn stable_of_an_earlier_step_is_what_there_is_to_compare_with() {
        let mut canary = counted(5_000, 0, 50);
        add(&mut canary, Verdict::ClientError, 2_000, 500);
        let alone = samples(Measured::default(), canary);
        let judged = judge(&usual(), &alone, Scope::Pooled);
        assert_eq!(judged.ruling, Ruling::Pass, "less than half of them, and nothing to compare with");
        let before = Samples { stable_before: Some(Box::new(counted(1_000, 0, 50))), ..alone };
        assert_eq!(ruled(&before), Ruling::Fail(GateName::RATE_4XX_DIFFERENCE));
    }

    #[test]
    fn with_nothing_to_compare_with_most_of_them_are_for_a_person_to_look_at() {
        let mut canary = counted(100, 0, 50);
        add(&mut canary, Verdict::ClientError, 400, 200);
        let judged = judge(&usual(), &samples(Measured::default(), canary), Scope::Pooled);
        assert_eq!(judged.ruling, Ruling::Pause(GateName::RATE_4XX_DIFFERENCE));
        assert_eq!(judged.reason().and_then(|finding| finding.doubt), Some(Doubt::NothingToCompare));
    }

    #[test]
    fn what_is_absent_passes_nothing_alone() {
        let alone: Gates =
            Gates::default().iter().filter(|gate| gate.name.compare == service::Compare::Stable).collect();
        let canary = samples(Measured::default(), counted(1_000, 0, 50));
        assert_eq!(judge(&terms(&alone), &canary, Scope::Pooled).ruling, Ruling::NotEnough);
    }

    #[test]
    fn latencies_that_nobody_can_tell_apart_hold_nothing_up() {
        // A fifth more, of a third of a millisecond.
        let micros = |count: u64, micros| {
            let mut measured = Measured::default();
            (0..count).for_each(|_| measured.record(Duration::from_micros(micros), Verdict::Good, None));
            measured
        };
        assert_eq!(ruled(&samples(micros(1_000, 300), micros(59, 900))), Ruling::Pass);
        assert_eq!(ruled(&samples(micros(1_000, 300), micros(59, 9_000))), Ruling::Fail(GateName::P95_RATIO));
        let slow = |count, slow: u64| {
            let mut measured = counted(count - slow, 0, 50);
            measured.merge(&counted(slow, 0, 90));
            measured
        };
        let unproven = |count, of| judge(&usual(), &samples(counted(4_000, 0, 50), slow(count, of)), Scope::Pooled);
        assert_eq!(unproven(200, 12).ruling, Ruling::NotEnough);
        let judged = unproven(400, 22);
        assert_eq!((judged.ruling, standing(&judged, GateName::P95_RATIO)), (Ruling::Pass, Standing::Unproven));
        let of_5 = Terms { compare_sample: None, ..usual() };
        let judged = judge(&of_5, &samples(counted(4_000, 0, 50), slow(400, 22)), Scope::Pooled);
        assert_eq!(judged.ruling, Ruling::NotEnough);
    }

    #[test]
    fn a_ratio_that_is_likely_to_be_broken_holds_a_step_up_though_it_is_not_proven() {
        let slow = |slow: u64| {
            let mut measured = counted(400 - slow, 0, 50);
            measured.merge(&counted(slow, 0, 90));
            judge(&usual(), &samples(counted(4_000, 0, 50), measured), Scope::Pooled)
        };
        for (count, expected) in [(22, Ruling::Pass), (28, Ruling::NotEnough)] {
            assert_eq!(slow(count).ruling, expected, "{count}");
        }
        assert_eq!(standing(&slow(28), GateName::P95_RATIO), Standing::Open);
    }

    #[test]
    fn what_a_later_step_is_compared_with_is_more_than_a_few_requests() {
        let (few, many) = (counted(50, 0, 50), counted(1_000, 0, 50));
        let requests =
            |over: &Measured, before| crate::stable_to_keep(over.clone(), before).map(|kept| kept.requests());
        assert_eq!(requests(&few, None), Some(50));
        assert_eq!(requests(&few, Some(&many)), Some(1_050));
        assert_eq!(requests(&many, Some(&few)), Some(1_000), "what is newer stands alone where it is enough");
        assert_eq!(requests(&counted(5, 0, 50), None), None);
        assert_eq!(requests(&Measured::default(), Some(&many)), Some(1_000));
    }

    #[test]
    fn a_hanging_canary_fails_by_those_that_leave_it() {
        let mut canary = counted(0, 0, 0);
        add(&mut canary, Verdict::Unknown, 40, 20);
        let judged = judge(&usual(), &samples(counted(1_000, 0, 60), canary), Scope::Pooled);
        assert!(matches!(judged.ruling, Ruling::Fail(_)), "{judged:?}");
    }

    #[test]
    fn what_is_told_and_what_is_seen_are_judged_apart() {
        let told = |canary, told| Samples {
            told: Arms { stable: Measured::default(), canary: told },
            ..samples(counted(1_000, 0, 50), canary)
        };
        let (good, bad) = (counted(10_000, 0, 50), counted(200, 4, 50));
        assert_eq!(ruled(&told(good.clone(), bad.clone())), Ruling::Fail(GateName::ERROR_RATE));
        assert_eq!(ruled(&told(bad.clone(), good.clone())), Ruling::Fail(GateName::ERROR_RATE));
        assert_eq!(ruled(&told(good.clone(), good.clone())), Ruling::Pass);
        let only = Samples { told: Arms { stable: Measured::default(), canary: good }, ..Samples::default() };
        assert_eq!(ruled(&only), Ruling::NotEnough, "it has a model server, and nobody was there");
        let alone = Terms { witnesses: Witnesses::Applications, ..usual() };
        assert_eq!(
            judge(&alone, &only, Scope::Pooled).ruling,
            Ruling::Pass,
            "an application without a router in its way"
        );
        let failing = Samples { told: Arms { stable: Measured::default(), canary: bad }, ..Samples::default() };
        let reason = judge(&usual(), &failing, Scope::Pooled).reason().map(ToString::to_string);
        assert_eq!(reason.as_deref(), Some("reported outcomes: error rate 25.0 % of 200 requests, limit 5 %"));
    }
}
