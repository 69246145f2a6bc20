//! The rows as a table, as one JSON document, or as one line each.

use client::{Answers, Row, Verdict};
use mesh::WireVersion;
use model::{NodeId, NodeSet};
use schema::HealthSnapshot;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use terminal::{columns, shares};

const HEADER: [&str; 11] =
    ["NODE", "ROLE", "VERSION", "WEIGHTS", "SERVING", "STATUS", "DIGEST", "P95", "ERRORS", "PEERS", "NOTE"];
/// Of a digest, enough to see that two differ.
const SHOWN_DIGEST: usize = 12;
/// The version of the nodes' protocol before the door, and the program that speaks none newer.
const OLDER: u16 = WireVersion::V5.wire();
const BACK_TO: &str = "0.1.0";

pub(super) fn table(rows: &[Row]) -> String {
    let rows: Vec<_> = std::iter::once(HEADER.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    columns(&rows)
}

fn cells(row: &Row) -> [String; 11] {
    let node = row.node.to_string();
    let seen = match &row.answer {
        Ok(seen) => seen,
        Err(reason) => {
            let dash = || "-".to_owned();
            let [status, note] = ["unreachable".to_owned(), reason.clone()];
            return [node, row.node.role_word(), dash(), dash(), dash(), status, dash(), dash(), dash(), dash(), note];
        }
    };
    let agreed = &seen.state.agreed;
    let digest = agreed.digest.to_string();
    [
        node,
        role(row, seen),
        agreed.version.to_string(),
        shares(&agreed.weights),
        shares(&seen.state.serving),
        status(seen),
        digest.chars().take(SHOWN_DIGEST).collect(),
        measured(seen.health.as_ref(), |health| health.p95.map(|millis| format!("{millis:.1} ms"))),
        measured(seen.health.as_ref(), |health| health.error_rate.map(|rate| format!("{:.2} %", rate * 100.0))),
        measured(seen.health.as_ref(), |health| Some(links(health))),
        seen.health.as_ref().map(note).unwrap_or_default(),
    ]
}

fn measured(health: Option<&HealthSnapshot>, value: impl Fn(&HealthSnapshot) -> Option<String>) -> String {
    health.and_then(value).unwrap_or_else(|| "-".into())
}

fn links(health: &HealthSnapshot) -> String {
    let up = health.peers.values().filter(|peer| peer.connected).count();
    format!("{up}/{}", health.peers.len())
}

/// What is not as it always is: that the node stops, and links on which an older version of the protocol is spoken.
fn note(health: &HealthSnapshot) -> String {
    let stopping = health.stopping.then(|| "stopping".to_owned());
    let spoken: BTreeSet<u16> = health.peers.values().filter_map(|peer| peer.wire_version).collect();
    let newest = WireVersion::NEWEST.wire();
    let older = spoken.into_iter().filter(|version| *version != newest).map(|version| {
        let with = health.peers.iter().filter(|(_, peer)| peer.wire_version == Some(version));
        let with: Vec<String> = with.map(|(id, _)| id.to_string()).collect();
        format!("wire {version} with {}", with.join(", "))
    });
    stopping.into_iter().chain(older).collect::<Vec<_>>().join("; ")
}

/// The version of the nodes' protocol that all members have left, and which of them keep the way back open.
struct Wire {
    /// The version that the state is marked with; none as long as there is a way back.
    marked: Option<u16>,
    /// The members that are not known to speak the newest version.
    behind: NodeSet,
    /// Those of them that nobody hears.
    silent: NodeSet,
    members: usize,
    /// Whether anything was decided yet.
    is_first: bool,
}

impl Wire {
    /// As far as the nodes tell; none where none does.
    fn of(rows: &[Row]) -> Option<Self> {
        let seen = || rows.iter().filter_map(|row| Some((row.node, row.answer.as_deref().ok()?)));
        let newest = seen().map(|(_, seen)| &seen.state.agreed).max_by_key(|agreed| agreed.version)?;
        let is_newest = |wire: Option<u16>| wire.is_some_and(|wire| wire >= WireVersion::NEWEST.wire());
        let speaks = |id: NodeId| {
            let says = |(node, seen): (NodeId, &Answers)| {
                let health = seen.health.as_ref()?;
                // What is spoken on a link is what both speak: only one that speaks the newest can tell of the other.
                let of_peer = || health.peers.get(&id)?.wire_version.filter(|_| is_newest(health.wire_version));
                if node == id { health.wire_version } else { of_peer() }
            };
            let mut said = seen().filter_map(says).peekable();
            said.peek().is_some() && said.all(|wire| is_newest(Some(wire)))
        };
        let behind: NodeSet = rows.iter().map(|row| row.node).filter(|id| !speaks(*id)).collect();
        let peers = seen().filter_map(|(_, seen)| seen.health.as_ref()).flat_map(|health| &health.peers);
        let linked = peers.filter(|(_, peer)| peer.connected).map(|(id, _)| *id);
        let silent = behind.minus(linked.chain(seen().map(|(node, _)| node)).collect());
        // Where one has gone on the others follow.
        let marked = seen().filter_map(|(_, seen)| seen.state.agreed.wire).max();
        Some(Self { marked, behind, silent, members: rows.len(), is_first: newest.version == 0 })
    }

    /// In a line for people.
    fn line(&self) -> String {
        let Self { marked, behind, silent, members, is_first } = self;
        let newest = WireVersion::NEWEST;
        if let Some(marked) = marked {
            let without = if behind.is_empty() { String::new() } else { format!(": not known of {behind}") };
            return format!("wire {marked}{without}");
        }
        let older = behind.minus(*silent);
        let speak = match older.len() {
            0 => None,
            1 => Some(format!("{older} does")),
            _ => Some(format!("{older} do")),
        };
        let heard = (!silent.is_empty()).then(|| format!("{silent} answers and does"));
        let when = match [speak, heard].into_iter().flatten().collect::<Vec<_>>().join(" and when ") {
            none if none.is_empty() && *is_first => "with the first change".to_owned(),
            none if none.is_empty() => "in a moment".to_owned(),
            all if *is_first => format!("when {all}, with the first change after"),
            all => format!("when {all}"),
        };
        let count = members - behind.len();
        format!("wire {OLDER}: {count} of {members} members speak {newest}; {when}, there is no way back to {BACK_TO}")
    }

    fn json(&self) -> Value {
        json!({"version": self.marked.unwrap_or(OLDER), "behind": self.behind})
    }
}

/// The line about the version of the nodes' protocol, with its end; empty where no node answers.
pub(super) fn wire(rows: &[Row]) -> String {
    Wire::of(rows).map(|wire| wire.line() + "\n").unwrap_or_default()
}

/// The node's word, and a mark where another than usual coordinates.
fn role(row: &Row, seen: &Answers) -> String {
    let acts = seen.state.acting_coordinator == Some(row.node);
    let mark = if acts && row.node != NodeId::A { " (acting)" } else { "" };
    format!("{}{mark}", row.node.role_word())
}

fn status(seen: &Answers) -> String {
    let drained = seen.state.agreed.drained.contains(seen.state.node_id).then(|| "drained".to_owned());
    let isolated = seen.state.isolated.then(|| "isolated".to_owned());
    let pending = seen.state.pending.as_ref().map(|pending| format!("pending {}", pending.version));
    let parts = [Some(seen.state.agreed.status.clone()), isolated, drained, pending];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) fn json(rows: &[Row]) -> Value {
    let verdict = Verdict::of(rows);
    let nodes: Vec<Value> = rows.iter().map(row_json).collect();
    let wire = Wire::of(rows).map(|wire| wire.json());
    json!({"verdict": verdict.word(), "detail": verdict.detail(), "wire": wire, "nodes": nodes})
}

pub(super) fn row_json(row: &Row) -> Value {
    let seen = match &row.answer {
        Ok(seen) => seen,
        Err(reason) => {
            return json!({
                "node_id": row.node, "role": row.node.role_word(), "reachable": false, "reason": reason,
            });
        }
    };
    let mut shown = serde_json::to_value(&seen.state).unwrap_or_default();
    let health = seen.health.as_ref();
    shown["reachable"] = true.into();
    shown["role"] = row.node.role_word().into();
    shown["p95"] = health.and_then(|health| health.p95).into();
    shown["error_rate"] = health.and_then(|health| health.error_rate).into();
    shown["peers"] = health.map(|health| json!(health.peers)).unwrap_or_default();
    shown
}

/// What a change looks like in a log.
pub(super) fn line(row: &Row) -> String {
    match &row.answer {
        Err(reason) => format!("{} unreachable: {reason}", row.node),
        Ok(seen) => {
            let agreed = &seen.state.agreed;
            let digest: String = agreed.digest.to_string().chars().take(SHOWN_DIGEST).collect();
            format!(
                "{} version {} weights {} serving {} {} digest {digest}",
                row.node,
                agreed.version,
                shares(&agreed.weights),
                shares(&seen.state.serving),
                status(seen),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Digest;
    use schema::{AgreedState, ServedState};
    use service::RoutingState;

    fn seen(letter: char, version: u64, digest: u8) -> Row {
        let node = NodeId::from_letter(letter).expect("a letter");
        let state = RoutingState { version, ..RoutingState::initial("v1".parse().expect("a model id")) };
        let agreed = AgreedState::of(&state, Digest([digest; 32]));
        let state = ServedState {
            serving: agreed.weights.clone(),
            agreed,
            node_id: node,
            isolated: false,
            pending: None,
            acting_coordinator: Some(NodeId::A),
            upstreams: [].into(),
            rollout: None,
            ejected: None,
        };
        Row { node, answer: Ok(Box::new(Answers { state, health: None })) }
    }

    fn silent(letter: char) -> Row {
        let node = NodeId::from_letter(letter).expect("a letter");
        Row { node, answer: Err("connection refused: no node runs at 10.0.0.3:50053".into()) }
    }

    #[test]
    fn a_dead_node_is_a_row_with_its_reason() {
        let text = table(&[seen('a', 4, 1), silent('b')]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("NODE") && lines[0].contains("DIGEST"));
        assert!(lines[1].contains("coordinator") && lines[1].contains("v1 100 %") && lines[1].contains("COMMITTED"));
        assert!(lines[1].contains("010101010101"), "{text}");
        assert!(lines[2].contains("participant_b") && lines[2].contains("connection refused"));
    }

    #[test]
    fn json_has_a_row_for_each_node_and_the_verdict() {
        let shown = json(&[seen('a', 4, 1), silent('b')]);
        assert_eq!(shown["verdict"], "UNREACHABLE");
        assert_eq!((&shown["nodes"][0]["version"], &shown["nodes"][0]["reachable"]), (&json!(4), &json!(true)));
        assert_eq!(shown["nodes"][1]["reachable"], false);
        assert!(shown["nodes"][1]["reason"].as_str().is_some_and(|reason| reason.contains("refused")));
    }

    #[test]
    fn the_way_back_is_told_while_there_is_one() {
        let with = |letter, wire_version, marked| {
            let Row { node, answer } = seen(letter, 4, 1);
            let mut answers = answer.expect("it answers");
            answers.state.agreed.wire = marked;
            let health = json!({
                "node_id": node, "role": "", "coordinating": false, "acting_coordinator": null, "in_touch": true,
                "isolated": false, "p95": null, "error_rate": null, "window_id": 0, "last_committed_version": 4,
                "digest": Digest([1; 32]), "models": {}, "peers": {}, "certificates": {}, "software": "",
                "wire_version": wire_version,
            });
            answers.health = Some(serde_json::from_value(health).expect("a snapshot"));
            Row { node, answer: Ok(answers) }
        };
        let said = |rows: &[Row]| Wire::of(rows).expect("a node answers").line();
        // One of 0.1.0 does not say what it speaks.
        let mixed = [with('a', Some(6), None), with('b', None, None), with('c', Some(6), None)];
        let when = "wire 5: 2 of 3 members speak 6; when node-b does, there is no way back to 0.1.0";
        assert_eq!(
            (said(&mixed).as_str(), &json(&mixed)["wire"]),
            (when, &json!({"version": 5, "behind": ["node-b"]}))
        );
        let two = [with('a', Some(6), None), with('b', Some(5), None), silent('c')];
        assert!(said(&two).contains("1 of 3 members speak 6; when node-b does and when node-c answers and does,"));
        assert!(said(&[with('a', Some(6), None), with('b', Some(6), None)]).contains("; in a moment, there is no way"));
        assert_eq!(said(&[with('a', Some(6), Some(6)), with('b', Some(6), None)]), "wire 6");
        let left = [with('a', Some(6), Some(6)), silent('b')];
        assert_eq!(said(&left), "wire 6: not known of node-b");
        assert!(Wire::of(&[silent('a')]).is_none());
    }
}
