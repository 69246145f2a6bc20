//! Control routes: what HTTPS clients ask of a node, and what operators change.
//!
//! Every node answers the same. Reads need no client certificate; a change needs an operator's, and who may is decided
//! before anything else is looked at. Outcomes are taken from applications, too. This room sees the
//! agreement through [`Handle`](member::Handle) only: it decides nothing, stores nothing, and never waits for disk or
//! peers to answer a read.

mod exposition;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod metrics;
mod outcomes;
mod poll;
mod read;
mod reporters;
mod rollouts;
mod router;
mod shown;
mod state;
mod write;

pub use exposition::{Exposition, Family};
pub use reporters::{Reporters, ReportersError};
pub use router::router;
pub use state::{Api, CertificateInfo, Counters, LinkShown, WallClock};
