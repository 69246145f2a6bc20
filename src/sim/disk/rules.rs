//! The log without one of its rules: what it does instead.

use service::{Durable, Record};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use store::{All, Disk, Rules, Side, StartStep};

/// A rule of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    ForceBeforeReturn,
    NewEpoch,
    WipeBeforeBegin,
    RotateWithNewest,
    WipeWhatIsLeft,
    BeginBeforeWipe,
    WriteAgainBeforeTouching,
    WipeAll,
    CutIsTheEnd,
}

impl Rule {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::ForceBeforeReturn,
        Self::NewEpoch,
        Self::WipeBeforeBegin,
        Self::RotateWithNewest,
        Self::WipeWhatIsLeft,
        Self::BeginBeforeWipe,
        Self::WriteAgainBeforeTouching,
        Self::WipeAll,
        Self::CutIsTheEnd,
    ];
}

/// The rules but one, or all; and whether a start has dropped the end of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Without {
    omitted: Option<Rule>,
    dropped_end: Rc<Cell<bool>>,
}

impl Without {
    /// The rules but this one.
    pub(super) fn rule(omitted: Option<Rule>) -> Self {
        Self { omitted, dropped_end: Rc::default() }
    }

    /// Set when a start drops the end of the log.
    pub(super) fn dropped_end(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.dropped_end)
    }

    fn omits(&self, rule: Rule) -> bool {
        self.omitted == Some(rule)
    }
}

impl Rules for Without {
    fn must_force(&self, records: &[Record]) -> bool {
        !self.omits(Rule::ForceBeforeReturn) && All.must_force(records)
    }

    fn next_epoch(&self, epoch: u64) -> u64 {
        if self.omits(Rule::NewEpoch) { epoch } else { All.next_epoch(epoch) }
    }

    fn prepare(&self, disk: &mut dyn Disk, spare: Side) -> io::Result<()> {
        if self.omits(Rule::WipeBeforeBegin) { Ok(()) } else { All.prepare(disk, spare) }
    }

    fn rotated(&self, before: &Durable, records: &[Record]) -> Durable {
        if self.omits(Rule::RotateWithNewest) { before.clone() } else { All.rotated(before, records) }
    }

    fn leave(&self, disk: &mut dyn Disk, left: Side, used: usize) -> io::Result<()> {
        if self.omits(Rule::WipeWhatIsLeft) { Ok(()) } else { All.leave(disk, left, used) }
    }

    fn start(&self) -> &'static [StartStep] {
        use StartStep::{BeginSpare, ForceFound, WipeFound, WipeSpare, WriteFound};
        match self.omitted {
            Some(Rule::BeginBeforeWipe) => &[WriteFound, ForceFound, WipeFound, ForceFound, WipeSpare, BeginSpare],
            Some(Rule::WriteAgainBeforeTouching) => &[ForceFound, WipeSpare, BeginSpare, WipeFound],
            Some(_) | None => All.start(),
        }
    }

    fn wiped(&self, size: usize, content: &[u8]) -> usize {
        if self.omits(Rule::WipeAll) {
            return content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        }
        All.wiped(size, content)
    }

    fn cut(&self, offset: usize) -> Result<usize, String> {
        if self.omits(Rule::CutIsTheEnd) {
            return Err("a record is cut short".into());
        }
        self.dropped_end.set(true);
        All.cut(offset)
    }
}
