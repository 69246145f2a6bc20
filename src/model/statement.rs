//! What a member puts its name to, so that others can prove later what was agreed.
//!
//! A statement is signed with the key of the member's certificate. The signature is over the JSON text of the statement
//! behind a fixed first line, so that it can never be taken for a signature over something else, a TLS handshake included.

use super::{Ballot, Digest, NodeId, NodeSet, TxId, UnixMillis};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most characters of a reason that a statement repeats.
pub const MAX_REASON: usize = 200;
/// What every signed text begins with.
const PURPOSE: &[u8] = b"canary audit statement, version 1\n";

/// What one member says about one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

impl Statement {
    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = PURPOSE.to_vec();
        bytes.extend(serde_json::to_vec(self).expect("a statement is plain text and numbers"));
        bytes
    }
}

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&HEXLOWER.encode(&self.0));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        bytes.map(Self).map_err(|_| de::Error::custom("not pairs of hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Incarnation;

    #[test]
    fn what_is_signed_does_not_change_on_its_way_through_a_file() {
        let ballot = Ballot { round: 3, node: NodeId::A, incarnation: Incarnation(7) };
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(7), epoch: 1, sequence: 2 };
        let digest = Digest([9; 32]);
        let said = [
            Said::Vote { txid, version: 4, digest, against: Some("a \"quote\", ü and \u{1}".into()) },
            Said::Accepted { ballot, txid, version: 4, digest, members: NodeSet::first(3) },
            Said::Decided { ballot, txid, version: 4, digest },
        ];
        for said in said {
            let statement =
                Statement { cluster: "c-1.canary".into(), node: NodeId::A, at: UnixMillis(1_700_000_000_000), said };
            let signature = Octets(vec![0, 1, 0xab, 0xff]);
            let signed = Signed { statement, serial: "0a".into(), scheme: 0x0403, signature };
            let text = serde_json::to_string(&signed).expect("JSON");
            let read: Signed = serde_json::from_str(&text).expect("the same");
            assert_eq!(read, signed);
            assert_eq!(read.statement.signed_bytes(), signed.statement.signed_bytes());
            assert!(signed.statement.signed_bytes().starts_with(PURPOSE));
        }
        for wrong in ["\"abc\"", "\"0g\"", "7"] {
            assert!(serde_json::from_str::<Octets>(wrong).is_err(), "{wrong}");
        }
    }
}
