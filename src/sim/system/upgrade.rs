//! A rolling upgrade: nodes that speak version 5 of the wire are replaced by such as speak version 6, and back, until all leave
//! the older one behind.

use super::event::{Event, Trouble};
use super::omitted::Omitted;
use super::schedule::{CALM, boot, decide, faults, rest, share};
use super::sometimes::Sometimes;
use super::world::{World, id};
use crate::dice::Dice;
use crate::search::observer::{Broken, Promise, broken};
use mesh::WireVersion;
use model::NodeId;
use service::Change;
use std::time::Duration;

/// How soon all leave a version of the wire behind that nobody has to speak any more.
const MARKED_WITHIN: Duration = Duration::from_secs(3);

/// A rolling upgrade in trouble.
pub(super) fn play(world: &mut World, dice: &mut Dice, budget: u8, blank: bool) -> Result<(), Broken> {
    let members = world.nodes.len();
    if blank {
        world.nodes.iter_mut().filter(|_| dice.once_in(2)).for_each(|node| node.told = WireVersion::V6);
    }
    let mut at: usize = 0;
    for round in 0..members + dice.below(members) {
        // In turn, now and then back.
        let wire = if dice.once_in(4) { WireVersion::V5 } else { WireVersion::V6 };
        world.after_us(at as u64, Event::Trouble(Trouble::Replace(id(round % members), wire)));
        at += [2_000, 60_000, 600_000, 1_500_000][dice.below(4)];
    }
    if dice.once_in(2) {
        at += backslide(world, dice, at);
    }
    let end = faults(world, dice, budget, blank, None);
    for _ in 0..dice.below(3) {
        let node = id(dice.below(members));
        world.after_us(dice.below(at + 1) as u64, Event::Ask { node, change: Change::Close(None), by: 0, tries: 1 });
    }
    world.run_until(world.now + end.max(Duration::from_micros(at as u64)), |_| false)?;
    world.repair();
    for node in world.ids() {
        world.node(node).told = WireVersion::V6;
        if world.is_up(node) && world.node(node).wire != WireVersion::V6 {
            world.crash(node)?;
            let how = world.node(node).on_empty_disk();
            world.after_us(1_000, Event::Start(node, how));
        }
    }
    rest(world)?;
    let is_marked = |world: &World| world.watch.observer.newest.as_ref().is_none_or(|newest| newest.wire.is_some());
    world.run_until(world.now + MARKED_WITHIN, |world| is_marked(world) && world.is_settled())?;
    if !is_marked(world) {
        return broken(Promise::Progress, format!("the mark does not come: {}", world.describe()));
    }
    decide(world, dice)?;
    if is_marked(world) { Ok(()) } else { broken(Promise::Door, "the first change comes without the mark".into()) }
}

/// All speak version 6, and at about the moment when they leave version 5 behind one of them is taken back to it, or loses
/// its disk; sometimes while others cannot hear each other. Says how long that takes.
fn backslide(world: &mut World, dice: &mut Dice, after_us: usize) -> usize {
    let members = world.nodes.len();
    let after_us = after_us as u64;
    for index in 0..members {
        world.after_us(after_us, Event::Trouble(Trouble::Replace(id(index), WireVersion::V6)));
    }
    let back = id(dice.below(members));
    let moment = after_us + 2_400_000 * u64::from(dice.once_in(2)) + dice.below(120_000) as u64;
    let (one, other) = (id(dice.below(members)), id(dice.below(members)));
    if one != other && dice.once_in(2) {
        world.after_us(moment, Event::Trouble(Trouble::CutBothWays(one, other, 400)));
    }
    let taken_back = moment + dice.below(3_000) as u64;
    if dice.once_in(4) {
        world.after_us(taken_back, Event::Trouble(Trouble::LoseDisk(back)));
    }
    if dice.once_in(3) {
        world.after_us(taken_back, Event::Trouble(Trouble::PowerCutOfAll));
    }
    world.after_us(taken_back, Event::Trouble(Trouble::Replace(back, WireVersion::V5)));
    3_000_000
}

/// The door, step by step, in a world without trouble.
#[test]
fn the_door_closes_when_the_last_member_is_new_and_not_before() {
    let mut world = World::new(3, 1, Omitted::Nothing, CALM);
    let last = id(2);
    world.nodes.iter_mut().filter(|node| node.id != last).for_each(|node| node.told = WireVersion::V6);
    boot(&mut world).expect("a first boot");
    let mut then = |events: Vec<Event>| {
        events.into_iter().for_each(|event| world.after_us(0, event));
        world.run_until(world.now + Duration::from_secs(3), |_| false).expect("no promise is broken");
        let newest = world.watch.observer.newest.as_ref();
        let links: Vec<_> = [0, 1].into_iter().map(|of| world.network.link(id(of), last).clone()).collect();
        let seen = [Sometimes::RefusedAsUnsayable, Sometimes::HeldBackInVain, Sometimes::RefusedForItsVersion];
        let spoken = links[0].up.then_some(links[0].wire).flatten();
        assert_eq!(links[1].up.then_some(links[1].wire).flatten(), spoken);
        let counts = seen.map(|what| world.watch.seen.count(what));
        (newest.map(|newest| (newest.version, newest.wire)), spoken, counts)
    };
    let ask = |change| vec![Event::Ask { node: NodeId::A, change, by: 0, tries: 0 }];
    let replace = |wire| vec![Event::Trouble(Trouble::Replace(last, wire))];
    let (v5, v6) = (Some(WireVersion::V5), Some(WireVersion::V6));
    assert_eq!(then(ask(Change::Close(None))), (None, v5, [1, 0, 0]), "what cannot be said is refused");
    assert_eq!(then(ask(share(500))), (Some((1, None)), v5, [1, 0, 0]));
    assert_eq!(then(Vec::new()), (Some((1, None)), v5, [1, 0, 0]), "one that speaks 5 keeps the way back open");
    assert_eq!(then(replace(WireVersion::V6)), (Some((2, Some(6))), v6, [1, 0, 0]));
    assert_eq!(then(ask(share(2_000))), (Some((3, Some(6))), v6, [1, 0, 0]), "the mark stays");
    assert_eq!(then(replace(WireVersion::V5)), (Some((3, Some(6))), v6, [1, 1, 0]), "its disk forbids it");
    let mut lost = vec![Event::Trouble(Trouble::LoseDisk(last))];
    lost.extend(replace(WireVersion::V5));
    let (newest, spoken, [_, _, refused]) = then(lost);
    assert_eq!((newest, spoken), (Some((3, Some(6))), None));
    assert!(refused > 0, "and without it the others do");
}
