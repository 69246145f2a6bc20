//! The search for schedules that break a promise: the very engine that ships, in a world that may lose, delay, repeat
//! and reorder every message, and crash, wipe, cut off and starve every member.
//!
//! [`ghost`] is the list of promises. [`exhaustive`] tries every interleaving within stated budgets; [`random`] draws
//! long ones from seeds; [`mutants`] shows that the search can fail, by leaving out one rule of the engine at a time.
//! [`dice`] is where chance comes from. [`scenes`] looks at what one member says in a situation.

mod exhaustive;
pub(crate) mod ghost;
mod mutants;
mod random;
mod rejoin;
pub(crate) mod rules;
mod scenes;
mod subject;
mod world;
