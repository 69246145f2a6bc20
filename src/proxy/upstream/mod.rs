//! Model servers: where they are, the connections to them, and whether they answer.

pub(crate) mod address;
pub(crate) mod client;
pub(crate) mod dialed;
pub(crate) mod health;
pub(crate) mod pool;
mod replay;
