//! Names and numbers, and text that needs no copy to be written.
//!
//! Where people read a form, in JSON, names are text; between members they are the numbers that they stand for.

use serde::de::{self, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// How many members there can be, one for each letter.
const LETTERS: u8 = 26;

/// Text, borrowed from the value that is written or the bytes that are read, where it stands there as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl From<Text<'_>> for String {
    fn from(Text(text): Text<'_>) -> Self {
        text.into_owned()
    }
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same on its own.
    pub fn into_static(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

/// Bytes: pairs of hexadecimal digits in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octets<'a>(pub Cow<'a, [u8]>);

impl From<Vec<u8>> for Octets<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let mut digits = vec![0; 2 * self.0.len()];
            return serializer.serialize_str(hex(&self.0, &mut digits));
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Octets<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Plain;

        impl<'de> Visitor<'de> for Plain {
            type Value = Octets<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Octets(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Octets(Cow::Owned(bytes.to_owned())))
            }
        }

        if !deserializer.is_human_readable() {
            return deserializer.deserialize_bytes(Plain);
        }
        deserializer.deserialize_str(Spelled("pairs of hexadecimal digits", |text: &str| {
            let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
                &[high, low] => Some(digit(high)? << 4 | digit(low)?),
                _ => None,
            });
            let bytes = pairs.collect::<Option<Vec<u8>>>();
            bytes.map(|bytes| Self(Cow::Owned(bytes))).ok_or("not pairs of hexadecimal digits")
        }))
    }
}

/// A member, by the number of its letter from 0: `node-a` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u8);

impl NodeId {
    const NAME: &'static str = "node-";

    fn spelled(text: &str) -> Option<Self> {
        match text.strip_prefix(Self::NAME)?.as_bytes() {
            [letter @ b'a'..=b'z'] => Some(Self(letter - b'a')),
            _ => None,
        }
    }

    /// The name, in `room`; none beyond the last letter.
    pub(super) fn name(self, room: &mut [u8; 6]) -> Option<&str> {
        room[..5].copy_from_slice(Self::NAME.as_bytes());
        room[5] = (self.0 < LETTERS).then_some(b'a' + self.0)?;
        std::str::from_utf8(room).ok()
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_u8(self.0);
        }
        match self.name(&mut [0; 6]) {
            Some(name) => serializer.serialize_str(name),
            None => Err(S::Error::custom("there are not so many nodes")),
        }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u8::deserialize(deserializer).map(Self);
        }
        deserializer.deserialize_str(Spelled("a node id", |text: &str| {
            Self::spelled(text).ok_or("not a node id such as node-a")
        }))
    }
}

/// Members, a bit each, `node-a` the lowest: a list of names in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(pub u32);

impl Serialize for NodeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_u32(self.0);
        }
        serializer.collect_seq((0..32).filter(|index| self.0 & 1 << index != 0).map(NodeId))
    }
}

impl<'de> Deserialize<'de> for NodeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u32::deserialize(deserializer).map(Self);
        }
        let nodes = Vec::<NodeId>::deserialize(deserializer)?;
        Ok(Self(nodes.into_iter().fold(0, |set, NodeId(index)| set | 1 << index)))
    }
}

/// One life of a data directory: 16 hexadecimal digits in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation(pub u64);

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(hex(&self.0.to_be_bytes(), &mut [0; 16]));
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        deserializer.deserialize_str(Spelled("an incarnation", |text: &str| {
            let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = u64::from_str_radix(text, 16).ok().filter(|_| digits);
            value.map(Self).ok_or("an incarnation is 16 hexadecimal digits")
        }))
    }
}

/// One transaction: `node-a.00c0ffee00c0ffee.1.7` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxId {
    /// The member that drives it.
    pub node: NodeId,
    /// The life of that member's disk.
    pub incarnation: Incarnation,
    /// How often that member had started on that disk.
    pub epoch: u64,
    /// Counts the transactions of one start.
    pub sequence: u64,
}

impl TxId {
    fn text(&self) -> Option<String> {
        let mut text = String::with_capacity(48);
        text.push_str(self.node.name(&mut [0; 6])?);
        text.push('.');
        text.push_str(hex(&self.incarnation.0.to_be_bytes(), &mut [0; 16]));
        for number in [self.epoch, self.sequence] {
            text.push('.');
            push_decimal(&mut text, number);
        }
        Some(text)
    }

    fn spelled(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let [node, incarnation, epoch, sequence] = std::array::from_fn(|_| parts.next());
        let incarnation = incarnation.filter(|digits| digits.len() == 16)?;
        let is_whole = parts.next().is_none();
        is_whole.then_some(Self {
            node: NodeId::spelled(node?)?,
            incarnation: Incarnation(u64::from_str_radix(incarnation, 16).ok()?),
            epoch: epoch?.parse().ok()?,
            sequence: sequence?.parse().ok()?,
        })
    }
}

impl Serialize for TxId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return (self.node, self.incarnation, self.epoch, self.sequence).serialize(serializer);
        }
        match self.text() {
            Some(text) => serializer.serialize_str(&text),
            None => Err(S::Error::custom("there are not so many nodes")),
        }
    }
}

impl<'de> Deserialize<'de> for TxId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(Spelled("a transaction id", |text: &str| {
                Self::spelled(text).ok_or("not a transaction id such as node-a.00c0ffee00c0ffee.1.7")
            }));
        }
        let (node, incarnation, epoch, sequence) = Deserialize::deserialize(deserializer)?;
        Ok(Self { node, incarnation, epoch, sequence })
    }
}

/// The right to propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Counts up.
    pub round: u64,
    /// The proposer.
    pub node: NodeId,
    /// The life of the proposer's disk.
    pub incarnation: Incarnation,
}

/// SHA-256: 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digits, in `room`.
    pub(super) fn text(self, room: &mut [u8; 64]) -> &str {
        hex(&self.0, room)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(self.text(&mut [0; 64]));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Self);
        }
        deserializer.deserialize_str(Spelled("a digest", |text: &str| {
            let (pairs, rest) = text.as_bytes().as_chunks::<2>();
            let mut bytes = [0; 32];
            let whole = pairs.len() == bytes.len() && rest.is_empty();
            let filled = bytes.iter_mut().zip(pairs).all(|(byte, [high, low])| {
                let value = digit(*high).zip(digit(*low));
                *byte = value.map_or(0, |(high, low)| high << 4 | low);
                value.is_some()
            });
            (whole && filled).then_some(Self(bytes)).ok_or("a digest is 64 hexadecimal digits")
        }))
    }
}

/// Reads text without a copy of it: its kind, and what makes a value of it.
struct Spelled<F>(&'static str, F);

impl<T, F: FnOnce(&str) -> Result<T, &'static str>> Visitor<'_> for Spelled<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

fn digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The hexadecimal digits of `bytes`, in `digits`, which has room for two for each byte.
fn hex<'a>(bytes: &[u8], digits: &'a mut [u8]) -> &'a str {
    // Computed, not looked up: so the compiler does many at once.
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    for (byte, pair) in bytes.iter().zip(digits.as_chunks_mut::<2>().0) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    std::str::from_utf8(digits).expect("digits are ASCII")
}

/// Written digit by digit: a transaction's name stands in each record several times.
fn push_decimal(text: &mut String, number: u64) {
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    text.push(char::from_digit((number % 10) as u32, 10).expect("it is a digit"));
}
