//! Those who connect and then take their time.

use super::intruder::{Fate, Intruder, knock, plain};
use super::world::{A, B, World, within};
use tls::{Direction, Reason};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn those_who_only_connect_take_few_places_and_not_for_long() {
    let world = World::new(50);
    let a = world.start(A);
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(plain(world.stranger(), world.address(A)).await);
    }
    // The ninth from there is turned away at once; a member from elsewhere comes in meanwhile.
    let mut ninth = plain(world.stranger(), world.address(A)).await;
    let mut answer = Vec::new();
    let _ = within(ninth.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
    a.wait_rejection(Direction::In, Reason::HandshakeLimit).await;
    assert_eq!(a.rejections.counts().len(), 1, "the eight are still waited for");
    let member = Intruder::welcome_member(&world, B, A).await;
    for mut stream in idle {
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    assert!(answer.is_empty());
    a.wait_rejections(Direction::In, Reason::HandshakeTimeout, 8).await;
    // Their places are free again: who comes from there is judged by its certificate.
    let copy = knock(world.stranger(), world.address(A), world.files(B).into()).await;
    assert_eq!(copy, Fate::Rejected("address_mismatch".into()));
    drop(member);
}

#[tokio::test]
async fn a_member_that_does_not_greet_is_refused() {
    let world = World::new(51);
    let a = world.start(A);
    let silent = Intruder::member(&world, B, world.address(A)).await;
    assert_eq!(silent.fate().await, Fate::Rejected("handshake_timeout".into()));
    a.wait_rejection(Direction::In, Reason::HandshakeTimeout).await;
}
