//! Floor 2: the certificate authority, its profiles and its files.
//!
//! This room makes certificates, renews and revokes them, lays them out on disk with exact modes, reads them back, and
//! says whether they are what a member may trust. It never validates a chain itself: that is left to rustls. It opens no
//! sockets, and no private key leaves it except in the values that [`NodeFiles`] and [`ClientFiles`] hand to the TLS
//! room, and in the file that [`export`](export()) packs for one machine.

mod authority;
mod check;
mod cidr;
mod constraints;
mod csr;
mod disk;
mod enrol;
mod error;
mod export;
mod facts;
mod files;
mod folder;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod init;
mod inspect;
mod keyfile;
mod list;
mod lists;
mod own;
mod place;
mod plan;
mod profile;
mod registry;
mod renew;
mod revoke;
mod rotate;
mod sign;
pub mod svid;
#[cfg(test)]
mod testing;
mod tree;
mod verify;
mod watch;

pub use authority::KeyAlgorithm;
pub use cidr::{Cidr, CidrError};
pub use csr::{CsrPlan, CsrReport, request};
pub use enrol::{ClientPlan, NodePlan, add_client, add_node};
pub use error::{CaProblem, CrlProblem, PkiError};
pub use export::{ExportReport, KeyInside, export};
pub use facts::{CertificateFacts, CrlFacts, fingerprint};
pub use files::{Bundle, ClientFiles, NodeFiles, load_ca};
pub use folder::IssueReport;
pub use index::{IndexEntry, Reason, Status};
pub use init::{InitReport, NodeReport, init};
pub use inspect::{Item, inspect};
pub use keyfile::shell_word;
pub use list::list;
pub use lists::{LIST_LENGTH, ListReport, sign_lists};
pub use plan::{Constraints, DevNames, Existing, InitPlan, MAX_CA_DAYS, MAX_DAYS, OwnAuthority};
pub use renew::{RenewKey, RenewPlan, renew};
pub use revoke::{RevokeReport, revoke};
pub use rotate::{RotatePlan, RotateReport, Stage, TrustedAuthority, rotate};
pub use sign::{SignPlan, sign};
pub use svid::{SvidError, peer_identity};
pub use verify::{Cause, Expectations, Finding, Problem, verify};
pub use watch::FileWatch;
