//! The judgement of a canary from what was counted: pass, fail, or not enough; pure.
//!
//! Counts and latencies are kept in fixed memory, whatever the traffic: a ring of short slots that forget one by one for
//! those who look ([`Windows`]), and what was counted since a step began for those who judge ([`Measured`]). Nothing here
//! reads a clock (`now` is an argument) or takes a lock; a recorder that many threads write to is made of several
//! [`Windows`], whose tallies merge.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod bench;
mod finding;
mod judge;
mod levels;
mod measured;
mod power;
mod recent;
mod samples;
mod sequential;
mod sources;
mod tally;
mod window;

#[cfg(test)]
mod exact;

pub use bench::{can_be_compared_with, stable_to_keep};
pub use finding::{Doubt, Finding, Group, Standing};
pub use judge::{Judgement, Ruling, Terms, Witnesses, judge};
pub use measured::Measured;
pub use power::{Power, power};
pub use recent::judge_recent;
pub use samples::{Arms, Samples, Scope};
pub use sequential::{
    log_evidence_above, log_evidence_below, log_threshold, quantile_above, quantile_below, rate_lower_bound,
    rate_upper_bound,
};
pub use sources::Dominant;
pub use tally::{Sample, Tally, Verdict};
pub use window::{SPAN, Windows, window_id};
