//! A line of the audit, in JSON, and the signed word for where it ends.

use super::history::{first_format, is_first_format};
use super::{Actor, Digest, List, Map, NodeId, NodeSet, Octets, RoutingState, Signed, Text, TxId};
use serde::{Deserialize, Serialize};

/// One line: its place, and what happened. Each names the hash of the line before, so what is read is never written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<'a, S = RoutingState<'a>> {
    /// The format of the line.
    #[serde(default = "first_format", skip_serializing_if = "is_first_format")]
    pub format: u64,
    /// Counts the lines from 1.
    pub seq: u64,
    /// SHA-256 of the line before, without its end.
    pub prev: Digest,
    /// When it was written, in milliseconds since 1970.
    pub at: u64,
    /// Whose record it is.
    pub node: NodeId,
    /// What happened.
    #[serde(borrow, bound(deserialize = "S: Deserialize<'de>"))]
    pub event: Event<'a, S>,
}

/// Each member's vote in words.
pub type Verdicts<'a> = Map<'a, NodeId, Text<'a>>;

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "it is made where it is written or taken apart, and never kept")]
pub enum Event<'a, S = RoutingState<'a>> {
    /// The node started.
    Started {
        /// The newest version that it knows.
        version: u64,
        /// All members.
        members: NodeSet,
    },
    /// The node stopped because it was told to.
    Stopped,
    /// A certificate that statements are signed with.
    Certificate {
        /// Whose it is.
        of: NodeId,
        /// Its serial number.
        #[serde(borrow)]
        serial: Text<'a>,
        /// The certificate.
        der: Octets<'a>,
    },
    /// What a member put its name to.
    Said {
        /// The statement.
        #[serde(borrow)]
        signed: Signed<'a>,
    },
    /// A state was decided.
    Decided {
        /// This node's statement.
        #[serde(borrow)]
        signed: Signed<'a>,
        /// Who asked for it.
        by: Option<Actor<'a>>,
        /// The state.
        state: S,
        /// The votes.
        votes: Verdicts<'a>,
    },
    /// A transaction ended before anything was sent for acceptance.
    Aborted {
        /// The transaction.
        txid: TxId,
        /// The version it was meant for.
        version: u64,
        /// Who asked for it.
        #[serde(borrow)]
        by: Actor<'a>,
        /// The votes.
        votes: Verdicts<'a>,
    },
    /// A change was asked for and not made.
    Refused {
        /// Who asked.
        #[serde(borrow)]
        by: Actor<'a>,
        /// What for.
        what: Text<'a>,
        /// Why not.
        outcome: Text<'a>,
    },
    /// The link to a peer came up or went down.
    Peer {
        /// The peer.
        peer: NodeId,
        /// Whether it is up.
        connected: bool,
    },
    /// Somebody with a certificate of the cluster was turned away.
    Rejected {
        /// `control` or `https`.
        #[serde(borrow)]
        plane: Text<'a>,
        /// `in` or `out`.
        dir: Text<'a>,
        /// The address.
        remote: Text<'a>,
        /// The SPIFFE id in the certificate.
        claimed: Text<'a>,
        /// Its serial number.
        serial: Text<'a>,
        /// The stable word.
        reason: Text<'a>,
        /// The particulars.
        detail: Text<'a>,
    },
    /// Certificates were loaded anew, or could not be.
    Reloaded {
        /// `ok`, or why not.
        #[serde(borrow)]
        outcome: Text<'a>,
        /// The number of each revocation list in use.
        lists: List<'a, Text<'a>>,
        /// The serial numbers on them.
        revoked: List<'a, Text<'a>>,
    },
    /// A peer handed over something that does not bear its signature.
    Disbelieved {
        /// The peer.
        peer: NodeId,
        /// What is wrong with it.
        #[serde(borrow)]
        why: Text<'a>,
    },
    /// More happened than could be written.
    Lost {
        /// How many lines are missing.
        lines: u64,
    },
    /// The record ended before the line that its head names.
    Shortened {
        /// The last line that had been written.
        head: u64,
        /// The last line that was there.
        found: u64,
    },
}

/// The file that names the last line, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head<'a> {
    /// The last line's number.
    pub seq: u64,
    /// Its hash.
    pub digest: Digest,
    /// The certificate whose key signed this.
    #[serde(borrow)]
    pub serial: Text<'a>,
    /// The kind of signature, as TLS 1.3 numbers them.
    pub scheme: u16,
    /// The signature.
    pub signature: Octets<'a>,
}

impl Head<'_> {
    /// The same on its own.
    pub fn into_static(self) -> Head<'static> {
        let Self { seq, digest, serial, scheme, signature } = self;
        let signature = signature.0.into_owned().into();
        Head { seq, digest, serial: serial.into_static(), scheme, signature }
    }

    /// The bytes that are signed: the last line of the record of `node`.
    ///
    /// # Panics
    /// When there cannot be such a node: one made of a room's value always can.
    pub fn signed_bytes(node: NodeId, seq: u64, digest: Digest) -> Vec<u8> {
        let (mut name, mut digits) = ([0; 6], [0; 64]);
        let name = node.name(&mut name).expect("a node has a letter");
        let digest = digest.text(&mut digits);
        format!("canary audit head, version 1\n{name} {seq} {digest}\n").into_bytes()
    }
}
