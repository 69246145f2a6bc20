//! Floor 5: configuration and assembly of one node.
//!
//! Open → recover → bind → serve → drain. The agreement and the mesh live on a thread of their own, so that neither a
//! disk that takes its time nor a flood of requests makes the other wait. Nothing is decided here.

mod bind;
mod certificates;
mod clock;
mod config;
mod descriptors;
mod expiry;
mod metrics;
mod run;

pub use bind::{BindError, holder_of};
pub use certificates::Certificates;
pub use config::NodeConfig;
pub use run::{NodeError, run};
