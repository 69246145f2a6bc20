//! Who takes part: node ids, their fixed ports and words, and sets of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// The fewest members of a mesh: below three, losing one loses the majority.
pub const MIN_NODES: usize = 3;
/// The most members of a mesh: one for each letter.
pub const MAX_NODES: usize = 26;

const FIRST_CONTROL_PORT: u16 = 60001;
const FIRST_DATA_PORT: u16 = 50051;

/// A configured member, `node-a` to `node-z`, ordered by letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u8);

/// The text is not a node id or role word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a node: use node-a … node-z, or coordinator, participant_b … participant_z")]
pub struct NodeIdError(pub String);

impl NodeId {
    /// `node-a`, which coordinates unless it is gone.
    pub const A: Self = Self(0);

    /// The member with letter number `index`, counted from 0.
    pub const fn from_index(index: u8) -> Option<Self> {
        if (index as usize) < MAX_NODES { Some(Self(index)) } else { None }
    }

    /// The member with this letter, in either case.
    pub const fn from_letter(letter: char) -> Option<Self> {
        let letter = letter.to_ascii_lowercase();
        if letter.is_ascii_lowercase() { Self::from_index(letter as u8 - b'a') } else { None }
    }

    /// The number of the letter, counted from 0.
    pub const fn index(self) -> u8 {
        self.0
    }

    /// The name, `node-a`.
    pub fn as_str(self) -> &'static str {
        const NAMES: &str = "node-anode-bnode-cnode-dnode-enode-fnode-gnode-hnode-inode-jnode-knode-lnode-m\
                             node-nnode-onode-pnode-qnode-rnode-snode-tnode-unode-vnode-wnode-xnode-ynode-z";
        let length = NAMES.len() / MAX_NODES;
        let start = usize::from(self.0) * length;
        &NAMES[start..start + length]
    }

    /// The lower-case letter.
    pub const fn letter(self) -> char {
        (b'a' + self.0) as char
    }

    /// The word on the command line: `coordinator`, `participant_b` …
    pub fn role_word(self) -> String {
        if self == Self::A { "coordinator".into() } else { format!("participant_{}", self.letter()) }
    }

    /// The environment variable that holds this member's address, `PEERS_NODE_A` …
    pub fn variable(self) -> String {
        format!("PEERS_NODE_{}", self.letter().to_ascii_uppercase())
    }

    /// The port of the control plane (mutual TLS), 60001 for `node-a`.
    pub const fn control_port(self) -> u16 {
        FIRST_CONTROL_PORT + self.0 as u16
    }

    /// The port of the data plane (HTTPS), 50051 for `node-a`.
    pub const fn data_port(self) -> u16 {
        FIRST_DATA_PORT + self.0 as u16
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NodeIdError(text.chars().take(64).collect());
        if text == "coordinator" {
            return Ok(Self::A);
        }
        let letter = text.strip_prefix("node-").or_else(|| text.strip_prefix("participant_")).ok_or_else(wrong)?;
        let mut letters = letter.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(wrong()) };
        if !letter.is_ascii_lowercase() || (letter == 'a' && text.starts_with("participant")) {
            return Err(wrong());
        }
        Self::from_letter(letter).ok_or_else(wrong)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(id) if text.starts_with("node-") => Ok(id),
            Ok(_) | Err(NodeIdError(_)) => Err(de::Error::custom(NodeIdError(text))),
        }
    }
}

/// A set of members, in id order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeSet(u32);

impl NodeSet {
    /// No member.
    pub const EMPTY: Self = Self(0);

    /// A bit for each member, `node-a` the lowest.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The members of these bits; none beyond the last letter.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits >> MAX_NODES == 0 { Some(Self(bits)) } else { None }
    }

    /// The first `count` members, `node-a` onward; at most [`MAX_NODES`].
    pub fn first(count: usize) -> Self {
        (0..MAX_NODES.min(count)).filter_map(|index| NodeId::from_index(u8::try_from(index).ok()?)).collect()
    }

    /// Whether `id` is in the set.
    pub const fn contains(self, id: NodeId) -> bool {
        self.0 & (1 << id.0) != 0
    }

    /// Adds `id`.
    pub const fn insert(&mut self, id: NodeId) {
        self.0 |= 1 << id.0;
    }

    /// Takes `id` out.
    pub const fn remove(&mut self, id: NodeId) {
        self.0 &= !(1 << id.0);
    }

    /// The set with `id` in it.
    pub const fn with(mut self, id: NodeId) -> Self {
        self.insert(id);
        self
    }

    /// The set with `id` out of it.
    pub const fn without(mut self, id: NodeId) -> Self {
        self.remove(id);
        self
    }

    /// What is in this set and not in `other`.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many members are in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether no member is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many of these members are more than half of them.
    pub const fn majority(self) -> usize {
        self.len() / 2 + 1
    }

    /// The members, in id order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> + Clone {
        let mut left = self.0;
        std::iter::from_fn(move || {
            // Of an empty set that is 32, which is no member.
            let next = NodeId::from_index(u8::try_from(left.trailing_zeros()).ok()?)?;
            left &= left - 1;
            Some(next)
        })
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> Self {
        ids.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, id) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{id}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl Serialize for NodeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for NodeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<NodeId>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ids_and_ports_follow_the_letter() {
        let a: NodeId = "coordinator".parse().expect("a role word");
        let c: NodeId = "participant_c".parse().expect("a role word");
        assert_eq!((a, c), (NodeId::A, "node-c".parse().expect("a node id")));
        assert_eq!((a.control_port(), c.control_port(), c.data_port()), (60001, 60003, 50053));
        assert_eq!((c.role_word(), c.variable()), ("participant_c".to_owned(), "PEERS_NODE_C".to_owned()));
        for wrong in ["", "node-", "node-A", "node-ab", "participant_a", "node-é", "b"] {
            assert!(wrong.parse::<NodeId>().is_err(), "{wrong:?} must be refused");
        }
    }

    #[test]
    fn a_majority_is_more_than_half() {
        let majorities: Vec<usize> = (3..8).map(|count| NodeSet::first(count).majority()).collect();
        assert_eq!(majorities, [2, 3, 3, 4, 4]);
    }

    #[test]
    fn only_node_ids_are_read_from_json() {
        assert!(serde_json::from_str::<NodeId>("\"node-b\"").is_ok());
        assert!(serde_json::from_str::<NodeId>("\"coordinator\"").is_err());
    }
}
