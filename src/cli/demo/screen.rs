//! What is printed: lines as things happen, for a terminal of usual size, and plain where there is none.

use super::ledger::{Ledger, tolerance};
use super::mesh::Decided;
use super::models::{CANARY, ModelServers};
use super::stage::Stage;
use crate::cli::output::print_text;
use crate::cli::query::{Row, Verdict, table};
use crate::model::{NodeId, Weight};
use crate::pki::shell_word;
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// One step as it was seen.
pub(super) struct Step<'a> {
    pub(super) weight: Weight,
    pub(super) decided: &'a Decided,
    pub(super) rows: &'a [Row],
    pub(super) members: &'a [NodeId],
    pub(super) ledger: &'a Ledger,
}

pub(super) fn title() {
    print(format_args!("{BOLD}Three nodes, two model servers and real requests, all on this machine{BOLD:#}\n"));
}

pub(super) fn setting(stage: &Stage, models: &ModelServers) {
    for (node, host) in stage.peers.iter() {
        let (mesh, https) = (node.control_port(), node.data_port());
        print(format_args!("  {:<8}  {:<13}  {host}  mesh {mesh}, HTTPS {https}", node.to_string(), node.role_word()));
    }
    print(format_args!("  models    {}", models.listed()));
    print(format_args!(
        "  files     {} {DIM}(certificates, data, logs; removed at the end){DIM:#}",
        stage.path().display()
    ));
}

pub(super) fn ready(after: Duration) {
    print(format_args!("  mesh      in step {} after the start of three processes\n", millis(after)));
}

pub(super) fn header(members: &[NodeId]) {
    let seen = format!("SHARE OF {CANARY} IN REAL ANSWERS");
    print(format_args!("{BOLD}  AGREED  COMMIT IN  VERSIONS  {seen:<30}  WITHIN     ANSWERS  FAILED{BOLD:#}"));
    let letters = members.iter().map(|node| letter(*node)).collect::<Vec<_>>().join(" ");
    let names = members.iter().map(|node| format!("{:<8}", node.to_string())).collect::<Vec<_>>().join("  ");
    print(format_args!("{DIM}                     {letters:<8}  {names}{DIM:#}"));
}

pub(super) fn step(step: &Step<'_>) {
    let version = |node: &NodeId| {
        let row = step.rows.iter().find(|row| row.node == *node);
        let seen = row.and_then(|row| row.answer.as_ref().ok());
        seen.map_or_else(|| "-".to_owned(), |seen| seen.state.agreed.version.to_string())
    };
    let share = |node: &NodeId| {
        let share = step.ledger.share(*node);
        if share.answers == 0 {
            return format!("{:<8}", "-");
        }
        let style = if share.fits(step.weight) { GOOD } else { BAD };
        let text = format!("{:.1} %", share.fraction() * 100.0);
        format!("{style}{text:<8}{style:#}")
    };
    let versions = step.members.iter().map(version).collect::<Vec<_>>().join(" ");
    let shares = step.members.iter().map(share).collect::<Vec<_>>().join("  ");
    let least = step.members.iter().map(|node| step.ledger.share(*node).answers).filter(|answers| *answers > 0).min();
    let within = match tolerance(step.weight, least.unwrap_or_default()) * 100.0 {
        points if points > 0.0 => format!("± {points:.1} pt"),
        _ => "exactly".to_owned(),
    };
    let (agreed, took) = (step.weight.to_string(), millis(step.decided.took));
    let (answers, failed) = (step.ledger.step_answers(), step.ledger.failed());
    let style = if failed == 0 { Style::new() } else { BAD };
    print(format_args!(
        "  {agreed:>6}  {took:>9}  {versions:<8}  {shares}  {within:<9}  {answers:>7}  {style}{failed:>6}{style:#}"
    ));
}

pub(super) fn killing(node: NodeId) {
    print(format_args!("\n  Pulled back to 0 % at the moment at which {node} is killed (kill -9):"));
}

pub(super) fn bound(acknowledged: &[NodeId], killed: NodeId, until: Timestamp, answered: Timestamp) {
    let seconds = until.duration_since(answered).as_secs_f64();
    print(format_args!(
        "  acknowledged by {}; had {killed} only been cut off and not dead, it could have",
        listed(acknowledged)
    ));
    print(format_args!(
        "  served {CANARY} until {} at the latest, {seconds:.1} s after the answer",
        until.strftime("%T%.1fZ")
    ));
}

pub(super) fn returned(node: NodeId, version: u64, ready: Duration, in_step: Duration) {
    print(format_args!(
        "  {node} started again: answers after {}, at version {version} after {}",
        millis(ready),
        millis(in_step)
    ));
}

pub(super) fn never_again(node: NodeId, answers: u32) {
    print(format_args!("  none of {answers} answers of {node} since then came from {CANARY}"));
}

pub(super) fn end(rows: &[Row], ledger: &Ledger, took: Duration) {
    print(format_args!("\n{}\n{}\n", table(rows), Verdict::of(rows)));
    let cut_off = match ledger.cut_off() {
        0 => String::new(),
        count => format!(" ({count} more ended with the killed node)"),
    };
    print(format_args!(
        "{GOOD}PASSED{GOOD:#} in {:.1} s: {} requests answered, {} failed{cut_off}; half of them within {}, 99 % within {}",
        took.as_secs_f64(),
        ledger.answers(),
        ledger.failed(),
        millis(ledger.latency(0.5)),
        millis(ledger.latency(0.99)),
    ));
}

pub(super) fn to_try(stage: &Stage, models: &ModelServers) {
    let program = std::env::args_os().next().unwrap_or_else(|| "canary".into());
    let canary = format!("{} --certs {}", shell_word(Path::new(&program)), shell_word(&stage.certs()));
    let curl = format!("curl --cacert {}", shell_word(&stage.certs().join("ca.pem")));
    print(format_args!("\n{BOLD}Left up until Ctrl-C; the users go on asking. In another terminal:{BOLD:#}\n"));
    print(format_args!("  {canary} query --watch"));
    print(format_args!("  {canary} rollout set-weight 20"));
    print(format_args!("  {canary} rollout history"));
    if let Some((node, _)) = stage.peers.iter().next() {
        let url = format!("https://{}:{}", stage.host(node), node.data_port());
        print(format_args!("  {curl} {url}/routing/state"));
        print(format_args!("  {curl} {url}/predict -i -H 'x-canary-key: alice' -d '{{}}'"));
    }
    if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("PEERS_NODE_")) {
        print("  PEERS_NODE_* are set here and would point elsewhere: unset them there first");
    }
    print(format_args!("\n{DIM}  model servers: {}; logs: {}{DIM:#}", models.listed(), stage.logs().display()));
}

/// What the nodes logged last, on stderr, since it belongs to an error.
pub(super) fn logs(logs: Vec<(String, Vec<String>)>) {
    for (node, lines) in logs {
        if lines.is_empty() {
            continue;
        }
        anstream::eprintln!("last log lines of {node}:");
        for line in lines {
            anstream::eprintln!("  {line}");
        }
    }
}

pub(super) fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One line, or more. Someone who no longer reads is no reason to end; the exit code still tells.
fn print(text: impl Display) {
    let _ = print_text(&format!("{text}\n"));
}

/// The letter of `node-a`.
fn letter(node: NodeId) -> String {
    node.to_string().chars().last().map(String::from).unwrap_or_default()
}

/// Two or three digits that say something.
fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 9.995 {
        format!("{millis:.2} ms")
    } else if millis < 99.95 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_digits_that_say_something() {
        let shown = [870, 3_449, 9_999, 12_340, 99_980, 140_600].map(|micros| millis(Duration::from_micros(micros)));
        assert_eq!(shown, ["0.87 ms", "3.45 ms", "10.0 ms", "12.3 ms", "100 ms", "141 ms"]);
    }
}
