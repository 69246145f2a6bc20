//! Documents that nodes answer with.

use crate::{Committed, CurrentRollout, HealthSnapshot, HistoryLine, ServedState};
use serde_json::Value;

/// A document of a node's answer. It is read by code of this room, which a program has once: what derives from serde is
/// large, and made anew in every crate that reads.
pub trait Document: Sized {
    /// The document in this value. Fails when that says something else.
    fn read(value: Value) -> serde_json::Result<Self>;
}

macro_rules! documents {
    ($($document:ty),+) => { $(
        impl Document for $document {
            fn read(value: Value) -> serde_json::Result<Self> {
                serde_json::from_value(value)
            }
        }
    )+ };
}

documents!(ServedState, HealthSnapshot, CurrentRollout, Vec<HistoryLine>, Committed);
