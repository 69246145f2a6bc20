//! The controllers of rollouts, on an agreement that is a register.

mod rules;
mod search;

pub(crate) use rules::{Rule, Without};
