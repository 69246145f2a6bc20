//! The rules of the agreement that nothing but themselves can replace.
//!
//! The engine asks for each at the place where it decides something, so that tests can put another in its place and show
//! what it is for.

use super::{
    Answer, Base, Direction, Durable, Envelope, Lease, OnEmptyDisk, Output, Proposal, Readiness, Register, Stage,
    Timing, Vote,
};
use model::{Ballot, NodeId, NodeSet, Time, TxId};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// The rules that an engine goes by. What each does by itself is the rule.
pub trait Rules: Clone + Debug + Eq + Hash {
    /// The round of a proposer's next ballot: a refused proposer, a restarted one and one with a new disk take a ballot
    /// that nobody ever used.
    fn next_round(&self, heard: u64, promised: Ballot, _me: NodeId) -> u64 {
        heard.max(promised.round) + 1
    }

    /// The vote that stands for a transaction: a member votes on one once.
    fn stands<'a>(&self, given: Option<&'a Vote>) -> Option<&'a Vote> {
        given
    }

    /// Whether a vote counts: only for the transaction it was given for.
    fn counts(&self, vote_for: TxId, open: Option<TxId>) -> bool {
        open == Some(vote_for)
    }

    /// Whether an advance has its votes: it needs one of every member that is not drained.
    fn has_all_votes(&self, missing: NodeSet) -> bool {
        missing.is_empty()
    }

    /// Whether an advance may be sent for acceptance: only while its base is still the state known as chosen.
    fn is_still_chosen(&self, base: u64, decided: u64) -> bool {
        base == decided
    }

    /// Whether a member may vote on what follows `base`: only if that is its own committed state.
    fn is_own_base(&self, base: &Base, own: &Base) -> bool {
        base == own
    }

    /// Whether a member may accept what is `asked`: only what is above, by ballot and version, what it accepted last.
    fn is_upward(&self, last: (Ballot, u64), asked: (Ballot, u64)) -> bool {
        asked > last
    }

    /// Whether a promise lets a ballot pass: nothing below it is accepted.
    fn promise_allows(&self, promised: Ballot, asked: Ballot) -> bool {
        asked >= promised
    }

    /// The promise after something was accepted: accepting is also promising.
    fn promise_by_accepting(&self, promised: Ballot, accepted: Ballot) -> Ballot {
        promised.max(accepted)
    }

    /// Says a promise or an acceptance: when it is on disk.
    fn say<V: Register>(&self, written: Envelope<V>, out: &mut Output<V>) {
        out.send.push(written);
    }

    /// Asks for promises: when the proposer's own is on disk.
    fn campaign<V: Register>(&self, questions: impl Iterator<Item = Envelope<V>>, out: &mut Output<V>) {
        out.send.extend(questions);
    }

    /// The ballot under which a proposer goes on that gives an open proposal up: a new one, with phase one. Under one
    /// ballot at most one proposal is open.
    fn ballot_after_giving_up(&self, _open: Ballot) -> Option<Ballot> {
        None
    }

    /// What the next proposal builds on: the value chosen last under the ballot.
    fn builds_on<T>(&self, chosen: T, before: T) -> T {
        drop(before);
        chosen
    }

    /// Whether a value is decided: when a majority of all configured members has accepted it under one ballot.
    fn decides(&self, accepted: NodeSet, members: NodeSet) -> bool {
        accepted.len() >= members.majority()
    }

    /// Whether a proposer may propose: when it has heard a majority.
    fn takes_over(&self, promised: usize, members: NodeSet) -> bool {
        promised >= members.majority()
    }

    /// What a proposer that takes over continues with: the value accepted under the highest ballot and version that it
    /// is told of.
    fn continues<V: Register>(
        &self,
        accepted: impl Iterator<Item = Arc<Proposal<V>>>,
        _committed: &Arc<Proposal<V>>,
    ) -> Option<Arc<Proposal<V>>> {
        accepted.max_by_key(|proposal| (proposal.ballot, proposal.state.version()))
    }

    /// Whether a proposer that takes over writes the value that it found again under its own ballot: even if it knows it
    /// as chosen.
    fn writes_again(&self, _found: u64, _known: u64) -> bool {
        true
    }

    /// Whether something may go without votes: not when it gives more than the state that it is built on.
    fn is_retreat(&self, direction: Direction) -> bool {
        direction == Direction::Retreat
    }

    /// What a caller is told of something sent for acceptance when its time is over: "aborted" only when another
    /// transaction is decided at that version.
    fn overdue<V: Register>(&self, txid: TxId, version: u64) -> Answer<V> {
        Answer::Unknown { txid, version }
    }

    /// Whether a state is served when it is accepted: no, when it is chosen.
    fn serves_accepted(&self) -> bool {
        false
    }

    /// Another member's readiness: a lower member that a peer reports as ready keeps a higher one from coordinating. That
    /// it leaves, a member knows best itself; what others report of it may be from before. And there is none above
    /// leading.
    fn readiness(&self, heard: Option<Readiness>, reported: impl FnOnce() -> Option<Readiness>) -> Option<Readiness> {
        match heard {
            Some(Readiness::Leaves | Readiness::Leads) => heard,
            Some(Readiness::Follows | Readiness::Ready) | None => heard.max(reported()),
        }
    }

    /// When a lease begins: when the echoed heartbeat was sent, not when the echo came.
    fn lease_begins(&self, sent: Time, _came: Time) -> Time {
        sent
    }

    /// How many echoes a lease is counted by: as many as make a majority together with the member itself.
    fn echoes(&self, members: NodeSet) -> usize {
        members.majority() - 1
    }

    /// Whether an echo counts whose sender holds version `held`: only if that is not above what is committed here.
    fn is_clean_echo(&self, held: u64, committed: u64) -> bool {
        held <= committed
    }

    /// Whether echoes count while this member itself holds version `held`: only if that is not above what is committed.
    fn is_clean_self(&self, held: u64, committed: u64) -> bool {
        held <= committed
    }

    /// Whether a member at this stage gives echoes that count: not while it is blank or rejoining.
    fn echoes_count(&self, stage: &Stage) -> bool {
        stage.has_joined()
    }

    /// Until when a member that has just started has a lease: it starts without one.
    fn lease_at_start(&self, _started: Time, _timing: &Timing) -> Time {
        Time::ZERO
    }

    /// When the lease ends: what is served is decided by comparing this with the clock at every choice.
    fn lease_end(&self, counted: Time, _shown: Lease, _timing: &Timing) -> Time {
        counted
    }

    /// Whether a member promises, accepts and echoes: not with an empty disk.
    fn takes_part<V: Register>(&self, disk: &Durable<V>) -> bool {
        disk.joined.is_some()
    }

    /// Whether a blank member takes part without proof of a first boot: at the operator's word only. The proof is
    /// members that were all blank at once, in their present lives.
    fn boots_unproved(&self, how: OnEmptyDisk) -> bool {
        how == OnEmptyDisk::FirstBoot
    }

    /// Whose answers a member that rejoins awaits, and how many at least: all others' that have something to tell, and a
    /// majority of the others.
    fn awaited_to_rejoin(&self, others: NodeSet, blank: NodeSet) -> (NodeSet, usize) {
        (others.minus(blank), others.majority())
    }

    /// What a member that rejoins keeps of what it is told: the highest, under its new ballot.
    fn adopts<T>(&self, held: Option<T>) -> Option<T> {
        held
    }

    /// Whether a coordinator that was told to stop still awaits what it sent for acceptance: for a moment, and no longer.
    fn awaits_farewell(&self, now: Time, until: Time) -> bool {
        now < until
    }

    /// What of that which a caller waits for shows as pending: it does, also when an older value has taken its place on
    /// the disk.
    fn shows<T>(&self, awaited: Option<T>) -> Option<T> {
        awaited
    }
}

/// All rules, as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct All;

impl Rules for All {}
