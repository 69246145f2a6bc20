//! Control routes: what HTTPS clients ask of a node, and what operators change.
//!
//! Every node answers the same. Reads need no client certificate; a change needs an operator's, and who may is decided
//! before anything else is looked at. Outcomes are taken from applications, too, and from this host. This room sees the
//! agreement through [`Handle`](member::Handle) only: it decides nothing, stores nothing, and never waits for disk or
//! peers to answer a read.

pub mod client;
mod exposition;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod metrics;
mod openapi;
mod outcomes;
mod plan;
mod poll;
mod read;
mod rollout;
mod rollouts;
mod router;
mod shapes;
mod span;
mod state;
mod step;
mod write;

pub use exposition::{Exposition, Family};
pub use metrics::Counters;
pub use plan::{GatesShape, PlanShape, PlanShapeError};
pub use rollout::{
    ApprovalsShape, CurrentRollout, FiguresShape, GateFinding, NextShape, NodeShape, RolloutShape, TrialShape,
};
pub use rollouts::{ModelRequest, StartRequest, UndoRequest, VerbRequest};
pub use router::router;
pub use shapes::{
    AgreedState, Committed, EvidenceShape, HistoryLine, NodeReason, PendingShape, ServedState, Shares, UpstreamShape,
    VoteShape, WeightRequest, rfc3339,
};
pub use span::parse_span;
pub use state::{Api, CertificateInfo, HealthSnapshot, LinkShown, ModelHealth, PeerHealth, WallClock};
pub use step::{HoldShape, StepShape};
