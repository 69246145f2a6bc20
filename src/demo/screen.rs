//! The printed lines: one as each thing happens, for a terminal of usual size, and plain where there is none.

use super::ledger::{Ledger, USERS, tolerance};
use super::models::{ERRORS_IN_TEN, Model, ModelServers, SLOW_IN_TEN};
use super::stage::Stage;
use anstyle::{AnsiColor, Style};
use client::{Row, Verdict};
use model::{NodeId, Weight};
use schema::CurrentRollout;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use terminal::shares;
use trust::shell_word;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
/// Of a digest, enough to see that two are the same.
const SHOWN_DIGEST: usize = 12;

/// One step as it was seen.
pub(super) struct Step<'a> {
    pub(super) weight: Weight,
    /// How long it took to agree on it.
    pub(super) commit: Duration,
    pub(super) seen: Seen<'a>,
    pub(super) verdict: &'a str,
}

/// What the nodes showed and answered at one version.
pub(super) struct Seen<'a> {
    pub(super) rows: &'a [Row],
    pub(super) members: &'a [NodeId],
    pub(super) ledger: &'a Ledger,
    pub(super) version: u64,
}

/// What a bad canary did before it was stopped.
pub(super) struct Damage {
    pub(super) canary: Model,
    /// From its first bad answer until the last node had stopped serving it …
    pub(super) from_bad_answer: Option<Duration>,
    /// … and from its first request on.
    pub(super) from_request: Duration,
    pub(super) requests: u64,
    pub(super) bad: u64,
    pub(super) users: usize,
}

pub(super) fn title() {
    let what = format!("Three nodes, their models and {USERS} users who ask over HTTPS, all on this machine");
    print(format_args!("{BOLD}{what}{BOLD:#}\n"));
}

pub(super) fn setting(stage: &Stage, models: &ModelServers) {
    for (node, host) in stage.peers.iter() {
        let (mesh, https) = (node.control_port(), node.data_port());
        print(format_args!("  {:<8}  {:<13}  {host}  mesh {mesh}, HTTPS {https}", node.to_string(), node.role_word()));
    }
    print(format_args!("  models    {}  {DIM}(20 ms an answer){DIM:#}", models.listed()));
    print(format_args!(
        "  files     {} {DIM}(certificates, data, logs; removed at the end){DIM:#}",
        stage.path().display()
    ));
}

pub(super) fn ready(after: Duration) {
    print(format_args!("  mesh      in step {} after the start of three processes", millis(after)));
}

pub(super) fn good_title(number: usize, canary: Model, stable: Model, command: &str) {
    print(format_args!("\n{BOLD}{number}  A good {canary} takes over from {stable}{BOLD:#}   {DIM}{command}{DIM:#}"));
    print("   Started once; every further step is taken by the nodes themselves, from what they measure.\n");
}

pub(super) fn header(members: &[NodeId], canary: Model) {
    let seen = format!("SHARE OF {canary} IN ANSWERS");
    print(format_args!(
        "{BOLD}   AGREED  COMMIT   VERSIONS  {seen:<25}  WITHIN    THE NODES' VERDICT ON {canary}{BOLD:#}"
    ));
    let letters = members.iter().map(|node| letter(*node)).collect::<Vec<_>>().join(" ");
    let names = members.iter().map(|node| format!("{:<7}", node.to_string())).collect::<Vec<_>>().join("  ");
    print(format_args!("{DIM}                    {letters:<8}  {}{DIM:#}", names.trim_end()));
}

pub(super) fn row(agreed: &str, step: &Step<'_>) {
    let Step { weight, commit, seen, verdict } = step;
    let share = |node: &NodeId| {
        let share = seen.ledger.share(seen.version, *node);
        let style = if share.fits(*weight) { GOOD } else { BAD };
        let text = format!("{:.1} %", share.fraction() * 100.0);
        format!("{style}{text:<7}{style:#}")
    };
    let shares = seen.members.iter().map(share).collect::<Vec<_>>().join("  ");
    let least = seen.members.iter().map(|node| seen.ledger.share(seen.version, *node).answers).min();
    let within = match tolerance(*weight, least.unwrap_or_default()) * 100.0 {
        points if points > 0.0 => format!("± {points:.1} pt"),
        _ => "exactly".to_owned(),
    };
    let (took, versions, verdict) = (millis(*commit), versions(seen), coloured(verdict));
    print(format_args!("   {agreed:>6}  {took:<7}  {versions:<8}  {shares}  {within:<8}  {verdict}"));
}

/// A verdict with its word in green, where it is a good one.
fn coloured(verdict: &str) -> String {
    match verdict.split_once(':') {
        Some((word @ ("pass" | "Promoted"), rest)) => format!("{GOOD}{word}{GOOD:#}:{rest}"),
        Some(_) | None => verdict.to_owned(),
    }
}

fn versions(seen: &Seen<'_>) -> String {
    let version = |node: &NodeId| {
        let row = seen.rows.iter().find(|row| row.node == *node);
        let seen = row.and_then(|row| row.answer.as_ref().ok());
        seen.map_or_else(|| "-".to_owned(), |seen| seen.state.agreed.version.to_string())
    };
    seen.members.iter().map(version).collect::<Vec<_>>().join(" ")
}

/// How the canary is judged, and by what: "pass: 310 requests, 0 failed, p95 22 ms".
pub(super) fn verdict(current: &CurrentRollout) -> String {
    let Some(trial) = &current.trial else { return "nothing is measured".into() };
    let canary = &trial.canary;
    let p95 = canary.p95.map_or_else(|| "-".to_owned(), |p95| format!("{p95:.0} ms"));
    let open = trial.gates.iter().filter(|gate| gate.verdict != "kept" && gate.verdict != "absent");
    let open = open.map(|gate| format!(", {} {}", gate.gate, gate.verdict)).collect::<String>();
    let verdict = trial.verdict.replace('_', " ");
    format!("{verdict}: {} requests, {} failed, p95 {p95}{open}", canary.requests, canary.errors)
}

pub(super) fn killed(node: NodeId) {
    print(format_args!("\n   {node} is killed (kill -9); the others go on"));
}

pub(super) fn returned(node: NodeId, version: u64, ready: Duration, in_step: Duration) {
    print(format_args!(
        "   {node} started again: answers after {}, at version {version} like the others after {}",
        millis(ready),
        millis(in_step)
    ));
}

pub(super) fn as_before(node: NodeId, answers: u32, stable: Model) {
    print(format_args!("   all {answers} answers of {node} since then came from {stable}"));
}

pub(super) fn bad_title(number: usize, canary: Model, stable: Model, command: &str) {
    let (what, how) = match canary.may_fail() {
        true => ("faulty", format!("answers {ERRORS_IN_TEN} of 10 requests with an error; its plan allows 5 %")),
        false => {
            ("slow", format!("answers {SLOW_IN_TEN} of 10 requests after 400 ms; its plan allows a p95 of 200 ms"))
        }
    };
    print(format_args!("\n{BOLD}{number}  A {what} {canary} over {stable}{BOLD:#}   {DIM}{command}{DIM:#}"));
    print(format_args!("   {canary} {how}. Nobody steps in.\n"));
}

pub(super) fn began(commit: Duration, canary: Model) {
    print(format_args!("   agreed     5 % for {canary}, in {}", millis(commit)));
}

pub(super) fn rolled_back(commit: Duration, why: &str, damage: &Damage) {
    let Damage { canary, from_bad_answer, from_request, requests, bad, users } = damage;
    let (commit, from_request) = (millis(commit), millis(*from_request));
    let how = if canary.may_fail() { "with an error" } else { "late" };
    print(format_args!("   stopped    by {why}"));
    print(format_args!("   agreed     {GOOD}RolledBack{GOOD:#}: 0 % for {canary}, in {commit}"));
    match from_bad_answer.map(millis) {
        Some(from_bad_answer) => print(format_args!(
            "   time       {BOLD}{from_bad_answer}{BOLD:#} from its first bad answer until all nodes served 0 % \
             ({from_request} from its first request)"
        )),
        None => print(format_args!(
            "   time       {BOLD}{from_request}{BOLD:#} from its first request until all nodes served 0 %, before its first bad \
             answer was there"
        )),
    }
    print(format_args!("   requests   {BOLD}{requests}{BOLD:#} went to {canary}; it answered {bad} of them {how}"));
    print(format_args!("   users      {BOLD}{users}{BOLD:#} of {USERS} saw an error"));
}

pub(super) fn end(rows: &[Row], ledger: &Ledger, took: Duration) {
    print(format_args!("\n{}\n{}\n", table(rows), terminal::verdict(&Verdict::of(rows))));
    let (answers, failed, took) = (ledger.answers(), ledger.failed, took.as_secs_f64());
    let (half, nearly_all) = (millis(ledger.latency(0.5)), millis(ledger.latency(0.99)));
    print(format_args!(
        "{GOOD}PASSED{GOOD:#} in {took:.1} s: {answers} requests answered, {failed} failed; half of them within {half}, \
         99 % within {nearly_all}"
    ));
    let told = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let errors = told(ledger.expected_errors, "answers were the errors of v3");
    let cut_off = told(ledger.cut_off, "more requests ended with the killed node");
    let expected: Vec<String> = errors.into_iter().chain(cut_off).collect();
    if !expected.is_empty() {
        print(format_args!("{DIM}as it should be: {}{DIM:#}", expected.join("; ")));
    }
}

/// What `canary query` shows of each node, as far as it matters here.
fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let seen = row.answer.as_ref().ok()?;
        let (agreed, health) = (&seen.state.agreed, seen.health.as_ref()?);
        let linked = health.peers.values().filter(|peer| peer.connected).count();
        Some([
            row.node.to_string(),
            agreed.version.to_string(),
            shares(&seen.state.serving),
            agreed.status.clone(),
            agreed.digest.to_string().chars().take(SHOWN_DIGEST).collect(),
            format!("{linked}/{}", health.peers.len()),
        ])
    };
    terminal::table(["NODE", "VERSION", "SERVES", "STATUS", "DIGEST", "PEERS"], rows.iter().filter_map(cells))
}

/// What a visitor may try; `model` is a good one, served at `url`, that no node has heard of.
pub(super) fn to_try(stage: &Stage, models: &ModelServers, model: Model, url: &str) {
    let program = std::env::args_os().next().unwrap_or_else(|| "canary".into());
    let canary = format!("{} --certs {}", shell_word(Path::new(&program)), shell_word(&stage.certs()));
    let curl = format!("curl --cacert {}", shell_word(&stage.certs().join("ca.pem")));
    print(format_args!("\n{BOLD}Left up until Ctrl-C; the users go on asking. In another terminal:{BOLD:#}\n"));
    print(format_args!("  {canary} rollout start {model} --upstream {url} --hold 10s"));
    print(format_args!("  {canary} rollout status -w"));
    print(format_args!("  {canary} rollout history"));
    print(format_args!("  {canary} query --watch"));
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
        terminal::note(format_args!("last log lines of {node}:"));
        for line in lines {
            terminal::note(format_args!("  {line}"));
        }
    }
}

/// One line, or more. Someone who no longer reads is no reason to end; the exit code still tells.
fn print(text: impl Display) {
    let _ = terminal::print(&format!("{text}\n"));
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
