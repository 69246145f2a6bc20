//! The first words of a connection, in JSON, so that versions that differ in all else can tell each other so.

use super::{Digest, Incarnation, NodeId, NodeSet, Text};
use serde::{Deserialize, Serialize};

/// The first word of each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting<'a> {
    /// The dialer introduces itself.
    Hello {
        /// The node that it means to reach.
        to: NodeId,
        /// The dialer.
        #[serde(flatten, borrow)]
        from: Introduction<'a>,
    },
    /// The acceptor takes it in.
    Welcome {
        /// The nonce of the hello that this answers.
        answers: Nonce,
        /// The acceptor.
        #[serde(flatten, borrow)]
        from: Introduction<'a>,
    },
    /// The acceptor does not, or no longer, want this connection.
    Reject {
        /// One of the stable words.
        #[serde(borrow)]
        reason: Text<'a>,
        /// For people.
        detail: Text<'a>,
    },
}

/// A side, beyond what its certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction<'a> {
    /// The oldest version of the wire that it speaks.
    pub version: u16,
    /// The newest, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u16>,
    /// The trust domain.
    #[serde(borrow)]
    pub cluster: Text<'a>,
    /// The configured members.
    pub members: NodeSet,
    /// Over the members with their addresses.
    pub peers_digest: Digest,
    /// The node.
    pub node: NodeId,
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// Random, new for each connection.
    pub nonce: Nonce,
    /// Its wall clock, in milliseconds since 1970.
    pub clock: u64,
}

/// A random number that ties an answer to its question: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(Incarnation);

impl Nonce {
    /// The nonce with this number.
    pub const fn new(random: u64) -> Self {
        Self(Incarnation(random))
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0.0
    }
}
