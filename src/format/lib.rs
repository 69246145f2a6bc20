//! Every byte that outlives a process or a version: what members say to one another, and what they keep.
//!
//! Each version is a room of plain structs of its own, [`v5`] and [`v6`], that know nothing of the values that the program
//! works with, but that a list is written from theirs: those may change with every commit, a form that was written once may
//! not. Between the two stand
//! conversions that spell out every field: out of the program a value becomes a form, unless the version has no words for it
//! ([`Inexpressible`]); into the program a form becomes a value, or it says what cannot be ([`Invalid`]). A state of version 6
//! is one of version 5 and more; a newer version is refused by its number. What only one room knows, such as a line of the
//! audit, that room converts.
//!
//! What carries a routing state is generic over the form of that state, for of all values it is the one that changes. A new
//! version begins as a copy of the old names: it re-exports what stays as it is, and has a struct of its own for what does
//! not.
//!
//! `golden/` holds bytes of every kind that each version can write; tests read them back and write them again.

pub mod disk;
mod error;
pub mod lines;
pub mod messages;
mod parts;
#[cfg(test)]
mod tests;
pub mod v5;
pub mod v6;
mod version;

pub use error::{Inexpressible, Invalid, Unreadable};
pub use parts::{Form, Kept, State};
pub use version::{Version, VersionError};
