//! How a member that is about to stop gives its place up, so that nobody has to wait until its silence is noticed.
//!
//! All of this is for liveness. A member that leaves goes on to vote, to promise and to accept for as long as it runs;
//! one that could not say that it leaves is one that crashed.

use super::coordinator::Seat;
use super::{Answer, Engine, Output, Refusal, Register, Rules};
use model::Time;

impl<V: Register, R: Rules> Engine<V, R> {
    /// Takes into account that the process is about to end: from now on this member begins nothing.
    pub(super) fn on_stop(&mut self, now: Time, out: &mut Output<V>) {
        if self.leaving.is_none() {
            self.leaving = Some(now + self.config.timing.farewell);
            out.publish = true;
        }
    }

    /// Whether this member has been told to stop.
    pub const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether everything that a stop has to wait for is over: others may coordinate, and no caller waits.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.is_leaving() && !self.acts && self.told == super::Standing::Leaves && self.is_unasked()
    }

    fn is_unasked(&self) -> bool {
        self.asked.is_empty() && self.tasks.is_empty()
    }

    /// Whether a coordinator that leaves keeps its place for a moment, because what it asked everyone to accept may be
    /// chosen in the next one.
    pub(super) fn settles(&self, now: Time) -> bool {
        let is_open = matches!(
            &self.seat,
            Seat::Accepting { proposal, .. } if proposal.state.version() > self.committed.state.version()
        );
        self.acts && is_open && self.leaving.is_some_and(|until| self.rules.awaits_farewell(now, until))
    }

    /// When that moment is over, and with it the wait of those whose request may have been chosen.
    pub(super) fn poll_leaving(&self, now: Time) -> Option<Time> {
        self.leaving.filter(|until| *until > now)
    }

    /// Turns away one request that was not sent for acceptance yet; says whether there was one.
    pub(super) fn turn_away(&mut self, now: Time, out: &mut Output<V>) -> bool {
        if !self.is_leaving() {
            return false;
        }
        let Some(task) = self.tasks.pop_front() else { return false };
        out.reply.push((task.question.ticket, Answer::Refused(self.leaving_refusal(now))));
        true
    }

    /// What a request is told that comes to a member that leaves: who decides it, as soon as that is known.
    pub(super) fn leaving_refusal(&self, now: Time) -> Refusal<V::Refusal> {
        let other = if self.acts { None } else { self.coordinator(now) };
        other.map_or(Refusal::Leaving, Refusal::NotCoordinating)
    }
}
