//! Version 6: version 5 with a mark in the routing state, by which the members agree that they all speak it; with plans that
//! have any number of limits, and deadlines of their steps; and with reports that tell more ways to end apart.
//!
//! | | number |
//! |---|---|
//! | wire | 6 |
//! | log | 3 |
//! | history, audit | 2 |
//!
//! All else is as in [`v5`](super::v5), and what carries a state or a report is as there with those of this version in it.
//! Greetings and statements are those of version 5.

mod plan;
mod report;
mod rollout;
mod state;

pub use plan::{Compare, Gate, Metric, Plan};
pub use report::{Counts, Provoked, Recent, Report, Source, Told};
pub use rollout::Rollout;
pub use state::RoutingState;
