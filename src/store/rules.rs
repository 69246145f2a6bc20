//! The rules of the log that nothing but themselves can replace: each is a method, and its body is the rule.
//!
//! The program runs with [`All`] of them. A test replaces one in a type of its own, and shows that a simulation then finds
//! a broken promise: so what the log does without a rule stands with the tests, and no part of it in the program.

use super::disk::{Disk, Side};
use service::{Durable, Record};
use std::io;

/// One step of a start, after both segments were read and one of them was found to be the one to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartStep {
    /// Write what was found once more, where it was found.
    WriteFound,
    /// Force that.
    ForceFound,
    /// Wipe the other segment.
    WipeSpare,
    /// Begin the other segment with all that was found.
    BeginSpare,
    /// Wipe the segment in which it was found.
    WipeFound,
}

/// The rules by which a log is written.
pub trait Rules {
    /// What is not lazy is forced to disk before the log says that it is kept.
    fn must_force(&self, records: &[Record]) -> bool {
        records.iter().any(|record| !record.is_lazy())
    }

    /// Every start counts, so that no transaction's name is used twice.
    fn next_epoch(&self, epoch: u64) -> u64 {
        epoch + 1
    }

    /// A segment is begun when the zeros in it are on disk, not before.
    fn prepare(&self, disk: &mut dyn Disk, spare: Side) -> io::Result<()> {
        disk.force(spare)
    }

    /// The segment that a rotation begins remembers the records that led to it.
    fn rotated(&self, before: &Durable, records: &[Record]) -> Durable {
        let mut durable = before.clone();
        records.iter().for_each(|record| durable.apply(record));
        durable
    }

    /// A segment that is left is wiped, so that nothing in it is taken for what follows the next snapshot. The zeros are
    /// forced only when the segment is begun again; by then they have long been written.
    fn leave(&self, disk: &mut dyn Disk, left: Side, used: usize) -> io::Result<()> {
        disk.wipe(left, used)
    }

    /// A start begins a new segment of all that it found before it wipes where it found it. What it read may be in memory
    /// only, if just the process was killed, and must be on disk before the other segment is touched. It is written once
    /// more, because a force that failed may have made the system forget that it is not on disk, so that forcing alone
    /// would do nothing.
    fn start(&self) -> &'static [StartStep] {
        use StartStep::{BeginSpare, ForceFound, WipeFound, WipeSpare, WriteFound};
        &[WriteFound, ForceFound, WipeSpare, BeginSpare, WipeFound]
    }

    /// A start wipes all of a segment of this size, not only where it has read something in `content`: when an earlier
    /// force failed, what was read as zeros may be in the system's memory only, and no force brings it to disk any more.
    fn wiped(&self, size: usize, _content: &[u8]) -> usize {
        size
    }

    /// What was cut short ends the log, there; it is no damage.
    fn cut(&self, offset: usize) -> Result<usize, String> {
        Ok(offset)
    }
}

/// Every rule, kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct All;

impl Rules for All {}
