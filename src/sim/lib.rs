//! Simulated worlds: the agreement alone, the disk alone, and the whole system, each driven through everything that can
//! go wrong.
//!
//! Nothing of it is in the program: without tests this crate is empty, and what it depends on is for tests only.

#![cfg(test)]
#![allow(clippy::print_stderr, reason = "a search says how far it looked, and follows one schedule on request")]

/// The searches make and drop small things by the billion.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod dice;
mod disk;
mod rollout;
mod search;
mod system;
