//! Lists and maps that need no copy to be written: until then they are the room's own.

use crate::Form;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The most room that a count may claim before its entries are there.
const MOST_AHEAD: usize = 64;

/// A list of forms.
pub enum List<'a, F: Form<'a>> {
    /// As they were read.
    Read(Vec<F>),
    /// As a room has them: each becomes a form where it is written.
    Written(&'a [F::Value]),
}

impl<'a, F: Form<'a>> List<'a, F> {
    /// The forms.
    pub fn into_forms(self) -> Vec<F> {
        match self {
            Self::Read(forms) => forms,
            Self::Written(values) => values.iter().map(F::of).collect(),
        }
    }
}

impl<'a, F: Form<'a>> Default for List<'a, F> {
    fn default() -> Self {
        Self::Read(Vec::new())
    }
}

impl<'a, F: Form<'a> + Clone> Clone for List<'a, F> {
    fn clone(&self) -> Self {
        match self {
            Self::Read(forms) => Self::Read(forms.clone()),
            Self::Written(values) => Self::Written(values),
        }
    }
}

impl<'a, F: Form<'a> + Clone + PartialEq> PartialEq for List<'a, F> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_forms() == other.clone().into_forms()
    }
}

impl<'a, F: Form<'a> + Clone + Eq> Eq for List<'a, F> {}

impl<'a, F: Form<'a> + Clone + fmt::Debug> fmt::Debug for List<'a, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().into_forms().fmt(f)
    }
}

impl<'a, F: Form<'a> + Serialize> Serialize for List<'a, F> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(forms) => forms.serialize(serializer),
            Self::Written(values) => serializer.collect_seq(values.iter().map(F::of)),
        }
    }
}

impl<'de, 'a, F: Form<'a> + Deserialize<'de>> Deserialize<'de> for List<'a, F> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::Read)
    }
}

/// A map of forms, in the order of its keys.
pub enum Map<'a, K: Form<'a>, V: Form<'a>> {
    /// As it was read.
    Read(Vec<(K, V)>),
    /// As a room has it: each entry becomes a form where it is written.
    Written(&'a BTreeMap<K::Value, V::Value>),
}

impl<'a, K: Form<'a>, V: Form<'a>> Map<'a, K, V> {
    /// The entries.
    pub fn into_entries(self) -> Vec<(K, V)> {
        match self {
            Self::Read(entries) => entries,
            Self::Written(map) => map.iter().map(|(key, value)| (K::of(key), V::of(value))).collect(),
        }
    }
}

impl<'a, K: Form<'a>, V: Form<'a>> Default for Map<'a, K, V> {
    fn default() -> Self {
        Self::Read(Vec::new())
    }
}

impl<'a, K: Form<'a> + Clone, V: Form<'a> + Clone> Clone for Map<'a, K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Read(entries) => Self::Read(entries.clone()),
            Self::Written(map) => Self::Written(map),
        }
    }
}

impl<'a, K: Form<'a> + Clone + PartialEq, V: Form<'a> + Clone + PartialEq> PartialEq for Map<'a, K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_entries() == other.clone().into_entries()
    }
}

impl<'a, K: Form<'a> + Clone + Eq, V: Form<'a> + Clone + Eq> Eq for Map<'a, K, V> {}

impl<'a, K: Form<'a> + Clone + fmt::Debug, V: Form<'a> + Clone + fmt::Debug> fmt::Debug for Map<'a, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone().into_entries()).finish()
    }
}

impl<'a, K: Form<'a> + Serialize, V: Form<'a> + Serialize> Serialize for Map<'a, K, V> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
            Self::Written(map) => serializer.collect_map(map.iter().map(|(key, value)| (K::of(key), V::of(value)))),
        }
    }
}

impl<'de, 'a, K, V> Deserialize<'de> for Map<'a, K, V>
where
    K: Form<'a> + Deserialize<'de> + Ord,
    V: Form<'a> + Deserialize<'de>,
{
    /// Reads keys in any order; of several values for one key the last counts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData)).map(Self::Read)
    }
}

/// Reads the entries of a map.
struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = Vec<(K, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut read: A) -> Result<Self::Value, A::Error> {
        let mut entries: Self::Value = Vec::with_capacity(read.size_hint().unwrap_or(0).min(MOST_AHEAD));
        while let Some((key, value)) = read.next_entry()? {
            if entries.last().is_some_and(|(last, _)| *last >= key) {
                // Nobody writes them so, and sorting is not to be paid for by who does not.
                let mut sorted: BTreeMap<K, V> = entries.into_iter().collect();
                sorted.insert(key, value);
                while let Some((key, value)) = read.next_entry()? {
                    sorted.insert(key, value);
                }
                return Ok(sorted.into_iter().collect());
            }
            entries.push((key, value));
        }
        Ok(entries)
    }
}
