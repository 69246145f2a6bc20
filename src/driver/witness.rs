//! What this node puts its name to, read off what it is about to do and has done.
//!
//! The engine knows nothing of it: a vote is signed when it is sent, an acceptance when it is on disk, a decision when it
//! has been learned. Nothing here waits for the record.

use crate::audit::{self, Log, Verdicts};
use crate::commit::{Answer, Engine, Envelope, Event, Input, Message, Proposal, Record, Vote, Votes};
use crate::model::{Actor, Change, Digest, MAX_REASON, NodeId, NodeSet, RoutingState, Said, Testimony, TxId};

/// Watches the driver.
pub(super) struct Witness {
    log: Log,
    me: NodeId,
    members: NodeSet,
    /// The advance that was last asked about: its vote says the transaction only.
    prepared: Option<(TxId, u64, Digest)>,
}

impl Witness {
    pub(super) fn new(log: Log, engine: &Engine) -> Self {
        Self { log, me: engine.me(), members: engine.members(), prepared: None }
    }

    /// What starts, and what is known then. What was said just before a crash may not be in the record: it is said again.
    pub(super) fn started(&mut self, committed: &Proposal, accepted: Option<&Proposal>) {
        self.log.started(committed.state.version, self.members);
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
            Input::PeerUp(peer) => self.log.peer(*peer, true),
            Input::PeerDown(peer) => self.log.peer(*peer, false),
            Input::Receive { message: Message::Prepare { next, .. }, .. } => self.prepare(next),
            Input::Receive { .. }
            | Input::Propose(_)
            | Input::Probed { .. }
            | Input::Veto(_)
            | Input::Measured { .. }
            | Input::Timeout => {}
        }
    }

    pub(super) fn heard(&self, from: NodeId, testimony: Box<Testimony>) {
        self.log.hear(from, testimony);
    }

    /// What is on its way.
    pub(super) fn sent(&mut self, envelopes: &[Envelope]) {
        let mut asked = false;
        for Envelope { message, .. } in envelopes {
            match message {
                Message::Vote { txid, vote, .. } => self.voted(*txid, vote),
                Message::Prepare { next, .. } if !asked => {
                    asked = true;
                    self.prepare(next);
                }
                Message::Heartbeat(_)
                | Message::Prepare { .. }
                | Message::Abort { .. }
                | Message::Campaign { .. }
                | Message::Promise { .. }
                | Message::Accept { .. }
                | Message::Accepted { .. }
                | Message::Reject { .. }
                | Message::Decision { .. }
                | Message::Applied { .. }
                | Message::Report(_)
                | Message::Testimony(_) => {}
            }
        }
    }

    /// What is on disk.
    pub(super) fn wrote(&self, records: &[Record]) {
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
    pub(super) fn happened(&self, event: &Event) {
        match event {
            Event::Committed { proposal, .. } => self.decided(proposal),
            Event::Aborted { txid, version, by, votes, .. } => {
                let (txid, version, by, votes) = (*txid, *version, by.clone(), verdicts(votes));
                self.log.file(audit::Event::Aborted { txid, version, by, votes });
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
    pub(super) fn answered(&self, by: Actor, change: &Change, answer: &Answer) {
        let outcome = match answer {
            Answer::Committed { .. } | Answer::Aborted { .. } => return,
            Answer::Superseded { by, .. } => format!("{by} was decided first"),
            Answer::Refused(refusal) => refusal.to_string(),
            Answer::Unknown { txid, .. } => format!("{txid} is not settled yet"),
        };
        self.log.file(audit::Event::Refused { by, what: name(change), outcome });
    }

    fn prepare(&mut self, next: &RoutingState) {
        self.prepared = next.txid.map(|txid| (txid, next.version, next.digest()));
    }

    /// The own vote among those that a proposal came with.
    fn vote_in(&self, proposal: &Proposal) {
        if let (Some(txid), Some(vote)) = (proposal.state.txid, proposal.votes.get(&self.me)) {
            self.voted(txid, vote);
        }
    }

    fn voted(&self, txid: TxId, vote: &Vote) {
        let Some((_, version, digest)) = self.prepared.filter(|(prepared, ..)| *prepared == txid) else { return };
        let against = match vote {
            Vote::Commit => None,
            Vote::Abort(reason) => Some(reason.to_string().chars().take(MAX_REASON).collect()),
        };
        self.log.say(Said::Vote { txid, version, digest, against });
    }

    fn accepted(&self, proposal: &Proposal) {
        let Proposal { ballot, state, .. } = proposal;
        let Some(txid) = state.txid else { return };
        let (version, digest) = (state.version, state.digest());
        self.log.say(Said::Accepted { ballot: *ballot, txid, version, digest, members: self.members });
    }

    fn decided(&self, proposal: &Proposal) {
        let Proposal { ballot, state, by, votes, .. } = proposal;
        let Some(txid) = state.txid else { return };
        let said = Said::Decided { ballot: *ballot, txid, version: state.version, digest: state.digest() };
        self.log.decide(said, by.clone(), std::sync::Arc::clone(state), verdicts(votes));
    }
}

/// The name of a kind of change, as its JSON begins.
fn name(change: &Change) -> String {
    let value = serde_json::to_value(change).unwrap_or_default();
    let named = value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str));
    named.unwrap_or_default().to_lowercase()
}

fn verdicts(votes: &Votes) -> Verdicts {
    let words = |vote: &Vote| match vote {
        Vote::Commit => "commit".to_owned(),
        Vote::Abort(reason) => reason.to_string(),
    };
    votes.iter().map(|(node, vote)| (*node, words(vote))).collect()
}
