//! Short scenes: what one member does in a situation that a search passes through without looking at its words.

use super::world::{Heartbeats, World, id, pull_back, share};
use crate::commit::{Answer, Input, Output, Question, Refusal, Ticket, Timing};
use crate::model::{Actor, Change, UnixMillis};
use std::time::Duration;

/// Three members that have booted; the first one coordinates.
fn calm() -> World {
    let mut world = World::new(3, Heartbeats::OnTheWire, Timing::default(), None).expect("nothing is broken yet");
    world.deliver_all().expect("a first boot");
    world.pass(Duration::from_millis(200)).expect("a first boot");
    world
}

/// What the first member does when it is asked for `change`, without the world going on.
fn asked(world: &World, change: Change) -> Output {
    let by = Actor { id: "operator/x".into(), serial: "1".into(), remote: "-".into() };
    let question = Question { ticket: Ticket(1), change, base_version: None, by, at: UnixMillis(0) };
    let mut engine = world.engine(id(0)).expect("it is up").clone();
    engine.step(world.now, Input::Propose(question))
}

#[test]
fn a_coordinator_whose_links_are_closed_refuses_before_it_writes() {
    let mut world = calm();
    for other in [1, 2] {
        world.cut.extend([(id(0), id(other)), (id(other), id(0))]);
    }
    world.link().expect("links break");
    for change in [pull_back(), share(20)] {
        let out = asked(&world, change);
        assert_eq!(out.reply, [(Ticket(1), Answer::Refused(Refusal::NoMajority))]);
        assert!(out.append.is_empty() && out.ask.is_empty() && out.send.is_empty(), "{out:?}");
    }
}

#[test]
fn one_closed_link_stops_no_retreat() {
    let mut world = calm();
    world.cut.extend([(id(0), id(1)), (id(1), id(0))]);
    world.link().expect("a link breaks");
    let out = asked(&world, Change::Drain(id(1)));
    assert!(out.reply.is_empty() && !out.ask.is_empty(), "{out:?}");
}
