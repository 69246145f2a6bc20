//! Version 5: the bytes that canary 0.1.0 writes and reads, between members and on disk.
//!
//! | | encoding | number |
//! |---|---|---|
//! | [`greeting`] | JSON | names the span of versions that its sender speaks |
//! | [`wire`] | postcard | 5 |
//! | [`log`] | JSON | 2, and reads 1 |
//! | [`history`], [`audit`] | JSON, a line each | 1, unsaid |
//! | [`statement`] | JSON behind a fixed line | signed, so it never changes |
//!
//! None of this may change any more: order of fields and variants, names, and what may be missing are what programs in use
//! rely on. `golden/v5` holds what 0.1.0 itself wrote.

pub mod audit;
pub mod greeting;
pub mod history;
mod lists;
pub mod log;
mod plan;
mod report;
mod rollout;
mod rooms;
mod state;
pub mod statement;
mod values;
pub mod wire;

pub use lists::{List, Map};
pub use plan::{Gate, Gates, Mode, Plan, Shield, Smoke, Step, Then};
pub use report::{Counts, Recent, Report};
pub use rollout::{Approvals, Outcome, Phase, Rollout, StepNumber};
pub use state::{Canary, Link, Model, RoutingState};
pub use statement::{Said, Signed, Statement, Testimony};
pub use values::{Ballot, Digest, Incarnation, NodeId, NodeSet, Octets, Text, TxId};
pub use wire::{Actor, Base, Evidence, Hearing, Heartbeat, Proposal, Reason, Stage, Standing, Summary, Vote, Votes};
