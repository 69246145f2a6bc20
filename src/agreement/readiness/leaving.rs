//! Leaving: a member that is about to stop gives its place up, so that nobody has to wait until its silence is noticed.
//!
//! All of this is for liveness. A member that leaves goes on to vote, to promise and to accept for as long as it runs;
//! one that could not say that it leaves is one that crashed.

use crate::{Engine, Output, Readiness, Refusal, Register, Rules};
use model::Time;

impl<V: Register, R: Rules> Engine<V, R> {
    /// Takes into account that the process is about to end: from now on this member begins nothing.
    pub(crate) fn on_stop(&mut self, now: Time, out: &mut Output<V>) {
        if self.readiness.leaving.is_none() {
            self.readiness.leaving = Some(now + self.config.timing.farewell);
            out.publish = true;
        }
    }

    /// Whether this member has been told to stop.
    pub const fn is_leaving(&self) -> bool {
        self.readiness.leaving.is_some()
    }

    /// Whether everything that a stop has to wait for is over: others may coordinate, and no caller waits.
    pub fn has_left(&self) -> bool {
        self.is_leaving() && !self.readiness.acts && self.readiness.told == Readiness::Leaves && self.is_unasked()
    }

    /// Whether no caller waits for an answer.
    pub(crate) fn is_unasked(&self) -> bool {
        self.questions.is_empty() && self.proposer.has_no_task()
    }

    /// Whether a coordinator that leaves keeps its place for a moment, because what it asked everyone to accept may be
    /// chosen in the next one.
    pub(crate) fn settles(&self, now: Time) -> bool {
        let is_open = self.proposer.awaits_acceptance_above(self.acceptor.committed().state.version());
        self.readiness.acts
            && is_open
            && self.readiness.leaving.is_some_and(|until| self.rules.awaits_farewell(now, until))
    }

    /// When that moment is over, and with it the wait of those whose request may have been chosen.
    pub(crate) fn poll_leaving(&self, now: Time) -> Option<Time> {
        self.readiness.leaving.filter(|until| *until > now)
    }

    /// What a request is told that comes to a member that leaves: who decides it, as soon as that is known.
    pub(crate) fn leaving_refusal(&self, now: Time) -> Refusal<V::Refusal> {
        self.other_coordinator(now).map_or(Refusal::Leaving, Refusal::NotCoordinating)
    }
}
