//! The store on a disk in memory that can do everything that is feared of disks.
//!
//! What was not forced may be lost when the power is cut, any of it or all, each sector on its own; a write may be torn; a
//! write or a force may fail, and what a failed force left in memory may never reach the disk though later forces succeed;
//! the process may die before, in or after each operation. Segments are short, so that changing them is common, and little
//! has to be copied.

use crate::dice::Dice;
use model::{Incarnation, NodeId};
use service::{Durable, Proposal, Record};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Disk, Log, Room, Rule, SECTOR, Side, StoreError, StoreIdentity};

/// A snapshot in a rollout, and some records after it.
const SEGMENT: usize = 24 * SECTOR;
/// The same of more members.
const LONG_SEGMENT: usize = 48 * SECTOR;

/// What an operation of the disk ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The process dies before it.
    DiesBefore,
    /// The process dies in it: half of it is done.
    DiesWithin,
    /// The process dies after it.
    DiesAfter,
    /// It fails.
    Fails,
}

/// A part of a file that was written and not forced.
#[derive(Clone, Debug)]
struct Piece {
    offset: usize,
    bytes: Vec<u8>,
    /// A force of it has failed: it is in memory only, and no later force will know of it.
    forgotten: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    length: usize,
    /// What is on disk; behind its end are zeros.
    forced: Vec<u8>,
    unforced: Vec<Piece>,
}

/// The disk of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Platter {
    segment: usize,
    files: [Option<File>; 2],
    identity: Option<Vec<u8>>,
    /// After so many more operations, this.
    fuse: Option<(usize, Fate)>,
    /// The process cannot go on.
    spoilt: Option<Fate>,
    /// How long each force takes.
    pub(crate) slow: Duration,
    took: Duration,
    pub(crate) room: Room,
    /// How often a force failed, and how often a segment was begun.
    pub(crate) failed_forces: u32,
    pub(crate) forces: u64,
    dice: Dice,
}

/// A handle to a disk.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Platter>>);

/// The store of a member that runs on such a disk.
pub(crate) struct SimulatedStore {
    log: Log,
    disk: Shared,
    /// What was accepted, is on disk, and was not yet looked at.
    accepted: Vec<Arc<Proposal>>,
    /// Failures of the disk are not noticed.
    heedless: bool,
}

impl File {
    fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset..end].copy_from_slice(bytes);
    }

    fn read(&self) -> Vec<u8> {
        let mut content = vec![0; self.length];
        content[..self.forced.len()].copy_from_slice(&self.forced);
        for piece in &self.unforced {
            content[piece.offset..piece.offset + piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        content
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        // What the system has in memory is the newest, also where it has forgotten that it must be written.
        for piece in self.unforced.iter_mut().filter(|piece| piece.forgotten) {
            let (from, to) = (offset.max(piece.offset), end.min(piece.offset + piece.bytes.len()));
            if from < to {
                piece.bytes[from - piece.offset..to - piece.offset].copy_from_slice(&bytes[from - offset..to - offset]);
            }
        }
        self.unforced.push(Piece { offset, bytes: bytes.to_vec(), forgotten: false });
    }

    fn force(&mut self) {
        let mut kept = Vec::new();
        for piece in std::mem::take(&mut self.unforced) {
            if piece.forgotten {
                kept.push(piece);
            } else if piece.offset == 0 && piece.bytes.len() >= self.forced.len() {
                self.forced = piece.bytes;
            } else {
                Self::put(&mut self.forced, piece.offset, &piece.bytes);
            }
        }
        self.unforced = kept;
    }

    /// A failed force has written some sectors, and the system holds the rest to be written, too.
    fn fail_to_force(&mut self, dice: &mut Dice) {
        for piece in &mut self.unforced {
            piece.forgotten |= !dice.once_in(3);
        }
        self.force();
    }

    /// Loses an arbitrary part of what was not forced: of each sector there is what it was after any of its writes.
    fn cut_power(&mut self, dice: &mut Dice) {
        let pieces = std::mem::take(&mut self.unforced);
        let way = dice.below(4);
        let mut lost = BTreeMap::new();
        for piece in pieces.iter().filter(|piece| !piece.forgotten) {
            let mut at = piece.offset;
            let end = piece.offset + piece.bytes.len();
            while at < end {
                let sector = at / SECTOR;
                let next = ((sector + 1) * SECTOR).min(end);
                let gone = lost.entry(sector).or_insert(way == 0);
                *gone |= way > 1 && dice.once_in(2);
                if !*gone {
                    Self::put(&mut self.forced, at, &piece.bytes[at - piece.offset..next - piece.offset]);
                }
                at = next;
            }
        }
    }
}

impl Platter {
    /// Says what becomes of one operation.
    fn begin(&mut self) -> io::Result<Option<Fate>> {
        if self.spoilt.is_some() {
            return Err(io::Error::other("the process is gone"));
        }
        match &mut self.fuse {
            None => Ok(None),
            Some((0, fate)) => {
                let fate = *fate;
                (self.fuse, self.spoilt) = (None, Some(fate));
                if fate == Fate::DiesBefore { Err(io::Error::other("the process dies")) } else { Ok(Some(fate)) }
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(None)
            }
        }
    }

    fn end(fate: Option<Fate>) -> io::Result<()> {
        if fate.is_some() { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    /// The power is cut: what was not forced may be lost. To be called when no process has the disk.
    pub(crate) fn cut_power(&mut self) {
        let Self { files, dice, .. } = self;
        files.iter_mut().flatten().for_each(|file| file.cut_power(dice));
    }

    /// What ended the process, if the disk did, and makes the disk ready for the next one.
    pub(crate) fn release(&mut self) -> Option<Fate> {
        self.fuse = None;
        self.took = Duration::ZERO;
        self.spoilt.take()
    }

    /// Lets the disk do this after so many more operations.
    pub(crate) const fn arm(&mut self, operations: usize, fate: Fate) {
        self.fuse = Some((operations, fate));
    }

    /// The disk does nothing unusual any more, unless it has already.
    pub(crate) const fn disarm(&mut self) {
        self.fuse = None;
    }

    /// Whether something was read that is in memory only, and that a failed force made the system forget.
    pub(crate) fn was_forgetful(&self) -> bool {
        self.files.iter().flatten().any(|file| file.unforced.iter().any(|piece| piece.forgotten))
    }

    /// How long the operations since the last question took.
    pub(crate) const fn took(&mut self) -> Duration {
        std::mem::replace(&mut self.took, Duration::ZERO)
    }

    /// All that is on disk, for comparing.
    pub(crate) fn print(&self, hasher: &mut crc32fast::Hasher) {
        for file in self.files.iter().flatten() {
            hasher.update(&file.forced);
        }
    }
}

impl Shared {
    pub(crate) fn new(seed: u64, members: usize) -> Self {
        let segment = if members > 3 { LONG_SEGMENT } else { SEGMENT };
        Self(Arc::new(Mutex::new(Platter {
            segment,
            files: [None, None],
            identity: None,
            fuse: None,
            spoilt: None,
            slow: Duration::ZERO,
            took: Duration::ZERO,
            room: Room::Plenty,
            failed_forces: 0,
            forces: 0,
            dice: Dice::new(seed),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same content.
    pub(crate) fn copied(&self, seed: u64) -> Self {
        let platter = Platter { dice: Dice::new(seed), ..self.lock().clone() };
        Self(Arc::new(Mutex::new(platter)))
    }

    fn with<T>(
        &self,
        side: Side,
        act: impl FnOnce(&mut Option<File>, Option<Fate>, &mut Dice) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut platter = self.lock();
        let fate = platter.begin()?;
        let Platter { files, dice, .. } = &mut *platter;
        let done = act(&mut files[side as usize], fate, dice)?;
        Platter::end(fate).map(|()| done)
    }
}

impl Disk for Shared {
    fn segment_size(&self) -> usize {
        self.lock().segment
    }

    fn read(&mut self, side: Side) -> io::Result<Option<Vec<u8>>> {
        self.with(side, |file, _, _| Ok(file.as_ref().map(File::read)))
    }

    fn create(&mut self, side: Side) -> io::Result<()> {
        let segment = self.segment_size();
        self.with(side, |file, fate, _| {
            let whole = matches!(fate, None | Some(Fate::DiesAfter));
            let length = if whole { segment } else { segment / 2 };
            *file = Some(File { length, ..File::default() });
            Ok(())
        })
    }

    fn write(&mut self, side: Side, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.with(side, |file, fate, _| {
            let whole = matches!(fate, None | Some(Fate::DiesAfter));
            let written = if whole { bytes.len() } else { (bytes.len() / 2).next_multiple_of(SECTOR).min(bytes.len()) };
            let file = file.as_mut().ok_or(io::ErrorKind::NotFound)?;
            file.write(offset, &bytes[..written]);
            Ok(())
        })
    }

    fn force(&mut self, side: Side) -> io::Result<()> {
        {
            let mut platter = self.lock();
            let took = platter.slow;
            platter.took += took;
            platter.forces += 1;
        }
        let failed = self.with(side, |file, fate, dice| {
            let file = file.as_mut().ok_or(io::ErrorKind::NotFound)?;
            match fate {
                None | Some(Fate::DiesAfter) => file.force(),
                Some(Fate::Fails) => file.fail_to_force(dice),
                Some(Fate::DiesWithin | Fate::DiesBefore) => {}
            }
            Ok(fate == Some(Fate::Fails))
        });
        if failed.is_err() {
            self.lock().failed_forces += 1;
        }
        failed.map(|_| ())
    }

    fn identity(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.with(Side::Even, |_, _, _| Ok(()))?;
        Ok(self.lock().identity.clone())
    }

    fn write_identity(&mut self, bytes: &[u8]) -> io::Result<()> {
        let whole = self.with(Side::Even, |_, fate, _| Ok(matches!(fate, None | Some(Fate::DiesAfter))));
        // A renamed file is there as a whole or not at all.
        let after = self.lock().spoilt == Some(Fate::DiesAfter);
        if matches!(whole, Ok(true)) || after {
            self.lock().identity = Some(bytes.to_vec());
        }
        whole.map(|_| ())
    }
}

impl SimulatedStore {
    /// Starts on `disk`, as [`Store::open`](super::Store::open) does.
    pub(crate) fn open(
        disk: &Shared,
        node: NodeId,
        fresh: Incarnation,
        omitted: Option<Rule>,
    ) -> Result<(Self, Durable), StoreError> {
        let identity = StoreIdentity { node, cluster: "c-1.canary".into() };
        let mut log = Log::closed(Box::new(disk.clone()), Path::new("/simulated"), identity, fresh);
        log.omitted = omitted;
        log.start()?;
        let durable = log.durable().clone();
        Ok((Self { log, disk: disk.clone(), accepted: Vec::new(), heedless: false }, durable))
    }

    /// The same store on a copy of its disk.
    pub(crate) fn moved_to(&self, disk: &Shared, omitted: Option<Rule>) -> Self {
        let mut log = self.log.moved_to(Box::new(disk.clone()));
        log.omitted = omitted;
        Self { log, disk: disk.clone(), accepted: Vec::new(), heedless: false }
    }

    /// Goes on though the disk has failed.
    pub(crate) const fn take_no_heed(&mut self) {
        self.heedless = true;
    }

    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        match self.log.append(records) {
            Err(error) if self.heedless && self.disk.lock().spoilt == Some(Fate::Fails) => {
                tracing::debug!(%error, "ignored");
                self.disk.lock().spoilt = None;
            }
            done => done?,
        }
        self.accepted.extend(records.iter().filter_map(|record| match record {
            Record::Accepted(proposal) => Some(Arc::clone(proposal)),
            Record::Joined(_) | Record::Promised(_) | Record::Committed(_) | Record::AcceptedIsCommitted => None,
        }));
        Ok(())
    }

    pub(crate) fn force(&mut self) -> Result<(), StoreError> {
        self.log.force()
    }

    pub(crate) fn has_room(&self) -> Room {
        self.disk.lock().room
    }

    /// What was accepted and is on disk since the last question.
    pub(crate) fn accepted(&mut self) -> Vec<Arc<Proposal>> {
        std::mem::take(&mut self.accepted)
    }

    /// Whether the start dropped the end of the log.
    pub(crate) const fn dropped_end(&self) -> bool {
        self.log.dropped_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Ballot;
    use service::RoutingState;

    fn record(number: u64) -> Record {
        let ballot = Ballot { round: number, node: NodeId::A, incarnation: Incarnation(1) };
        let mut state = RoutingState::initial("v1".parse().expect("a model id"));
        state.stable.upstream = Some("x".repeat(900));
        let (votes, evidence) = (BTreeMap::new(), BTreeMap::new());
        Record::Accepted(Arc::new(Proposal { ballot, state: Arc::new(state), by: None, votes, evidence }))
    }

    /// Starts, works and fails, again and again; says whether every start without trouble succeeds, and knows what was said.
    fn lives(seed: u64, omitted: Option<Rule>) -> Result<(), String> {
        let (disk, mut dice) = (Shared::new(seed, 3), Dice::new(seed));
        let (mut number, mut certain) = (0, 0);
        for life in 0..10 {
            let fate = [Fate::DiesBefore, Fate::DiesWithin, Fate::DiesAfter, Fate::Fails][dice.below(4)];
            let last = [24, 60][dice.below(2)];
            disk.lock().arm(dice.below(last), fate);
            let opened = SimulatedStore::open(&disk, NodeId::A, Incarnation(7), omitted);
            if let (Err(error), None) = (&opened, disk.lock().spoilt) {
                return Err(format!("life {life} cannot start: {error}"));
            }
            if let Ok((mut store, durable)) = opened {
                if durable.promise.round < certain {
                    return Err(format!("life {life} knows {}, and {certain} was said", durable.promise));
                }
                loop {
                    number += 1;
                    if store.append(&[record(number)]).is_err() {
                        break;
                    }
                    certain = number;
                }
            }
            let mut disk = disk.lock();
            disk.release();
            if dice.once_in(2) {
                disk.cut_power();
            }
        }
        Ok(())
    }

    #[test]
    fn whatever_fails_the_next_start_succeeds_and_knows_what_was_said() {
        for seed in 0..400 {
            assert_eq!(lives(seed, None), Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn without_any_one_rule_something_is_lost() {
        for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::NewEpoch) {
            let lost = (0..4_000).find_map(|seed| lives(seed, Some(rule)).err());
            assert!(lost.is_some(), "{rule:?} is of no use");
        }
    }
}
