//! The entrance: who gets in by the HTTPS port and becomes a request.
//!
//! It knows no route and no model. It turns connections away, or hands each to a handler with what the certificate
//! proves, and says what a request may cost and how a refusal looks.

mod acceptor;
pub mod body;
mod caller;
mod dispatch;
mod gauges;
mod handler;
mod limits;
mod prefixed;
mod problem;
mod requests;
mod serve;
mod sessions;

pub use caller::{Caller, Identity, admit};
pub use gauges::Gauges;
pub use handler::{Answering, BoxError, COMMON_HEADERS, Handler, Until};
pub use limits::Limits;
pub use prefixed::Prefixed;
pub use problem::{PROBLEM_JSON, Problem};
pub use serve::Entrance;
