//! The door to version 5 of the wire, as one member stands at it: with whom it speaks a newer one at this moment, and
//! whether it has gone through.

use mesh::WireVersion;
use model::{NodeId, NodeSet, Time};
use std::time::Duration;

/// How often the mark is asked for that was refused: whoever stands against it for a while is gone by then.
pub(super) const TRY_EVERY: Duration = Duration::from_secs(1);

/// What a member knows of it.
#[derive(Debug)]
pub(super) struct Door {
    /// The members that there is a link to on which version 6 is spoken.
    pub(super) newest: NodeSet,
    /// When the mark may be asked for, or asked for again.
    pub(super) next_try: Time,
    /// The mesh was told to speak version 5 with nobody any more.
    pub(super) is_closed: bool,
}

impl Default for Door {
    fn default() -> Self {
        Self { newest: NodeSet::EMPTY, next_try: Time::ZERO, is_closed: false }
    }
}

impl Door {
    /// There is a link to `id` that speaks `wire`.
    pub(super) fn up(&mut self, id: NodeId, wire: WireVersion) {
        match wire {
            WireVersion::V6 => self.newest.insert(id),
            WireVersion::V5 => self.newest.remove(id),
        }
    }

    /// There is none any more.
    pub(super) const fn down(&mut self, id: NodeId) {
        self.newest.remove(id);
    }
}
