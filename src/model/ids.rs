//! Names that are given once and never again: incarnations, transactions, ballots, digests and models.
//!
//! In JSON they are text.

use super::NodeId;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const MAX_MODEL_ID: usize = 64;

/// One life of a data directory: drawn at random whenever a node starts on an empty disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEXLOWER.encode_mut_str(&self.0.to_be_bytes(), &mut [0; 16]))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One transaction, never reused: who drives it, in which life of its disk, in which start of its process, and a count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId {
    /// The member that drives it.
    pub node: NodeId,
    /// The life of that member's disk.
    pub incarnation: Incarnation,
    /// How often that member has started on that disk; durable before it is used.
    pub epoch: u64,
    /// Counts the transactions of one start.
    pub sequence: u64,
}

/// The text is not a transaction id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a transaction id such as node-a.00c0ffee00c0ffee.1.7")]
pub struct TxIdError(String);

impl TxId {
    /// The text. It is part of what digests are made of and of each record, hence written without the formatter.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(48);
        text.push_str(self.node.as_str());
        text.push('.');
        text.push_str(HEXLOWER.encode_mut_str(&self.incarnation.0.to_be_bytes(), &mut [0; 16]));
        for number in [self.epoch, self.sequence] {
            text.push('.');
            text.push_str(itoa::Buffer::new().format(number));
        }
        text
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TxId {
    type Err = TxIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TxIdError(text.chars().take(64).collect());
        let parts: Vec<&str> = text.split('.').collect();
        let &[node, incarnation, epoch, sequence] = parts.as_slice() else { return Err(wrong()) };
        if incarnation.len() != 16 || !node.starts_with("node-") {
            return Err(wrong());
        }
        Ok(Self {
            node: node.parse().map_err(|_| wrong())?,
            incarnation: Incarnation(u64::from_str_radix(incarnation, 16).map_err(|_| wrong())?),
            epoch: epoch.parse().map_err(|_| wrong())?,
            sequence: sequence.parse().map_err(|_| wrong())?,
        })
    }
}

impl Serialize for TxId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TxId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The right to propose: totally ordered, never reused, not even after a crash or a lost disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Counts up; a proposer takes one above every round that it knows.
    pub round: u64,
    /// Who proposes.
    pub node: NodeId,
    /// The life of the proposer's disk.
    pub incarnation: Incarnation,
}

impl Ballot {
    /// Below every ballot that anyone proposes with.
    pub const ZERO: Self = Self { round: 0, node: NodeId::A, incarnation: Incarnation(0) };
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

/// SHA-256 over the agreed part of a state; equal states have equal digests on all nodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct DigestError;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEXLOWER.encode_mut_str(&self.0, &mut [0; 64]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEXLOWER.encode_mut_str(&self.0[..4], &mut [0; 8]))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| DigestError)?;
        bytes.try_into().map(Self).map_err(|_| DigestError)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The name of a model or service version: 1 to 64 of the characters `A-Z a-z 0-9 . _ - : /`, the first a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ModelId(Arc<str>);

/// The text cannot name a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelIdError {
    /// Nothing was given.
    #[error("a model id must not be empty: use a name such as v2")]
    Empty,
    /// More than 64 characters.
    #[error("a model id has at most {MAX_MODEL_ID} characters, this one has {0}")]
    TooLong(usize),
    /// A character that is not allowed.
    #[error("a model id must not contain {0:?}: use letters, digits and . _ - : / with a letter or digit first")]
    Character(char),
}

impl ModelId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelId {
    type Err = ModelIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(first) = text.chars().next() else { return Err(ModelIdError::Empty) };
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-:/".contains(letter);
        if let Some(wrong) = text.chars().find(|letter| !allowed(*letter)) {
            return Err(ModelIdError::Character(wrong));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(ModelIdError::Character(first));
        }
        if text.len() > MAX_MODEL_ID {
            return Err(ModelIdError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_text_form() {
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(0xc0ffee), epoch: 2, sequence: 7 };
        assert_eq!(txid.to_string(), "node-a.0000000000c0ffee.2.7");
        assert_eq!(txid.to_string().parse(), Ok(txid));
        let digest = Digest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(format!("{} {digest:?}", Incarnation(0x0123_4567_89ab_cdef)), "0123456789abcdef abababab");
        assert!("node-a.1.2.3".parse::<TxId>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }

    #[test]
    fn model_ids_are_plain_words() {
        assert!("resnet-50:v2.1/int8".parse::<ModelId>().is_ok());
        assert_eq!("".parse::<ModelId>(), Err(ModelIdError::Empty));
        assert_eq!("v\"2".parse::<ModelId>(), Err(ModelIdError::Character('"')));
        assert_eq!("-v2".parse::<ModelId>(), Err(ModelIdError::Character('-')));
        assert_eq!("v".repeat(300).parse::<ModelId>(), Err(ModelIdError::TooLong(300)));
    }
}
