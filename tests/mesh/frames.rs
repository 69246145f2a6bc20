//! What a member may say once its certificate is believed: a wrong word ends the connection, and nothing else.

use super::intruder::{Fate, Intruder, frame, hello, message_frame, prefixed};
use super::world::{A, B, C, Member, World, message};
use agreement::{Base, Votes};
use model::Actor;
use serde_json::{Value, json};
use service::{Message, Proposal, RoutingState};
use std::sync::Arc;
use tls::{Direction, Reason};

/// Says these bytes instead of a hello.
async fn greet_with(world: &World, bytes: &[u8]) -> Fate {
    let mut intruder = Intruder::member(world, B, world.address(A)).await;
    intruder.send(bytes).await;
    intruder.fate().await
}

/// Says these bytes after the welcome.
async fn say(world: &World, bytes: &[u8]) -> Fate {
    let mut intruder = Intruder::welcome_member(world, B, A).await;
    intruder.send(bytes).await;
    intruder.fate().await
}

async fn expect(a: &Member, fate: Fate, reason: Reason, what: &str) {
    // The explanation may be lost when the peer keeps on writing into a closed connection.
    assert!(fate == Fate::Rejected(reason.to_string()) || fate == Fate::Closed, "{what}: {fate:?}");
    a.wait_rejection(Direction::In, reason).await;
}

fn changed(mut hello: Value, field: &str, value: Value) -> Vec<u8> {
    hello["hello"][field] = value;
    frame(&hello)
}

#[tokio::test]
async fn a_hello_that_does_not_fit_is_refused_with_its_reason() {
    let world = World::new(40);
    let good = || hello(&world, B, A);
    let cases = [
        (Reason::WireVersion, changed(good(), "version", json!(1))),
        (Reason::ClusterMismatch, changed(good(), "cluster", json!("c-00000000.canary"))),
        (Reason::MembersDiffer, changed(good(), "members", json!(["node-a", "node-b", "node-c", "node-d"]))),
        (Reason::IdentityFrameMismatch, changed(good(), "node", json!("node-c"))),
        (Reason::ServerIdentityMismatch, changed(good(), "to", json!("node-c"))),
        (Reason::FrameMalformed, frame(&json!({ "hi": {} }))),
        (Reason::FrameMalformed, frame(&json!({ "welcome": good()["hello"] }))),
        (Reason::FrameMalformed, prefixed(b"")),
        (Reason::FrameMalformed, prefixed(&[0xff; 100])),
        (Reason::FrameMalformed, prefixed("[".repeat(4_000).as_bytes())),
        (Reason::FrameMalformed, changed(good(), "clock", json!(-1))),
        (Reason::FrameTooLarge, prefixed(&[b' '; 4_097])),
        (Reason::FrameTooLarge, u32::MAX.to_be_bytes().to_vec()),
        (Reason::FrameTooLarge, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (reason, bytes) in cases {
        let a = world.start(A);
        let fate = greet_with(&world, &bytes).await;
        expect(&a, fate, reason, &String::from_utf8_lossy(&bytes)).await;
        a.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_no_reason_to_refuse() {
    let world = World::new(44);
    let a = world.start(A);
    let mut intruder = Intruder::member(&world, B, world.address(A)).await;
    intruder.send(&changed(hello(&world, B, A), "clock", json!(1))).await;
    let answer = intruder.frame().await.expect("an answer");
    assert!(answer["welcome"].is_object(), "{answer}");
    assert!(a.refused_nobody());
    a.stop().await;
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    let world = World::new(41);
    let good = message(B, 1);
    let whole = message_frame(1, &good)[4..].to_vec();
    let cases = [
        (Reason::FrameTooLarge, ((1_u32 << 20) + 1).to_be_bytes().to_vec()),
        (Reason::FrameTooLarge, u32::MAX.to_be_bytes().to_vec()),
        (Reason::FrameMalformed, prefixed(b"")),
        (Reason::FrameMalformed, prefixed(&[0xff; 50])),
        (Reason::FrameMalformed, prefixed(&[1; 50])),
        (Reason::BadSequence, prefixed(b"{\"n\":1,\"m\":{}}")),
        (Reason::FrameMalformed, prefixed(&[1, 99])),
        (Reason::FrameMalformed, prefixed(&whole[..whole.len() - 1])),
        (Reason::FrameMalformed, prefixed(&[&whole[..], b"x"].concat())),
        (Reason::BadSequence, message_frame(0, &good)),
        (Reason::BadSequence, message_frame(2, &good)),
        (Reason::BadSequence, [message_frame(1, &good), message_frame(1, &good)].concat()),
        (Reason::BadSequence, [message_frame(1, &good), message_frame(3, &good)].concat()),
    ];
    for (reason, bytes) in cases {
        let a = world.start(A);
        let fate = say(&world, &bytes).await;
        expect(&a, fate, reason, &String::from_utf8_lossy(&bytes)).await;
        a.stop().await;
    }
}

#[tokio::test]
async fn nobody_speaks_for_another() {
    let world = World::new(42);
    let Message::Campaign { ballot } = message(C, 1) else { panic!("a campaign") };
    let txid = "node-c.00c0ffee00c0ffee.1.7".parse().expect("a transaction");
    let initial = RoutingState::initial("v1".parse().expect("a model id"));
    let state = Arc::new(RoutingState { version: 1, txid: Some(txid), coordinator: C, ..initial });
    let proposal = Arc::new(Proposal {
        ballot,
        state: Arc::clone(&state),
        by: None,
        votes: Votes::new(),
        evidence: Default::default(),
    });
    let base = Base { version: 0, digest: state.digest() };
    let by = Actor { id: "operator/x".into(), serial: "1".into(), remote: "-".into() };
    let cases = [
        (Reason::IdentityFrameMismatch, message(C, 1)),
        (Reason::IdentityFrameMismatch, Message::Accept { proposal }),
        (Reason::RoleViolation, Message::Prepare { base, next: state, by: by.clone() }),
        (Reason::RoleViolation, Message::Abort { txid, version: 1, by, votes: Votes::new() }),
    ];
    for (reason, message) in cases {
        let mut a = world.start(A);
        let fate = say(&world, &message_frame(1, &message)).await;
        expect(&a, fate, reason, message.kind()).await;
        assert!(a.events.try_recv().is_err(), "the engine must not hear of it");
        a.stop().await;
    }
}

#[tokio::test]
async fn a_frame_cut_short_is_never_delivered() {
    let world = World::new(43);
    let mut a = world.start(A);
    let good = |round| message(B, round);
    let mut intruder = Intruder::welcome_member(&world, B, A).await;
    let second = message_frame(2, &good(2));
    intruder.send(&message_frame(1, &good(1))).await;
    intruder.send(&second[..second.len() - 1]).await;
    assert_eq!(a.message().await, (B, message(B, 1)));
    drop(intruder);
    // The same peer comes again: its numbers begin anew.
    let mut intruder = Intruder::welcome_member(&world, B, A).await;
    intruder.send(&message_frame(1, &good(3))).await;
    assert_eq!(a.message().await, (B, message(B, 3)));
    assert!(a.refused_nobody(), "{:?}", a.rejections.counts());
}
