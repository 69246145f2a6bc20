//! What 0.1.0 wrote, and how it read what earlier programs wrote.

use super::kinds::{
    ENTRIES, EVENTS, GREETINGS, MESSAGES, RECORDS, entry_file, event_file, greeting_file, message_file, record_file,
};
use super::{Bytes, json, lines};
use crate::audit;
use crate::driver::HistoryEntry;
use crate::format::v5::audit::{Head, Line};
use crate::format::v5::greeting::Greeting;
use crate::format::v5::history::Entry;
use crate::format::v5::log::{Record, Snapshot};
use crate::format::v5::wire::Message;
use crate::format::v5::{NodeId, RoutingState, Said, Statement};
use crate::format::{Version, disk, lines as read, messages};
use crate::model;

const V5: Version = Version::V5;

#[test]
fn messages_are_the_same_bytes() {
    for kind in MESSAGES {
        for line in lines(kind.v5) {
            let Bytes { name, bytes, meaning } = Bytes::of(line);
            let form: Message<'_> = postcard::from_bytes(&bytes).expect("a message");
            assert_eq!(message_file(&form), kind.file, "{name}");
            let again = postcard::to_stdvec(&form).expect("bytes");
            assert_eq!(Bytes::line(name, &again, &json(&form)), line, "{} as it is", kind.file);
            let message = messages::decode(&bytes, V5).expect("a message");
            let again = messages::encode(&message, V5).expect("it came from there");
            assert_eq!(Bytes::line(name, &again, meaning), line, "{} through the agreement", kind.file);
        }
    }
}

#[test]
fn greetings_are_the_same_text() {
    for (kind, text) in GREETINGS {
        for line in lines(text) {
            let greeting: Greeting<'_> = serde_json::from_str(line).expect("a greeting");
            assert_eq!((greeting_file(&greeting), json(&greeting).as_str()), (*kind, line));
        }
    }
}

#[test]
fn records_are_the_same_text() {
    for kind in RECORDS {
        for line in lines(kind.v5) {
            let form: Record<'_> = serde_json::from_str(line).expect("a record");
            assert_eq!((record_file(&form), json(&form).as_str()), (kind.file, line));
            let record = disk::decode_record(line.as_bytes(), V5).expect("a record");
            let again = disk::encode_record(&record, V5).expect("it came from there");
            assert_eq!(String::from_utf8(again).as_deref(), Ok(line));
        }
    }
}

#[test]
fn snapshots_and_identities_are_the_same_text() {
    for line in lines(include_str!("../golden/v5/log/snapshot.jsonl")) {
        let form: Snapshot<'_> = serde_json::from_str(line).expect("a snapshot");
        assert_eq!(json(&form), line);
        let (version, snapshot) = disk::decode_snapshot(line.as_bytes()).expect("a snapshot");
        let disk::Snapshot { node, cluster, durable } = snapshot;
        let again = disk::encode_snapshot(node, &cluster, &durable, version).expect("it came from there");
        assert_eq!((version, String::from_utf8(again).as_deref()), (V5, Ok(line)));
    }
    let text = include_str!("../golden/v5/log/identity.json");
    let disk::Identity { format, node, cluster, incarnation } = disk::decode_identity(text.as_bytes()).expect("one");
    let again = disk::encode_identity(node, &cluster, incarnation, V5);
    assert_eq!((format, String::from_utf8(again).as_deref()), (2, Ok(text)));
}

/// An entry through the room that keeps it.
fn kept(line: &str) -> String {
    let entry = HistoryEntry::try_from(read::entry(line).expect("an entry")).expect("one that can be");
    json(&Entry::<RoutingState<'_>>::try_from(&entry).expect("it came from there"))
}

#[test]
fn the_history_is_the_same_text() {
    for kind in ENTRIES {
        for line in lines(kind.v5) {
            let form: Entry<'_> = serde_json::from_str(line).expect("an entry");
            assert_eq!((entry_file(&form), json(&form).as_str()), (kind.file, line));
            assert_eq!(kept(line), line);
        }
    }
}

/// A line through the room that keeps it.
fn filed(line: &str) -> String {
    let line = audit::Line::try_from(read::line(line).expect("a line")).expect("one that can be");
    json(&Line::<RoutingState<'_>>::try_from(&line).expect("it came from there"))
}

#[test]
fn the_audit_is_the_same_text() {
    for kind in EVENTS {
        for line in lines(kind.v5) {
            let form: Line<'_> = serde_json::from_str(line).expect("a line");
            assert_eq!((event_file(&form.event), json(&form).as_str()), (kind.file, line));
            assert_eq!(filed(line), line);
        }
    }
}

#[test]
fn what_is_signed_is_the_same_text() {
    let said = include_str!("../golden/v5/audit/said.jsonl");
    let statements: Vec<model::Statement> = lines(said)
        .map(|line| audit::Line::try_from(read::line(line).expect("a line")).expect("one that can be"))
        .map(|line| {
            let audit::Event::Said { signed } = line.event else { panic!("{line:?}") };
            signed.statement
        })
        .collect();
    let signed = statements.iter().map(|statement| Statement::from(statement).signed_bytes());
    let text = signed.map(|bytes| String::from_utf8(bytes).expect("text") + "\n").collect::<String>();
    assert_eq!(text, include_str!("../golden/v5/audit/statement.txt"));
    let vote = Statement::from(statements.first().expect("a vote"));
    assert!(matches!(vote.said, Said::Vote { .. }), "statements of all kinds are in the file");
}

#[test]
fn the_end_of_an_audit_is_the_same_text() {
    let text = include_str!("../golden/v5/audit/head.json").trim_end();
    let head: Head<'_> = serde_json::from_str(text).expect("a head");
    assert_eq!(json(&head), text);
    let signed = include_bytes!("../golden/v5/audit/head.txt");
    assert_eq!(head.signed_bytes(NodeId(1)), signed);
}

/// The digest is of the values, not of any form; but it is said in messages and statements, so it may no more change.
#[test]
fn states_have_the_same_digests() {
    for line in lines(include_str!("../golden/v5/digests.txt")) {
        let mut parts = line.splitn(3, ' ');
        let [name, digest, text] = std::array::from_fn(|_| parts.next().expect("three parts"));
        let form: RoutingState<'_> = serde_json::from_str(text).expect("a state");
        let state = model::RoutingState::try_from(form).expect("one that can be");
        assert_eq!(state.digest().to_string(), digest, "{name}");
        assert_eq!(json(&RoutingState::try_from(&state).expect("all of it")), text, "{name}");
    }
}

/// The lines of two files, side by side.
fn pairs(before: &'static str, after: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    assert_eq!(before.lines().count(), after.lines().count());
    lines(before).zip(lines(after))
}

macro_rules! old {
    ($name:literal) => {
        pairs(
            include_str!(concat!("../golden/v5/", $name, ".jsonl")),
            include_str!(concat!("../golden/v5/", $name, ".rewritten.jsonl")),
        )
    };
}

/// Before there were rollouts, measurements, approvals and ways back, there were no words for them.
#[test]
fn what_earlier_programs_wrote_is_read_as_0_1_0_reads_it() {
    for (old, new) in old!("log/old/snapshot") {
        let (version, snapshot) = disk::decode_snapshot(old.as_bytes()).expect("a snapshot");
        let disk::Snapshot { node, cluster, durable } = snapshot;
        let again = disk::encode_snapshot(node, &cluster, &durable, version).expect("it came from there");
        let again = String::from_utf8(again).expect("text");
        // The format is the one thing that is written anew.
        assert_eq!(again.replacen("\"format\":2", "\"format\":1", 1), new);
    }
    for (old, new) in old!("log/old/accepted") {
        let record = disk::decode_record(old.as_bytes(), V5).expect("a record");
        let again = disk::encode_record(&record, V5).expect("it came from there");
        assert_eq!(String::from_utf8(again).as_deref(), Ok(new));
    }
    for (old, new) in old!("history/old/commit") {
        assert_eq!(kept(old), new);
    }
    for (old, new) in old!("audit/old/decided") {
        assert_eq!(filed(old), new);
    }
}
