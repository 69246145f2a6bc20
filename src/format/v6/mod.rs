//! Version 6: version 5 with a mark in the routing state, by which the members agree that they all speak it.
//!
//! | | number |
//! |---|---|
//! | [`wire`] | 6 |
//! | [`log`] | 3 |
//! | [`history`], [`audit`] | 2 |
//!
//! What it does not name here anew is as in [`v5`](super::v5), and what carries a state is as there with this
//! [`RoutingState`] in it. Greetings and statements are those of version 5.

mod neighbour;
mod state;

pub use super::v5::statement;
pub use super::v5::{
    Actor, Approvals, Ballot, Base, Canary, Counts, Digest, Evidence, Gate, Gates, Hearing, Heartbeat, Incarnation,
    Link, List, Map, Mode, Model, NodeId, NodeSet, Octets, Outcome, Phase, Plan, Reason, Recent, Report, Rollout, Said,
    Shield, Signed, Smoke, Stage, Standing, Statement, Step, StepNumber, Summary, Testimony, Text, Then, TxId, Vote,
    Votes, greeting,
};
pub use state::RoutingState;

/// A state put up for acceptance.
pub type Proposal<'a> = super::v5::Proposal<'a, RoutingState<'a>>;

/// The messages between members.
pub mod wire {
    /// One message.
    pub type Message<'a> = crate::format::v5::wire::Message<'a, super::RoutingState<'a>>;
}

/// A member's memory on disk.
pub mod log {
    use super::RoutingState;
    use crate::format::v5;

    pub use v5::log::Identity;

    /// The format of all records of a segment, which its snapshot names.
    pub const FORMAT: u64 = 3;

    /// The first record of a segment.
    pub type Snapshot<'a> = v5::log::Snapshot<'a, RoutingState<'a>>;
    /// All that a member remembers.
    pub type Durable<'a> = v5::log::Durable<'a, RoutingState<'a>>;
    /// Every later record of a segment.
    pub type Record<'a> = v5::log::Record<'a, RoutingState<'a>>;
}

/// A line of the history.
pub mod history {
    pub use crate::format::v5::history::{Decision, Duration, Split};

    /// The format of a line.
    pub const FORMAT: u64 = 2;

    /// One decided transaction.
    pub type Entry<'a> = crate::format::v5::history::Entry<'a, super::RoutingState<'a>>;
}

/// A line of the audit.
pub mod audit {
    use super::RoutingState;
    use crate::format::v5;

    pub use v5::audit::{Head, Verdicts};

    /// The format of a line.
    pub const FORMAT: u64 = 2;

    /// One line.
    pub type Line<'a> = v5::audit::Line<'a, RoutingState<'a>>;
    /// What can happen.
    pub type Event<'a> = v5::audit::Event<'a, RoutingState<'a>>;
}

const _: () = assert!(history::FORMAT == audit::FORMAT, "lines have one number");
