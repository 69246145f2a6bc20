//! Links come up, carry messages, and heal.

use super::log;
use super::world::{A, B, C, World, message, within};
use canary::tls::{ControlPlane, CrlPolicy};
use std::sync::Arc;
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
