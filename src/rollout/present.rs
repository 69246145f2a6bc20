//! The trial that is going on, as far as one node has come with it: its clock, its windows, and what was told of it.

use super::rules::Rules;
use super::status::{HeldUp, Next};
use super::trial::Trial;
use judge::{Arms, Judgement, Measured, Ruling, Samples};
use model::{Evidence, Judging, NodeSet, Recent, Report, Time};
use service::{Metric, Missing, Rate, Rollout};
use std::collections::VecDeque;
use std::time::Duration;

/// How often a node reports what it has measured when nothing is wrong: as often as it sends heartbeats.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// A node that measures failures tells them at once, but not more often than this.
const REPORT_BAD_EVERY: Duration = Duration::from_millis(100);
/// A connected member without a report for this long cannot be measured.
pub(super) const REPORT_STALE: Duration = Duration::from_secs(7);
/// A window is begun anew when it is older than this and has this many requests to the canary, so that a long good past
/// does not hide a canary that turns bad.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_REQUESTS: u64 = 2_000;

/// A rate of requests is known when a window is open for this long: what others have counted is up to two seconds old.
const RATE_AFTER: Duration = Duration::from_secs(5);
/// What holds a step up is told again when it is something else, but not more often than this: a figure may go to and
/// fro about its limit with every request.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Seconds of the step that tests of their own have begun in, each going on for as many seconds.
const RECENT_SECONDS: usize = 4;

/// What a vote of this node says, and why it speaks against more, if it does.
pub(super) type Told = (Evidence, Option<String>);

/// The trial that is going on.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) trial: Trial,
    /// When this node took the step.
    pub(super) seen: Time,
    /// When the last member did: since then it is held and measured.
    pub(super) began: Option<Time>,
    /// When the window began, and how many there were before it.
    pub(super) window_began: Time,
    pub(super) window: u32,
    /// Why this node has stopped serving the canary by itself, if it has.
    pub(super) ejected: Option<String>,
    /// When approvals of the next step were missing last.
    unapproved: Time,
    /// How often in a row a connected member had nothing to say.
    pub(super) unmeasured: u32,
    measure_at: Time,
    /// What was counted of the canary when each of the last seconds began.
    starts: VecDeque<Recent>,
    reported: Time,
    reported_bad: u64,
    told: Option<Told>,
    /// The rate of the requests to both models, on all nodes, as soon as it is known.
    pub(super) rate: Option<Rate>,
    /// What was told last to hold the step up, and when.
    told_held_up: Option<(HeldUp, Time)>,
}

/// How far the present step is by its plan.
pub(super) struct Clock {
    /// How much longer it is held; none when that is over.
    pub(super) holds: Option<Duration>,
    /// How much longer it may stay undecided.
    pub(super) deadline: Duration,
}

impl Present {
    /// A trial that this node has just taken up.
    pub(super) fn new(trial: Trial, now: Time) -> Self {
        Self {
            trial,
            seen: now,
            began: None,
            window_began: now,
            window: 0,
            ejected: None,
            unapproved: Time::ZERO,
            unmeasured: 0,
            measure_at: now,
            starts: VecDeque::new(),
            reported: now,
            reported_bad: 0,
            told: None,
            rate: None,
            told_held_up: None,
        }
    }

    /// Starts the step's clock.
    pub(super) fn begin(&mut self, now: Time) {
        (self.began, self.window_began, self.reported) = (Some(now), now, now);
        self.measure_at = now + REPORT_STALE;
    }

    /// Takes note that the next step waits for people. That may take them a night, and is no fault of the canary: only
    /// when the last approval is there does the time begin in which the step has to be passed.
    pub(super) fn wait_for_people(&mut self, now: Time, awaited: Option<&Missing>) {
        if awaited.is_some() {
            self.unapproved = now;
        }
    }

    /// How far the step is; none before it has begun.
    pub(super) fn clock(&self, now: Time, rollout: &Rollout) -> Option<Clock> {
        let began = self.began?;
        let hold = rollout.plan.steps.get(rollout.step)?.hold.duration();
        let held = began + hold;
        let holds = Some(held.since(now)).filter(|left| !left.is_zero());
        let deadline = (held.max(self.unapproved) + deadline(rollout)).since(now);
        Some(Clock { holds, deadline })
    }

    /// Looks from time to time whether a connected member is silent.
    pub(super) fn watch(&mut self, now: Time, silent: NodeSet) {
        if now >= self.measure_at {
            self.measure_at = now + REPORT_EVERY;
            self.unmeasured = if silent.is_empty() { 0 } else { self.unmeasured.saturating_add(1) };
        }
    }

    /// What was counted of the canary since each of the last seconds.
    pub(super) fn recent(&mut self, now: Time, own: &Samples) -> Vec<Recent> {
        let Some(began) = self.began else { return Vec::new() };
        let second = u32::try_from(now.since(began).as_secs()).unwrap_or(u32::MAX);
        let all = own.canary_at(second, micros(self.trial.late_after()));
        if self.starts.back().is_none_or(|newest| newest.second != all.second) {
            self.starts.push_back(all);
        }
        if self.starts.len() > RECENT_SECONDS {
            self.starts.pop_front();
        }
        self.starts.iter().map(|start| all.since(*start)).collect()
    }

    /// Why the canary is held to be bad, if it is: here, or on all nodes together. In a rollout the node stops
    /// serving it then. That is for good: only another step, or a word of an operator, begins anew.
    pub(super) fn condemn(
        &mut self,
        rules: &impl Rules,
        verdict: &Judgement,
        own: &Judgement,
        recent: Option<String>,
    ) -> Option<String> {
        let failed = |judgement: &Judgement, whose: &str| match judgement.ruling {
            Ruling::Fail(_) => Some(format!("{} {whose}", reason(judgement))),
            Ruling::Pass | Ruling::Pause(_) | Ruling::NotEnough => None,
        };
        let why = failed(verdict, "on all nodes").or_else(|| failed(own, "on this node")).or(recent);
        if self.ejected.is_none() && rules.ejects(&self.trial) {
            self.ejected.clone_from(&why);
        }
        self.ejected.clone().or(why)
    }

    /// Takes note of the rate at which requests come, once the window is open long enough.
    pub(super) fn pace(&mut self, now: Time, pooled: &Samples) {
        let open = now.since(self.window_began);
        if self.began.is_some() && open >= RATE_AFTER {
            let Samples { routed, told, .. } = pooled;
            let counts = [&routed.stable, &routed.canary, &told.stable, &told.canary].map(Measured::requests);
            let requests = counts.into_iter().fold(0, u64::saturating_add);
            self.rate = Some(Rate::of(requests, open));
        }
    }

    /// Whether people are to be told that the step is held up: it was not before, or it is by something else now.
    pub(super) fn is_held_up_anew(&mut self, now: Time, next: &Next) -> bool {
        let Some(by) = next.held_up() else { return false };
        let is_told = |(told, at): (HeldUp, Time)| told == by || now < at + TELL_EVERY;
        let is_new = !self.told_held_up.is_some_and(is_told);
        if is_new {
            self.told_held_up = Some((by, now));
        }
        is_new
    }

    /// What the others are to be told: from time to time, and at once when something is wrong.
    pub(super) fn report(
        &mut self,
        now: Time,
        own: &Samples,
        judged: &Judgement,
        recent: Vec<Recent>,
        is_urgent: bool,
    ) -> Option<Report> {
        let limit = micros(self.trial.late_after());
        // What clients bring about is usual at some services: it is news only where it is more than the limit.
        let is_news =
            |metric| judged.findings.iter().any(|finding| finding.gate.metric == metric && finding.is_beyond());
        let news = |metric, count| if is_news(metric) { count } else { 0 };
        let bad_of = |canary: &Measured| {
            let provoked = news(Metric::UnknownRate, canary.unknown())
                .saturating_add(news(Metric::Rate3xx, canary.redirects()))
                .saturating_add(news(Metric::Rate4xx, canary.client_errors()));
            canary.errors().saturating_add(canary.exceeding(limit)).saturating_add(provoked)
        };
        let bad = bad_of(&own.routed.canary).saturating_add(bad_of(&own.told.canary));
        let due = now >= self.reported + REPORT_EVERY;
        let is_bad = bad > self.reported_bad && now >= self.reported + REPORT_BAD_EVERY;
        if !(due || is_bad || is_urgent) {
            return None;
        }
        (self.reported, self.reported_bad) = (now, bad);
        Some(Report {
            epoch: self.trial.epoch,
            window: self.window,
            open_ms: u64::try_from(now.since(self.window_began).as_millis()).unwrap_or(u64::MAX),
            stable: own.routed.stable.to_counts(),
            canary: own.routed.canary.to_counts(),
            told: told(&own.told),
            recent,
            ejected: self.ejected.clone(),
            judging: Judging::Strict,
        })
    }

    /// What this node's votes say, if that has changed.
    pub(super) fn news(&mut self, own: &Samples, failing: Option<String>) -> Option<Told> {
        let evidence = Evidence { stable: own.stable().summary(), canary: own.canary().summary() };
        let told = Some((evidence, failing));
        if self.told == told {
            return None;
        }
        self.told.clone_from(&told);
        told
    }

    /// Begins a new window when this one is old and full; says whether it did.
    pub(super) fn renew_window(&mut self, now: Time, own: &Samples) -> bool {
        let full = now >= self.window_began + WINDOW
            && own.routed.canary.requests().saturating_add(own.told.canary.requests()) >= WINDOW_REQUESTS;
        let renews = full && self.ejected.is_none();
        if renews {
            (self.window_began, self.reported_bad) = (now, 0);
            self.starts.clear();
            self.window = self.window.saturating_add(1);
        }
        renews
    }
}

/// How long a step of `rollout` may stay undecided after its hold.
pub(super) fn deadline(rollout: &Rollout) -> Duration {
    rollout.progress_deadline().duration()
}

/// What applications told, in the form in which nodes tell it each other; none where they told nothing.
fn told(arms: &Arms) -> Option<Box<model::Told>> {
    let is_empty = arms.stable.is_empty() && arms.canary.is_empty();
    (!is_empty).then(|| Box::new(model::Told { stable: arms.stable.to_counts(), canary: arms.canary.to_counts() }))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a failure or a pause rests on, in words.
pub(super) fn reason(judgement: &Judgement) -> String {
    judgement.reason().map(ToString::to_string).unwrap_or_default()
}

/// What keeps a step from being passed, and the same in words; `others` are the requests to the canary beside those
/// that count.
pub(super) fn obstacle(judgement: &Judgement, counted: u64, others: u64) -> (HeldUp, String) {
    if let Some(finding) = judgement.reason() {
        return (HeldUp::Gate(finding.gate), finding.to_string());
    }
    let by = match judgement.open().next() {
        _ if judgement.missing > 0 && counted == 0 => HeldUp::NoRequests,
        _ if judgement.missing > 0 => HeldUp::Requests,
        Some(finding) => HeldUp::Gate(finding.gate),
        None if judgement.ruling == Ruling::Pass => {
            return (HeldUp::Settling, "the counts were begun anew just now".into());
        }
        None => return (HeldUp::Nothing, "no limit has anything to be held against".into()),
    };
    let why =
        if counted == 0 && others > 0 { format!(": no requests that count; {others} others") } else { String::new() };
    let missing =
        (judgement.missing > 0).then(|| format!("{} requests to the canary are missing{why}", judgement.missing));
    let open = judgement.open().map(ToString::to_string);
    (by, missing.into_iter().chain(open).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_waits_says_for_what_and_why_that_does_not_come() {
        let judgement = Judgement { ruling: Ruling::NotEnough, findings: Vec::new(), missing: 59, uncounted: 0 };
        let missing = "59 requests to the canary are missing";
        assert_eq!(obstacle(&judgement, 0, 0), (HeldUp::NoRequests, missing.to_owned()));
        let others = format!("{missing}: no requests that count; 120 others");
        assert_eq!(obstacle(&judgement, 0, 120), (HeldUp::NoRequests, others));
        let (by, why) = obstacle(&Judgement { missing: 9, ..judgement.clone() }, 50, 120);
        assert_eq!((by, why.as_str()), (HeldUp::Requests, "9 requests to the canary are missing"));
        assert_eq!(obstacle(&Judgement { missing: 0, ..judgement.clone() }, 59, 0).0, HeldUp::Nothing);
        let passed = Judgement { missing: 0, ruling: Ruling::Pass, ..judgement };
        assert_eq!(obstacle(&passed, 59, 0).0, HeldUp::Settling);
    }
}
