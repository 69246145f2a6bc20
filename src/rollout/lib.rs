//! The controller of rollouts: from what a node sees to the next change to ask for; pure.
//!
//! Every node runs it on what it sees: the agreed state, its own measurements and those that the others report. It turns
//! them into the next change to ask for, which only the member that coordinates does; into a node's own decision to stop
//! serving a canary that fails, which every node makes for itself; and into what people are shown. It knows no clock, no
//! disk and no socket, and it remembers nothing that a member that takes over would have to be told: what counts is in the
//! agreed state.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod controller;
mod pool;
mod present;
mod rules;
mod status;
mod trial;
mod verdict;

#[cfg(test)]
mod tests;

pub use controller::{Controller, Facts, LOOK_EVERY, MayPropose, Moves};
pub use rules::{All, Rules};
pub use status::{HeldUp, ModelFigures, Next, NodeFigures, Status};
pub use trial::{Kind, Trial};
