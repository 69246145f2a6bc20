//! The rules of the log that nothing but themselves can replace, by name, as in the agreement.
//!
//! The log asks [`Log::keeps`](super::log::Log) where one is applied. Outside of tests the answer is the constant "yes". The
//! tests leave each rule out in turn and show that a simulation then finds a broken promise.

/// One rule. The sentence says what the log does because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What is not lazy is forced to disk before the log says that it is kept.
    ForceBeforeReturn,
    /// Every start counts, so that no transaction's name is used twice.
    NewEpoch,
    /// A segment is wiped, and that forced, before it is begun.
    WipeBeforeBegin,
    /// The segment that a rotation begins remembers the records that led to it.
    RotateWithNewest,
    /// A segment that is left is wiped, so that nothing in it is taken for what follows the next snapshot.
    WipeWhatIsLeft,
    /// A start begins a new segment of all that it found before it wipes where it found it.
    BeginBeforeWipe,
    /// A start writes again what it has read before it relies on its being on disk.
    WriteAgainBeforeTouching,
    /// A start wipes all of a segment, not only what it reads there.
    WipeAll,
    /// What was cut short ends the log; it is no damage.
    CutIsTheEnd,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 9] = [
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
