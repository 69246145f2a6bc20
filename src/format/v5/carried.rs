//! The same with states of another form, in all that carries states.

use super::audit::{Event, Line};
use super::history::Entry;
use super::log::{Durable, Record, Snapshot};
use super::wire::{Message, Proposal};
use crate::format::State;

impl<'a, S> Proposal<'a, S> {
    /// The proposal with its state made another one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T, E>(self, make: impl FnOnce(S) -> Result<T, E>) -> Result<Proposal<'a, T>, E> {
        let Self { ballot, state, by, votes, evidence } = self;
        Ok(Proposal { ballot, state: make(state)?, by, votes, evidence })
    }
}

impl<'a, S, H> Message<'a, S, H> {
    /// The message with its state, if it has one, made another one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T, E>(self, make: impl FnOnce(S) -> Result<T, E>) -> Result<Message<'a, T, H>, E> {
        Ok(match self {
            Self::Heartbeat(heartbeat) => Message::Heartbeat(heartbeat),
            Self::Prepare { base, next, by } => Message::Prepare { base, next: make(next)?, by },
            Self::Vote { txid, vote, evidence } => Message::Vote { txid, vote, evidence },
            Self::Abort { txid, version, by, votes } => Message::Abort { txid, version, by, votes },
            Self::Campaign { ballot } => Message::Campaign { ballot },
            Self::Promise { ballot, accepted } => {
                let accepted = accepted.map(|proposal| proposal.with_state(make)).transpose()?;
                Message::Promise { ballot, accepted }
            }
            Self::Accept { proposal } => Message::Accept { proposal: proposal.with_state(make)? },
            Self::Accepted { ballot, version } => Message::Accepted { ballot, version },
            Self::Reject { ballot, promised } => Message::Reject { ballot, promised },
            Self::Decision { proposal } => Message::Decision { proposal: proposal.with_state(make)? },
            Self::Applied { version } => Message::Applied { version },
            Self::Report(report) => Message::Report(report),
            Self::Testimony(testimony) => Message::Testimony(testimony),
        })
    }
}

impl<'a, S> Record<'a, S> {
    /// The record with its state, if it has one, made another one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T, E>(self, make: impl FnOnce(S) -> Result<T, E>) -> Result<Record<'a, T>, E> {
        Ok(match self {
            Self::Joined(founders) => Record::Joined(founders),
            Self::Promised(ballot) => Record::Promised(ballot),
            Self::Accepted(proposal) => Record::Accepted(proposal.with_state(make)?),
            Self::Committed(proposal) => Record::Committed(proposal.with_state(make)?),
            Self::AcceptedIsCommitted => Record::AcceptedIsCommitted,
        })
    }
}

impl<'a, S> Durable<'a, S> {
    /// The memory with its states made other ones.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T, E>(self, make: impl Fn(S) -> Result<T, E>) -> Result<Durable<'a, T>, E> {
        let Self { incarnation, epoch, joined, promise, accepted, committed } = self;
        let accepted = accepted.map(|proposal| proposal.with_state(&make)).transpose()?;
        let committed = committed.map(|proposal| proposal.with_state(&make)).transpose()?;
        Ok(Durable { incarnation, epoch, joined, promise, accepted, committed })
    }
}

impl<'a, S> Snapshot<'a, S> {
    /// The snapshot with its states made other ones, in the format that goes with them.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T: State, E>(self, make: impl Fn(S) -> Result<T, E>) -> Result<Snapshot<'a, T>, E> {
        let Self { format: _, node, cluster, durable } = self;
        Ok(Snapshot { format: T::VERSION.disk(), node, cluster, durable: durable.with_state(make)? })
    }
}

impl<'a, S> Entry<'a, S> {
    /// The entry with its state, if it has one, made another one, in the format that goes with it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T: State, E>(self, make: impl FnOnce(S) -> Result<T, E>) -> Result<Entry<'a, T>, E> {
        let Self {
            format: _,
            txid,
            version,
            decision,
            by,
            proposed_at,
            learned_at,
            votes,
            evidence,
            from,
            decided,
            took,
        } = self;
        Ok(Entry {
            format: T::VERSION.line(),
            txid,
            version,
            decision,
            by,
            proposed_at,
            learned_at,
            votes,
            evidence,
            from,
            decided: decided.map(make).transpose()?,
            took,
        })
    }
}

impl<'a, S> Line<'a, S> {
    /// The line with its state, if it has one, made another one, in the format that goes with it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T: State, E>(self, make: impl FnOnce(S) -> Result<T, E>) -> Result<Line<'a, T>, E> {
        let Self { format: _, seq, prev, at, node, event } = self;
        Ok(Line { format: T::VERSION.line(), seq, prev, at, node, event: event.with_state(make)? })
    }
}

impl<'a, S> Event<'a, S> {
    /// The event with its state, if it has one, made another one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with_state<T, E>(self, make: impl FnOnce(S) -> Result<T, E>) -> Result<Event<'a, T>, E> {
        Ok(match self {
            Self::Started { version, members } => Event::Started { version, members },
            Self::Stopped => Event::Stopped,
            Self::Certificate { of, serial, der } => Event::Certificate { of, serial, der },
            Self::Said { signed } => Event::Said { signed },
            Self::Decided { signed, by, state, votes } => Event::Decided { signed, by, state: make(state)?, votes },
            Self::Aborted { txid, version, by, votes } => Event::Aborted { txid, version, by, votes },
            Self::Refused { by, what, outcome } => Event::Refused { by, what, outcome },
            Self::Peer { peer, connected } => Event::Peer { peer, connected },
            Self::Rejected { plane, dir, remote, claimed, serial, reason, detail } => {
                Event::Rejected { plane, dir, remote, claimed, serial, reason, detail }
            }
            Self::Reloaded { outcome, lists, revoked } => Event::Reloaded { outcome, lists, revoked },
            Self::Disbelieved { peer, why } => Event::Disbelieved { peer, why },
            Self::Lost { lines } => Event::Lost { lines },
            Self::Shortened { head, found } => Event::Shortened { head, found },
        })
    }
}
