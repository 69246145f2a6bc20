//! Three nodes as real processes on loopback addresses, tried as their users and their enemies would: with the
//! `canary` program, with curl and openssl, with signals and with broken files.
//!
//! Nothing here asserts how fast something is; every wait is for a condition, with a deadline far beyond what an idle
//! machine needs. Test number T uses the addresses 127.31.T.x, so that all can run at once on the fixed ports.

#![allow(clippy::print_stderr, reason = "traffic says how much it was")]

#[path = "../shared/answer.rs"]
mod answer;
mod audit;
mod authority;
mod bad_input;
mod certificates;
mod clients;
mod clocks;
mod configuration;
mod crash;
#[cfg(debug_assertions)]
mod crash_points;
mod daily;
#[cfg(debug_assertions)]
mod deaths;
mod disk;
mod evasions;
mod evidence;
mod isolation;
mod models;
#[path = "../shared/mounted.rs"]
mod mounted;
#[path = "../needs/mod.rs"]
mod needs;
mod operators;
mod ports;
mod process;
mod reload;
mod restarts;
mod rollouts;
mod rotation;
mod shell;
mod stopping;
mod storage;
mod takeover;
mod trace;
mod upstreams;
mod world;
