//! The search for schedules that break a promise: the very engine that ships, in a world that may lose, delay, repeat
//! and reorder every message, and crash, wipe, cut off and starve every member.
//!
//! [`observer`] is the list of promises. [`exhaustive`] tries every interleaving within stated budgets; [`random`] draws
//! long ones from seeds; [`mutants`] shows that the search can fail, by leaving out one of the [`rules`] of the engine at a
//! time. [`subject`] is what is agreed on: the routing state, or a toy. [`scenes`] looks at what one member says in a
//! situation, [`rejoin`] at one whose disk was lost.

mod exhaustive;
mod fingerprint;
mod mutants;
pub(crate) mod observer;
mod random;
mod rejoin;
pub(crate) mod rules;
mod scenes;
mod subject;
mod world;
