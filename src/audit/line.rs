//! One line of the record.

use model::{Actor, Digest, NodeId, NodeSet, Octets, Signed, TxId, UnixMillis};
use serde::{Deserialize, Serialize};
use service::RoutingState;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Each member's vote in words: `commit`, or what spoke against it.
pub type Verdicts = BTreeMap<NodeId, String>;

/// The version of the format of a line.
pub(super) const FORMAT: u64 = 1;

/// One line of the record: its place, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The version of its format; a line that names none is of the first.
    #[serde(default = "first_format", skip_serializing_if = "is_first_format")]
    pub format: u64,
    /// Counts the lines from 1.
    pub seq: u64,
    /// SHA-256 of the line before, without its end; zeros in the first.
    pub prev: Digest,
    /// When it was written, by this node's clock.
    pub at: UnixMillis,
    /// Whose record it is.
    pub node: NodeId,
    /// What happened.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The node started, with this version as the newest that it knows.
    Started {
        /// The version.
        version: u64,
        /// All members.
        members: NodeSet,
    },
    /// The node stopped because it was told to.
    Stopped,
    /// A certificate that statements are signed with, recorded once.
    Certificate {
        /// Whose it is.
        of: NodeId,
        /// Its serial number.
        serial: String,
        /// The certificate, as DER.
        der: Octets,
    },
    /// What a member put its name to.
    Said {
        /// The statement and its signature.
        signed: Signed,
    },
    /// A state was decided; this node puts its name to having learned it.
    Decided {
        /// This node's statement.
        signed: Signed,
        /// Who asked for it; unknown at version 0.
        by: Option<Actor>,
        /// The whole state.
        state: Box<RoutingState>,
        /// The votes that came with it; none for a retreat.
        votes: Verdicts,
    },
    /// A transaction ended before anything was sent for acceptance.
    Aborted {
        /// The transaction.
        txid: TxId,
        /// The version it was meant for.
        version: u64,
        /// Who asked for it.
        by: Actor,
        /// The votes.
        votes: Verdicts,
    },
    /// A change was asked for and not made.
    Refused {
        /// Who asked; nothing is known of who shows no certificate but the address.
        by: Actor,
        /// What for.
        what: String,
        /// Why not.
        outcome: String,
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
        plane: String,
        /// `in` or `out`.
        dir: String,
        /// The address.
        remote: String,
        /// The SPIFFE id in the certificate.
        claimed: String,
        /// Its serial number.
        serial: String,
        /// The stable word.
        reason: String,
        /// The particulars.
        detail: String,
    },
    /// Certificates were loaded anew, or could not be.
    Reloaded {
        /// `ok`, or why not.
        outcome: String,
        /// The number of each revocation list in use.
        lists: Vec<String>,
        /// The serial numbers on them.
        revoked: Vec<String>,
    },
    /// A peer handed over something that does not bear its signature.
    Disbelieved {
        /// The peer.
        peer: NodeId,
        /// What is wrong with it.
        why: String,
    },
    /// More happened than could be written.
    Lost {
        /// How many lines are missing here.
        lines: u64,
    },
    /// At the start, the record ended before the line that its head names.
    Shortened {
        /// The last line that had been written.
        head: u64,
        /// The last line that was there.
        found: u64,
    },
}

const fn first_format() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_first_format(format: &u64) -> bool {
    *format == first_format()
}

/// What is wrong with a line that a later version of this program wrote; none with any other.
pub(super) fn newer_format(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct FormatOnly {
        #[serde(default = "first_format")]
        format: u64,
    }
    let FormatOnly { format } = serde_json::from_str(text).ok()?;
    let what = || format!("it has format {format}, this program reads up to {FORMAT}: use a newer canary");
    (format > FORMAT).then(what)
}

/// The hash of a line, without its end.
pub(super) fn hash(text: &str) -> Digest {
    Digest(Sha256::digest(text.as_bytes()).into())
}

impl Line {
    /// The line as it stands in the file, without its end.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a line is plain text and numbers")
    }
}
