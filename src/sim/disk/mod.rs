//! The store on a disk in memory that can do everything that is feared of disks.

mod lives;
mod marked;
mod platter;
mod power_cuts;
mod rules;
mod store;

pub(crate) use self::store::{Failures, SimulatedStore};
pub(crate) use platter::{Fate, Shared};
pub(crate) use rules::Rule;
