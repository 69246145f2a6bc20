//! Any program's end of a mesh: requests to its nodes.
//!
//! It trusts the mesh's authority alone and prints nothing; of every failure it says whether a change may have been made.

mod client;

pub use client::{ChangeFailure, Client, ClientError, Polled, Told};
