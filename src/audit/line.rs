//! One line of the record.

use format::v5::audit::Line as Form;
use format::{Unreadable, lines, v5, v6};
use model::{Actor, Digest, NodeId, NodeSet, Octets, Signed, Statement, TxId, UnixMillis};
use service::RoutingState;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Each member's vote in words: `commit`, or what spoke against it.
pub type Verdicts = BTreeMap<NodeId, String>;

/// One line of the record: its place, and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Event {
    /// The node started, with this version as the newest that it knows.
    Started { version: u64, members: NodeSet },
    /// The node stopped because it was told to.
    Stopped,
    /// A certificate that statements are signed with, recorded once.
    Certificate { of: NodeId, serial: String, der: Octets },
    /// What a member put its name to.
    Said { signed: Signed },
    /// A state was decided; this node puts its name to having learned it. Nobody is known to have asked for version 0, and
    /// nobody votes on a retreat.
    Decided { signed: Signed, by: Option<Actor>, state: Box<RoutingState>, votes: Verdicts },
    /// A transaction ended before anything was sent for acceptance.
    Aborted { txid: TxId, version: u64, by: Actor, votes: Verdicts },
    /// A change was asked for and not made. Nothing is known of who shows no certificate but the address.
    Refused { by: Actor, what: String, outcome: String },
    /// The link to a peer came up or went down.
    Peer { peer: NodeId, connected: bool },
    /// Somebody with a certificate of the cluster was turned away.
    Rejected {
        /// `control` or `https`.
        plane: String,
        /// `in` or `out`.
        dir: String,
        remote: String,
        /// The SPIFFE id in the certificate.
        claimed: String,
        serial: String,
        /// The stable word.
        reason: String,
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
    Disbelieved { peer: NodeId, why: String },
    /// More happened than could be written.
    Lost { lines: u64 },
    /// At the start, the record ended before the line that its head names, at the one `found`.
    Shortened { head: u64, found: u64 },
}

/// What is wrong with a line that a later version of this program wrote; none with any other.
pub(super) fn newer_format(text: &str) -> Option<String> {
    match lines::version_of(text) {
        Err(error @ Unreadable::Newer { .. }) => Some(format!("{error}: use a newer canary")),
        Ok(_) | Err(_) => None,
    }
}

/// The bytes of a statement that are signed.
pub(super) fn signed_bytes(statement: &Statement) -> Vec<u8> {
    v5::Statement::from(statement).signed_bytes()
}

/// The hash of a line, without its end.
pub(super) fn hash(text: &str) -> Digest {
    Digest(Sha256::digest(text.as_bytes()).into())
}

impl Line {
    /// The line as it stands in the file, without its end.
    pub(super) fn text(&self) -> String {
        let state = if let Event::Decided { state, .. } = &self.event { Some(&**state) } else { None };
        lines::text::<_, Form<'_, v5::RoutingState<'_>>, Form<'_, v6::RoutingState<'_>>>(self, state)
    }

    /// The line that stands in the file.
    pub(super) fn read(text: &str) -> Result<Self, Unreadable> {
        lines::read::<_, Form<'_, v5::RoutingState<'_>>, Form<'_, v6::RoutingState<'_>>>(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! lines_of {
        ($version:literal: $($name:literal)+) => {
            [$(include_str!(concat!("../format/golden/", $version, "/audit/", $name, ".jsonl"))),+].concat()
        };
    }

    macro_rules! every_line {
        ($version:literal) => {
            lines_of!($version: "started" "stopped" "certificate" "said" "decided" "aborted" "refused" "peer" "rejected"
                "reloaded" "disbelieved" "lost" "shortened")
        };
    }

    /// A line is of the oldest version that has words for it, whichever it was read in.
    #[test]
    fn lines_of_every_version_come_through_this_room_as_they_are() {
        let (older, newer) = (every_line!("v5"), every_line!("v6"));
        for line in older.lines() {
            assert_eq!(Line::read(line).expect("a line").text(), line);
        }
        let mut marked = 0;
        for line in newer.lines() {
            let text = Line::read(line).expect("a line").text();
            if line.contains("\"wire\":6") {
                assert_eq!(text, line);
                marked += 1;
            } else {
                assert!(older.lines().any(|older| older == text), "{text}");
            }
        }
        assert_eq!(marked, 1);
        for (line, again) in
            lines_of!("v5": "old/decided").lines().zip(lines_of!("v5": "old/decided.rewritten").lines())
        {
            assert_eq!(Line::read(line).expect("a line").text(), again);
        }
    }
}
