//! Certificates made, renewed, exported and revoked: the certificate authority of a mesh, its profiles and its files.
//!
//! It lays them out on disk with exact modes and reads them back before it says that they are done. What members and
//! clients need of the result, the room `trust` reads. It opens no sockets, and no private key leaves it except in the
//! files that it writes, and in the one that [`export`](export()) packs for one machine. No program that only runs a
//! node has any of it.

mod authority;
mod constraints;
mod csr;
mod disk;
mod enrol;
mod error;
mod export;
mod folder;
mod index;
mod init;
mod inspect;
mod lists;
mod own;
mod period;
mod place;
mod plan;
mod profile;
mod registry;
mod renew;
mod revoke;
mod rotate;
mod sign;
#[cfg(test)]
mod testing;
mod tree;
mod verify;

pub use authority::KeyAlgorithm;
pub use csr::{CsrPlan, CsrReport, Request, request};
pub use enrol::{ClientPlan, NodePlan, add_client, add_node};
pub use error::{Flaw, IssueError, Part, PlanError, Refusal, Stage};
pub use export::{ExportReport, KeyInside, export};
pub use folder::IssueReport;
pub use index::{IndexEntry, Reason, Status, list};
pub use init::{InitReport, NodeReport, Warning, init};
pub use inspect::{Item, inspect};
pub use lists::{LIST_LENGTH, ListReport, sign_lists};
pub use period::{MAX_CA_DAYS, MAX_DAYS};
pub use plan::{Constraints, DevNames, Existing, InitPlan, OwnAuthority, each_once};
pub use renew::{RenewKey, RenewPlan, renew};
pub use revoke::{RevokeReport, revoke};
pub use rotate::{RotatePlan, RotateReport, TrustedAuthority, rotate};
pub use sign::{SignPlan, sign};
pub use verify::{Cause, Expectations, Finding, Problem, verify};
