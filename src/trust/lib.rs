//! Certificates, private keys and revocation lists, read and judged: all that a running node needs of them.
//!
//! This room reads files back and says whether they are what a member may trust. It never validates a chain itself: that
//! is left to rustls. It writes nothing and opens no sockets, and no private key leaves it except in the values that
//! [`NodeFiles`] and [`ClientFiles`] hand to whoever makes TLS configurations.

pub mod check;
mod error;
pub mod facts;
pub mod file;
pub mod files;
pub mod keyfile;
pub mod layout;
mod network;
pub mod svid;
#[cfg(test)]
mod testing;
mod watch;

pub use error::{CaProblem, CrlProblem, TrustError};
pub use facts::{CertificateFacts, CrlFacts, fingerprint};
pub use file::FileError;
pub use files::{Bundle, ClientFiles, NodeFiles, load_ca};
pub use keyfile::shell_word;
pub use network::parse_network;
pub use svid::{SvidError, peer_identity};
pub use watch::FileWatch;
