//! Floor 1: the agreement of the members on one register with a version, the routing state.
//!
//! Two-phase commit with the decision kept by a majority (Gray and Lamport, *Consensus on Transaction Commit*, 2004),
//! the register after CASPaxos (Rystsov, 2018). The engine does no I/O, reads no clock and draws no random numbers:
//! it turns one input and a time into effects, which its owner carries out in the order they are listed.

mod answer;
mod asked;
mod campaign;
mod config;
mod coordinator;
mod effect;
mod engine;
mod joining;
mod leaving;
mod message;
mod participant;
mod presence;
mod record;
mod rule;
#[cfg(test)]
pub(crate) mod search;
mod view;

pub use answer::{Answer, Refusal, Ticket};
pub use config::{Config, OnEmptyDisk, Timing};
pub use effect::{Alarm, Envelope, Event, Input, Output, Probe, Question, Stop};
pub use engine::Engine;
pub use message::{Base, Hearing, Heartbeat, Message, Proposal, Reason, Stage, Standing, Vote, Votes};
pub use record::{Durable, Record};
#[cfg(test)]
pub(crate) use rule::Rule;
pub use view::{IsolationPolicy, PeerView, Pending, View};
