//! What can stand between a room's value and its form, and between bytes and a room's value.

use std::convert::Infallible;

/// The room's value says something that this version has no words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this version has no words for {what}")]
pub struct Inexpressible {
    /// What it has no words for.
    pub what: &'static str,
}

/// The form can be read, and says what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A member beyond the last letter.
    #[error("there is no node with the number {0}")]
    Node(u8),
    /// Members beyond the last letter.
    #[error("there are no nodes for all bits of {0:#x}")]
    Nodes(u32),
    /// More than the whole.
    #[error("{0} basis points are more than the whole")]
    Weight(u16),
    /// A model's name.
    #[error(transparent)]
    Model(#[from] model::ModelIdError),
    /// A step beyond what this machine can count.
    #[error("there is no step with the number {0}")]
    Step(u64),
    /// A length of time beyond what can be told.
    #[error("{secs} seconds and {nanos} nanoseconds are too long")]
    Duration {
        /// Whole seconds.
        secs: u64,
        /// Nanoseconds.
        nanos: u32,
    },
}

impl From<Infallible> for Invalid {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not in this form.
    #[error("{0}")]
    Malformed(String),
    /// More bytes than one value has.
    #[error("{0} bytes after the message")]
    Surplus(usize),
    /// A form of a value that cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A format that a later program writes.
    #[error("it has format {found}, this program reads up to {newest}")]
    Newer {
        /// The number found.
        found: u64,
        /// The newest that is read.
        newest: u64,
    },
    /// A format that no program reads any more.
    #[error("it has format {found}, this program reads {oldest} and later ones")]
    Older {
        /// The number found.
        found: u64,
        /// The oldest that is read.
        oldest: u64,
    },
}

impl From<postcard::Error> for Unreadable {
    fn from(error: postcard::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}
