//! `canary rollout explain`.

use super::needs::{late, rate, seconds};
use super::plan::PlanArgs;
use super::screen::percent;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use clap::Args;
use judge::Power;
use model::Weight;
use schema::{NeedsShape, StepNeedsShape};
use serde::Serialize;
use service::{Compare, Metric, Mode, Plan, Rate};
use terminal::table;

/// Show what a plan needs at a rate of requests, and what it costs to find a bad canary. It asks no node.
///
/// A step takes its hold, or as long as it takes until the requests are there that a verdict needs. Where the
/// deadline comes first, the rollout could only be aborted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary rollout explain --rate 3/s
  canary rollout explain --steps 1,10,100 --hold 10m --rate 90/min
  canary rollout explain --plan plan.toml --rate 0.5/s --output json

Exit code: 0; 2 the plan is none, or the rate.")]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// How many requests come to the service, to all nodes together: a second, a minute or an hour.
    #[arg(long, value_name = "COUNT/s", value_parser = parse_rate)]
    rate: Rate,
    /// How to print.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Output,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    needs: NeedsShape,
    /// What a canary that is at twice a limit costs in the first step.
    power: Vec<PowerShape>,
}

/// What a canary that is at twice one limit costs.
#[derive(Debug, Serialize)]
struct PowerShape {
    /// As in a plan.
    gate: &'static str,
    /// The limit, in the unit of the plan.
    limit: f64,
    /// `enforce`, `pause` or `observe`.
    mode: &'static str,
    /// Requests to the canary after which half of all such canaries are found.
    requests: u64,
    /// Seconds that these take; none without traffic.
    seconds: Option<f64>,
    /// How many of these failed, were too slow, or ended as the limit says.
    hit: u64,
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let (_, plan) = args.plan.read()?;
    let explained = Explained::of(&plan, args.rate);
    args.output.print(|| text(&explained), &explained)
}

impl Explained {
    fn of(plan: &Plan, rate: Rate) -> Self {
        let first = plan.steps.first().map_or(Weight::FULL, |step| step.weight);
        let to_canary = rate.part(first);
        let power = judge::power(&plan.gates, first);
        let power = power.iter().map(|power| PowerShape::of(power, to_canary)).collect();
        Self { needs: NeedsShape::of(rate, &plan.needs(rate)), power }
    }
}

impl PowerShape {
    fn of(power: &Power, to_canary: Rate) -> Self {
        let Power { gate, requests, hit } = *power;
        #[allow(clippy::cast_precision_loss, reason = "limits are at most a hundred millions")]
        let limit = gate.limit as f64 / gate.name.unit() as f64;
        let mode = match gate.mode {
            Mode::Enforce => "enforce",
            Mode::Pause => "pause",
            Mode::Observe => "observe",
        };
        let seconds = to_canary.time_for(requests).map(|span| span.duration().as_secs_f64());
        Self { gate: gate.name.word(), limit, mode, requests, seconds, hit }
    }
}

fn text(explained: &Explained) -> String {
    let Explained { needs, power } = explained;
    let never = || "never".to_owned();
    let step = |step: &StepNeedsShape| {
        let compare = match (step.compare_sample_s, step.min_sample_s) {
            (Some(time), _) => seconds(time),
            (None, Some(_)) => "-".to_owned(),
            (None, None) => never(),
        };
        [
            step.step.to_string(),
            percent(Some(step.weight)),
            rate(step.canary_rate),
            seconds(step.hold_s),
            step.min_sample_s.map_or_else(never, seconds),
            compare,
            step.takes_s.map_or_else(never, seconds),
            format!("{} after the hold", seconds(step.deadline_s)),
        ]
    };
    let header = ["STEP", "WEIGHT", "TO THE CANARY", "HOLD", "MIN SAMPLE", "COMPARE SAMPLE", "AT MOST", "ABORTED"];
    let mut text = format!("at {}:\n{}", rate(needs.rate), table(header, needs.steps.iter().map(step)));
    for late in needs.steps.iter().filter_map(late) {
        text += &format!("the deadline comes first: {late}\n");
    }
    let Some(first) = needs.steps.first() else { return text };
    let header = ["LIMIT OF", "LIMIT", "THEN", "REQUESTS", "THAT TAKES", "BAD ONES"];
    let row = |power: &PowerShape| {
        [
            power.gate.to_owned(),
            limit(power),
            power.mode.to_owned(),
            power.requests.to_string(),
            power.seconds.map_or_else(never, seconds),
            power.hit.to_string(),
        ]
    };
    let weight = percent(Some(first.weight));
    text += &format!("\na canary at twice a limit, in step 1 ({weight}), until half of all such canaries are found:\n");
    text += &table(header, power.iter().map(row));
    text +=
        "BAD ONES are the requests that failed, were too slow, or ended as the limit says; with the shield users see\n";
    text += "few of the failures. Latencies are taken to be spread exponentially, and stable to have no such ends.\n";
    text
}

/// A limit with its unit.
fn limit(power: &PowerShape) -> String {
    let named = service::GateName::all().find(|name| name.word() == power.gate);
    match named.map(|name| (name.compare, name.metric)) {
        Some((Compare::Limit, Metric::P95)) => format!("{} ms", power.limit),
        Some((Compare::Stable, Metric::P95)) => format!("{} x", power.limit),
        Some(_) | None => percent(Some(power.limit)),
    }
}

/// Reads `3/s`, `180/min` or `0.5/h`.
fn parse_rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is no rate such as 3/s, 90/min or 10/h");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let count: f64 = count.trim().parse().map_err(|_| wrong())?;
    if !(0.0..=1e9).contains(&count) {
        return Err(wrong());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1e15")]
    Ok(Rate((count * 1e6 / seconds).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::PlanShape;

    fn explained(rate: &str, deadline: Option<u32>) -> Explained {
        let shape = PlanShape { progress_deadline_seconds: deadline, ..PlanShape::usual() };
        Explained::of(&shape.plan().expect("a plan"), parse_rate(rate).expect("a rate"))
    }

    #[test]
    fn rates_have_a_unit() {
        assert_eq!((parse_rate("3/s"), parse_rate("90/min")), (Ok(Rate(3_000_000)), Ok(Rate(1_500_000))));
        assert_eq!((parse_rate("0/s"), parse_rate("0.36 / h")), (Ok(Rate(0)), Ok(Rate(100))));
        for wrong in ["", "3", "3/", "/s", "-1/s", "NaN/s", "inf/s", "1e10/s", "3/d"] {
            assert!(parse_rate(wrong).is_err(), "{wrong:?} must be refused");
        }
    }

    #[test]
    fn a_plan_that_could_only_be_aborted_says_so() {
        let slow = text(&explained("1.8/s", Some(600)));
        let late = "the deadline comes first: step 1 (5 %): the minimum sample takes 656 s: it can only be aborted, after \
                    630 s\n";
        assert!(slow.contains(late), "{slow}");
        assert!(!text(&explained("1.8/s", None)).contains("comes first"), "three times what it needs is enough");
        let none = text(&explained("0/s", None));
        assert!(none.contains("step 4 (100 %): without requests it can only be aborted, after 630 s"), "{none}");
    }

    #[test]
    fn it_tells_what_each_limit_costs() {
        let Explained { needs, power } = explained("3/s", None);
        assert_eq!((needs.rate, needs.steps.len(), power.len()), (3.0, 4, 7));
        let rate = power.iter().find(|power| power.gate == "max_error_rate").expect("it is in the plan");
        assert!(rate.requests > 59 && rate.hit * 9 < rate.requests && rate.hit * 11 > rate.requests, "{rate:?}");
        let seconds = rate.seconds.expect("there is traffic");
        assert!((seconds * 0.15 - 300.0).abs() < 300.0, "{seconds}");
    }
}
