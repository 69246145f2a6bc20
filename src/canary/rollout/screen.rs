//! A rollout in text: one screen, or one line.

use super::needs;
use schema::{ApprovalsShape, CurrentRollout, FiguresShape, GateFinding, NextShape, RolloutShape, TrialShape};
use service::operators;
use std::fmt::Write as _;
use terminal::{shares, table};

/// Everything about it.
pub(super) fn rollout(current: &CurrentRollout) -> String {
    let mut text = match &current.rollout {
        Some(rollout) => title(rollout),
        None => "weight set by hand, no rollout\n".to_owned(),
    };
    let _ = writeln!(text, "agreed {} (version {})", shares(&current.weights), current.version);
    text += &current.rollout.as_ref().map(approvals).unwrap_or_default();
    if let Some(trial) = &current.trial {
        text += &progress(current.rollout.as_ref(), trial);
        if let (Some(needs), Some(rollout)) = (&current.needs, &current.rollout) {
            text += &needs::line(needs, rollout.step);
        }
        text += &format!("\n{}\n{}", models(current, trial), gates(trial));
    }
    text += &format!("\n{}", nodes(current));
    if let Some(rollout) = &current.rollout {
        let _ = writeln!(text, "\nyou can: {}", commands(rollout));
    }
    text
}

/// What does not change from one look to the next while nothing happens.
pub(super) fn state(current: &CurrentRollout) -> String {
    let rollout = current.rollout.as_ref().map(title).unwrap_or_default();
    let next = current.trial.as_ref().map(|trial| trial.next.what.clone()).unwrap_or_default();
    format!("{} {rollout} {next}", current.version)
}

/// The same in a line.
pub(super) fn line(current: &CurrentRollout) -> String {
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default();
    let rollout = current.rollout.as_ref().map(title).unwrap_or_default();
    let trial = current.trial.as_ref().map(|trial| {
        let figures = |figures: &FiguresShape| {
            let (errors, p95) = (percent(figures.error_rate), millis(figures.p95));
            format!("{} requests, errors {errors}, p95 {p95}", figures.requests)
        };
        format!("; canary {}; stable {}; {}", figures(&trial.canary), figures(&trial.stable), next(&trial.next))
    });
    format!("{now} {}{}", rollout.trim_end(), trial.unwrap_or_default())
}

fn title(rollout: &RolloutShape) -> String {
    let (canary, stable) = (&rollout.canary_model_id, &rollout.stable_model_id);
    let stands = rollout.outcome.as_deref().map_or(String::new(), |outcome| format!(" ({outcome})"));
    let why = rollout.why.as_deref().map_or(String::new(), |why| format!(": {why}"));
    format!(
        "{} {canary} over {stable}, step {} of {}, {}{stands}{why}\n",
        rollout.id, rollout.step, rollout.steps, rollout.phase
    )
}

/// Who approved each step that asks for it.
fn approvals(rollout: &RolloutShape) -> String {
    let line = |ApprovalsShape { step, weight, needed, by }: &ApprovalsShape| {
        let (weight, by, count) = (percent(Some(*weight)), operators(by), by.len());
        format!("approvals of step {step} ({weight}): {count} of {needed}, {by}\n")
    };
    rollout.approvals.iter().map(line).collect()
}

fn progress(rollout: Option<&RolloutShape>, trial: &TrialShape) -> String {
    let all = trial.canary.requests + trial.stable.requests;
    let mut text = format!("observed {} of {all} requests", percent(trial.observed_share));
    if let (Some(held), Some(rollout)) = (trial.held_s, rollout) {
        let _ = write!(text, ", held {held:.0} s of {:.0} s", rollout.hold_s);
    }
    let _ = write!(text, "\nnext: {}", next(&trial.next));
    if trial.missing > 0 {
        let _ = write!(text, "; {} requests missing{}", trial.missing, prospect(trial));
    }
    if let Some(hint) = trial.next.held_by.as_deref().map(hint) {
        let _ = write!(text, "\n  {hint}");
    }
    if !trial.unheeded.is_empty() {
        let nodes: Vec<_> = trial.unheeded.iter().map(ToString::to_string).collect();
        let nodes = nodes.join(", ");
        let _ = write!(text, "\n{nodes} speak an older version: their counts can fail the step and not pass it");
    }
    if let Some(why) = &trial.refused {
        let _ = write!(text, "\nnot made yet: {why}");
    }
    text + "\n"
}

/// When the requests that are missing will be there.
fn prospect(trial: &TrialShape) -> String {
    let FiguresShape { requests, uncounted, .. } = trial.canary;
    match trial.missing_for_s {
        Some(seconds) => format!(", there in {seconds:.0} s at this rate"),
        None if requests == 0 && uncounted > 0 => format!(": no requests that count; {uncounted} others"),
        None => ", and none come".to_owned(),
    }
}

/// What an operator can do about what holds the step up.
fn hint(held_by: &str) -> &'static str {
    match held_by {
        "requests" => {
            "wait for them; or promote without a verdict, or start with larger steps or a smaller minSample: explain shows \
             what a plan needs"
        }
        "no_requests" => "see that users' requests reach these nodes; promote goes on without a verdict, abort ends it",
        "settling" => "nothing: the step is passed when the counts have stood for a while",
        "nothing_to_judge" => "promote or abort: the plan has no limit that could be measured here",
        "approvals" => "canary rollout approve, by operators who have not approved it yet",
        _ => "look what the canary does there: more requests will tell; promote if it is as it should be, abort if not",
    }
}

fn next(next: &NextShape) -> String {
    let left = next.in_s.map_or(String::new(), |seconds| format!(" in {seconds:.0} s"));
    let then = next.then.map_or("the canary becomes stable".to_owned(), |weight| percent(Some(weight)));
    match next.what.as_str() {
        "begins" => "the members are taking the step".into(),
        "holds" => format!("{then}{left}, if nothing speaks against it"),
        "undecided" => match &next.waits_for {
            Some(why) => format!("the hold is over, held up by: {why}; aborted{left}"),
            None => format!("the hold is over, the verdict is open; aborted{left}"),
        },
        "awaits_approval" => format!("waits for {}", next.waits_for.as_deref().unwrap_or("approvals")),
        "advances" => "the next step is being taken".into(),
        "rolls_back" => "the canary has failed and is being pulled back".into(),
        "waits" => "waits for you".into(),
        "manual" => "nothing: the weight was set by hand".into(),
        other => other.to_owned(),
    }
}

fn models(current: &CurrentRollout, trial: &TrialShape) -> String {
    let header = ["MODEL", "REQUESTS", "PER SECOND", "ERRORS", "UNKNOWN", "4XX", "3XX", "OTHERS", "P50", "P95", "P99"];
    let name = |of: fn(&RolloutShape) -> String, otherwise: &str| {
        current.rollout.as_ref().filter(|rollout| rollout.outcome.is_none()).map_or(otherwise.to_owned(), of)
    };
    let row = |name: String, figures: &FiguresShape| {
        let FiguresShape { requests, errors, unknown, redirects, client_errors, uncounted, .. } = *figures;
        let FiguresShape { rate, error_rate, p50, p95, p99, .. } = *figures;
        [
            name,
            requests.to_string(),
            format!("{rate:.1}"),
            format!("{errors} ({})", percent(error_rate)),
            unknown.to_string(),
            client_errors.to_string(),
            redirects.to_string(),
            uncounted.to_string(),
            millis(p50),
            millis(p95),
            millis(p99),
        ]
    };
    let stable = row(name(|rollout| rollout.stable_model_id.to_string(), "stable"), &trial.stable);
    table(header, [stable, row(name(|rollout| rollout.canary_model_id.to_string(), "canary"), &trial.canary)])
}

fn gates(trial: &TrialShape) -> String {
    let header = ["LIMIT OF", "MEASURED", "LIMIT", "SAMPLE", "VERDICT", "MODE"];
    let row = |finding: &GateFinding| {
        let shown = |value: f64| match finding.gate.as_str() {
            "max_p95_ms" => millis(Some(value)),
            "p95_ratio" => format!("{value:.2} x"),
            _ => percent(Some(value)),
        };
        let told = if finding.told { " (reported)" } else { "" };
        [
            format!("{}{told}", finding.gate),
            finding.value.map_or_else(|| "-".to_owned(), shown),
            shown(finding.limit),
            finding.sample.to_string(),
            finding.verdict.clone(),
            finding.mode.clone(),
        ]
    };
    table(header, trial.gates.iter().map(row))
}

fn nodes(current: &CurrentRollout) -> String {
    let header = ["NODE", "VERSION", "LINK", "CANARY REQUESTS", "FAILED", "REPORTED", "NOTE"];
    let row = |(id, node): (&model::NodeId, &schema::NodeShape)| {
        let link = if node.connected { "up" } else { "down" };
        let age = node.report_age_ms.map_or_else(|| "-".to_owned(), |age| format!("{} s ago", age / 1_000));
        let drained = node.drained.then(|| "drained".to_owned());
        let ejected = node.ejected.as_ref().map(|why| format!("serves stable only: {why}"));
        [
            id.to_string(),
            node.version.to_string(),
            link.to_owned(),
            node.canary_requests.to_string(),
            node.canary_errors.to_string(),
            age,
            drained.into_iter().chain(ejected).collect::<Vec<_>>().join(", "),
        ]
    };
    table(header, current.nodes.iter().map(row))
}

/// What makes sense now.
fn commands(rollout: &RolloutShape) -> String {
    let verbs: &[&str] = match (rollout.phase.as_str(), rollout.outcome.as_deref()) {
        ("Progressing", _) => &["promote", "promote --full", "pause", "abort"],
        ("Paused", _) => &["promote", "promote --full", "resume", "abort"],
        (_, Some("Aborted" | "RolledBack")) => &["retry", "start MODEL", "history"],
        _ => &["undo", "start MODEL", "history"],
    };
    let awaited = |of: &ApprovalsShape| of.step > rollout.step && of.by.len() < of.needed;
    let approve = (rollout.outcome.is_none() && rollout.approvals.iter().any(awaited)).then_some("approve");
    let verbs = approve.iter().chain(verbs).map(|verb| format!("canary rollout {verb}"));
    verbs.collect::<Vec<_>>().join("  |  ")
}

pub(super) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(
        || "-".to_owned(),
        |fraction| {
            let text = format!("{:.2}", fraction * 100.0);
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        },
    )
}

fn millis(millis: Option<f64>) -> String {
    millis.map_or_else(
        || "-".to_owned(),
        |millis| {
            if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_requests_that_count_says_how_many_others_there_are() {
        let document = serde_json::json!({
            "held_s": 9.0, "observed_share": null, "gates": [], "verdict": "not_enough", "missing": 59,
            "missing_for_s": null, "next": {"what": "undecided", "in_s": 3.0, "then": null, "waits_for": null},
            "refused": null,
            "stable": {"requests": 0, "errors": 0, "client_errors": 0, "uncounted": 121, "rate": 0.0},
            "canary": {"requests": 0, "errors": 0, "client_errors": 0, "uncounted": 120, "rate": 0.0},
        });
        let mut trial: TrialShape = serde_json::from_value(document).expect("a trial");
        let told = |trial: &TrialShape| progress(None, trial);
        assert!(
            told(&trial).contains("; 59 requests missing: no requests that count; 120 others\n"),
            "{}",
            told(&trial)
        );
        trial.canary.uncounted = 0;
        assert!(told(&trial).contains("; 59 requests missing, and none come\n"), "{}", told(&trial));
        (trial.missing, trial.canary.requests, trial.canary.uncounted) = (58, 1, 120);
        trial.missing_for_s = Some(4.0);
        assert!(told(&trial).contains("; 58 requests missing, there in 4 s at this rate\n"), "{}", told(&trial));
    }
}
