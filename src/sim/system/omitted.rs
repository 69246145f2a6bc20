//! What a simulated member does without: nothing, or one rule of one of its parts.

use crate::disk::SimulatedStore;
use crate::search::rules::{Rule, Without};
use member::Rule as Glue;

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
    Store(store::Rule),
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

    pub(super) const fn store(self) -> Option<store::Rule> {
        match self {
            Self::Store(rule) => Some(rule),
            Self::Nothing | Self::Controller(_) | Self::Engine(_) | Self::Member(_) => None,
        }
    }

    pub(crate) const fn controller(self) -> Option<rollout::Rule> {
        match self {
            Self::Controller(rule) => Some(rule),
            Self::Nothing | Self::Store(_) | Self::Engine(_) | Self::Member(_) => None,
        }
    }

    pub(crate) const fn member(self) -> Option<Glue> {
        match self {
            Self::Member(rule) => Some(rule),
            Self::Nothing | Self::Store(_) | Self::Engine(_) | Self::Controller(_) => None,
        }
    }

    /// The store of such a member.
    pub(super) fn prepare(self, mut store: SimulatedStore) -> SimulatedStore {
        if self == Self::Member(Glue::EndWhenTheDiskFails) {
            store.take_no_heed();
        }
        store
    }
}
