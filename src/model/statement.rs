//! What a member puts its name to, so that others can prove later what was agreed.
//!
//! A statement is signed with the key of the member's certificate.

use super::{Ballot, Digest, NodeId, NodeSet, TxId, UnixMillis};

/// The most characters of a reason that a statement repeats.
pub const MAX_REASON: usize = 200;

/// What one member says about one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    /// The trust domain of the cluster that it is about.
    pub cluster: String,
    /// Who says it.
    pub node: NodeId,
    /// When, by the clock of who says it.
    pub at: UnixMillis,
    /// What.
    pub said: Said,
}

/// What can be said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    /// An opinion on an advance.
    Vote {
        /// The transaction.
        txid: TxId,
        /// The version it is meant for.
        version: u64,
        /// The digest of the state that it would decide.
        digest: Digest,
        /// What speaks against it, at most [`MAX_REASON`] characters; nothing when the vote is COMMIT.
        against: Option<String>,
    },
    /// A state was accepted, and is on this member's disk.
    Accepted {
        /// The ballot it was accepted under.
        ballot: Ballot,
        /// The transaction.
        txid: TxId,
        /// The version of the state.
        version: u64,
        /// The digest of the state.
        digest: Digest,
        /// The members of the cluster, of which a majority must accept.
        members: NodeSet,
    },
    /// A state was learned as decided, and is served.
    Decided {
        /// The ballot under which the member learned it.
        ballot: Ballot,
        /// The transaction.
        txid: TxId,
        /// The version of the state.
        version: u64,
        /// The digest of the state.
        digest: Digest,
    },
}

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signed {
    /// What is said.
    pub statement: Statement,
    /// The serial number of the certificate whose key signed it, in lower-case hexadecimal.
    pub serial: String,
    /// The kind of signature, as TLS 1.3 numbers them (RFC 8446, section 4.2.3).
    pub scheme: u16,
    /// The signature.
    pub signature: Octets,
}

/// What a member hands to its peers for their records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Testimony {
    /// The member's certificate as DER, where the receiver may not know it yet.
    pub certificate: Option<Octets>,
    /// Its statements, oldest first.
    pub signed: Vec<Signed>,
}

/// Bytes that are hexadecimal digits where people read them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Octets(pub Vec<u8>);

impl std::fmt::Debug for Octets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
