//! The plain values that everything else speaks in.
//!
//! Values here are parsed once, at the edge, and valid from then on. This room knows no time, no files, no sockets
//! and no randomness.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod actor;
mod clock;
mod ids;
mod keep;
mod networks;
mod node;
mod peers;
mod report;
mod request;
mod spiffe;
mod statement;
mod weight;

pub use actor::Actor;
pub use clock::{Time, UnixMillis};
pub use ids::{Ballot, Digest, DigestError, Incarnation, ModelId, ModelIdError, TxId, TxIdError};
pub use keep::{Keep, KeepError, KeptPiece};
pub use networks::{Networks, NetworksError, source};
pub use node::{MAX_NODES, MIN_NODES, NodeId, NodeIdError, NodeSet};
pub use peers::{Host, HostError, Peers, PeersError};
pub use report::{Counts, Evidence, Judging, Provoked, Recent, Report, Source, Summary, Told};
pub use request::{RequestId, RequestIdError};
pub use spiffe::{Role, SpiffeId, SpiffeIdError, is_name, is_trust_domain};
pub use statement::{MAX_REASON, Octets, Said, Signed, Statement, Testimony};
pub use weight::{Weight, WeightError};
