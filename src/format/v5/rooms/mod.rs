//! To and from the rooms' values.
//!
//! Out of a room nothing is copied but numbers. Every field and variant is spelled out on both sides, so that whoever adds
//! one to a room is asked here what the older version says instead.

mod heartbeat;
mod log;
mod plan;
mod report;
mod state;
mod statement;
mod values;
mod wire;

use super::{
    Evidence, Hearing, Heartbeat, Incarnation, Link, List, Map, Model, NodeId, Recent, Report, Signed, Step, Text, Vote,
};
use crate::{Form, Invalid};
use std::collections::BTreeMap;

/// Forms that lists and maps are made of, each by its conversion from the room's value.
macro_rules! forms {
    ($($form:ty = $room:ty),+ $(,)?) => { $(
        impl<'a> Form<'a> for $form {
            type Value = $room;

            #[inline]
            fn of(value: &'a $room) -> Self {
                value.into()
            }
        }
    )+ };
}

forms! {
    NodeId = model::NodeId,
    Incarnation = model::Incarnation,
    Text<'a> = String,
    Step = service::Step,
    Link = service::Link,
    Model<'a> = service::Model,
    Vote<'a> = agreement::Vote,
    Evidence = model::Evidence,
    Hearing = agreement::Hearing,
    Heartbeat<'a> = agreement::Heartbeat,
    Report<'a> = model::Report,
    Recent = model::Recent,
    Signed<'a> = model::Signed,
}

impl<'a, K: Form<'a>, V: Form<'a>> From<&'a BTreeMap<K::Value, V::Value>> for Map<'a, K, V> {
    #[inline]
    fn from(map: &'a BTreeMap<K::Value, V::Value>) -> Self {
        Self::Written(map)
    }
}

impl<'a, K, V, RK, RV> TryFrom<Map<'a, K, V>> for BTreeMap<RK, RV>
where
    K: Form<'a>,
    V: Form<'a>,
    RK: TryFrom<K, Error: Into<Invalid>> + Ord,
    RV: TryFrom<V, Error: Into<Invalid>>,
{
    type Error = Invalid;

    #[inline]
    fn try_from(map: Map<'a, K, V>) -> Result<Self, Invalid> {
        // One after the other: few as they are, they are in order already, and need no sorting.
        let mut values = Self::new();
        for (key, value) in map.into_entries() {
            values.insert(key.try_into().map_err(Into::into)?, value.try_into().map_err(Into::into)?);
        }
        Ok(values)
    }
}

impl<'a, F: Form<'a>> From<&'a Vec<F::Value>> for List<'a, F> {
    #[inline]
    fn from(values: &'a Vec<F::Value>) -> Self {
        Self::Written(values)
    }
}

impl<'a, F: Form<'a>, R: TryFrom<F, Error: Into<Invalid>>> TryFrom<List<'a, F>> for Vec<R> {
    type Error = Invalid;

    #[inline]
    fn try_from(list: List<'a, F>) -> Result<Self, Invalid> {
        list.into_forms().into_iter().map(|form| form.try_into().map_err(Into::into)).collect()
    }
}
