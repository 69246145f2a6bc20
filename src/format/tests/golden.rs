//! The files of each version.

use super::kinds::{
    ENTRIES, EVENTS, GREETINGS, Kind, MESSAGES, RECORDS, SNAPSHOT, entry_file, event_file, greeting_file, message_file,
    record_file,
};
use super::{Bytes, json, lines};
use crate::v5::audit::{Head, Line};
use crate::v5::greeting::Greeting;
use crate::v5::history::Entry;
use crate::v5::log::{Record, Snapshot};
use crate::v5::wire::Message;
use crate::v5::{Heartbeat, NodeId, Said, Statement};
use crate::{Form, Inexpressible, Unreadable, Version, disk, lines as read, messages, v5, v6};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

type Five = v5::RoutingState<'static>;
type Six = v6::RoutingState<'static>;

/// A text as a form, after that was written again.
fn same<F: Deserialize<'static> + Serialize>(line: &'static str) -> F {
    let form: F = serde_json::from_str(line).expect("the form");
    assert_eq!(json(&form), line);
    form
}

fn same_message<S, R>(line: &'static str) -> &'static str
where
    S: Deserialize<'static> + Serialize,
    R: Deserialize<'static> + Serialize,
{
    let Bytes { name, bytes } = Bytes::of(line);
    let form: Message<'_, S, Heartbeat<'_>, R> = postcard::from_bytes(bytes).expect("a message");
    assert_eq!(Bytes::line(name, &form), line);
    message_file(&form)
}

#[test]
fn every_form_is_written_as_it_was_read() {
    for kind in MESSAGES {
        lines(kind.v5).for_each(|line| assert_eq!(same_message::<Five, v5::Report<'_>>(line), kind.file));
        lines(kind.v6).for_each(|line| assert_eq!(same_message::<Six, v6::Report<'_>>(line), kind.file));
    }
    for kind in RECORDS {
        lines(kind.v5).for_each(|line| assert_eq!(record_file(&same::<Record<'_, Five>>(line)), kind.file));
        lines(kind.v6).for_each(|line| assert_eq!(record_file(&same::<Record<'_, Six>>(line)), kind.file));
    }
    lines(SNAPSHOT.v5).for_each(|line| drop(same::<Snapshot<'_, Five>>(line)));
    lines(SNAPSHOT.v6).for_each(|line| drop(same::<Snapshot<'_, Six>>(line)));
    for kind in ENTRIES {
        lines(kind.v5).for_each(|line| assert_eq!(entry_file(&same::<Entry<'_, Five>>(line)), kind.file));
        lines(kind.v6).for_each(|line| assert_eq!(entry_file(&same::<Entry<'_, Six>>(line)), kind.file));
    }
    for kind in EVENTS {
        lines(kind.v5).for_each(|line| assert_eq!(event_file(&same::<Line<'_, Five>>(line).event), kind.file));
        lines(kind.v6).for_each(|line| assert_eq!(event_file(&same::<Line<'_, Six>>(line).event), kind.file));
    }
    for line in ENTRIES.iter().chain(EVENTS) {
        let is = |version, text| lines(text).all(|line| read::version_of(line) == Ok(version));
        assert!(is(Version::V5, line.v5) && is(Version::V6, line.v6), "{}", line.file);
    }
    for (kind, text) in GREETINGS {
        lines(text).for_each(|line| assert_eq!(greeting_file(&same::<Greeting<'_>>(line)), *kind));
    }
}

/// A value through the rooms, by the functions that read and write it: each line is written again in its own version, an older
/// one in the newer as it stands there, and a newer one in the older unless it is marked.
fn through_the_rooms<T: Debug>(
    kind: &Kind,
    bytes_of: impl Fn(&'static str) -> &'static [u8],
    read: impl Fn(&[u8], Version) -> Result<T, Unreadable>,
    written: impl Fn(&T, Version) -> Result<Vec<u8>, Inexpressible>,
) {
    let (older, newer): (Vec<_>, Vec<_>) = (lines(kind.v5).collect(), lines(kind.v6).collect());
    assert!(newer.len() >= older.len(), "{}", kind.file);
    for (number, line) in newer.iter().enumerate() {
        let bytes = bytes_of(line);
        let value = read(bytes, Version::V6).expect("it can be read");
        assert_eq!(written(&value, Version::V6).as_deref(), Ok(bytes), "{} {line}", kind.file);
        let Some(before) = older.get(number).map(|line| bytes_of(line)) else {
            if kind.file == "wire/report.txt" {
                assert!(written(&value, Version::V5).is_ok(), "version 5 has fewer words for it, and some");
                continue;
            }
            // One of each kind that has a state is marked.
            assert!(line.contains("\"wire\":6"), "{line}");
            let what = "the mark of a version of the wire";
            assert_eq!(written(&value, Version::V5), Err(Inexpressible { what }));
            continue;
        };
        assert_eq!(written(&value, Version::V5).as_deref(), Ok(before), "{} {line}", kind.file);
        let value = read(before, Version::V5).expect("it can be read");
        assert_eq!(written(&value, Version::V5).as_deref(), Ok(before), "{} {line}", kind.file);
        assert_eq!(written(&value, Version::V6).as_deref(), Ok(bytes), "{} {line}", kind.file);
    }
}

#[test]
fn messages_and_records_come_through_the_rooms_as_they_are() {
    for kind in MESSAGES {
        through_the_rooms(kind, |line| Bytes::of(line).bytes, messages::decode, messages::encode);
    }
    for kind in RECORDS {
        through_the_rooms(kind, str::as_bytes, disk::decode_record, disk::encode_record);
    }
    let read = |bytes: &[u8], version| {
        let (found, snapshot) = disk::decode_snapshot(bytes)?;
        assert_eq!(found, version);
        Ok(snapshot)
    };
    let written = |disk::Snapshot { node, cluster, durable }: &disk::Snapshot, version| {
        disk::encode_snapshot(*node, cluster, durable, version)
    };
    through_the_rooms(&SNAPSHOT, str::as_bytes, read, written);
}

#[test]
fn identities_are_the_same_text() {
    let files = [include_str!("../golden/v5/log/identity.json"), include_str!("../golden/v6/log/identity.json")];
    for (text, version) in files.into_iter().zip([Version::V5, Version::V6]) {
        let disk::Identity { format, node, cluster, incarnation } =
            disk::decode_identity(text.as_bytes()).expect("one");
        let again = disk::encode_identity(node, &cluster, incarnation, version);
        assert_eq!((format, String::from_utf8(again).as_deref()), (version.disk(), Ok(text)));
    }
}

#[test]
fn what_is_signed_is_the_same_text() {
    let statements: Vec<model::Statement> = lines(include_str!("../golden/v5/audit/said.jsonl"))
        .map(|line| {
            let v5::audit::Event::Said { signed } = same::<Line<'_>>(line).event else { panic!("{line}") };
            signed.statement.try_into().expect("one that can be")
        })
        .collect();
    let signed = statements.iter().map(|statement| Statement::from(statement).signed_bytes());
    let text = signed.map(|bytes| String::from_utf8(bytes).expect("text") + "\n").collect::<String>();
    assert_eq!(text, include_str!("../golden/v5/audit/statement.txt"));
    assert!(text.starts_with("canary audit statement, version 1\n"), "it is for nothing else");
    let vote = Statement::from(statements.first().expect("a vote"));
    assert!(matches!(vote.said, Said::Vote { .. }), "statements of all kinds are in the file");
}

#[test]
fn the_end_of_an_audit_is_the_same_text() {
    let head: Head<'_> = same(include_str!("../golden/v5/audit/head.json").trim_end());
    let signed = include_bytes!("../golden/v5/audit/head.txt");
    assert_eq!(Head::signed_bytes(NodeId(1), head.seq, head.digest), signed);
}

/// The digest is of the values, not of any form; but it is said in messages and statements, so it may no more change.
#[test]
fn states_have_the_same_digests() {
    for line in lines(include_str!("../golden/v5/digests.txt")) {
        let mut parts = line.splitn(3, ' ');
        let [name, digest, text] = std::array::from_fn(|_| parts.next().expect("three parts"));
        let state = service::RoutingState::try_from(same::<Five>(text)).expect("one that can be");
        assert_eq!(state.digest().to_string(), digest, "{name}");
        assert_eq!(json(&<v5::RoutingState<'_>>::of(&state)), text, "{name}");
    }
}

/// The lines of two files, side by side.
macro_rules! old {
    ($name:literal) => {
        lines(include_str!(concat!("../golden/v5/", $name, ".jsonl"))).zip(lines(include_str!(concat!(
            "../golden/v5/",
            $name,
            ".rewritten.jsonl"
        ))))
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
        let record = disk::decode_record(old.as_bytes(), Version::V5).expect("a record");
        let again = disk::encode_record(&record, Version::V5).expect("it came from there");
        assert_eq!(String::from_utf8(again).as_deref(), Ok(new));
    }
    for (old, new) in old!("history/old/commit") {
        assert_eq!(json(&serde_json::from_str::<Entry<'_>>(old).expect("an entry")), new);
    }
    for (old, new) in old!("audit/old/decided") {
        assert_eq!(json(&serde_json::from_str::<Line<'_>>(old).expect("a line")), new);
    }
}
