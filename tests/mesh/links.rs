//! Links come up, carry messages, and heal.

use super::log;
use super::world::{A, B, C, Member, World, message, within};
use agreement::{Reason, Vote};
use mesh::WireVersion;
use model::Actor;
use service::Message;
use std::sync::Arc;
use tls::{ControlPlane, CrlPolicy, Direction};
use tokio::sync::watch;

#[tokio::test]
async fn every_member_reaches_every_other() {
    let world = World::new(1);
    let mut members = [world.start(A), world.start(B), world.start(C)];
    for member in &mut members {
        let others: Vec<_> = [A, B, C].into_iter().filter(|id| *id != member.id).collect();
        member.wait_up(&others).await;
        let links = member.mesh.links();
        assert_eq!(links.keys().copied().collect::<Vec<_>>(), others);
        for (peer, link) in links {
            assert_eq!(link.remote, world.address(peer));
            assert_eq!((link.tls_version.as_str(), link.key_exchange.as_str()), ("TLSv1_3", "X25519MLKEM768"));
        }
    }
    for member in &members {
        for to in [A, B, C] {
            member.mesh.send(to, &message(member.id, 1));
        }
    }
    for member in &mut members {
        let mut heard = [member.message().await, member.message().await];
        heard.sort_by_key(|(from, _)| *from);
        let wanted: Vec<_> =
            [A, B, C].into_iter().filter(|id| *id != member.id).map(|id| (id, message(id, 1))).collect();
        assert_eq!(heard.to_vec(), wanted);
    }
    for member in members {
        assert!(member.refused_nobody(), "{:?}", member.rejections.counts());
        member.stop().await;
    }
}

#[tokio::test]
async fn messages_keep_their_order() {
    let world = World::new(2);
    let (mut a, mut b) = (world.start(A), world.start(B));
    a.wait_up(&[B]).await;
    for round in 0..200 {
        a.mesh.send(B, &message(A, round));
    }
    for round in 0..200 {
        assert_eq!(b.message().await, (A, message(A, round)));
    }
}

#[tokio::test]
async fn a_member_that_comes_back_is_used_again() {
    let world = World::new(3);
    let mut a = world.start(A);
    for round in 0..3 {
        let mut b = world.start(B);
        a.wait_up(&[B]).await;
        b.wait_up(&[A]).await;
        a.mesh.send(B, &message(A, round));
        assert_eq!(b.message().await, (A, message(A, round)));
        b.mesh.send(A, &message(B, round));
        assert_eq!(a.message().await, (B, message(B, round)));
        b.stop().await;
        a.wait_down(B).await;
        assert!(a.mesh.links().is_empty());
        a.mesh.send(B, &message(A, 999));
    }
    assert!(a.refused_nobody(), "{:?}", a.rejections.counts());
    within(a.stop()).await;
}

#[tokio::test]
async fn a_member_whose_messages_nobody_takes_holds_nobody_up() {
    let world = World::new(4);
    let (mut a, b, mut c) = (world.start(A), world.start(B), world.start(C));
    a.wait_up(&[B, C]).await;
    // Far more than the event channel of `b`, its sockets and its queue can hold.
    for round in 0..20_000 {
        a.mesh.send(B, &message(A, round));
    }
    a.mesh.send(C, &message(A, 1));
    assert_eq!(c.message().await, (A, message(A, 1)));
    for member in [a, b, c] {
        member.stop().await;
    }
}

#[tokio::test]
async fn who_has_an_expired_certificate_dials_nobody() {
    let world = World::new(5);
    let mut files = world.files(A);
    files.leaf.not_after = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let plane = ControlPlane::new(&files, A, world.peers.members(), CrlPolicy::Warn).expect("a configuration");
    let (a, mut b) =
        (world.start_with(A, |config| config.tls = watch::Sender::new(Arc::new(plane)).subscribe()), world.start(B));
    b.wait_up(&[A]).await;
    // That link made the other node try at once.
    within(async {
        while log::lines(|line| line.to_string().contains("own certificate expired")).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(a.mesh.links().is_empty());
}

#[tokio::test]
async fn what_a_member_says_last_arrives_before_its_link_ends() {
    let world = World::new(80);
    let mut b = world.start(B);
    for round in 0..20 {
        let mut a = world.start(A);
        a.wait_up(&[B]).await;
        // Nothing of this is written before the stop: both wait for the same task.
        for part in 0..20 {
            a.mesh.send(B, &message(A, 100 * round + part));
        }
        a.stop().await;
        for part in 0..20 {
            assert_eq!(b.message().await, (A, message(A, 100 * round + part)));
        }
    }
}

#[tokio::test]
async fn a_member_of_the_version_before_is_understood_and_understands() {
    let world = World::new(81);
    let (mut a, mut c) = (world.start(A), world.start(C));
    let mut b = world.start_with(B, |config| config.wire = WireVersion::V5);
    a.wait_up(&[B, C]).await;
    b.wait_up(&[A, C]).await;
    let spoken =
        |member: &Member| member.mesh.links().into_iter().map(|(id, link)| (id, link.wire)).collect::<Vec<_>>();
    assert_eq!(spoken(&a), [(B, WireVersion::V5), (C, WireVersion::V6)]);
    assert_eq!(spoken(&b), [(A, WireVersion::V5), (C, WireVersion::V5)]);
    let stops = |reason| {
        let by = Actor { id: "operator/x".into(), serial: "1".into(), remote: "-".into() };
        let txid = "node-a.00c0ffee00c0ffee.1.7".parse().expect("a txid");
        Message::Abort { txid, version: 1, by, votes: [(A, Vote::Abort(reason))].into() }
    };
    for to in [B, C] {
        a.mesh.send(to, &stops(Reason::CoordinatorStops));
    }
    assert_eq!(b.message().await, (A, stops(Reason::CoordinatorStops)));
    assert_eq!(c.message().await, (A, stops(Reason::CoordinatorStops)));
    for member in [&a, &b, &c] {
        assert!(member.refused_nobody(), "{:?}", member.rejections.counts());
    }
}

#[tokio::test]
async fn a_member_that_has_left_a_version_behind_ends_its_links_of_it_and_says_why() {
    let world = World::new(82);
    let (mut a, mut c) = (world.start(A), world.start(C));
    let mut b = world.start_with(B, |config| config.wire = WireVersion::V5);
    a.wait_up(&[B, C]).await;
    b.wait_up(&[A, C]).await;
    c.wait_up(&[A, B]).await;
    a.mesh.close();
    a.wait_down(B).await;
    b.wait_down(A).await;
    for (member, direction) in [(&a, Direction::In), (&a, Direction::Out), (&b, Direction::Out)] {
        member.wait_rejection(direction, tls::Reason::WireVersion).await;
    }
    // Of several refusals for one reason not all are logged.
    let told = log::lines(|line| line.to_string().contains("run the others' program"));
    assert!(!told.is_empty(), "whoever reads the log is told what to do");
    c.mesh.close();
    b.wait_down(C).await;
    assert_eq!(a.mesh.links().into_keys().collect::<Vec<_>>(), [C], "those of the newest version stay");
    b.stop().await;
    let _again = world.start_with(B, |config| config.wire = WireVersion::V5);
    a.wait_rejections(Direction::In, tls::Reason::WireVersion, 2).await;
}
