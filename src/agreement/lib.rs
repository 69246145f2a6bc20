//! Agreement of members on one register with a version, whatever its values are.
//!
//! Two-phase commit with the decision kept by a majority (Gray and Lamport, *Consensus on Transaction Commit*, 2004),
//! the register after CASPaxos (Rystsov, 2018). The engine does no I/O, reads no clock and draws no random numbers:
//! it turns one input and a time into effects, which its owner carries out in the order they are listed.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod acceptor;
mod answer;
mod config;
mod effect;
mod engine;
mod joining;
mod message;
mod peers;
mod proposer;
mod questions;
mod readiness;
mod record;
mod register;
mod rule;
mod view;
mod voter;

pub use answer::{Answer, Refusal, Ticket};
pub use config::{Config, OnEmptyDisk, Timing};
pub use effect::{Alarm, Envelope, Event, Input, Output, Probe, Question, Stop};
pub use engine::{Engine, Lease};
pub use message::{Base, Hearing, Heartbeat, Message, Proposal, Readiness, Reason, Stage, Vote, Votes};
pub use record::{Durable, Record};
pub use register::{Direction, Register};
pub use rule::{All, Rules};
pub use view::{IsolationPolicy, PeerView, Pending, View};
