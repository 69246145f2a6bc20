//! What a member puts its name to, and the very text that it signs.

use super::{Ballot, Digest, List, NodeId, NodeSet, Octets, Text, TxId};
use serde::{Deserialize, Serialize};

/// The beginning of every signed text, so that a signature can never be taken for one over something else, a TLS handshake
/// included.
const PURPOSE: &[u8] = b"canary audit statement, version 1\n";

/// What one member says about one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement<'a> {
    /// The trust domain of the cluster.
    #[serde(borrow)]
    pub cluster: Text<'a>,
    /// The member.
    pub node: NodeId,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What it says.
    pub said: Said<'a>,
}

impl Statement<'_> {
    /// The bytes that are signed: a fixed line, and the statement in JSON.
    ///
    /// # Panics
    /// When the statement names a member that there cannot be: one made of a room's value never does.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = PURPOSE.to_vec();
        serde_json::to_writer(&mut bytes, self).expect("a statement is plain text and numbers");
        bytes
    }
}

/// What can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said<'a> {
    /// An opinion on an advance.
    Vote {
        /// The transaction.
        txid: TxId,
        /// The version it is meant for.
        version: u64,
        /// The digest of the state that it would decide.
        digest: Digest,
        /// What speaks against it.
        #[serde(borrow)]
        against: Option<Text<'a>>,
    },
    /// A state was accepted.
    Accepted {
        /// The ballot.
        ballot: Ballot,
        /// The transaction.
        txid: TxId,
        /// The version.
        version: u64,
        /// The digest of the state.
        digest: Digest,
        /// The members, of which a majority must accept.
        members: NodeSet,
    },
    /// A state was learned as decided.
    Decided {
        /// The ballot under which it was learned.
        ballot: Ballot,
        /// The transaction.
        txid: TxId,
        /// The version.
        version: u64,
        /// The digest of the state.
        digest: Digest,
    },
}

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<'a> {
    /// The statement.
    #[serde(borrow)]
    pub statement: Statement<'a>,
    /// The serial number of the certificate whose key signed it.
    pub serial: Text<'a>,
    /// The kind of signature, as TLS 1.3 numbers them.
    pub scheme: u16,
    /// The signature.
    pub signature: Octets<'a>,
}

/// Statements that a member hands to its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony<'a> {
    /// The member's certificate.
    #[serde(borrow)]
    pub certificate: Option<Octets<'a>>,
    /// Its statements, oldest first.
    pub signed: List<'a, Signed<'a>>,
}
