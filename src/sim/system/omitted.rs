//! The rules that a simulated member does without: none, or one rule of one of its parts; and what it does instead of one by which
//! it puts them together.

use crate::search::rules::{Rule, Without};
use crate::{disk, rollout};
use ::rollout::Controller;
use agreement::Reason;
use member::{All, Effect, Rules};
use model::{NodeId, NodeSet, Report, Time};
use service::Change;
use store::{Memory, Room, StoreError};

/// A rule by which a member puts its parts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glue {
    WriteThenSpeak,
    /// A disk that fails ends the process. It is the store that is made to hide it.
    EndWhenTheDiskFails,
    VetoWhenFull,
    ShowEjection,
    TellTheController,
    HearReports,
    AwaitFarewell,
    ForceAtTheEnd,
    KeepTheDoorOpen,
    CloseTheDoor,
}

impl Glue {
    /// All of them.
    pub(super) const ALL: [Self; 10] = [
        Self::WriteThenSpeak,
        Self::EndWhenTheDiskFails,
        Self::VetoWhenFull,
        Self::ShowEjection,
        Self::TellTheController,
        Self::HearReports,
        Self::AwaitFarewell,
        Self::ForceAtTheEnd,
        Self::KeepTheDoorOpen,
        Self::CloseTheDoor,
    ];
}

/// The rule that is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Omitted {
    /// None.
    #[default]
    Nothing,
    /// One of the agreement.
    Engine(Rule),
    /// One of the controller of rollouts.
    Controller(rollout::Rule),
    /// One of the log.
    Store(disk::Rule),
    /// One of what puts these together.
    Member(Glue),
}

impl Omitted {
    pub(super) const fn engine(self) -> Without {
        match self {
            Self::Engine(rule) => Without(Some(rule)),
            Self::Nothing | Self::Controller(_) | Self::Store(_) | Self::Member(_) => Without(None),
        }
    }

    /// The store's rules, and whether it hides that its disk fails.
    pub(super) fn store(self) -> (Option<disk::Rule>, disk::Failures) {
        match self {
            Self::Store(rule) => (Some(rule), disk::Failures::Told),
            Self::Member(Glue::EndWhenTheDiskFails) => (None, disk::Failures::Hidden),
            Self::Nothing | Self::Controller(_) | Self::Engine(_) | Self::Member(_) => (None, disk::Failures::Told),
        }
    }

    /// The controller of `me`, which has seen nothing yet.
    pub(super) fn controller(self, me: NodeId) -> Controller<rollout::Without> {
        let rule = match self {
            Self::Controller(rule) => Some(rule),
            Self::Nothing | Self::Store(_) | Self::Engine(_) | Self::Member(_) => None,
        };
        Controller::with(rollout::Without(rule), me)
    }

    fn omits(self, rule: Glue) -> bool {
        self == Self::Member(rule)
    }
}

impl Rules for Omitted {
    type Engine = Without;
    type Controller = rollout::Without;

    fn order(&self) -> [Effect; 3] {
        if self.omits(Glue::WriteThenSpeak) { [Effect::Send, Effect::Write, Effect::Publish] } else { All.order() }
    }

    fn veto(&self, room: Room) -> Option<Reason> {
        if self.omits(Glue::VetoWhenFull) { None } else { All.veto(room) }
    }

    fn shown<'a>(&self, ejected: Option<&'a str>) -> Option<&'a str> {
        if self.omits(Glue::ShowEjection) { None } else { All.shown(ejected) }
    }

    fn tell(&self, controller: &mut Controller<rollout::Without>, now: Time, change: &Change, refused: Option<String>) {
        if !self.omits(Glue::TellTheController) {
            controller.on_answer(now, change, refused);
        }
    }

    fn hear(&self, controller: &mut Controller<rollout::Without>, now: Time, from: NodeId, report: Report) {
        if !self.omits(Glue::HearReports) {
            controller.on_report(now, from, report);
        }
    }

    fn keep_open(&self, behind: NodeSet) -> NodeSet {
        // Whoever has come so far that a majority is through does not wait for the last.
        if self.omits(Glue::KeepTheDoorOpen) && behind.len() < 2 { NodeSet::EMPTY } else { All.keep_open(behind) }
    }

    fn waits_for(&self, older: NodeSet) -> bool {
        !self.omits(Glue::KeepTheDoorOpen) && All.waits_for(older)
    }

    fn closes(&self, is_marked: bool) -> bool {
        !self.omits(Glue::CloseTheDoor) && All.closes(is_marked)
    }

    fn may_end(&self, engine_has_left: bool) -> bool {
        self.omits(Glue::AwaitFarewell) || All.may_end(engine_has_left)
    }

    fn end(&self, store: &mut impl Memory) -> Result<(), StoreError> {
        if self.omits(Glue::ForceAtTheEnd) { Ok(()) } else { All.end(store) }
    }
}
