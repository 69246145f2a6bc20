//! The counts of one model since a window began, small enough for every report: it merges over nodes, and what is
//! merged on the wire is what is merged in memory. It judges nothing.

use super::sources::{Dominant, Sources};
use super::tally::{HIGHEST_MICROS, LOWEST_MICROS, Verdict, micros, share};
use hdrhistogram::Histogram;
use model::{Counts, Provoked, Summary};
use service::Metric;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// One digit: a latency is known within 1/16, far less than the fifth by which a canary may be slower, and a report has
/// a few dozen numbers instead of hundreds.
const SIGNIFICANT_DIGITS: u8 = 1;
/// A histogram with these bounds has fewer buckets than this, so an honest report has fewer pairs; what follows in
/// another one is not read.
const MAX_PAIRS: usize = 512;

/// The requests of one model by their ends, and how long its answers took, or were waited for in vain. Good ends have a
/// latency; how fast a model fails says nothing about how fast it is, unless it was too slow before.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    requests: u64,
    errors: u64,
    unknown: u64,
    redirects: u64,
    client_errors: u64,
    uncounted: u64,
    open: u64,
    /// Failures of which clients told after the end. They are known on this node alone.
    amended: u64,
    latencies: Histogram<u64>,
    late: Histogram<u64>,
    waits: Histogram<u64>,
    sources: Sources,
}

impl Default for Measured {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(LOWEST_MICROS, HIGHEST_MICROS, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self {
            requests: 0,
            errors: 0,
            unknown: 0,
            redirects: 0,
            client_errors: 0,
            uncounted: 0,
            open: 0,
            amended: 0,
            latencies: times.clone(),
            late: times.clone(),
            waits: times,
            sources: Sources::default(),
        }
    }
}

impl Measured {
    /// Notes that so many requests have begun and not ended, in whatever way.
    pub const fn under_way(&mut self, count: u64) {
        self.open = self.open.saturating_add(count);
    }

    /// Counts one request from `source` whose first byte came, or was waited for, after `latency`.
    pub fn record(&mut self, latency: Duration, verdict: Verdict, source: Option<IpAddr>) {
        self.ended_as(verdict, source);
        match verdict {
            Verdict::Good => self.answered(latency),
            Verdict::Unknown => self.left_after(latency),
            Verdict::Failed | Verdict::Redirect | Verdict::ClientError => {}
        }
    }

    /// Counts the first byte of an answer that is good so far.
    pub fn answered(&mut self, latency: Duration) {
        self.latencies.saturating_record(micros(latency));
    }

    /// Counts a wait for a first byte that a client gave up before the limit.
    pub fn left_after(&mut self, waited: Duration) {
        self.waits.saturating_record(micros(waited));
    }

    /// Counts the end of one request from `source`.
    pub fn ended_as(&mut self, verdict: Verdict, source: Option<IpAddr>) {
        self.count(verdict);
        let end = match verdict {
            Verdict::Good | Verdict::Failed => return,
            Verdict::Unknown => Provoked::Unknown,
            Verdict::Redirect => Provoked::Redirect,
            Verdict::ClientError => Provoked::ClientError,
        };
        self.sources.add(end, source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 1);
    }

    const fn count(&mut self, verdict: Verdict) {
        let beside = match verdict {
            Verdict::Good => &mut self.requests,
            Verdict::Failed => {
                self.errors = self.errors.saturating_add(1);
                &mut self.requests
            }
            Verdict::Unknown => &mut self.unknown,
            Verdict::Redirect => &mut self.redirects,
            Verdict::ClientError => &mut self.client_errors,
        };
        *beside = beside.saturating_add(1);
    }

    const fn take_back(&mut self, verdict: Verdict) {
        let beside = match verdict {
            Verdict::Good => &mut self.requests,
            Verdict::Failed => {
                self.errors = self.errors.saturating_sub(1);
                &mut self.requests
            }
            Verdict::Unknown => &mut self.unknown,
            Verdict::Redirect => &mut self.redirects,
            Verdict::ClientError => &mut self.client_errors,
        };
        *beside = beside.saturating_sub(1);
    }

    /// Counts a request that is no evidence.
    pub const fn pass_over(&mut self) {
        self.uncounted = self.uncounted.saturating_add(1);
    }

    /// Counts so many requests whose first byte had not come when they had been open for `waited`, which is longer than
    /// `limit`: they are slow, whatever comes of them.
    pub fn late(&mut self, limit: Duration, waited: Duration, count: u64) {
        let beyond = self.late.next_non_equivalent(micros(limit)).max(micros(waited)).min(HIGHEST_MICROS);
        self.late.saturating_record_n(beyond, count);
    }

    /// Counts a request as `to` that was counted as `from`. When its first byte came stays as it is.
    pub const fn amend(&mut self, from: Verdict, to: Verdict) {
        self.take_back(from);
        self.count(to);
        if matches!(to, Verdict::Failed) {
            self.amended = self.amended.saturating_add(1);
        }
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.unknown = self.unknown.saturating_add(other.unknown);
        self.redirects = self.redirects.saturating_add(other.redirects);
        self.client_errors = self.client_errors.saturating_add(other.client_errors);
        self.uncounted = self.uncounted.saturating_add(other.uncounted);
        self.open = self.open.saturating_add(other.open);
        self.amended = self.amended.saturating_add(other.amended);
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        self.late.add(&other.late).expect("all have the same bounds");
        self.waits.add(&other.waits).expect("all have the same bounds");
        self.sources.merge(other.sources.all());
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The same in the form in which nodes tell it each other. More than four billion answers of one latency are told
    /// as four billion.
    pub fn to_counts(&self) -> Counts {
        let Self { requests, errors, unknown, redirects, client_errors, uncounted, open, .. } = *self;
        let (latencies, late, waits) = (pairs(&self.latencies), pairs(&self.late), pairs(&self.waits));
        let sources = self.sources.largest();
        Counts { requests, errors, unknown, redirects, client_errors, uncounted, open, latencies, late, waits, sources }
    }

    /// The counts that a node told. Any are read: those that contradict each other are cut down until they do not, latencies
    /// out of bounds count as the bound.
    pub fn from_counts(counts: &Counts) -> Self {
        let Counts { requests, unknown, redirects, client_errors, uncounted, open, .. } = *counts;
        let errors = counts.errors.min(requests);
        let mut measured =
            Self { requests, errors, unknown, redirects, client_errors, uncounted, open, ..Self::default() };
        let begun = measured.ended().saturating_add(open);
        fill(&mut measured.latencies, &counts.latencies, begun);
        fill(&mut measured.late, &counts.late, begun);
        fill(&mut measured.waits, &counts.waits, unknown);
        measured.sources.merge(&counts.sources);
        measured
    }

    /// Requests whose end is known and speaks for or against the model: good and failed ones.
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The same with those that have begun and not ended. A failure is often the fastest answer there is, so that of those
    /// that ended too many failed, for as long as the others take.
    pub const fn begun(&self) -> u64 {
        self.requests.saturating_add(self.open)
    }

    /// Requests that have begun and not ended.
    pub const fn open(&self) -> u64 {
        self.open
    }

    /// Requests that failed.
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// Those of the failures that were taken for good ends at first. They may be told of long after, and many at once, so that
    /// they say nothing about the moment in which they are counted.
    pub const fn amended(&self) -> u64 {
        self.amended
    }

    /// Requests beside these whose client left before it was known how they would end.
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Requests beside these that were answered with a status 3xx.
    pub const fn redirects(&self) -> u64 {
        self.redirects
    }

    /// Requests beside these that were answered with a status 4xx.
    pub const fn client_errors(&self) -> u64 {
        self.client_errors
    }

    /// Requests beside these that are no evidence.
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Requests that have ended in any way that is evidence of something.
    pub const fn ended(&self) -> u64 {
        let answered = self.requests.saturating_add(self.redirects).saturating_add(self.client_errors);
        answered.saturating_add(self.unknown)
    }

    /// Whether nothing was counted, not even that something began.
    pub const fn is_empty(&self) -> bool {
        self.ended() == 0 && self.open == 0
    }

    /// Good answers, whose latencies are known, and requests that had none when the limit was passed.
    pub fn answers(&self) -> u64 {
        self.latencies.len().saturating_add(self.late.len())
    }

    /// The same with the times after which clients left, unless one client may be the cause: it could leave one model alone.
    pub(super) fn answers_and_waits(&self) -> u64 {
        self.answers().saturating_add(self.waits().map_or(0, |waits| waits.len()))
    }

    fn waits(&self) -> Option<&Histogram<u64>> {
        Some(&self.waits).filter(|_| self.dominant(Provoked::Unknown).is_none())
    }

    /// The largest source of such ends, if it is too large to speak for others.
    pub(super) fn dominant(&self, end: Provoked) -> Option<Dominant> {
        let total = match end {
            Provoked::Unknown => self.unknown,
            Provoked::Redirect => self.redirects,
            Provoked::ClientError => self.client_errors,
        };
        self.sources.dominant(end, total)
    }

    /// Whether so many of the ends that this figure counts may be the doing of one client.
    pub(super) fn is_dominated(&self, metric: Metric, count: u64) -> bool {
        provoked(metric).is_some_and(|end| self.sources.dominant(end, count).is_some())
    }

    /// The share of requests that failed, 0 to 1; none without a request, for no data is neither good nor bad.
    pub fn error_rate(&self) -> Option<f64> {
        share(self.errors, self.requests)
    }

    /// The latency that the share `quantile` (0 to 1) of the answers did not exceed, at most 1/16 too long; none without
    /// an answer. A wait counts as long as it lasted.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let all = self.at_least();
        (!all.is_empty()).then(|| Duration::from_micros(all.value_at_quantile(quantile)))
    }

    /// Answers that surely took longer than this many microseconds: one in the bucket of the limit may have kept it, and is not
    /// counted.
    pub fn exceeding(&self, limit_micros: u64) -> u64 {
        if limit_micros >= HIGHEST_MICROS {
            return 0;
        }
        let above =
            |times: &Histogram<u64>| times.count_between(times.next_non_equivalent(limit_micros), HIGHEST_MICROS);
        above(&self.latencies).saturating_add(above(&self.late))
    }

    /// Whether a histogram cannot tell these two latencies apart, in microseconds.
    pub(super) fn is_same(&self, one: u64, other: u64) -> bool {
        self.latencies.equivalent(one.min(HIGHEST_MICROS), other.min(HIGHEST_MICROS))
    }

    /// The longest latency, a bound of a bucket in microseconds, that at least `count` answers exceeded: a wait exceeds what is
    /// shorter than it was, and nobody knows what else.
    pub(super) fn exceeded_by(&self, count: u64) -> Option<u64> {
        let slowest = nth(&self.at_least(), self.answers_and_waits().checked_sub(count)?.saturating_add(1))?;
        self.latencies.lowest_equivalent(slowest).checked_sub(1)
    }

    /// The shortest latency, a bound of a bucket in microseconds, that at most `count` answers exceeded, if every wait would
    /// have lasted for longer than any.
    pub(super) fn exceeded_by_at_most(&self, count: u64) -> Option<u64> {
        nth(&self.latencies, self.answers_and_waits().saturating_sub(count).max(1))
    }

    /// The model in three numbers.
    pub fn summary(&self) -> Summary {
        let p95 = self.quantile(0.95).unwrap_or_default();
        let p95_us = u64::try_from(p95.as_micros()).unwrap_or(HIGHEST_MICROS);
        Summary { requests: self.requests, errors: self.errors, p95_us }
    }

    /// The latencies, with the waits as if they had ended with an answer: the least that they can have been.
    fn at_least(&self) -> Histogram<u64> {
        let mut all = self.latencies.clone();
        for waits in [Some(&self.late), self.waits()].into_iter().flatten() {
            all.add(waits).expect("all have the same bounds");
        }
        all
    }
}

/// The ends that this figure counts, where a client can bring them about by itself.
pub(super) const fn provoked(metric: Metric) -> Option<Provoked> {
    match metric {
        Metric::UnknownRate => Some(Provoked::Unknown),
        Metric::Rate4xx => Some(Provoked::ClientError),
        Metric::Rate3xx => Some(Provoked::Redirect),
        Metric::ErrorRate | Metric::P95 => None,
    }
}

/// A histogram as pairs of the difference to the bucket before and how many are in it, the fastest first.
fn pairs(times: &Histogram<u64>) -> Vec<(u32, u32)> {
    let mut before = 0;
    let pair = |(value, count): (u64, u64)| {
        let value = value.min(HIGHEST_MICROS);
        let difference = u32::try_from(value - before).unwrap_or(u32::MAX);
        before = value;
        (difference, u32::try_from(count).unwrap_or(u32::MAX))
    };
    buckets(times).map(pair).collect()
}

/// Adds what such pairs say, `most` at most.
fn fill(times: &mut Histogram<u64>, pairs: &[(u32, u32)], mut most: u64) {
    let mut value = 0_u64;
    for (difference, count) in pairs.iter().take(MAX_PAIRS) {
        value = value.saturating_add(u64::from(*difference)).min(HIGHEST_MICROS);
        let count = u64::from(*count).min(most);
        times.saturating_record_n(value.clamp(LOWEST_MICROS, HIGHEST_MICROS), count);
        most -= count;
    }
}

/// The highest latency of each bucket with answers, and how many; the fastest first.
fn buckets(times: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> {
    times.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
}

/// The highest latency of the bucket of the `rank`th fastest answer, from 1.
fn nth(times: &Histogram<u64>, rank: u64) -> Option<u64> {
    let mut seen = 0;
    buckets(times).find_map(|(value, count)| {
        seen += count;
        (seen >= rank).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn of(latencies: &[u64]) -> Measured {
        let mut measured = Measured::default();
        for (index, micros) in latencies.iter().enumerate() {
            let all = [Verdict::Good, Verdict::Unknown, Verdict::ClientError, Verdict::Failed, Verdict::Redirect];
            let source = Ipv4Addr::from_bits(u32::try_from(index % 3).expect("small"));
            measured.record(Duration::from_micros(*micros), all[index % 5], Some(source.into()));
        }
        measured
    }

    #[test]
    fn only_a_good_end_has_a_latency_and_what_clients_bring_about_is_no_request() {
        let mut measured = Measured::default();
        for verdict in [Verdict::ClientError, Verdict::Redirect, Verdict::Failed] {
            measured.record(millis(9_000), verdict, None);
        }
        measured.record(millis(10), Verdict::Good, None);
        measured.pass_over();
        assert_eq!((measured.requests(), measured.errors(), measured.ended()), (2, 1, 4));
        assert_eq!((measured.client_errors(), measured.redirects(), measured.uncounted()), (1, 1, 1));
        assert_eq!((measured.answers(), measured.exceeding(11_000)), (1, 0));
        let p95 = measured.quantile(0.95).expect("there are answers");
        assert!(p95 >= millis(10) && p95.as_secs_f64() < 0.010 * 17.0 / 16.0, "{p95:?}");
        assert_eq!(measured.summary().requests, 2);
        measured.clear();
        assert_eq!(measured, Measured::default());
        assert_eq!((measured.error_rate(), measured.quantile(0.95)), (None, None));
        assert_eq!(measured.summary(), Summary::default());
    }

    #[test]
    fn a_wait_is_longer_than_it_was_and_nobody_knows_by_how_much() {
        let mut measured = Measured::default();
        for _ in 0..60 {
            measured.record(millis(10), Verdict::Good, None);
        }
        for host in 0..40 {
            measured.record(millis(150), Verdict::Unknown, Some(Ipv4Addr::from_bits(host).into()));
        }
        assert_eq!((measured.requests(), measured.unknown(), measured.answers()), (60, 40, 60));
        assert_eq!((measured.answers_and_waits(), measured.exceeding(100_000)), (100, 0));
        let surely = measured.exceeded_by(40).expect("forty waited");
        assert!((100_000..=150_000).contains(&surely), "{surely}");
        assert!(measured.exceeded_by_at_most(40).is_some_and(|bound| bound < 20_000));
        assert_eq!(measured.exceeded_by_at_most(39), None, "one of the waits may have had no end");
        (0..60).for_each(|_| measured.record(millis(150), Verdict::Unknown, None));
        assert_eq!(measured.answers_and_waits(), 60, "one client may be the cause of them all");
    }

    #[test]
    fn what_is_open_beyond_the_limit_exceeds_it_whatever_comes() {
        let mut measured = Measured::default();
        measured.under_way(1);
        measured.late(millis(200), millis(200), 1);
        assert_eq!((measured.requests(), measured.answers(), measured.exceeding(200_000)), (0, 1, 1));
        assert_eq!(Measured::from_counts(&measured.to_counts()), measured);
        measured.late(Duration::MAX, millis(1), 1);
        assert_eq!(measured.answers(), 2);
    }

    #[test]
    fn an_end_that_is_corrected_is_counted_once() {
        let mut measured = of(&[1, 2, 3, 4, 5]);
        measured.amend(Verdict::Unknown, Verdict::Failed);
        assert_eq!((measured.requests(), measured.errors(), measured.unknown(), measured.ended()), (3, 2, 0, 5));
        measured.amend(Verdict::Failed, Verdict::Good);
        assert_eq!((measured.requests(), measured.errors(), measured.amended()), (3, 1, 1));
    }

    #[test]
    fn an_answer_in_the_bucket_of_the_limit_does_not_exceed_it() {
        let mut measured = Measured::default();
        measured.record(millis(200), Verdict::Good, None);
        let bound = measured.exceeded_by_at_most(0).expect("an answer");
        assert!(bound > 200_000);
        measured.record(Duration::from_micros(bound + 1), Verdict::Good, None);
        assert_eq!(measured.exceeding(200_000), 1);
        assert_eq!(measured.exceeding(bound), 1);
        assert_eq!(measured.exceeding(bound + 1), 0);
        assert_eq!(measured.exceeding(u64::MAX), 0);
    }

    #[test]
    fn hostile_counts_are_cut_down() {
        let most = vec![(u32::MAX, u32::MAX); 100_000];
        let hostile = Counts {
            requests: 10,
            errors: u64::MAX,
            latencies: most.clone(),
            late: most.clone(),
            waits: most,
            ..Counts::default()
        };
        let measured = Measured::from_counts(&hostile);
        assert_eq!((measured.requests(), measured.errors()), (10, 10));
        assert_eq!(measured.latencies.len(), 10);
        let endless = Counts { requests: u64::MAX, errors: 0, ..hostile };
        let mut measured = Measured::from_counts(&endless);
        assert_eq!(measured.answers(), 2 * MAX_PAIRS as u64 * u64::from(u32::MAX));
        let room = measured.latencies.distinct_values();
        measured.merge(&measured.clone());
        assert_eq!((measured.requests(), measured.latencies.distinct_values()), (u64::MAX, room));
        assert!(measured.to_counts().latencies.len() < MAX_PAIRS && room < MAX_PAIRS);
    }

    proptest! {
        #[test]
        fn the_wire_form_says_all(latencies in proptest::collection::vec(0_u64..100_000_000, 0..200)) {
            let measured = of(&latencies);
            prop_assert_eq!(&Measured::from_counts(&measured.to_counts()), &measured);
        }

        #[test]
        fn merging_before_or_after_the_wire_is_the_same(
            one in proptest::collection::vec(0_u64..1_000_000, 0..100),
            other in proptest::collection::vec(0_u64..1_000_000, 0..100),
        ) {
            let (one, other) = (of(&one), of(&other));
            let mut told = Measured::from_counts(&one.to_counts());
            told.merge(&Measured::from_counts(&other.to_counts()));
            let mut merged = one;
            merged.merge(&other);
            prop_assert_eq!(told, merged);
        }

        #[test]
        fn any_counts_can_be_read(
            requests: u64, errors: u64, unknown: u64, open: u64,
            latencies in proptest::collection::vec(any::<(u32, u32)>(), 0..50),
            waits in proptest::collection::vec(any::<(u32, u32)>(), 0..50),
        ) {
            let late = waits.clone();
            let counts = Counts { requests, errors, unknown, open, latencies, late, waits, ..Counts::default() };
            let measured = Measured::from_counts(&counts);
            prop_assert!(measured.errors() <= measured.requests());
            prop_assert!(measured.latencies.len() <= measured.ended().saturating_add(open));
        }

        #[test]
        fn bounds_and_exceedances_agree(latencies in proptest::collection::vec(1_u64..10_000_000, 1..100), count in 1_u64..100) {
            let measured = of(&latencies);
            if let Some(bound) = measured.exceeded_by(count) {
                prop_assert!(measured.exceeding(bound) >= count);
                prop_assert!(measured.exceeding(bound + 1) < count);
            }
            if let Some(bound) = measured.exceeded_by_at_most(count) {
                prop_assert!(measured.exceeding(bound) <= count);
            }
        }
    }
}
