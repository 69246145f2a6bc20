//! The rules of the agreement that nothing but themselves can replace, by name.
//!
//! The engine asks [`Engine::keeps`](super::Engine) at each place where one is applied. Outside of tests the answer is
//! the constant "yes". The tests leave each rule out in turn and show that the search then finds a broken promise.

/// One rule. The sentence says what the engine does because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A refused proposer, a restarted one and one with a new disk take a ballot that nobody ever used.
    NeverReuseBallot,
    /// A member votes on a transaction once.
    VoteOnce,
    /// Votes count only for the transaction they were given for.
    CountOwnVotes,
    /// An advance needs the vote of every member that is not drained.
    EveryVote,
    /// An advance is sent for acceptance only while its base is still the state known as chosen.
    BaseStillChosen,
    /// A member votes only on what follows its own committed state.
    VoteOnOwnBase,
    /// A member accepts only what is above, by ballot and version, what it accepted last.
    AcceptUpward,
    /// Nothing below a promise is accepted.
    NothingBelowPromise,
    /// Accepting is also promising.
    AcceptingPromises,
    /// A promise or an acceptance is on disk before it is said.
    WriteThenSpeak,
    /// A proposer promises its ballot to itself, on disk, before it asks others.
    OwnPromiseFirst,
    /// Under one ballot at most one proposal is open; to give one up takes a new ballot, with phase one.
    NewBallotToGiveUp,
    /// A proposal builds on the value chosen last under its ballot.
    BuildOnChosen,
    /// What counts as decided is what a majority of all configured members has accepted under one ballot.
    MajorityDecides,
    /// Who takes over hears a majority before it proposes.
    MajorityPromises,
    /// Who takes over continues with the value accepted under the highest ballot and version that it is told of.
    HighestAccepted,
    /// Who takes over writes that value again under its own ballot, even if it knows it as chosen.
    WriteAgain,
    /// A retreat that would give the canary more than the state it is built on is refused.
    RetreatNeverRaises,
    /// After acceptance was asked for, "aborted" is said only when another transaction is decided at that version.
    AbortOnlyWhenDecided,
    /// A state is served when it is chosen, not before.
    ApplyWhenChosen,
    /// A lower member that a peer reports as ready keeps a higher one from coordinating.
    DeferToReported,
    /// A lease runs from when the echoed heartbeat was sent, not from when the echo came.
    LeaseFromSent,
    /// A lease is counted by as many echoes as make a majority together with the member itself.
    LeaseByMajority,
    /// An echo counts only if its sender holds nothing accepted above the member's committed state.
    CleanEcho,
    /// No echo counts while the member itself holds something accepted above its committed state.
    CleanSelf,
    /// The echoes of members that are blank or rejoining count for nothing.
    JoinedEchoes,
    /// A member starts without a lease.
    NoLeaseAtStart,
    /// What is served is decided by comparing the lease's end with the clock at every choice.
    LeaseAtEveryChoice,
    /// A member with an empty disk promises, accepts and echoes nothing.
    EmptyDiskIsSilent,
    /// A first boot is proved by members that were all blank at once, in their present lives.
    FirstBootProved,
    /// A member that rejoins asks all others that have something to tell, and a majority of the others at least.
    RejoinByAll,
    /// A member that rejoins keeps what it is told, under its new ballot.
    RejoinAdopts,
    /// A coordinator that was told to stop awaits what it sent for acceptance for a moment, and no longer.
    FarewellEnds,
    /// What a caller waits for shows as pending, also when an older value has taken its place on the disk.
    ShowWhatIsAwaited,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::NeverReuseBallot,
        Self::VoteOnce,
        Self::CountOwnVotes,
        Self::EveryVote,
        Self::BaseStillChosen,
        Self::VoteOnOwnBase,
        Self::AcceptUpward,
        Self::NothingBelowPromise,
        Self::AcceptingPromises,
        Self::WriteThenSpeak,
        Self::OwnPromiseFirst,
        Self::NewBallotToGiveUp,
        Self::BuildOnChosen,
        Self::MajorityDecides,
        Self::MajorityPromises,
        Self::HighestAccepted,
        Self::WriteAgain,
        Self::RetreatNeverRaises,
        Self::AbortOnlyWhenDecided,
        Self::ApplyWhenChosen,
        Self::DeferToReported,
        Self::LeaseFromSent,
        Self::LeaseByMajority,
        Self::CleanEcho,
        Self::CleanSelf,
        Self::JoinedEchoes,
        Self::NoLeaseAtStart,
        Self::LeaseAtEveryChoice,
        Self::EmptyDiskIsSilent,
        Self::FirstBootProved,
        Self::RejoinByAll,
        Self::RejoinAdopts,
        Self::FarewellEnds,
        Self::ShowWhatIsAwaited,
    ];
}
