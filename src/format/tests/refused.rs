//! What cannot be is refused by name, and what is newer by its number.

use super::Bytes;
use super::kinds::MESSAGES;
use crate::v5::{
    Digest, Incarnation, Link, List, Map, Model, NodeId, NodeSet, Octets, RoutingState, Step, Text, Then, TxId,
};
use crate::{Form, Invalid, Unreadable, Version, disk, lines, messages, v5};

fn read<'de, T: serde::Deserialize<'de>>(json: &'de str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn names_that_cannot_be_are_refused() {
    assert_eq!(model::NodeId::try_from(NodeId(25)).map(|id| id.to_string()), Ok("node-z".into()));
    assert_eq!(model::NodeId::try_from(NodeId(26)), Err(Invalid::Node(26)));
    assert_eq!(model::NodeSet::try_from(NodeSet(0b111)), Ok(model::NodeSet::first(3)));
    assert_eq!(model::NodeSet::try_from(NodeSet(1 << 26)), Err(Invalid::Nodes(1 << 26)));
    for wrong in ["\"coordinator\"", "\"node-\"", "\"node-A\"", "\"node-ab\"", "\"node-\u{e9}\"", "0"] {
        assert!(read::<NodeId>(wrong).is_err(), "{wrong}");
    }
    assert!(serde_json::to_string(&NodeId(26)).is_err(), "it has no name");
    for wrong in ["node-a.1.2.3", "node-a.00c0ffee00c0ffee.1", "node-a.00c0ffee00c0ffee.1.7.", "a.00c0ffee00c0ffee.1.7"]
    {
        assert!(read::<TxId>(&format!("{wrong:?}")).is_err(), "{wrong}");
    }
    for wrong in ["\u{e9}".repeat(32), "0".repeat(63), "0".repeat(65), "g".repeat(64)] {
        assert!(read::<Digest>(&format!("{wrong:?}")).is_err(), "{wrong}");
    }
    for wrong in ["\"abc\"", "\"0g\"", "7"] {
        assert!(read::<Octets<'_>>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    let step =
        |weight| service::Step::try_from(Step { weight, hold: 0, then: Then::Continue, approvals: 0 }).map(|_| ());
    assert_eq!((step(10_000), step(10_001)), (Ok(()), Err(Invalid::Weight(10_001))));
    let model = |id: &'static str| service::Model::try_from(Model { id: id.into(), upstream: None }).map(|_| ());
    assert_eq!((model("v1"), model("")), (Ok(()), Err(Invalid::Model(model::ModelIdError::Empty))));
    let long = v5::history::Duration { secs: u64::MAX, nanos: 1_000_000_000 };
    let wanted = Err(Invalid::Duration { secs: u64::MAX, nanos: 1_000_000_000 });
    assert_eq!(std::time::Duration::try_from(long), wanted);
    assert!(read::<v5::history::Duration>("{\"secs\":1,\"nanos\":0,\"micros\":1}").is_err());
    let carried = v5::history::Duration { secs: 1, nanos: 1_500_000_000 };
    assert_eq!(std::time::Duration::try_from(carried), Ok(std::time::Duration::from_millis(2_500)));
}

/// What is wrong deep within a message is named all the same.
#[test]
fn a_message_with_something_that_cannot_be_is_refused() {
    let initial = service::RoutingState::initial("v1".parse().expect("a model id"));
    let mut state = RoutingState::of(&initial);
    let txid = TxId { node: NodeId(26), incarnation: v5::Incarnation(1), epoch: 1, sequence: 1 };
    state.chain = List::Read(vec![Link { version: 1, txid, digest: Digest::default() }]);
    let ballot = v5::Ballot { round: 1, node: NodeId(0), incarnation: v5::Incarnation(1) };
    let (votes, evidence) = (Map::default(), Map::default());
    let proposal = v5::Proposal { ballot, state, by: None, votes, evidence };
    let accept: v5::wire::Message<'_> = v5::wire::Message::Accept { proposal };
    let bytes = postcard::to_stdvec(&accept).expect("bytes");
    assert_eq!(messages::decode(&bytes, Version::V5), Err(Unreadable::Invalid(Invalid::Node(26))));
    let applied: v5::wire::Message<'_> = v5::wire::Message::Applied { version: 7 };
    let mut applied = postcard::to_stdvec(&applied).expect("bytes");
    assert!(messages::decode(&applied, Version::V5).is_ok());
    applied.push(0);
    assert_eq!(messages::decode(&applied, Version::V5), Err(Unreadable::Surplus(1)));
    assert!(matches!(messages::decode(&[200], Version::V5), Err(Unreadable::Malformed(_))));
}

#[test]
fn what_is_newer_or_older_is_refused_by_its_number() {
    let named = |format| format!("{{\"format\":{format},\"whatever\":[]}}").into_bytes();
    let newer = Unreadable::Newer { found: 4, newest: 3 };
    let older = Unreadable::Older { found: 0, oldest: 1 };
    assert_eq!(disk::decode_snapshot(&named(4)), Err(newer.clone()));
    assert_eq!(disk::decode_identity(&named(4)), Err(newer.clone()));
    assert_eq!((disk::decode_snapshot(&named(0)), disk::decode_identity(&named(0))), (Err(older.clone()), Err(older)));
    assert_eq!(newer.to_string(), "it has format 4, this program reads up to 3");
    for (format, version) in [(1, Version::V5), (2, Version::V5), (3, Version::V6)] {
        assert_eq!(disk::version_of(format), Ok(version));
    }
    let line = "{\"format\":3,\"learned_at\":1}";
    assert_eq!(lines::version_of(line), Err(Unreadable::Newer { found: 3, newest: 2 }));
    assert_eq!(lines::version_of("{}"), Ok(Version::V5));
}

/// As a map of the standard library is read: whoever writes keys twice or out of their order is understood all the same.
#[test]
fn keys_may_come_in_any_order_and_the_last_value_counts() {
    let map = |keys: [(&str, u64); 4]| {
        let entries = keys.map(|(key, value)| format!("\"node-{key}\":\"{value:016x}\"")).join(",");
        read::<Map<'_, NodeId, Incarnation>>(&format!("{{{entries}}}")).map(Map::into_entries)
    };
    let wanted = |values: &[u64]| Ok((0..).map(NodeId).zip(values.iter().copied().map(Incarnation)).collect());
    assert_eq!(map([("a", 4), ("b", 2), ("c", 1), ("d", 5)]), wanted(&[4, 2, 1, 5]));
    assert_eq!(map([("c", 1), ("b", 2), ("a", 3), ("a", 4)]), wanted(&[4, 2, 1]));
    assert_eq!(map([("a", 3), ("a", 4), ("b", 2), ("c", 1)]), wanted(&[4, 2, 1]));
}

#[test]
fn text_is_borrowed_where_it_stands_as_it_is() {
    let text = |json| read::<Option<Text<'_>>>(json).expect("text").expect("some");
    assert!(matches!(text("\"plain\"").0, std::borrow::Cow::Borrowed("plain")));
    assert!(matches!(text("\"a \\\"quote\\\"\"").0, std::borrow::Cow::Owned(text) if text == "a \"quote\""));
}

/// What a peer or a disk hands over may be anything: it is read, and then it is what is written again, or refused.
#[test]
fn changed_bytes_are_read_or_refused() {
    let (mut read, mut refused) = (0, 0);
    for line in MESSAGES.iter().flat_map(|kind| super::lines(kind.v6)) {
        let Bytes { bytes, .. } = Bytes::of(line);
        for place in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = bytes.to_owned();
                changed[place] ^= change;
                let Ok(message) = messages::decode(&changed, Version::V6) else {
                    refused += 1;
                    continue;
                };
                let again = messages::encode(&message, Version::V6).expect("it came from there");
                assert_eq!(messages::decode(&again, Version::V6), Ok(message));
                read += 1;
            }
            assert!(messages::decode(&bytes[..place], Version::V6).is_err(), "cut at {place}: {line}");
        }
    }
    assert!(read > 1_000 && refused > 1_000, "{read} {refused}");
}
