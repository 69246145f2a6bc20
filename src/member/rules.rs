//! The rules by which a member puts its parts together: each is a method, and its body is the rule.
//!
//! The program runs with [`All`] of them. A test replaces one in a type of its own, and shows that a simulation then finds
//! a broken promise: so what a member does without a rule stands with the tests, and no part of it in the program.

use agreement::Reason;
use model::{NodeId, NodeSet, Report, Time};
use rollout::Controller;
use service::Change;
use store::{Memory, Room, StoreError};

/// What a member does because of what its engine said, of all that may rest on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bring the records to disk.
    Write,
    /// Make the picture of the member the one that everyone sees.
    Publish,
    /// Hand the messages to the mesh.
    Send,
}

/// The rules by which a member acts.
pub trait Rules {
    /// Those of its agreement.
    type Engine: agreement::Rules;
    /// Those of its controller.
    type Controller: rollout::Rules;

    /// What rests on a record is said after the record is on disk.
    fn order(&self) -> [Effect; 3] {
        [Effect::Write, Effect::Publish, Effect::Send]
    }

    /// A full disk speaks against every advance.
    fn veto(&self, room: Room) -> Option<Reason> {
        match room {
            Room::Full => Some(Reason::StorageFull),
            Room::Plenty => None,
        }
    }

    /// Members with which version 5 of the wire is spoken, or nothing, keep the door to it open.
    fn keep_open(&self, behind: NodeSet) -> NodeSet {
        behind
    }

    /// Whoever has a link to these members, on which version 5 of the wire is spoken, takes no mark.
    fn waits_for(&self, older: NodeSet) -> bool {
        !older.is_empty()
    }

    /// A member that serves a marked state, or has accepted one, speaks version 5 with nobody any more: there it could
    /// not say what it holds, and would keep the others from going on without it.
    fn closes(&self, is_marked: bool) -> bool {
        is_marked
    }

    /// What everyone sees says that the canary was found to be bad here.
    fn shown<'a>(&self, ejected: Option<&'a str>) -> Option<&'a str> {
        ejected
    }

    /// The controller learns what became of its question.
    fn tell(&self, controller: &mut Controller<Self::Controller>, now: Time, change: &Change, refused: Option<String>) {
        controller.on_answer(now, change, refused);
    }

    /// The controller hears what others have measured.
    fn hear(&self, controller: &mut Controller<Self::Controller>, now: Time, from: NodeId, report: Report) {
        controller.on_report(now, from, report);
    }

    /// A member that was told to stop goes on until others may coordinate and no caller waits: until its engine has left.
    fn may_end(&self, engine_has_left: bool) -> bool {
        engine_has_left
    }

    /// What was written without haste is on disk before the process ends, so that the next start asks nobody for it.
    /// Fails when the disk fails.
    fn end(&self, store: &mut impl Memory) -> Result<(), StoreError> {
        store.force()
    }
}

/// Every rule, kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct All;

impl Rules for All {
    type Engine = agreement::All;
    type Controller = rollout::All;
}
