//! What a plan needs at the service's rate of requests, in words.

use super::screen::percent;
use client::Client;
use judge::SPAN;
use schema::{CurrentRollout, NeedsShape, StepNeedsShape};
use service::{Plan, Rate, Span};

/// A time as people read it: `2667 s` up to an hour, then `2.4 h`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        ..3_600.0 => format!("{:.0} s", seconds.ceil()),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

/// A rate as people read it: `3/s`, or `0.5/min`.
pub(super) fn rate(per_second: f64) -> String {
    let (number, unit) =
        if per_second > 0.0 && per_second < 0.1 { (per_second * 60.0, "min") } else { (per_second, "s") };
    let text = format!("{number:.2}");
    format!("{}/{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Why the deadline of a step comes first, if it does.
pub(super) fn late(step: &StepNeedsShape) -> Option<String> {
    let end = seconds(step.hold_s + step.deadline_s);
    let takes = |needs: Option<f64>| needs.map_or_else(|| "for ever".to_owned(), seconds);
    let why = match step.late.as_deref()? {
        "traffic" => format!("without requests it can only be aborted, after {end}"),
        "min_sample" => {
            format!("the minimum sample takes {}: it can only be aborted, after {end}", takes(step.min_sample_s))
        }
        _ => format!(
            "compareSample takes {}: with a p95 close to its limit it can only be aborted, after {end}",
            takes(step.compare_sample_s)
        ),
    };
    Some(format!("step {} ({}): {why}", step.step, percent(Some(step.weight))))
}

/// The line of `status`: what the present step and those to come need, and below it where a deadline comes first.
pub(super) fn line(needs: &NeedsShape, present: usize) -> String {
    let mut text = format!("at {}", rate(needs.rate));
    let to_come = || needs.steps.iter().filter(|step| step.step >= present);
    let takes = |step: &StepNeedsShape| step.takes_s.map_or_else(|| "for ever".to_owned(), seconds);
    let all: Vec<String> = to_come().map(takes).collect();
    match &all[..] {
        [] => {}
        [this] => text += &format!(" step {present} takes {this} at most"),
        [this, .., last] if all.len() > 5 => {
            text += &format!(" steps {present} to {} take from {this} to {last} each at most", needs.steps.len());
        }
        _ => text += &format!(" steps {present} to {} take {} at most", needs.steps.len(), all.join(", ")),
    }
    if let Some(step) = to_come().next() {
        text += &format!("; step {present} is aborted {} after its hold", seconds(step.deadline_s));
    }
    text.push('\n');
    for late in to_come().filter_map(late) {
        text += &format!("  the deadline comes first: {late}\n");
    }
    text
}

/// Says on stderr where the deadline of the rollout that has just begun comes first, at the rate of the last minute
/// on all nodes. Nodes that cannot be asked are left out: it is a warning and no more.
pub(super) async fn warn(client: &Client, plan: &Plan) {
    let rows = client.compare().await;
    let health = rows.iter().filter_map(|row| row.answer.as_ref().ok()?.health.as_ref());
    let requests = health.flat_map(|health| health.models.values()).map(|model| model.requests);
    let rate = Rate::of(requests.fold(0, u64::saturating_add), SPAN);
    let known = rows.iter().filter(|row| row.answer.is_ok()).map(|row| row.node);
    let current = client.first_of(known, "/rollouts/current").await.ok();
    let current: Option<CurrentRollout> = current.map(|(_, current)| current);
    let rollout = current.and_then(|current| current.rollout).filter(|rollout| rollout.outcome.is_none());
    // The first step's deadline was agreed by what its proposer knew.
    let agreed = rollout.filter(|rollout| rollout.step == 1).and_then(|rollout| rollout.deadline_s);
    let mut needs = plan.needs(rate);
    if let (Some(agreed), Some(first)) = (agreed, needs.first_mut()) {
        let agreed = std::time::Duration::try_from_secs_f64(agreed).ok().map(Span::from);
        let with = Plan { progress_deadline: agreed.or(plan.progress_deadline), ..plan.clone() };
        first.clone_from(&with.needs(rate)[0]);
    }
    let shape = NeedsShape::of(rate, &needs);
    let late: Vec<String> = shape.steps.iter().filter_map(late).collect();
    if late.is_empty() {
        return;
    }
    terminal::note(format_args!(
        "warning: at {}, the rate of the last minute, a deadline comes first",
        self::rate(shape.rate)
    ));
    late.iter().for_each(|late| terminal::note(format_args!("  {late}")));
    terminal::note(
        "  canary rollout explain shows what a plan needs; larger steps or a longer progressDeadlineSeconds help",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::PlanShape;

    fn needs(rate: Rate, deadline: Option<u32>) -> NeedsShape {
        let shape = PlanShape { progress_deadline_seconds: deadline, ..PlanShape::usual() };
        NeedsShape::of(rate, &shape.plan().expect("a plan").needs(rate))
    }

    #[test]
    fn times_and_rates_are_short() {
        assert_eq!(
            [0.2, 3_599.0, 8_000.0, 86_400.0, 604_800.0].map(seconds),
            ["1 s", "3599 s", "2.2 h", "24.0 h", "7 days"]
        );
        assert_eq!([0.0, 0.05, 0.15, 3.0, 1_250.5].map(rate), ["0/s", "3/min", "0.15/s", "3/s", "1250.5/s"]);
    }

    #[test]
    fn the_line_of_status_says_what_is_to_come() {
        let told = line(&needs(Rate(3_000_000), None), 1);
        let wanted =
            "at 3/s steps 1 to 4 take 2667 s, 667 s, 267 s, 134 s at most; step 1 is aborted 2.2 h after its hold\n";
        assert_eq!(told, wanted);
        let told = line(&needs(Rate(3_000_000), None), 4);
        assert_eq!(told, "at 3/s step 4 takes 134 s at most; step 4 is aborted 600 s after its hold\n");
        let told = line(&needs(Rate(1_800_000), Some(600)), 1);
        let late: Vec<&str> = told.lines().skip(1).collect();
        let min = "  the deadline comes first: step 1 (5 %): the minimum sample takes 656 s: it can only be \
                   aborted, after 630 s";
        let compare = "  the deadline comes first: step 2 (20 %): compareSample takes 1112 s: with a p95 close to its \
                       limit it can only be aborted, after 630 s";
        assert_eq!(late, [min, compare]);
        assert_eq!(line(&needs(Rate(1_800_000), Some(600)), 3).lines().count(), 1, "what is over is over");
    }
}
