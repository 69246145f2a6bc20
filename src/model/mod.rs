//! Floor 0: the plain values that everything else speaks in.
//!
//! Values here are parsed once, at the edge, and valid from then on. This room knows no time, no files, no sockets
//! and no randomness.

mod actor;
mod approval;
mod change;
mod clock;
mod ids;
mod keep;
mod next;
mod node;
mod peers;
mod plan;
mod report;
mod rollout;
mod spiffe;
mod state;
mod statement;
mod weight;

pub use actor::Actor;
pub use approval::{Approvals, MAX_APPROVALS, Missing, operators};
pub use change::{Change, ChangeError, Direction, Extent, WhenOpen};
pub use clock::{Time, UnixMillis};
pub use ids::{Ballot, Digest, DigestError, Incarnation, ModelId, ModelIdError, TxId, TxIdError};
pub use keep::{Keep, KeepError, KeptPiece};
pub use node::{MAX_NODES, MIN_NODES, NodeId, NodeIdError, NodeSet};
pub use peers::{Host, HostError, Peers, PeersError};
pub use plan::{
    Gate, Gates, MAX_HOLD, MAX_SMOKE_PATH, MAX_STEPS, MILLION, Mode, Plan, PlanError, Shield, Smoke, Span, Step, Then,
    min_sample,
};
pub use report::{Counts, Evidence, Recent, Report, Summary};
pub use rollout::{MAX_WHY, Outcome, Phase, Rollout};
pub use spiffe::{Role, SpiffeId, SpiffeIdError, is_name, is_trust_domain};
pub use state::{CHAIN_LENGTH, Canary, Link, MAX_EARLIER, Model, RoutingState};
pub use statement::{MAX_REASON, Octets, Said, Signed, Statement, Testimony};
pub use weight::{Weight, WeightError};
