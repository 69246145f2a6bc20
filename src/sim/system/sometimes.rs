//! Events that must happen sometimes: a search in which it never does looks at less than it says.

use std::ops::AddAssign;

macro_rules! sometimes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thing that must happen in some of the schedules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Sometimes { $($(#[$doc])* $name,)* }

        impl Sometimes {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

sometimes! {
    /// A member asked for promises while a proposal was accepted by some and not chosen.
    TakeoverInMidAccept,
    /// A member wrote again what another one had proposed and nobody knew to be chosen.
    FinishedAnothersValue,
    /// A lease ran out.
    Isolated,
    /// A lease ran out while a proposal was accepted by some and not chosen.
    IsolatedInATransaction,
    /// A lease ran out on a member that a rollback had not reached.
    IsolatedBeforeARollback,
    /// A rollback's answer named a time until which others may not know of it.
    RollbackNamedADeadline,
    /// A start dropped a record that was cut short.
    TornTailDropped,
    /// A failed write or force ended a process.
    FailingDiskEndedAProcess,
    /// A force failed, and what it left in memory was read by the next process.
    ForceForgot,
    /// A process died before, in or after an operation of its disk.
    DiedAtTheDisk,
    /// A process died between two of the things that it was to do.
    DiedBetweenEffects,
    /// A process died between asking and writing.
    DiedInAPause,
    /// A start was cut short.
    DiedWhileStarting,
    /// The power of all machines was cut at once.
    AllLostPower,
    /// A disk was so slow that others went on without it.
    SlowDisk,
    /// A member voted against an advance because its disk was full.
    FullDiskVotedAbort,
    /// A member voted against an advance because it was isolated.
    IsolatedVotedAbort,
    /// A member voted against an advance because its upstream was not ready.
    UpstreamVotedAbort,
    /// A member voted against an advance because of what it had measured.
    UnhealthyVotedAbort,
    /// A member voted against an advance on another state than its own.
    OtherBaseVotedAbort,
    /// A vote did not come in time.
    VoteTimedOut,
    /// A member was known to be unreachable.
    UnreachableAborted,
    /// A retreat came while votes were counted.
    RetreatOvertook,
    /// A member with an empty disk refused to take part as if nothing had been.
    RefusedWithAnEmptyDisk,
    /// A member whose disk was lost took part again.
    Rejoined,
    /// A message came once more long after.
    DuplicateCameLate,
    /// A message overtook another.
    Reordered,
    /// A link was cut in one direction only.
    CutOneWay,
    /// A link was lost and made anew again and again.
    Flapped,
    /// A process was stopped for longer than its lease.
    PausedBeyondItsLease,
    /// The clock on the wall was set.
    WallClockJumped,
    /// An operator was told that the outcome is unknown.
    ToldUnknown,
    /// What was told to be unknown was committed.
    UnknownWasCommitted,
    /// What was told to be unknown was not.
    UnknownWasAborted,
    /// Another transaction took the place of an operator's.
    Superseded,
    /// Two operators asked two nodes at once.
    OperatorsRaced,
    /// A member other than node-a coordinated.
    AnotherCoordinated,
    /// node-a coordinated again after another had.
    CoordinationGivenBack,
    /// A process that was told to stop gave its place up and ended.
    Left,
    /// A process that had been told to stop was killed.
    DiedLeaving,
    /// A coordinator was told to stop while a change was under way there.
    CoordinatorLeftInMidChange,
    /// An advance ended because its coordinator was told to stop.
    StopAborted,
    /// Another member coordinated long before the silence of one that stops could have been noticed.
    HandedOver,
    /// Another member's change was chosen that soon after a coordinator was told to stop in the midst of one.
    ChangedSoonAfterHandover,
    /// A member was drained.
    Drained,
    /// All members took part in the vote again.
    Undrained,
    /// A first boot was disturbed.
    FirstBootDisturbed,
    /// A rollout went all the way.
    RolloutPromoted,
    /// An operator promoted a rollout before its end.
    RolloutFastPromoted,
    /// A rollout was rolled back.
    RolloutRolledBack,
    /// A rollout was aborted.
    RolloutAborted,
    /// A rollout was paused.
    RolloutPaused,
    /// A step was entered that needs approvals.
    StepWasApproved,
    /// A node stopped serving a canary by itself.
    Ejected,
    /// All members left version 5 of the wire behind.
    Marked,
    /// A member that spoke version 5 was refused because of that.
    RefusedForItsVersion,
    /// A marked state was not said to a member that spoke version 5.
    HadNoWords,
    /// A change was refused because version 5 has no words for it.
    RefusedAsUnsayable,
    /// A member was told to speak version 5 whose disk was marked.
    HeldBackInVain,
}

/// How often each thing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen(Vec<u32>);

impl Default for Seen {
    fn default() -> Self {
        Self(vec![0; Sometimes::ALL.len()])
    }
}

impl Seen {
    pub(super) fn note(&mut self, what: Sometimes) {
        self.0[what as usize] += 1;
    }

    pub(super) fn note_if(&mut self, is_so: bool, what: Sometimes) {
        self.0[what as usize] += u32::from(is_so);
    }

    /// Makes it count in a number that tells runs apart.
    pub(super) fn print(&self, print: &mut crc32fast::Hasher) {
        self.0.iter().for_each(|count| print.update(&count.to_le_bytes()));
    }

    pub(super) fn count(&self, what: Sometimes) -> u32 {
        self.0[what as usize]
    }
}

impl AddAssign<&Self> for Seen {
    fn add_assign(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, more)| *sum += more);
    }
}
