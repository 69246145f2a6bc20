//! Any program's end of a mesh: finds who decides, asks others where one fails, and compares what the nodes show.
//!
//! It trusts the mesh's authority alone, speaks to configured addresses only, also when it is sent elsewhere, and says of
//! every failure whether a change may have been made. It prints nothing, and what to do about a failure is for the program
//! to say.

mod client;
mod compare;
mod decide;
mod follow;
mod https;
mod setup;

pub use client::{ChangeFailure, Client, ClientError, Polled, Told};
pub use compare::{Answers, Row, Verdict};
pub use decide::{Silent, Undecided};
pub use follow::Followers;
pub use https::{Coming, Https, HttpsError, whole};
pub use setup::{SetupError, configured_peers, peers};
