//! What this node puts its name to, read off what it is about to do and has done.
//!
//! The engine knows nothing of it: a vote is signed when it is sent, an acceptance when it is on disk, a decision when it
//! has been learned. Nothing here waits for the record.

use super::facts::refused;
use agreement::{Vote, Votes};
use audit::{self, Batch, Log, Verdicts, Word};
use model::{Actor, MAX_REASON, NodeId, NodeSet, Testimony, Time, TxId};
use service::{Answer, Change, Engine, Envelope, Event, Input, Message, Proposal, Record, RoutingState};
use std::sync::Arc;
use std::time::Duration;

/// How long what happens is collected before it is handed over: longer than a commit takes.
const GATHER: Duration = Duration::from_millis(50);

/// Watches the driver.
pub(super) struct AuditTap {
    log: Log,
    me: NodeId,
    members: NodeSet,
    /// The advance that was last asked about: its vote says the transaction only.
    prepared: Option<Arc<RoutingState>>,
    /// What is not handed over yet.
    batch: Batch,
    send_at: Option<Time>,
}

impl AuditTap {
    pub(super) fn new(log: Log, engine: &Engine) -> Self {
        Self { log, me: engine.me(), members: engine.members(), prepared: None, batch: Batch::default(), send_at: None }
    }

    /// What starts, and what is known then. What was said just before a crash may not be in the record: it is said again.
    pub(super) fn started(&mut self, committed: &Proposal, accepted: Option<&Proposal>) {
        let (version, members) = (committed.state.version, self.members);
        self.batch.file(audit::Event::Started { version, members });
        if let Some(proposal) = accepted {
            self.prepare(&proposal.state);
            self.vote_in(proposal);
            self.accepted(proposal);
        }
        self.decided(committed);
    }

    /// What comes from a peer, before the engine sees it.
    pub(super) fn received(&mut self, input: &Input) {
        match input {
            Input::PeerUp(peer) => self.batch.peer(*peer, true),
            Input::PeerDown(peer) => self.batch.peer(*peer, false),
            Input::Receive { message: Message::Prepare { next, .. }, .. } => self.prepare(next),
            Input::Receive { .. }
            | Input::Propose(_)
            | Input::Probed { .. }
            | Input::Veto(_)
            | Input::Measured { .. }
            | Input::Stop
            | Input::Timeout => {}
        }
    }

    pub(super) fn heard(&mut self, from: NodeId, testimony: Box<Testimony>) {
        self.batch.hear(from, testimony);
    }

    /// What is on its way.
    pub(super) fn sent(&mut self, envelopes: &[Envelope]) {
        let mut asked = false;
        for Envelope { message, .. } in envelopes {
            if let Message::Vote { txid, vote, .. } = message {
                self.voted(*txid, vote);
            } else if let Message::Prepare { next, .. } = message
                && !asked
            {
                asked = true;
                self.prepare(next);
            }
        }
    }

    /// What is on disk.
    pub(super) fn wrote(&mut self, records: &[Record]) {
        for record in records {
            if let Record::Accepted(proposal) = record {
                // The driver of a transaction votes by itself: nothing is sent that says so.
                if proposal.state.txid.is_some_and(|txid| txid.node == self.me) {
                    self.vote_in(proposal);
                }
                self.accepted(proposal);
            }
        }
    }

    /// What came of it.
    pub(super) fn happened(&mut self, event: &Event) {
        match event {
            Event::Committed { proposal, .. } => self.decided(proposal),
            Event::Aborted { txid, version, by, votes, .. } => {
                let (txid, version, by, votes) = (*txid, *version, by.clone(), verdicts(votes));
                self.batch.file(audit::Event::Aborted { txid, version, by, votes });
            }
            Event::CoordinationTaken
            | Event::CoordinationGiven
            | Event::Joined
            | Event::Isolated
            | Event::Confirmed { .. }
            | Event::Alarm(_) => {}
        }
    }

    /// A caller's request that made no change.
    pub(super) fn answered(&mut self, by: Actor, change: &Change, answer: &Answer) {
        // The record has its decision otherwise.
        let is_decided = matches!(answer, Answer::Committed { .. } | Answer::Aborted { .. });
        if let Some(outcome) = refused(answer).filter(|_| !is_decided) {
            self.batch.file(audit::Event::Refused { by, what: name(change).into(), outcome });
        }
    }

    fn prepare(&mut self, next: &Arc<RoutingState>) {
        self.prepared = Some(Arc::clone(next));
    }

    /// The own vote among those that a proposal came with.
    fn vote_in(&mut self, proposal: &Proposal) {
        if let (Some(txid), Some(vote)) = (proposal.state.txid, proposal.votes.get(&self.me)) {
            self.voted(txid, vote);
        }
    }

    fn voted(&mut self, txid: TxId, vote: &Vote) {
        let Some(state) = self.prepared.clone().filter(|prepared| prepared.txid == Some(txid)) else { return };
        let against = match vote {
            Vote::Commit => None,
            Vote::Abort(reason) => Some(reason.to_string().chars().take(MAX_REASON).collect()),
        };
        self.batch.say(Word::Vote(state, against));
    }

    fn accepted(&mut self, proposal: &Proposal) {
        self.batch.say(Word::Accepted(proposal.ballot, Arc::clone(&proposal.state), self.members));
    }

    fn decided(&mut self, proposal: &Proposal) {
        let Proposal { ballot, state, by, votes, .. } = proposal;
        self.batch.decide(*ballot, Arc::clone(state), by.clone(), verdicts(votes));
    }

    /// When what was collected should be handed over, if there is anything.
    pub(super) fn poll_send(&mut self, now: Time) -> Option<Time> {
        if self.batch.is_empty() {
            self.send_at = None;
            return None;
        }
        let at = *self.send_at.get_or_insert(now + GATHER);
        Some(if self.batch.is_full() { now } else { at })
    }

    /// Hands over what was collected, if that is due.
    pub(super) fn send(&mut self, now: Time) {
        if self.poll_send(now).is_some_and(|at| at <= now) {
            self.log.send(std::mem::take(&mut self.batch));
            self.send_at = None;
        }
    }
}

impl Drop for AuditTap {
    fn drop(&mut self) {
        self.log.send(std::mem::take(&mut self.batch));
    }
}

/// The name of a kind of change.
fn name(change: &Change) -> &'static str {
    match change {
        Change::Weight { .. } => "weight",
        Change::Drain(_) => "drain",
        Change::Undrain(_) => "undrain",
        Change::Model(_) => "model",
        Change::Start { .. } => "start",
        Change::Next { .. } => "next",
        Change::Promote(_) => "promote",
        Change::Approve { .. } => "approve",
        Change::Pause { .. } => "pause",
        Change::Resume => "resume",
        Change::Abort { .. } => "abort",
        Change::RollBack { .. } => "rollback",
        Change::Retry => "retry",
        Change::Undo { .. } => "undo",
        Change::Close(_) => "close",
        Change::At { change, .. } => name(change),
    }
}

fn verdicts(votes: &Votes) -> Verdicts {
    let words = |vote: &Vote| match vote {
        Vote::Commit => "commit".to_owned(),
        Vote::Abort(reason) => reason.to_string(),
    };
    votes.iter().map(|(node, vote)| (*node, words(vote))).collect()
}
