//! Trouble: how it begins and ends.

use super::event::{Event, Trouble};
use super::node::{Leaving, Rest};
use super::sometimes::Sometimes;
use super::surroundings::Quality;
use super::world::{World, id};
use crate::dice::Dice;
use crate::disk::Fate;
use crate::search::observer::Broken;
use agreement::OnEmptyDisk;
use member::Happened;
use model::NodeId;
use service::Input;
use std::time::Duration;
use store::Room;

/// How long trouble lasts, in milliseconds: shorter than anyone notices, longer than a vote, than a caller waits.
const SHORT_MS: [u64; 5] = [4, 40, 400, 2_200, 3_500];
/// Longer than a silence; longer than a lease.
const LONG_MS: [u64; 4] = [3_500, 6_000, 8_000, 12_000];

/// How long a process that was told to stop can be asked still.
const SERVES_MS: [u64; 4] = [0, 5, 100, 1_000];

/// How long the trouble of a schedule lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Less than anyone is taken for gone.
    Short,
    /// Until others take over, or until leases end.
    Long,
}

impl Trouble {
    /// Any trouble.
    pub(super) fn draw(dice: &mut Dice, members: usize, lasting: Lasting) -> Self {
        // Mostly whoever drives what goes on.
        let node = if dice.once_in(3) { NodeId::A } else { id(dice.below(members)) };
        let other = id((usize::from(node.index()) + 1 + dice.below(members - 1)) % members);
        let span = match lasting {
            Lasting::Short => SHORT_MS[dice.below(SHORT_MS.len())],
            Lasting::Long => LONG_MS[dice.below(LONG_MS.len())],
        };
        let fate = [Fate::DiesBefore, Fate::DiesWithin, Fate::DiesAfter, Fate::Fails][dice.below(4)];
        match dice.below(28) {
            0 => Self::Lose(node, other, 1 + u32::from(dice.once_in(2))),
            1 => Self::Double(node, other, 3),
            2 => Self::Delay(node, other, 1_000 * span.min(2_500)),
            3 => Self::Disorder(node, other),
            4 => Self::Late,
            5 => Self::CutOneWay(node, other, span),
            6 => Self::CutBothWays(node, other, span),
            7 | 8 => Self::Isolate(node, span),
            9 => Self::Flap(node, other, 3),
            10 => Self::Kill(node),
            11 => Self::PowerCut(node),
            12 => Self::PowerCutOfAll,
            13..=16 => Self::Disk(node, dice.below(10), fate),
            17 => Self::DieAfterEffects(node, dice.below(8)),
            18 => Self::DieInPause(node, dice.below(2)),
            19 => Self::LoseDisk(node),
            20 => Self::Full(node, span.max(2_500)),
            21 => Self::Slow(node, 1_000 * span.min(2_500)),
            22 => Self::Drift(node, if dice.once_in(2) { 4_000 } else { -4_000 }),
            23 => Self::SetWall(node, if dice.once_in(2) { 86_400_000 } else { -86_400_000 }),
            24 => Self::Stop(node, span),
            25 | 26 => Self::Leave(node, SERVES_MS[dice.below(SERVES_MS.len())]),
            _ => Self::SpoilUpstream(node, span),
        }
    }
}

impl World {
    /// Lets it happen.
    pub(super) fn strike(&mut self, trouble: Trouble) -> Result<(), Broken> {
        self.tell(|| format!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Lose(from, to, count) => self.network.link(from, to).losing += count,
            Trouble::Double(from, to, count) => self.network.link(from, to).doubling += count,
            Trouble::Delay(from, to, us) => {
                self.network.link(from, to).delay_us = us;
                self.after_us(us.max(20_000), Event::Trouble(Trouble::Mend(from, to)));
            }
            Trouble::Disorder(from, to) => {
                self.network.link(from, to).disordered = true;
                self.after_us(3_000_000, Event::Trouble(Trouble::Mend(from, to)));
            }
            Trouble::Late => self.repeat(),
            Trouble::CutOneWay(from, to, ms) => {
                self.watch.seen.note(Sometimes::CutOneWay);
                self.cut(from, to, ms);
            }
            Trouble::CutBothWays(one, other, ms) => {
                self.cut(one, other, ms);
                self.cut(other, one, ms);
            }
            Trouble::Isolate(node, ms) => {
                for other in self.ids().filter(|other| *other != node) {
                    self.cut(node, other, ms);
                    self.cut(other, node, ms);
                }
            }
            Trouble::Flap(from, to, times) => self.flap(from, to, times)?,
            Trouble::Mend(from, to) => self.mend(from, to),
            Trouble::Kill(node) => self.kill(node, false)?,
            Trouble::PowerCut(node) => self.kill(node, true)?,
            Trouble::PowerCutOfAll => {
                self.watch.seen.note(Sometimes::AllLostPower);
                for node in self.ids() {
                    self.kill(node, true)?;
                }
            }
            Trouble::Disk(node, operations, fate) => self.node(node).disk.lock().arm(operations, fate),
            Trouble::DieAfterEffects(node, effects) => self.node(node).dies_after_effects = Some(effects),
            Trouble::DieInPause(node, pauses) => self.node(node).dies_in_pause = Some(pauses),
            Trouble::LoseDisk(node) => self.lose_disk(node)?,
            Trouble::Full(node, ms) => {
                self.node(node).disk.lock().room = Room::Full;
                self.after_us(ms * 1_000, Event::Trouble(Trouble::Recover(node)));
            }
            Trouble::Slow(node, us) => {
                self.node(node).disk.lock().slow = Duration::from_micros(us);
                self.after_us(us * 3, Event::Trouble(Trouble::Recover(node)));
            }
            Trouble::Recover(node) => {
                let mut disk = self.node(node).disk.lock();
                (disk.room, disk.slow) = (Room::Plenty, Duration::ZERO);
            }
            Trouble::Drift(node, ppm) => {
                let now = self.now;
                self.node(node).clock.drift(now, ppm);
                return self.take(node, Happened::Nothing);
            }
            Trouble::SetWall(node, ms) => {
                self.watch.seen.note(Sometimes::WallClockJumped);
                self.node(node).clock.set_wall(ms);
            }
            Trouble::Stop(node, ms) => self.stop(node, ms),
            Trouble::Leave(node, ms) => self.leave(node, ms)?,
            Trouble::Replace(node, wire) => {
                self.node(node).told = wire;
                self.crash(node)?;
                let how = self.node(node).on_empty_disk();
                self.after_us(1_000, Event::Start(node, how));
            }
            Trouble::SpoilUpstream(node, ms) => {
                self.node(node).upstream_is_ready = false;
                self.after_us(ms * 1_000, Event::Trouble(Trouble::Upstream(node)));
            }
            Trouble::Upstream(node) => self.node(node).upstream_is_ready = true,
        }
        Ok(())
    }

    /// Repairs all that can be: from now on nothing goes wrong any more.
    pub(super) fn repair(&mut self) {
        self.network.mend();
        self.forget_trouble();
        self.is_repaired = true;
        for id in self.ids() {
            let now = self.now;
            let node = self.node(id);
            node.upstream_is_ready = true;
            (node.dies_after_effects, node.dies_in_pause) = (None, None);
            let mut disk = node.disk.lock();
            (disk.room, disk.slow) = (Room::Plenty, Duration::ZERO);
            disk.disarm();
            drop(disk);
            if let Some(Rest::Stopped(_)) = node.rest {
                node.rest = Some(Rest::Stopped(now));
                self.after_us(0, Event::GoOn(id));
            }
            let how = self.node(id).on_empty_disk();
            if !self.is_up(id) {
                self.after_us(1_000, Event::Start(id, how));
            }
            for other in self.ids().filter(|other| *other != id) {
                // A link that seems up may be dead; TCP would find out, now that answers come.
                self.after_us(1_000, Event::Notice(id, other));
                self.after_us(2_000, Event::Dial(id, other));
            }
        }
    }

    fn cut(&mut self, from: NodeId, to: NodeId, ms: u64) {
        self.network.link(from, to).cut = true;
        self.after_us(ms * 1_000, Event::Trouble(Trouble::Mend(from, to)));
        // Half of the time both ends go on believing in the link.
        if self.dice.once_in(2) {
            let notices = self.dice.below(300_000) as u64;
            self.after_us(notices, Event::Notice(from, to));
            self.after_us(notices, Event::Notice(to, from));
        }
    }

    fn mend(&mut self, from: NodeId, to: NodeId) {
        let link = self.network.link(from, to);
        (link.cut, link.delay_us, link.disordered) = (false, 0, false);
        for (from, to) in [(from, to), (to, from)] {
            let dials = 1_000 + self.dice.below(100_000) as u64;
            self.after_us(dials, Event::Dial(from, to));
        }
    }

    fn flap(&mut self, from: NodeId, to: NodeId, times: u8) -> Result<(), Broken> {
        self.watch.seen.note(Sometimes::Flapped);
        self.break_link(from, to)?;
        self.after_us(300, Event::Dial(from, to));
        if let Some(left) = times.checked_sub(1) {
            let again = 500 + self.dice.below(50_000) as u64;
            self.after_us(again, Event::Trouble(Trouble::Flap(from, to, left)));
        }
        Ok(())
    }

    fn repeat(&mut self) {
        if self.old.is_empty() {
            return;
        }
        let (from, to, frame) = self.old[self.dice.below(self.old.len())].clone();
        self.watch.seen.note(Sometimes::DuplicateCameLate);
        self.after_us(0, Event::Arrive { from, to, connection: None, frame });
    }

    fn kill(&mut self, node: NodeId, power: bool) -> Result<(), Broken> {
        let how = self.node(node).on_empty_disk();
        let leaves = self.node(node).leaving.is_some();
        self.watch.seen.note_if(leaves, Sometimes::DiedLeaving);
        self.crash(node)?;
        if power {
            self.node(node).disk.lock().cut_power();
        }
        // Now and then it dies again while it starts.
        if self.dice.once_in(3) {
            let fate = [Fate::DiesBefore, Fate::DiesWithin, Fate::DiesAfter, Fate::Fails][self.dice.below(4)];
            let operations = self.dice.below(9);
            self.node(node).disk.lock().arm(operations, fate);
        }
        let waits = [5, 50, 500, 4_000, 9_000][self.dice.below(5)];
        self.after_us(waits * 1_000, Event::Start(node, how));
        Ok(())
    }

    /// One lost disk at a time: with two, what they alone held is gone, and no protocol brings it back.
    fn lose_disk(&mut self, id: NodeId) -> Result<(), Broken> {
        let all_joined = self.ids().all(|id| !self.node(id).wiped && self.node(id).joined);
        if !all_joined {
            return Ok(());
        }
        self.crash(id)?;
        self.watch.lost(id);
        let (seed, members) = (self.dice.next(), self.nodes.len());
        let node = self.node(id);
        (node.wiped, node.joined) = (true, false);
        node.lives += 1;
        node.disk = crate::disk::Shared::new(seed, members);
        // An operator may not have noticed.
        let unnoticed = self.dice.once_in(2);
        let how = if unnoticed { OnEmptyDisk::AwaitFirstBoot } else { OnEmptyDisk::Rejoin };
        let waits = 5_000 + self.dice.below(400_000) as u64;
        self.after_us(waits, Event::Start(id, how));
        Ok(())
    }

    fn stop(&mut self, id: NodeId, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        if self.is_up(id) && self.node(id).rest.is_none() {
            self.node(id).rest = Some(Rest::Stopped(until));
            self.watch.seen.note_if(ms > 10_100, Sometimes::PausedBeyondItsLease);
            self.at(until, Event::GoOn(id));
        }
    }

    fn leave(&mut self, id: NodeId, ms: u64) -> Result<(), Broken> {
        let Some(engine) = self.engine(id) else { return Ok(()) };
        let (acts, is_busy) = (engine.acts(), !engine.is_settled());
        if self.node(id).leaving.is_some() {
            // Whoever asks twice does not want to wait.
            return self.kill(id, false);
        }
        self.watch.stops(self.now, id, acts, is_busy);
        let run = self.node(id).run;
        self.node(id).leaving = Some(Leaving::Serving);
        self.after_us(ms * 1_000, Event::End(id, run));
        self.take(id, Happened::Input(Input::Stop))
    }

    /// How every node's canary does from now on.
    pub(super) fn set_quality(&mut self, quality: Quality) {
        self.nodes.iter_mut().for_each(|node| node.surroundings.traffic.quality = quality);
    }
}
