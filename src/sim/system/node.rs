//! One machine of the simulation.

use super::clock::Clock;
use super::omitted::Omitted;
use super::surroundings::{Quality, Question, Surroundings, Traffic};
use crate::disk::{Shared, SimulatedStore};
use agreement::OnEmptyDisk;
use member::{Happened, Member};
use mesh::WireVersion;
use model::{Digest, NodeId, Time};
use service::View;
use std::collections::{BTreeMap, VecDeque};
use store::{Memory, Room, StoreError};

impl Memory for SimulatedStore {
    fn append(&mut self, records: &[service::Record]) -> Result<(), StoreError> {
        Self::append(self, records)
    }

    fn force(&mut self) -> Result<(), StoreError> {
        Self::force(self)
    }

    fn has_room(&self) -> Room {
        Self::has_room(self)
    }
}

/// A process.
pub(super) type Process = Member<SimulatedStore, Question, Omitted>;

/// Why a machine does nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Its disk is slow. What serves `/predict` goes on meanwhile.
    Disk(Time),
    /// Its process is stopped, or the machine is suspended.
    Stopped(Time),
}

/// How far a process is that was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Its port is open still: operators go on asking it.
    Serving,
    /// Nobody can ask it anything any more.
    Ending,
}

/// A machine.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: Shared,
    pub(super) clock: Clock,
    pub(super) process: Option<Process>,
    /// The newest version of the wire that its process speaks; and that the next one is told to.
    pub(super) wire: WireVersion,
    pub(super) told: WireVersion,
    /// Its process speaks no older one any more.
    pub(super) closed: bool,
    /// Counts the processes and the disks.
    pub(super) run: u32,
    pub(super) lives: u32,
    /// The disk was lost, and no process has joined since.
    pub(super) wiped: bool,
    pub(super) surroundings: Surroundings,
    /// What is visible of it.
    pub(super) view: Option<Box<View>>,
    /// What was last looked at of that.
    pub(super) watched: Option<(u64, Digest, bool)>,
    pub(super) rest: Option<Rest>,
    /// Since when it does what it is to.
    pub(super) awake_since: Time,
    /// Its process was told to stop.
    pub(super) leaving: Option<Leaving>,
    /// What has happened meanwhile.
    pub(super) mail: VecDeque<Happened<Question>>,
    /// When it wants to be woken.
    pub(super) wake: Time,
    pub(super) look_at_room: Time,
    /// It dies after so many more effects; or in so many more pauses.
    pub(super) dies_after_effects: Option<usize>,
    pub(super) dies_in_pause: Option<usize>,
    pub(super) upstream_is_ready: bool,
    /// Whether it takes part.
    pub(super) joined: bool,
    /// Whether its disk was full when it last looked.
    pub(super) saw_full: bool,
}

impl Node {
    pub(super) fn new(id: NodeId, disk: Shared, quality: Quality) -> Self {
        let reading = Time::from_micros(1_000_000_000 * (1 + u64::from(id.index())));
        Self {
            id,
            disk,
            clock: Clock::new(Time::ZERO, reading),
            process: None,
            // What the two versions differ in is tried in a mode of its own.
            wire: WireVersion::V5,
            told: WireVersion::V5,
            closed: false,
            run: 0,
            lives: 0,
            wiped: false,
            surroundings: Surroundings::new(quality),
            view: None,
            watched: None,
            rest: None,
            awake_since: Time::ZERO,
            leaving: None,
            mail: VecDeque::new(),
            wake: Time::MAX,
            look_at_room: Time::MAX,
            dies_after_effects: None,
            dies_in_pause: None,
            upstream_is_ready: true,
            joined: false,
            saw_full: false,
        }
    }

    /// The life of the disk that a process finds when it is empty.
    pub(super) fn fresh_life(&self) -> u64 {
        u64::from(self.lives) * 100 + u64::from(self.id.index()) + 1
    }

    /// What an operator starts the process with.
    pub(super) const fn on_empty_disk(&self) -> OnEmptyDisk {
        if self.wiped { OnEmptyDisk::Rejoin } else { OnEmptyDisk::AwaitFirstBoot }
    }

    /// Whether it answers `/predict`.
    pub(super) const fn serves(&self) -> bool {
        self.process.is_some() && !matches!(self.rest, Some(Rest::Stopped(_)))
    }
}

impl Surroundings {
    pub(super) const fn new(quality: Quality) -> Self {
        Self {
            effects: Vec::new(),
            accepted: Vec::new(),
            traffic: Traffic::new(quality),
            now: Time::ZERO,
            spoken: BTreeMap::new(),
            unsaid: false,
            unsendable: None,
        }
    }
}
