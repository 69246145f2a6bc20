//! Floor 1: what a model's requests looked like over the last while; pure.
//!
//! Counts and latencies are kept in fixed memory, whatever the traffic: a ring of short slots that forget one by one.
//! Nothing here reads a clock (`now` is an argument), takes a lock or judges; a recorder that many threads write to is
//! made of several [`Windows`], whose tallies merge.

mod tally;
mod window;

pub use tally::Tally;
pub use window::{SPAN, Sample, Verdict, Windows, window_id};
