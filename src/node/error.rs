//! The reasons for which a node does not start, or has to stop.

use super::bind::BindError;
use member::DriverError;
use mesh::WireVersion;
use model::NodeId;
use std::io;
use std::path::PathBuf;
use store::StoreError;
use tls::ConfigError;
use trust::TrustError;

/// The reason for which a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NodeError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] TrustError),
    /// TLS cannot use them.
    #[error(transparent)]
    Tls(#[from] ConfigError),
    /// The member is not among those configured.
    #[error("{me} is not a member: {variable} is not set, and the members are {members}")]
    NotAMember { me: NodeId, variable: String, members: String },
    /// The authority's key lies on this machine, and the node is told not to bear that.
    #[error("the authority's key is on this machine, at {}: whoever reads it can be any node (reason=ca_key_present)", .0.display())]
    AuthorityKey(PathBuf),
    /// There is no place to listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is told to speak a version of the nodes' protocol that it has agreed to speak no more.
    #[error(
        "{me} has agreed with all members to speak version {wire} of the protocol for good, and is told to speak none newer than {told}"
    )]
    LeftBehind { me: NodeId, wire: u16, told: WireVersion },
    /// The agreement has ended.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The operating system refuses something that every program needs.
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
}

impl NodeError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
