//! What fuzzers do with the bytes of a peer: read them, and let this member make what it will of them.

use super::addresses::ExtraSources;
use super::frame::{Decoder, Encoder, Greeting, Payload, encode_greeting};
use super::greet::Identity;
use agreement::{IsolationPolicy, OnEmptyDisk, Timing};
use format::Version as WireVersion;
use model::{Incarnation, NodeId, Peers, Time};
use service::{Config, Durable, Engine, Input, Message, RoutingState};
use std::sync::Arc;

const MEMBER: NodeId = NodeId::A;

fn peer() -> NodeId {
    NodeId::from_index(1).expect("the second letter")
}

/// Reads messages, in two parts as a socket may give them, and hands them to an engine as the second member's. With an odd
/// first byte the rest is the body of one proper frame, which spares the search the way through length and number.
/// Gives how many were understood.
pub fn messages(bytes: &[u8]) -> usize {
    let Some((first, rest)) = bytes.split_first() else { return 0 };
    let mut decoder = Decoder::default();
    let framed: Vec<u8> = if first % 2 == 1 {
        let length = u32::try_from(rest.len() + 1).expect("fuzzers make less than 4 GiB");
        length.to_be_bytes().into_iter().chain([1]).chain(rest.iter().copied()).collect()
    } else {
        rest.to_vec()
    };
    let (early, late) = framed.split_at(framed.len() * usize::from(first / 2) / 128);
    let (mut engine, mut count) = (engine(), 0);
    for part in [early, late] {
        decoder.buffer.extend_from_slice(part);
        while let Ok(Some(message)) = decoder.next_message() {
            same_again(&message);
            let now = Time::from_micros(2_000_000 + count * 1_000);
            let _ = engine.step(now, Input::Receive { from: peer(), message });
            let _ = engine.view(now);
            count += 1;
        }
    }
    usize::try_from(count).expect("few messages")
}

/// Whatever was understood is said in the same words again, in each version that has words for it.
fn same_again(message: &Message) {
    for wire in [WireVersion::V5, WireVersion::V6] {
        let Ok(payload) = Payload::new(message, wire) else { continue };
        let mut bytes = Vec::new();
        Encoder::new(wire).encode(&payload, &mut bytes);
        let mut decoder = Decoder::default();
        decoder.wire = wire;
        decoder.buffer.extend_from_slice(&bytes);
        let again = decoder.next_message().expect("its own words");
        match message {
            // Of what was measured version 5 has words for a part.
            Message::Report(_) if wire == WireVersion::V5 => assert!(matches!(again, Some(Message::Report(_)))),
            Message::Heartbeat(_)
            | Message::Prepare { .. }
            | Message::Vote { .. }
            | Message::Abort { .. }
            | Message::Campaign { .. }
            | Message::Promise { .. }
            | Message::Accept { .. }
            | Message::Accepted { .. }
            | Message::Reject { .. }
            | Message::Decision { .. }
            | Message::Applied { .. }
            | Message::Report(_)
            | Message::Testimony(_) => assert_eq!(again.as_ref(), Some(message)),
        }
    }
}

/// A member that has joined, with links to all.
fn engine() -> Engine {
    let config = Config {
        me: MEMBER,
        members: Peers::local().members(),
        initial: Arc::new(RoutingState::initial("v1".parse().expect("a model id"))),
        on_isolation: IsolationPolicy::Stable,
        on_empty_disk: OnEmptyDisk::FirstBoot,
        timing: Timing::default(),
    };
    let mut engine = Engine::new(Arc::new(config), Durable::blank(Incarnation(1)), Time::from_micros(1_000_000));
    for peer in Peers::local().members().without(MEMBER).iter() {
        let _ = engine.step(Time::from_micros(1_000_000), Input::PeerUp(peer));
    }
    engine
}

/// Reads a greeting and judges it as one of the second member. Gives whether it would be taken in.
pub fn greeting(bytes: &[u8]) -> bool {
    let mut decoder = Decoder::default();
    if let Ok(length) = u32::try_from(bytes.len()) {
        decoder.buffer.extend_from_slice(&length.to_be_bytes());
    }
    decoder.buffer.extend_from_slice(bytes);
    let Ok(Some(greeting)) = decoder.next_greeting() else { return false };
    let mut again = Decoder::default();
    again.buffer.extend_from_slice(&encode_greeting(&greeting));
    match again.next_greeting() {
        Ok(said) => assert_eq!(said.as_ref(), Some(&greeting)),
        // Said anew, every control character takes six bytes, and the whole may be too long.
        Err(_) => assert!(bytes.len() > 512),
    }
    let identity = Identity::new(MEMBER, &Peers::local(), Incarnation(1), WireVersion::NEWEST);
    match greeting {
        Greeting::Hello { from, .. } | Greeting::Welcome { from, .. } => {
            identity.judge(peer(), &from, "c-1.canary").is_ok()
        }
        Greeting::Reject { .. } => false,
    }
}

/// Reads `NAME=VALUE` lines as the environment of a node. Gives whether they make a mesh.
pub fn variables(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (_, value) in lines.clone() {
        let _ = value.parse::<ExtraSources>();
    }
    let Ok(Some(peers)) = Peers::from_variables(lines) else { return false };
    let said = peers.iter().map(|(id, host)| (id.variable(), host.in_url()));
    assert_eq!(Peers::from_variables(said).expect("its own words").as_ref(), Some(&peers));
    let _ = peers.sharing();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::all_kinds;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn folder(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/seeds").join(target)
    }

    fn seeds(target: &str) -> impl Iterator<Item = Vec<u8>> {
        let files = fs::read_dir(folder(target)).expect("seeds");
        files.map(|file| fs::read(file.expect("readable").path()).expect("readable"))
    }

    #[test]
    fn the_seeds_of_the_fuzzers_are_understood() {
        assert!(seeds("frame").all(|seed| messages(&seed) > 0));
        assert!(seeds("greeting").all(|seed| greeting(&seed)));
        assert!(seeds("peers").all(|seed| variables(&seed)));
    }

    /// For when the words between members have changed: `cargo test -p mesh --lib write_the_seeds -- --ignored`.
    #[test]
    #[ignore = "it writes files"]
    fn write_the_seeds() {
        for message in all_kinds() {
            let payload = Payload::new(&message, WireVersion::NEWEST).expect("small");
            let mut framed = Vec::new();
            Encoder::default().encode(&payload, &mut framed);
            let seed: Vec<u8> = [1].into_iter().chain(framed.into_iter().skip(5)).collect();
            fs::write(folder("frame").join(message.kind()), seed).expect("written");
        }
        let from = Identity::new(peer(), &Peers::local(), Incarnation(2), WireVersion::NEWEST).introduce("c-1.canary");
        let hello = Greeting::Hello { to: MEMBER, from: from.clone() };
        let welcome = Greeting::Welcome { answers: from.nonce, from };
        for (name, greeting) in [("hello", hello), ("welcome", welcome)] {
            fs::write(folder("greeting").join(name), &encode_greeting(&greeting)[4..]).expect("written");
        }
    }
}
