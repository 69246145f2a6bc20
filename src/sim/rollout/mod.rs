//! The controllers of rollouts, on an agreement that is a register.

mod rules;

pub(crate) use rules::{Rule, Without};
