//! The rules by which a member puts its parts together, by name, as in the agreement.
//!
//! The member asks [`Member::keeps`](super::member::Member) where one is applied. Outside of tests the answer is the
//! constant "yes". The tests leave each rule out in turn and show that a simulation then finds a broken promise.

/// One rule. The sentence says what the member does because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What rests on a record is said after the record is on disk.
    WriteThenSpeak,
    /// A disk that fails ends the process. It is the store that is made to hide it.
    EndWhenTheDiskFails,
    /// A full disk speaks against every advance.
    VetoWhenFull,
    /// What everyone sees says that the canary was found to be bad here.
    ShowEjection,
    /// The controller learns what became of its question.
    TellTheController,
    /// A report that the canary is bad is looked at at once.
    HearReports,
    /// A member that was told to stop goes on until others may coordinate and no caller waits.
    AwaitFarewell,
    /// What was written without haste is on disk before the process ends.
    ForceAtTheEnd,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::WriteThenSpeak,
        Self::EndWhenTheDiskFails,
        Self::VetoWhenFull,
        Self::ShowEjection,
        Self::TellTheController,
        Self::HearReports,
        Self::AwaitFarewell,
        Self::ForceAtTheEnd,
    ];
}
