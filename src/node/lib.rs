//! Configuration and assembly of one node.
//!
//! Open → bind → recover → ready → drain. The agreement and the mesh live on a thread of their own, so that neither a
//! disk that takes its time nor a flood of requests makes the other wait. Nothing is decided here.

mod agreement;
mod assembly;
mod bind;
mod certificates;
mod clock;
mod config;
mod descriptors;
mod error;
mod expiry;
mod metrics;
mod run;
mod signals;
mod stages;
mod traffic;

pub use bind::{BindError, holder_of};
pub use certificates::Certificates;
pub use config::NodeConfig;
pub use error::NodeError;
pub use run::run;
