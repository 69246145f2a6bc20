//! The entrance: who gets in by the HTTPS port and becomes a request.
//!
//! It knows no route and no model. It turns connections away, or hands each to a handler with what the certificate
//! proves, and says what a request may cost and how a refusal looks.

pub mod body;
mod caller;
pub mod dispatch;
mod prefixed;
mod problem;
pub mod sessions;

pub use caller::{Caller, Identity, admit};
pub use prefixed::Prefixed;
pub use problem::Problem;
