//! The rules of the agreement by name, and what an engine does that goes without one of them.

use agreement::{
    All, Answer, Base, Direction, Durable, Envelope, Lease, OnEmptyDisk, Output, Proposal, Readiness, Register, Rules,
    Stage, Timing, Vote, Votes,
};
use model::{Ballot, NodeId, NodeSet, Time, TxId};
use std::sync::Arc;

/// One rule. The sentence says what the engine does because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
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
    pub(crate) const ALL: [Self; 34] = [
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

/// Every rule but this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Without(pub(crate) Option<Rule>);

impl Without {
    fn keeps(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }
}

impl Rules for Without {
    fn next_round(&self, heard: u64, promised: Ballot, me: NodeId) -> u64 {
        let reuses = !self.keeps(Rule::NeverReuseBallot) && promised.node == me;
        if reuses { heard.max(promised.round) } else { All.next_round(heard, promised, me) }
    }

    fn stands<'a>(&self, given: Option<&'a Vote>) -> Option<&'a Vote> {
        given.filter(|_| self.keeps(Rule::VoteOnce))
    }

    fn counts(&self, vote_for: TxId, open: Option<TxId>) -> bool {
        All.counts(vote_for, open) || !self.keeps(Rule::CountOwnVotes)
    }

    fn has_all_votes(&self, missing: NodeSet) -> bool {
        All.has_all_votes(missing) || !self.keeps(Rule::EveryVote)
    }

    fn is_still_chosen(&self, base: u64, decided: u64) -> bool {
        All.is_still_chosen(base, decided) || !self.keeps(Rule::BaseStillChosen)
    }

    fn is_own_base(&self, base: &Base, own: &Base) -> bool {
        All.is_own_base(base, own) || !self.keeps(Rule::VoteOnOwnBase)
    }

    fn is_upward(&self, last: (Ballot, u64), asked: (Ballot, u64)) -> bool {
        All.is_upward(last, asked) || !self.keeps(Rule::AcceptUpward)
    }

    fn promise_allows(&self, promised: Ballot, asked: Ballot) -> bool {
        All.promise_allows(promised, asked) || !self.keeps(Rule::NothingBelowPromise)
    }

    fn promise_by_accepting(&self, promised: Ballot, accepted: Ballot) -> Ballot {
        if self.keeps(Rule::AcceptingPromises) { All.promise_by_accepting(promised, accepted) } else { promised }
    }

    fn say<V: Register>(&self, written: Envelope<V>, out: &mut Output<V>) {
        if self.keeps(Rule::WriteThenSpeak) { All.say(written, out) } else { out.ask.push(written) }
    }

    fn campaign<V: Register>(&self, questions: impl Iterator<Item = Envelope<V>>, out: &mut Output<V>) {
        if self.keeps(Rule::OwnPromiseFirst) { All.campaign(questions, out) } else { out.ask.extend(questions) }
    }

    fn ballot_after_giving_up(&self, open: Ballot) -> Option<Ballot> {
        if self.keeps(Rule::NewBallotToGiveUp) { All.ballot_after_giving_up(open) } else { Some(open) }
    }

    fn builds_on<T>(&self, chosen: T, before: T) -> T {
        if self.keeps(Rule::BuildOnChosen) { All.builds_on(chosen, before) } else { before }
    }

    fn decides(&self, accepted: NodeSet, members: NodeSet) -> bool {
        let one_less = !self.keeps(Rule::MajorityDecides) && accepted.len() + 1 >= members.majority();
        All.decides(accepted, members) || one_less
    }

    fn takes_over(&self, promised: usize, members: NodeSet) -> bool {
        let one_less = !self.keeps(Rule::MajorityPromises) && promised + 1 >= members.majority();
        All.takes_over(promised, members) || one_less
    }

    fn continues<V: Register>(
        &self,
        accepted: impl Iterator<Item = Arc<Proposal<V>>>,
        committed: &Arc<Proposal<V>>,
    ) -> Option<Arc<Proposal<V>>> {
        match self.keeps(Rule::HighestAccepted) {
            true => All.continues(accepted, committed),
            false => Some(Arc::clone(committed)),
        }
    }

    fn writes_again(&self, found: u64, known: u64) -> bool {
        if self.keeps(Rule::WriteAgain) { All.writes_again(found, known) } else { found != known }
    }

    fn is_retreat(&self, direction: Direction) -> bool {
        All.is_retreat(direction) || !self.keeps(Rule::RetreatNeverRaises)
    }

    fn overdue<V: Register>(&self, txid: TxId, version: u64) -> Answer<V> {
        match self.keeps(Rule::AbortOnlyWhenDecided) {
            true => All.overdue(txid, version),
            false => Answer::Aborted { txid, votes: Votes::new() },
        }
    }

    fn serves_accepted(&self) -> bool {
        All.serves_accepted() || !self.keeps(Rule::ApplyWhenChosen)
    }

    fn readiness(&self, heard: Option<Readiness>, reported: impl FnOnce() -> Option<Readiness>) -> Option<Readiness> {
        if self.keeps(Rule::DeferToReported) { All.readiness(heard, reported) } else { heard }
    }

    fn lease_begins(&self, sent: Time, came: Time) -> Time {
        if self.keeps(Rule::LeaseFromSent) { All.lease_begins(sent, came) } else { came }
    }

    fn echoes(&self, members: NodeSet) -> usize {
        if self.keeps(Rule::LeaseByMajority) { All.echoes(members) } else { 1 }
    }

    fn is_clean_echo(&self, held: u64, committed: u64) -> bool {
        All.is_clean_echo(held, committed) || !self.keeps(Rule::CleanEcho)
    }

    fn is_clean_self(&self, held: u64, committed: u64) -> bool {
        All.is_clean_self(held, committed) || !self.keeps(Rule::CleanSelf)
    }

    fn echoes_count(&self, stage: &Stage) -> bool {
        All.echoes_count(stage) || !self.keeps(Rule::JoinedEchoes)
    }

    fn lease_at_start(&self, started: Time, timing: &Timing) -> Time {
        if self.keeps(Rule::NoLeaseAtStart) { All.lease_at_start(started, timing) } else { started + timing.lease }
    }

    fn lease_end(&self, counted: Time, shown: Lease, timing: &Timing) -> Time {
        let goes_on = !self.keeps(Rule::LeaseAtEveryChoice) && shown == Lease::Holds;
        if goes_on { counted + timing.lease * 1_000 } else { All.lease_end(counted, shown, timing) }
    }

    fn takes_part<V: Register>(&self, disk: &Durable<V>) -> bool {
        All.takes_part(disk) || !self.keeps(Rule::EmptyDiskIsSilent)
    }

    fn boots_unproved(&self, how: OnEmptyDisk) -> bool {
        All.boots_unproved(how) || !self.keeps(Rule::FirstBootProved)
    }

    fn awaited_to_rejoin(&self, others: NodeSet, blank: NodeSet) -> (NodeSet, usize) {
        if self.keeps(Rule::RejoinByAll) { All.awaited_to_rejoin(others, blank) } else { (NodeSet::EMPTY, 1) }
    }

    fn adopts<T>(&self, held: Option<T>) -> Option<T> {
        held.filter(|_| self.keeps(Rule::RejoinAdopts))
    }

    fn awaits_farewell(&self, now: Time, until: Time) -> bool {
        All.awaits_farewell(now, until) || !self.keeps(Rule::FarewellEnds)
    }

    fn shows<T>(&self, awaited: Option<T>) -> Option<T> {
        awaited.filter(|_| self.keeps(Rule::ShowWhatIsAwaited))
    }
}
