//! Version 6: version 5 with a mark in the routing state, by which the members agree that they all speak it.
//!
//! | | number |
//! |---|---|
//! | wire | 6 |
//! | log | 3 |
//! | history, audit | 2 |
//!
//! All else is as in [`v5`](super::v5), and what carries a state is as there with this [`RoutingState`] in it. Greetings and
//! statements are those of version 5.

mod state;

pub use state::RoutingState;
