//! `canary store check`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use super::Where;
use clap::Args;
use serde_json::{Value, json};
use service::Proposal;
use std::fmt::Write as _;
use store::{Holder, Look, StoreError};

/// Say what a node's data directory holds, and whether all of it can be read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary store check                           # every node's folder in ./data
  canary store check --data /var/lib/canary
  canary store check data/node-c --output json

Needs no network, no certificate and no right to write. A running node is not disturbed, and its data is looked at as it is.

Exit codes: 0 a node can start with it, 65 it is damaged or of another version; file and offset are named.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    place: Where,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: CheckArgs) -> Result<Exit, Failure> {
    let looks = args.place.look()?;
    let is_sound = looks.iter().all(is_sound);
    let nodes: Vec<Value> = looks.iter().map(shape).collect();
    let text = || looks.iter().map(told).collect::<Vec<_>>().join("\n");
    args.output.print(text, &json!({ "ok": is_sound, "nodes": nodes }))?;
    Ok(if is_sound { Exit::Done } else { Exit::CorruptData })
}

/// Whether all of it is as it was written.
pub(super) fn is_sound(look: &Look) -> bool {
    look.damage.is_empty() && look.history.damage.is_empty()
}

fn told(look: &Look) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    row("directory", &look.dir.display().to_string());
    match look.holder {
        Holder::Nobody => row("in use", "no"),
        Holder::Process(pid) => {
            row("in use", &format!("by {}", pid.map_or_else(|| "a process".into(), |pid| format!("process {pid}"))));
        }
    }
    if let Some(owner) = &look.owner {
        row("node", &owner.node.to_string());
        row("cluster", &owner.cluster);
    }
    if let Some(incarnation) = look.incarnation {
        row("incarnation", &incarnation.to_string());
    }
    if let Some(durable) = &look.durable {
        row("epoch", &durable.epoch.to_string());
        let is_marked = member::oldest_spoken(durable).is_some();
        row("format", if is_marked { "3, which 0.1.0 does not read" } else { "2, which 0.1.0 reads, too" });
        row("joined", if durable.joined.is_some() { "yes" } else { "not yet" });
        row("promise", &durable.promise.to_string());
        row("accepted", &proposal(durable.accepted.as_deref()));
        row("committed", &proposal(durable.committed.as_deref()));
    }
    for segment in &look.segments {
        let name = segment.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = match (segment.bytes, segment.generation) {
            (None, _) => "missing".to_owned(),
            (Some(bytes), None) => format!("blank, {bytes} bytes"),
            (Some(_), Some(generation)) => {
                let current = if segment.is_current { ", current" } else { "" };
                format!("generation {generation}, {} records after its snapshot{current}", segment.records)
            }
        };
        row(&name, &what);
    }
    let (lines, files, cut) = (look.history.lines, look.history.files.len(), look.history.cut);
    let cut = if cut > 0 { format!(", {cut} cut short by a crash") } else { String::new() };
    row("history", &format!("{lines} lines, {} bytes in {files} files{cut}", look.history.bytes));
    if let Some((file, offset)) = &look.cut {
        row("note", &format!("{}: a write was cut short at offset {offset}, before it was answered", file.display()));
    }
    for error in &look.damage {
        row("DAMAGED", &error.to_string());
    }
    for (file, offset, what) in &look.history.damage {
        row("DAMAGED", &format!("{} at offset {offset}: {what}", file.display()));
    }
    if look.damage.iter().any(|error| matches!(error, StoreError::NewerFormat { .. })) {
        row("", "nothing is damaged by that: this program is older than the data");
    } else if !look.damage.is_empty() {
        row("", "keep a copy of the directory, empty it, and start the node once with --rejoin");
    } else if !look.history.damage.is_empty() {
        row("", "the node starts with it all the same; nothing but the history is affected");
    } else if look.is_blank() {
        row("BLANK", "no node has finished its first start here");
    } else {
        row("SOUND", "all of it is as it was written");
    }
    text
}

fn proposal(proposal: Option<&Proposal>) -> String {
    let Some(Proposal { ballot, state, .. }) = proposal else { return "nothing".into() };
    let txid = state.txid.map_or_else(|| "-".into(), |txid| txid.to_string());
    format!("version {}, {txid}, digest {}, ballot {ballot}", state.version, state.digest())
}

fn shape(look: &Look) -> Value {
    let (is_used, pid) = match look.holder {
        Holder::Nobody => (false, None),
        Holder::Process(pid) => (true, pid),
    };
    let proposal = |proposal: Option<&Proposal>| {
        proposal.map(|Proposal { ballot, state, .. }| {
            json!({
                "version": state.version, "txid": state.txid, "digest": state.digest(), "ballot": ballot.to_string(),
            })
        })
    };
    let durable = look.durable.as_ref();
    let segments = look.segments.iter().map(|segment| {
        json!({
            "file": segment.file, "bytes": segment.bytes, "generation": segment.generation, "records": segment.records,
            "current": segment.is_current,
        })
    });
    let damage = look.damage.iter().map(|error| {
        let (file, offset) = error.place().unzip();
        json!({ "file": file, "offset": offset, "what": error.to_string() })
    });
    let of_history =
        look.history.damage.iter().map(|(file, offset, what)| json!({ "file": file, "offset": offset, "what": what }));
    let cut = look.cut.as_ref().map(|(file, offset)| json!({ "file": file, "offset": offset }));
    json!({
        "directory": look.dir, "ok": is_sound(look), "blank": look.is_blank(), "in_use": is_used, "process": pid,
        "node": look.owner.as_ref().map(|owner| owner.node), "cluster": look.owner.as_ref().map(|owner| &owner.cluster),
        "incarnation": look.incarnation, "epoch": durable.map(|durable| durable.epoch),
        "joined": durable.map(|durable| durable.joined.is_some()),
        "promise": durable.map(|durable| durable.promise.to_string()),
        "accepted": durable.and_then(|durable| proposal(durable.accepted.as_deref())),
        "committed": durable.and_then(|durable| proposal(durable.committed.as_deref())),
        "segments": segments.collect::<Vec<_>>(), "cut": cut,
        "history": { "files": look.history.files, "lines": look.history.lines, "bytes": look.history.bytes, "cut": look.history.cut },
        "damage": damage.chain(of_history).collect::<Vec<_>>(),
    })
}
