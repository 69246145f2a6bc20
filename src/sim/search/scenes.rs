//! Short scenes: what one member does in a situation that a search passes through without looking at its words.

use super::rules::Without;
use super::subject::{pull_back, share};
use super::world::{Fate, Heartbeats, World, id};
use agreement::{Reason, Ticket, Timing, Vote};
use model::{Actor, Ballot, Incarnation, UnixMillis};
use service::{Answer, Change, Engine, Input, Message, Output, Proposal, Question, Refusal};
use std::sync::Arc;
use std::time::Duration;

/// Three members that have booted; the first one coordinates.
fn calm() -> World {
    let mut world =
        World::new(3, Heartbeats::OnTheWire, Timing::default(), Without(None)).expect("nothing is broken yet");
    world.deliver_all().expect("a first boot");
    world.pass(Duration::from_millis(200)).expect("a first boot");
    world
}

/// A question for `change`.
fn question(change: Change) -> Input {
    let by = Actor { id: "operator/x".into(), serial: "1".into(), remote: "-".into() };
    Input::Propose(Question { ticket: Ticket(1), change, base_version: None, by, at: UnixMillis(0) })
}

/// What the first member does when it is asked for `change`, without the world going on.
fn asked(world: &World, change: Change) -> Output {
    let mut engine = world.engine(id(0)).expect("it is up").clone();
    engine.step(world.now, question(change))
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

#[test]
fn what_a_caller_waits_for_shows_when_an_older_value_has_taken_its_place() {
    let world = calm();
    let mut engine = world.engine(id(0)).expect("it is up").clone();
    let older = Arc::clone(engine.committed());
    let _ = engine.step(world.now, question(Change::Drain(id(2))));
    let shown = engine.view(world.now).pending;
    assert_eq!(shown.map(|pending| pending.version), Some(older.state.version + 1));
    let ballot = Ballot { round: engine.durable().promise.round + 1, node: id(1), incarnation: Incarnation(7) };
    let proposal = Arc::new(Proposal { ballot, ..(*older).clone() });
    for message in [Message::Campaign { ballot }, Message::Accept { proposal: Arc::clone(&proposal) }] {
        let _ = engine.step(world.now, Input::Receive { from: id(1), message });
    }
    assert_eq!(engine.durable().accepted, Some(proposal), "the other proposer was faster");
    let still = engine.view(world.now).pending;
    assert_eq!(
        still.map(|pending| (pending.txid, pending.version)),
        shown.map(|pending| (pending.txid, pending.version))
    );
}

#[test]
fn a_caller_who_waited_in_line_is_told_about_as_soon_as_all_others() {
    let (world, timing) = (calm(), Timing::default());
    let mut engine = world.engine(id(0)).expect("it is up").clone();
    let first = engine.step(world.now, question(Change::Drain(id(2))));
    let _ = engine.step(world.now, question(pull_back()));
    let Some(Message::Accept { proposal }) = first.ask.first().map(|envelope| &envelope.message) else {
        panic!("{first:?}")
    };
    // The first is decided when both have waited almost as long as anybody waits, and the second is sent.
    let late = world.now + timing.answer - Duration::from_millis(100);
    let message = Message::Accepted { ballot: proposal.ballot, version: proposal.state.version };
    let sent = engine.step(late, Input::Receive { from: id(1), message });
    assert!(matches!(sent.ask[..], [ref asked, _] if matches!(asked.message, Message::Accept { .. })), "{sent:?}");
    let until = late + timing.decision;
    let told = |out: &Output| out.reply.iter().any(|(_, answer)| matches!(answer, Answer::Unknown { .. }));
    let before = engine.step(until - Duration::from_millis(1), Input::Timeout);
    assert!(!told(&before), "{before:?}");
    let then = engine.step(until, Input::Timeout);
    assert!(told(&then), "{then:?}");
}

/// Delivers everything, without any time passing.
fn talk(world: &mut World) {
    world.wake_due().expect("no promise is broken");
    world.deliver_all().expect("no promise is broken");
}

fn acting(world: &World) -> Vec<usize> {
    (0..3).filter(|index| world.engine(id(*index)).is_some_and(Engine::acts)).collect()
}

#[test]
fn a_coordinator_that_leaves_hands_over_before_any_time_passes() {
    let mut world = calm();
    assert_eq!(acting(&world), [0]);
    world.stop(id(0)).expect("it leaves");
    talk(&mut world);
    assert_eq!(acting(&world), [1], "{}", world.describe());
    assert!(world.engine(id(0)).is_some_and(Engine::has_left));
    for index in 0..3 {
        let view = world.engine(id(index)).expect("it is up").view(world.now);
        assert_eq!(view.coordinator, Some(id(1)), "node {index}: {}", world.describe());
    }
    // As long as its process runs it has a vote, so that an advance goes through, too.
    world.propose(id(1), share(20)).expect("it is asked");
    talk(&mut world);
    world.end(id(0)).expect("it ends");
    world.propose(id(1), pull_back()).expect("it is asked");
    talk(&mut world);
    assert_eq!(world.observer.versions(), 2, "{}", world.describe());
}

#[test]
fn one_that_has_just_started_takes_over_from_one_that_leaves() {
    let mut world = calm();
    world.end(id(1)).expect("it ends");
    world.start(id(1)).expect("it starts");
    talk(&mut world);
    world.stop(id(0)).expect("it leaves");
    talk(&mut world);
    assert_eq!(acting(&world), [1], "{}", world.describe());
}

#[test]
fn who_leaves_with_the_coordinator_is_passed_over() {
    let mut world = calm();
    world.stop(id(1)).expect("it leaves");
    world.stop(id(0)).expect("it leaves");
    talk(&mut world);
    assert_eq!(acting(&world), [2], "{}", world.describe());
}

#[test]
fn an_advance_that_is_voted_on_ends_when_the_coordinator_leaves() {
    let world = calm();
    let mut engine = world.engine(id(0)).expect("it is up").clone();
    let asked = engine.step(world.now, question(share(20)));
    assert!(asked.send.iter().any(|envelope| matches!(envelope.message, Message::Prepare { .. })), "{asked:?}");
    let out = engine.step(world.now, Input::Stop);
    let [(Ticket(1), Answer::Aborted { votes, .. })] = &out.reply[..] else { panic!("{out:?}") };
    assert_eq!(votes[&id(0)], Vote::Abort(Reason::CoordinatorStops));
    let told = out.send.iter().filter(|envelope| matches!(envelope.message, Message::Abort { .. })).count();
    assert_eq!(told, 2, "{out:?}");
    assert!(engine.has_left() && out.append.is_empty());
}

#[test]
fn what_was_sent_for_acceptance_is_chosen_before_the_coordinator_leaves() {
    let mut world = calm();
    world.step(id(0), question(pull_back()), Fate::Survives).expect("it is asked");
    world.stop(id(0)).expect("it leaves");
    let engine = world.engine(id(0)).expect("it is up");
    assert!(engine.acts() && !engine.has_left(), "{}", world.describe());
    talk(&mut world);
    assert!(world.engine(id(0)).is_some_and(Engine::has_left), "{}", world.describe());
    assert_eq!((world.observer.versions(), acting(&world)), (1, vec![1]));
}

#[test]
fn a_caller_of_a_coordinator_that_leaves_is_told_what_is_known_in_time() {
    let world = calm();
    let mut engine = world.engine(id(0)).expect("it is up").clone();
    let _ = engine.step(world.now, question(pull_back()));
    let out = engine.step(world.now, Input::Stop);
    assert!(out.reply.is_empty() && engine.acts(), "{out:?}");
    let until = world.now + Timing::default().farewell;
    assert!(engine.poll_timeout(world.now) <= until);
    let out = engine.step(until, Input::Timeout);
    assert!(matches!(out.reply[..], [(Ticket(1), Answer::Unknown { version: 1, .. })]), "{out:?}");
    assert!(engine.has_left());
    // What comes after that is told so, and nothing of it is written.
    let out = engine.step(until, question(pull_back()));
    assert_eq!(out.reply, [(Ticket(1), Answer::Refused(Refusal::Leaving))]);
    assert!(out.append.is_empty() && out.ask.is_empty(), "{out:?}");
}
