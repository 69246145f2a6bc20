//! TLS configurations, and the identity that a certificate proves.
//!
//! TLS 1.3 only, without session resumption, tickets or early data, because each of them skips the look at the
//! certificate; post-quantum hybrid key exchange first. No process-wide default of rustls is read or set, and the
//! system's certificate store is never trusted. This room opens no connection.

mod config;
mod handshakes;
mod identity;
mod provider;
mod reason;
mod rejections;
mod sign;
mod verify;

pub use config::{
    CONTROL_ALPN, ClientAuth, ControlPlane, CrlPolicy, HttpsPlane, WordError, api_client, control_client,
    require_control_alpn,
};
pub use handshakes::{HANDSHAKE_CLASSES_MS, Handshake, HandshakeCounts, Handshakes};
pub use identity::{Claim, PeerIdentity, noting_claims, peer_identity, time_left};
pub use provider::{ConfigError, provider};
pub use reason::{Reason, Refusal};
pub use rejections::{Direction, Plane, Rejection, Rejections};
pub use sign::{Signer, check_issued, is_signature};
