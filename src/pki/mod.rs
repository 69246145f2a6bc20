//! Floor 2: the certificate authority, its profiles and its files.
//!
//! This room makes certificates, lays them out on disk with exact modes, reads them back, and says whether they are
//! what a member may trust. It never validates a chain itself: that is left to rustls. It opens no sockets, and no
//! private key leaves it except in the values that [`NodeFiles`] and [`ClientFiles`] hand to the TLS room.

mod authority;
mod check;
mod cidr;
mod disk;
mod error;
mod facts;
mod files;
mod init;
mod keyfile;
mod profile;
pub mod svid;

pub use authority::KeyAlgorithm;
pub use cidr::{Cidr, CidrError};
pub use error::{CaProblem, CrlProblem, PkiError};
pub use facts::{CertificateFacts, CrlFacts};
pub use files::{Bundle, ClientFiles, NodeFiles, load_ca};
pub use init::{Constraints, DevNames, Existing, InitPlan, InitReport, NodeReport, init};
pub use svid::{SvidError, peer_identity};
