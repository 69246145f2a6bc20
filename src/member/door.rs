//! The door to version 5 of the wire, as one member stands at it: with whom it speaks a newer one at this moment, and
//! whether it has gone through.

use super::rules::Rules;
use mesh::WireVersion;
use model::{NodeId, NodeSet, Time};
use service::{Change, ChangeError, Durable, Engine, Message};
use std::time::Duration;

/// How often the mark is asked for that was refused: whoever stands against it for a while is gone by then.
pub(super) const TRY_EVERY: Duration = Duration::from_secs(1);

/// What a member knows of it.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// The members that there is a link to on which version 6 is spoken.
    newest: NodeSet,
    /// Those that there is a link to on which version 5 is spoken.
    older: NodeSet,
    /// When the mark may be asked for, or asked for again.
    pub(super) next_try: Time,
    /// The mesh was told to speak version 5 with nobody any more.
    pub(super) is_closed: bool,
}

impl Door {
    /// There is a link to `id` that speaks `wire`.
    pub(super) fn up(&mut self, id: NodeId, wire: WireVersion) {
        self.down(id);
        match wire {
            WireVersion::V6 => self.newest.insert(id),
            WireVersion::V5 => self.older.insert(id),
        }
    }

    /// There is none any more.
    pub(super) const fn down(&mut self, id: NodeId) {
        self.newest.remove(id);
        self.older.remove(id);
    }

    /// Whether what a message asks for is not to be heard of yet: it is marked, and there is still a link of version 5, to
    /// whom nothing could be said any more. Whoever asks for it honestly has seen that all speak version 6, and asks again.
    pub(super) fn is_early<R: Rules>(&self, message: &Message, engine: &Engine<R::Engine>, rules: &R) -> bool {
        // A promise asks for nothing: it reports.
        let asked = message.value().filter(|_| !matches!(message, Message::Promise { .. }));
        asked.is_some_and(|state| state.wire.is_some())
            && engine.committed().state.wire.is_none()
            && rules.waits_for(self.older)
    }

    /// The others that nothing can be said to which version 5 of the wire has no words for.
    fn behind<R: Rules>(&self, engine: &Engine<R::Engine>, rules: &R) -> NodeSet {
        rules.keep_open(engine.members().without(engine.me()).minus(self.newest))
    }

    /// Whether the state can be marked: it is still without the mark, and all members speak version 6 at this moment.
    fn can_close<R: Rules>(&self, engine: &Engine<R::Engine>, rules: &R) -> bool {
        engine.committed().state.wire.is_none() && self.behind(engine, rules).is_empty()
    }

    /// Whether the mark is to be asked for here: it can come, something stands already, and nothing is open.
    pub(super) fn may_close<R: Rules>(&self, engine: &Engine<R::Engine>, rules: &R) -> bool {
        let is_due = engine.committed().state.version > 0 && engine.acts() && engine.is_settled();
        is_due && self.can_close(engine, rules)
    }

    /// Whether the mark comes with what is asked for: where nothing stands yet it needs no version of its own.
    pub(super) fn comes_with_first<R: Rules>(&self, engine: &Engine<R::Engine>, rules: &R) -> bool {
        engine.committed().state.version == 0 && self.can_close(engine, rules)
    }

    /// Until the state is marked, what version 5 of the wire cannot say is not proposed.
    pub(super) fn must_be_said<R: Rules>(
        &self,
        change: &Change,
        engine: &Engine<R::Engine>,
        rules: &R,
    ) -> Result<(), ChangeError> {
        let is_marked = engine.committed().state.wire.is_some() || self.comes_with_first(engine, rules);
        let is_said = change.is_said_by_5() || is_marked;
        if is_said { Ok(()) } else { Err(ChangeError::WireVersion(self.behind(engine, rules))) }
    }
}

/// The version of the wire that a member with this memory must speak at least: what it has accepted, decided or not, the one
/// before has no words for.
pub fn oldest_spoken(memory: &Durable) -> Option<u16> {
    memory.accepted.iter().chain(&memory.committed).find_map(|proposal| proposal.state.wire)
}
