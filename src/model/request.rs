//! The names of answered requests, by which a client says afterwards how one of them ended.

use super::NodeId;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::str::FromStr;

/// A name such as `node-a-00c0ffee00c0ffee` of one answer: the node that gave it, and a number that nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The node that gave the answer.
    pub node: NodeId,
    /// 64 random bits.
    pub number: u64,
}

/// The text is not the name of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a request such as node-a-00c0ffee00c0ffee: send what the answer's x-canary-request says")]
pub struct RequestIdError(String);

impl RequestId {
    /// Characters of a name.
    pub const LENGTH: usize = 23;
    const NODE_LENGTH: usize = 6;

    /// The text. It is part of each answer, hence written without the formatter.
    pub fn text(self) -> [u8; Self::LENGTH] {
        let mut text = [b'-'; Self::LENGTH];
        text[..Self::NODE_LENGTH].copy_from_slice(self.node.as_str().as_bytes());
        HEXLOWER.encode_mut(&self.number.to_be_bytes(), &mut text[Self::NODE_LENGTH + 1..]);
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.node, self.number)
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (node, number) = text.rsplit_once('-').filter(|(node, _)| node.len() == Self::NODE_LENGTH)?;
            let number: [u8; 8] = HEXLOWER.decode(number.as_bytes()).ok()?.try_into().ok()?;
            Some(Self { node: node.parse().ok()?, number: u64::from_be_bytes(number) })
        };
        read().ok_or_else(|| RequestIdError(text.chars().take(64).collect()))
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_text_form_and_no_other_text_is_one() {
        for number in [0, 0xc0ffee, u64::MAX] {
            let id = RequestId { node: NodeId::from_letter('z').expect("a letter"), number };
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.text(), id.to_string().as_bytes());
        }
        let good = "node-a-00c0ffee00c0ffee";
        assert!(good.parse::<RequestId>().is_ok());
        for bad in [
            "",
            "node-a",
            "node-a-",
            "node-a-0c0ffee00c0ffee",
            "node-a-000c0ffee00c0ffee",
            "node-a-00C0FFEE00C0FFEE",
            "node-a-+0c0ffee00c0ffee",
            "coordinator-00c0ffee00c0ffee",
            "node-1-00c0ffee00c0ffee",
            " node-a-00c0ffee00c0ffee",
            "00c0ffee00c0ffee",
            &format!("{good}-{good}"),
        ] {
            let error = bad.parse::<RequestId>().expect_err(bad).to_string();
            assert!(error.contains("x-canary-request") && error.len() < 200, "{error}");
        }
    }
}
