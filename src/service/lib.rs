//! Values that the members agree on: models, plans, rollouts and approvals, and which change may follow which state.
//!
//! This room knows no time, no files, no sockets and no randomness.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod approval;
mod change;
mod door;
mod gates;
mod needs;
mod next;
mod plan;
mod register;
mod rollout;
mod state;

/// What a member says against a canary that has no model server there, while the stable model has one. An API knows the
/// reason by these words: votes have no other for it.
pub const NO_MODEL_SERVER: &str = "no model server is named for it there, and the stable model has one";

pub use agreement::Direction;
pub use approval::{Approvals, MAX_APPROVALS, Missing, operators};
pub use change::{Change, ChangeError, Extent, WhenOpen};
pub use door::MARK;
pub use gates::{Compare, Gate, GateName, Gates, Metric, Mode};
pub use needs::{LONGEST_DEADLINE, Late, Rate, SHORTEST_DEADLINE, StepNeeds};
pub use plan::{
    MAX_HOLD, MAX_SMOKE_PATH, MAX_STEPS, MAX_UNCOUNTED, MILLION, Plan, PlanError, Shield, Smoke, Span, Step, Then,
    min_sample,
};
pub use register::{
    Answer, Check, Config, Durable, Engine, Envelope, Event, Input, Message, Output, Probe, Proposal, Question, Record,
    Refusal, View, serving_weight,
};
pub use rollout::{MAX_WHY, Outcome, Phase, Rollout};
pub use state::{CHAIN_LENGTH, Canary, Link, MAX_EARLIER, Model, RoutingState};
