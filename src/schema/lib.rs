//! The JSON of the HTTP surface: one definition for the nodes that write it and the clients that read it.
//!
//! Only shapes, and their conversion from and to the values that are agreed. What a node holds beside those, its view, its
//! measurements, is made into shapes where both are known. No I/O, and no HTTP but the words of its problems.

mod document;
mod gates;
mod health;
mod needs;
pub mod openapi;
mod plan;
mod problem;
mod requests;
mod rollout;
mod shapes;
mod step;
mod values;

pub use document::Document;
pub use gates::{CompareShape, GateEntry, GateShape, GatesShape, MetricShape, ModeShape};
pub use health::{CertificateHealth, HealthSnapshot, ModelHealth, PeerHealth};
pub use needs::{NeedsShape, StepNeedsShape};
pub use plan::{PlanShape, PlanShapeError};
pub use problem::{ProblemShape, code};
pub use requests::{ModelRequest, StartRequest, UndoRequest, VerbRequest, WeightRequest};
pub use rollout::{
    ApprovalsShape, CurrentRollout, FiguresShape, GateFinding, NextShape, NodeShape, RolloutShape, TrialShape,
};
pub use shapes::{
    AgreedState, Committed, EvidenceShape, HistoryLine, NodeReason, PendingShape, ServedState, UpstreamShape, VoteShape,
};
pub use step::{HoldShape, PauseShape, StepShape};
pub use values::{Shares, parse_span, rfc3339, shares_of};
