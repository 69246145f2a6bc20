//! Phase one: the way of a proposer to a ballot of its own, and to the value that it has to go on from.

use super::{Campaigning, Proposer, Proposing};
use crate::{
    Alarm, Answer, Config, Durable, Engine, Envelope, Event, Message, Output, Proposal, Record, Register, Rules,
};
use model::{Ballot, NodeSet, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl<V: Register, R: Rules> Engine<V, R> {
    /// When a proposer that waits out a refusal tries again.
    pub(crate) fn poll_retry(&self, now: Time) -> Option<Time> {
        let waits = match &self.proposer.proposing {
            Proposing::Idle => self.wants_ballot(now),
            Proposing::Holding { ballot, .. } => self.readiness.acts() && self.is_unsettled(now, *ballot),
            Proposing::Campaigning(_) | Proposing::Preparing(_) | Proposing::Accepting(_) => false,
        };
        waits.then_some(self.proposer.retry_at)
    }

    pub(super) fn advance_idle(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let due = now >= self.proposer.retry_at && self.wants_ballot(now);
        if due {
            self.campaign(now, out);
        }
        due
    }

    fn wants_ballot(&self, now: Time) -> bool {
        let wanted = self.has_joined() && (self.readiness.acts() || !self.proposer.tasks.is_empty());
        wanted && self.in_touch(now).len() >= self.config.members.majority()
    }

    /// Begins phase one: first its own promise on disk, then the question to all others.
    pub(super) fn campaign(&mut self, now: Time, out: &mut Output<V>) {
        let Self { config, rules, acceptor, proposer, .. } = self;
        let Durable { promise, incarnation, .. } = *acceptor.disk();
        let round = rules.next_round(proposer.round, promise, config.me);
        let ballot = Ballot { round, node: config.me, incarnation };
        proposer.round = round;
        // Not before this one has had its time: what others say of themselves may be older than it.
        proposer.retry_at = now + proposer.backoff(config, acceptor.disk());
        acceptor.append(Record::Promised(ballot), out);
        let question = |to| Envelope { to, message: Message::Campaign { ballot } };
        rules.campaign(config.others().iter().map(question), out);
        let promises = BTreeMap::from([(config.me, acceptor.disk().accepted.clone())]);
        let resend_at = now + config.timing.resend;
        proposer.proposing =
            Proposing::Campaigning(Box::new(Campaigning { ballot, promises, rejected: NodeSet::EMPTY, resend_at }));
    }

    pub(super) fn advance_campaign(
        &mut self,
        now: Time,
        mut campaigning: Box<Campaigning<V>>,
        out: &mut Output<V>,
    ) -> bool {
        let (ballot, members) = (campaigning.ballot, self.config.members);
        if self.acceptor.disk().promise > ballot || (!self.readiness.acts() && self.proposer.tasks.is_empty()) {
            return true;
        }
        if self.rules.takes_over(campaigning.promises.len(), members) {
            self.take_over(now, ballot, campaigning.promises.into_values().flatten(), out);
            return true;
        }
        let due = now >= campaigning.resend_at;
        let rejected = campaigning.rejected;
        if members.minus(rejected).len() < members.majority() || (due && !rejected.is_empty()) {
            self.proposer.step_back(now, &self.config, self.acceptor.disk());
            return true;
        }
        if due {
            campaigning.resend_at = now + self.config.timing.resend;
            let silent = self.peers.connected().minus(campaigning.promises.keys().copied().collect());
            out.send.extend(silent.iter().map(|to| Envelope { to, message: Message::Campaign { ballot } }));
        }
        self.proposer.proposing = Proposing::Campaigning(campaigning);
        due
    }

    /// Ends phase one: goes on from the value accepted under the highest ballot and version, which may have been chosen.
    /// A retreat follows it at once, so that an advance left open is never served; else it is written again.
    fn take_over(
        &mut self,
        now: Time,
        ballot: Ballot,
        accepted: impl Iterator<Item = Arc<Proposal<V>>>,
        out: &mut Output<V>,
    ) {
        let highest = self.rules.continues(accepted, self.acceptor.committed());
        let found = highest.unwrap_or_else(|| Arc::new(self.config.undecided()));
        let (version, known) = (found.state.version(), self.acceptor.committed().state.version());
        if version < known {
            out.events.push(Event::Alarm(Alarm::Forgotten { found: version, known }));
            return;
        }
        while let Some(task) = self.proposer.take_retreat() {
            let ticket = task.question.ticket;
            match self.retreat(now, ballot, &found.state, task, out) {
                Ok(()) => return,
                Err(refusal) => out.reply.push((ticket, Answer::Refused(refusal))),
            }
        }
        if !self.rules.writes_again(version, known) {
            self.proposer.proposing = Proposing::Holding { ballot, chosen: found };
            return;
        }
        self.ask_to_accept(now, Proposal { ballot, ..Proposal::clone(&found) }, out);
    }

    /// Whether another member holds something that only a new ballot of this one can settle.
    pub(super) fn is_unsettled(&self, now: Time, ballot: Ballot) -> bool {
        let committed = self.acceptor.committed().state.version();
        let mut says = self.peers.recent_says(now);
        says.any(|says| says.promise > ballot || says.accepted > committed)
    }
}

impl<V: Register> Proposer<V> {
    /// Gives the proposing up for a while, so that whoever holds the higher ballot can finish.
    pub(super) fn step_back(&mut self, now: Time, config: &Config<V>, disk: &Durable<V>) {
        self.proposing = Proposing::Idle;
        self.retry_at = now + self.backoff(config, disk);
        self.refusals = self.refusals.saturating_add(1);
    }

    /// The wait of a proposer that was refused: random within a span that doubles from refusal to refusal, so that two
    /// proposers do not keep meeting. The engine has no randomness; a hash of who and when will do.
    fn backoff(&self, config: &Config<V>, disk: &Durable<V>) -> Duration {
        const MOST_DOUBLINGS: u32 = 5;
        let span = config.timing.backoff * (1 << self.refusals.min(MOST_DOUBLINGS));
        let mut seed = disk.incarnation.0 ^ (disk.epoch << 32) ^ self.round ^ u64::from(config.me.index()) << 56;
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = u32::try_from((seed ^ (seed >> 31)) % 256).unwrap_or(0);
        span + span * part / 256
    }
}
