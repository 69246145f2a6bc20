//! The watch over a run: the observer of the agreement, and what else must hold of the whole system.

use super::clock::MOST_DRIFT_PPM;
use super::sometimes::{Seen, Sometimes};
use crate::search::observer::{Broken, Observer, Promise, Watched, broken};
use agreement::{Reason, Vote};
use mesh::WireVersion;
use model::{Ballot, NodeId, NodeSet, Time, TxId};
use service::{
    Answer, Change, ChangeError, Durable, Event, Message, Outcome, Phase, Proposal, Refusal, Rollout, RoutingState,
    Then,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What one disk's processes have said, each of which must be there when the next one starts.
#[derive(Clone, Debug)]
struct Said {
    epoch: u64,
    promised: Ballot,
    accepted: Option<(Ballot, u64)>,
}

impl Default for Said {
    fn default() -> Self {
        Self { epoch: 0, promised: Ballot::ZERO, accepted: None }
    }
}

/// A coordinator that was told to stop.
#[derive(Clone, Copy, Debug)]
struct Stopped {
    node: NodeId,
    at: Time,
    /// Whether something was under way there.
    was_busy: bool,
}

/// How soon after a coordinator was told to stop another's work is the fruit of its farewell: much sooner than its silence
/// would have been noticed.
const SOON: Duration = Duration::from_secs(1);

/// The watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) observer: Observer,
    pub(super) seen: Seen,
    said: BTreeMap<NodeId, Said>,
    /// The newest decision known to each process that has ended as it should, until the next one starts.
    left: BTreeMap<NodeId, u64>,
    stopped: Option<Stopped>,
    /// When each version was chosen.
    chosen_at: BTreeMap<u64, Time>,
    judged: u64,
    /// Requests to the canary that each node has counted in each epoch.
    counted: BTreeMap<(u64, NodeId), u64>,
    /// The operators who have asked to approve something.
    approvers: BTreeSet<String>,
    /// Whether nothing is wrong with the canary anywhere.
    pub(super) is_good: bool,
    unknown: BTreeMap<TxId, u64>,
    drained: bool,
    /// The members that have spoken version 6 of the wire, and those that have left version 5 behind.
    spoke_6: NodeSet,
    closed: NodeSet,
    pub(super) led: Option<NodeId>,
}

impl Watch {
    pub(super) fn new(members: NodeSet) -> Self {
        Self {
            observer: Observer::new(members),
            seen: Seen::default(),
            said: BTreeMap::new(),
            left: BTreeMap::new(),
            stopped: None,
            chosen_at: BTreeMap::new(),
            judged: 0,
            counted: BTreeMap::new(),
            approvers: BTreeSet::new(),
            is_good: true,
            unknown: BTreeMap::new(),
            drained: false,
            spoke_6: NodeSet::EMPTY,
            closed: NodeSet::EMPTY,
            led: None,
        }
    }

    /// Sees what a process starts with.
    pub(super) fn recovered(&mut self, now: Time, node: NodeId, durable: &Durable) -> Result<(), Broken> {
        let said = self.said.entry(node).or_default();
        let held = durable.accepted.as_ref().map(|held| (held.ballot, held.state.version));
        if durable.epoch <= said.epoch {
            return broken(Promise::Memory, format!("{node} starts epoch {} once more", durable.epoch));
        }
        if durable.promise < said.promised || held < said.accepted {
            let Said { promised, accepted, .. } = said;
            let how = format!("{node} said {promised} and {accepted:?}, and knows {} and {held:?}", durable.promise);
            return broken(Promise::Memory, how);
        }
        let known = durable.committed.as_ref().map_or(0, |committed| committed.state.version);
        if let Some(version) = self.left.remove(&node).filter(|version| *version > known) {
            let how = format!("{node} ended in order with version {version} and starts with {known}");
            return broken(Promise::Memory, how);
        }
        said.epoch = durable.epoch;
        match &durable.accepted {
            Some(proposal) => {
                self.observer.observe_recovered(node, proposal)?;
                self.judge(now, proposal)
            }
            None => Ok(()),
        }
    }

    /// A disk is lost, and what was said on its strength with it.
    pub(super) fn lost(&mut self, node: NodeId) {
        self.said.remove(&node);
        self.left.remove(&node);
        self.closed.remove(node);
    }

    /// Knows that a member was told to stop, whether it coordinates, and whether something is under way there.
    pub(super) fn stops(&mut self, at: Time, node: NodeId, acts: bool, was_busy: bool) {
        if acts {
            self.stopped = Some(Stopped { node, at, was_busy });
            self.seen.note_if(was_busy, Sometimes::CoordinatorLeftInMidChange);
        }
    }

    /// Knows that a process ended as it should.
    pub(super) fn left(&mut self, node: NodeId, version: u64) {
        self.left.insert(node, version);
        self.seen.note(Sometimes::Left);
    }

    /// The coordinator that was told to stop just before `now`, if it is another than `node`.
    fn stopped_before(&self, now: Time, node: NodeId) -> Option<Stopped> {
        self.stopped.filter(|stopped| stopped.node != node && now.since(stopped.at) < SOON)
    }

    /// Sees what reached a disk.
    pub(super) fn accepted(&mut self, now: Time, node: NodeId, proposal: &Proposal) -> Result<(), Broken> {
        self.observer.on_accepted(node, proposal)?;
        self.judge(now, proposal)
    }

    /// Knows what a process speaks that starts.
    pub(super) fn speaks(&mut self, node: NodeId, wire: WireVersion) {
        if wire >= WireVersion::V6 {
            self.spoke_6.insert(node);
        }
    }

    /// Knows that a member serves a marked state, and speaks version 5 of the wire no more.
    pub(super) fn closes(&mut self, node: NodeId) {
        self.closed.insert(node);
    }

    /// Sees that something arrives in version 5 of the wire.
    pub(super) fn said_in_5(&self, from: NodeId, to: NodeId) -> Result<(), Broken> {
        match [from, to].into_iter().find(|id| self.closed.contains(*id)) {
            Some(closed) => broken(Promise::Door, format!("{from} and {to} speak version 5, which {closed} has left")),
            None => Ok(()),
        }
    }

    /// The mark comes when all have spoken version 6, and stays.
    fn judge_mark(&mut self, state: &RoutingState) -> Result<(), Broken> {
        let parent = state.chain.last().and_then(|link| self.observer.state_of(link.txid));
        let before = parent.and_then(|parent| parent.wire);
        let wrong = |what: &str| broken(Promise::Door, format!("version {}: {what}", state.version));
        match (before, state.wire) {
            (Some(_), None) => return wrong("it has lost its mark"),
            (None, Some(_)) if self.spoke_6 != self.observer.members() => {
                return wrong("not all have spoken version 6");
            }
            (None, Some(_)) => self.seen.note(Sometimes::Marked),
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(())
    }

    /// Sees what is sent.
    pub(super) fn sent(&mut self, watched: Watched, message: &Message) -> Result<(), Broken> {
        let node = watched.node;
        match message {
            Message::Promise { ballot, .. } => {
                let said = self.said.entry(node).or_default();
                said.promised = said.promised.max(*ballot);
            }
            Message::Accepted { ballot, version } => {
                let said = self.said.entry(node).or_default();
                said.accepted = said.accepted.max(Some((*ballot, *version)));
                said.promised = said.promised.max(*ballot);
            }
            Message::Campaign { ballot } if ballot.node == node && self.observer.is_in_doubt() => {
                self.seen.note(Sometimes::TakeoverInMidAccept);
            }
            Message::Accept { proposal } => self.asked(node, proposal),
            Message::Vote { vote: Vote::Abort(reason), .. } => self.voted_down(reason),
            Message::Heartbeat(_)
            | Message::Prepare { .. }
            | Message::Vote { .. }
            | Message::Abort { .. }
            | Message::Campaign { .. }
            | Message::Reject { .. }
            | Message::Decision { .. }
            | Message::Applied { .. }
            | Message::Report(_)
            | Message::Testimony(_) => {}
        }
        self.observer.on_sent(watched, message)
    }

    fn asked(&mut self, node: NodeId, proposal: &Proposal) {
        let foreign = proposal.state.txid.is_some_and(|txid| txid.node != node);
        let newest = self.observer.newest.as_ref().map_or(0, |newest| newest.version);
        if foreign && proposal.state.version > newest {
            self.seen.note(Sometimes::FinishedAnothersValue);
        }
    }

    fn voted_down(&mut self, reason: &Reason) {
        let noted = match reason {
            Reason::StorageFull => Sometimes::FullDiskVotedAbort,
            Reason::Isolated => Sometimes::IsolatedVotedAbort,
            Reason::UpstreamNotReady(_) => Sometimes::UpstreamVotedAbort,
            Reason::Unhealthy(_) => Sometimes::UnhealthyVotedAbort,
            Reason::BaseDiffers { .. } => Sometimes::OtherBaseVotedAbort,
            Reason::MayNotCoordinate
            | Reason::PlanForbids(_)
            | Reason::Unreachable
            | Reason::NoAnswer
            | Reason::OvertakenByRetreat
            | Reason::CoordinatorStops
            | Reason::CoordinatorReplaced => return,
        };
        self.seen.note(noted);
    }

    /// Sees what an operator is told. Times in the answer are the world's.
    pub(super) fn answered(&mut self, watched: Watched, answer: &Answer) -> Result<(), Broken> {
        match answer {
            Answer::Unknown { txid, version } => {
                self.unknown.insert(*txid, *version);
                self.seen.note(Sometimes::ToldUnknown);
            }
            Answer::Superseded { .. } => self.seen.note(Sometimes::Superseded),
            Answer::Aborted { votes, .. } => {
                for vote in votes.values() {
                    match vote {
                        Vote::Abort(Reason::NoAnswer) => self.seen.note(Sometimes::VoteTimedOut),
                        Vote::Abort(Reason::Unreachable) => self.seen.note(Sometimes::UnreachableAborted),
                        Vote::Abort(Reason::OvertakenByRetreat) => self.seen.note(Sometimes::RetreatOvertook),
                        Vote::Abort(Reason::CoordinatorStops) => self.seen.note(Sometimes::StopAborted),
                        Vote::Abort(_) | Vote::Commit => {}
                    }
                }
            }
            Answer::Committed { others_until, .. } if others_until.is_some() => {
                self.seen.note(Sometimes::RollbackNamedADeadline);
            }
            Answer::Refused(Refusal::Invalid(ChangeError::WireVersion(_))) => {
                self.seen.note(Sometimes::RefusedAsUnsayable);
            }
            Answer::Committed { .. } | Answer::Refused(_) => {}
        }
        self.observer.on_answer(watched, answer)
    }

    /// Hears what a member tells its log.
    pub(super) fn told(&mut self, now: Time, node: NodeId, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Alarm(alarm) => broken(Promise::NoAlarm, format!("{node}: {alarm}")),
            Event::CoordinationTaken => {
                let back = node == NodeId::A && self.led.is_some_and(|led| led != NodeId::A);
                self.seen.note_if(back, Sometimes::CoordinationGivenBack);
                self.seen.note_if(node != NodeId::A, Sometimes::AnotherCoordinated);
                self.seen.note_if(self.stopped_before(now, node).is_some(), Sometimes::HandedOver);
                self.led = Some(node);
                Ok(())
            }
            Event::Isolated => {
                self.seen.note(Sometimes::Isolated);
                self.seen.note_if(self.observer.is_in_doubt(), Sometimes::IsolatedInATransaction);
                Ok(())
            }
            Event::CoordinationGiven
            | Event::Joined
            | Event::Committed { .. }
            | Event::Aborted { .. }
            | Event::Confirmed { .. } => Ok(()),
        }
    }

    /// Knows that an operator asks.
    pub(super) fn operator_asks(&mut self, change: &Change) {
        if let Change::Approve { operator } = change {
            self.approvers.insert(operator.clone());
        }
    }

    /// Knows how many requests to the canary a node has counted in an epoch.
    pub(super) fn counts(&mut self, node: NodeId, epoch: u64, requests: u64) {
        let known = self.counted.entry((epoch, node)).or_default();
        *known = (*known).max(requests);
    }

    /// Looks at a state that has just been chosen, if it has.
    fn judge(&mut self, now: Time, proposal: &Proposal) -> Result<(), Broken> {
        let state = &proposal.state;
        let Some(txid) = state.txid.filter(|_| state.version > self.judged) else { return Ok(()) };
        if self.observer.chosen.get(&state.version).is_none_or(|(chosen, _)| *chosen != txid) {
            return Ok(());
        }
        self.judged = state.version;
        self.judge_mark(state)?;
        let after_farewell = self.stopped_before(now, txid.node).is_some_and(|stopped| stopped.was_busy);
        self.seen.note_if(after_farewell, Sometimes::ChangedSoonAfterHandover);
        self.chosen_at.insert(state.version, now);
        self.settle_unknown();
        if !state.drained.is_empty() {
            self.drained = true;
            self.seen.note(Sometimes::Drained);
        }
        self.seen.note_if(self.drained && state.drained.is_empty(), Sometimes::Undrained);
        let Some(rollout) = &state.rollout else { return Ok(()) };
        let parent = state.chain.last().and_then(|link| self.observer.state_of(link.txid)).map(Arc::clone);
        match parent {
            Some(parent) => self.judge_step(now, &parent, state, rollout, proposal),
            None => Ok(()),
        }
    }

    /// Those who were told "unknown" can see by now what became of it.
    fn settle_unknown(&mut self) {
        let Self { unknown, observer, seen, .. } = self;
        unknown.retain(|txid, version| match observer.chosen.get(version) {
            Some((chosen, _)) => {
                let committed = chosen == txid;
                seen.note_if(committed, Sometimes::UnknownWasCommitted);
                seen.note_if(!committed, Sometimes::UnknownWasAborted);
                false
            }
            None => true,
        });
    }

    /// A rollout goes by its plan.
    fn judge_step(
        &mut self,
        now: Time,
        before: &RoutingState,
        state: &RoutingState,
        rollout: &Rollout,
        proposal: &Proposal,
    ) -> Result<(), Broken> {
        let version = state.version;
        let wrong = |what: &str| broken(Promise::Plan, format!("version {version}: {what}"));
        let over_before = before.rollout.as_ref().is_some_and(|old| old.started == rollout.started && !old.is_open());
        if !over_before {
            self.note_end(rollout);
        }
        let by_itself = proposal.by.as_ref().is_some_and(|by| by.id.starts_with("rollout/"));
        if by_itself && self.is_good && rollout.phase == Phase::Ended(Outcome::RolledBack) && !over_before {
            return wrong(&format!("a good canary is rolled back: {}", rollout.why));
        }
        if rollout.is_open() && state.canary_weight() > rollout.weight() {
            return wrong("more than its step says");
        }
        let Some(old) = before.rollout.as_ref().filter(|old| old.started == rollout.started && old.is_open()) else {
            return Ok(());
        };
        if rollout.step < old.step {
            return wrong("a step is undone");
        }
        let promoted = rollout.phase == Phase::Ended(Outcome::Promoted);
        if rollout.step == old.step && !promoted {
            return Ok(());
        }
        let approvals = rollout.approvals.of(rollout.step);
        let approved = approvals.filter(|name| self.approvers.contains(*name)).count();
        if approved < rollout.needed(rollout.step) {
            return wrong("a step without its approvals");
        }
        self.seen.note_if(rollout.needed(rollout.step) > 0, Sometimes::StepWasApproved);
        if !by_itself {
            return Ok(());
        }
        if rollout.step > old.step + 1 || old.phase != Phase::Progressing {
            return wrong("a step by itself that does not follow");
        }
        let step = old.plan.steps.get(old.step);
        if step.is_some_and(|step| step.then == Then::AwaitPromotion) {
            return wrong("a step by itself that waits for an operator");
        }
        self.judge_measures(now, old, version)
    }

    fn judge_measures(&self, now: Time, old: &Rollout, version: u64) -> Result<(), Broken> {
        let hold = old.plan.steps.get(old.step).map_or(0, |step| step.hold.0 * 1_000);
        let shortest = hold - hold * MOST_DRIFT_PPM.unsigned_abs() / 1_000_000;
        let held = self.chosen_at.get(&old.epoch).map(|at| now.since(*at).as_micros());
        if held.is_some_and(|held| held < u128::from(shortest)) {
            let how = format!("version {version}: a step of {hold} us was held for {held:?} only");
            return broken(Promise::Plan, how);
        }
        let epoch = (old.epoch, NodeId::A)..(old.epoch + 1, NodeId::A);
        let requests: u64 = self.counted.range(epoch).map(|(_, requests)| requests).sum();
        if requests < old.plan.min_sample {
            let how = format!("version {version}: a step was passed on {requests} requests");
            return broken(Promise::Plan, how);
        }
        Ok(())
    }

    fn note_end(&mut self, rollout: &Rollout) {
        match rollout.phase {
            Phase::Ended(Outcome::Promoted) => self.seen.note(Sometimes::RolloutPromoted),
            Phase::Ended(Outcome::FastPromoted) => self.seen.note(Sometimes::RolloutFastPromoted),
            Phase::Ended(Outcome::RolledBack) => self.seen.note(Sometimes::RolloutRolledBack),
            Phase::Ended(Outcome::Aborted) => self.seen.note(Sometimes::RolloutAborted),
            Phase::Ended(Outcome::Superseded) => {}
            Phase::Paused => self.seen.note(Sometimes::RolloutPaused),
            Phase::Progressing => {}
        }
    }
}
