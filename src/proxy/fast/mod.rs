//! Plain HTTP/1.1, passed on without an HTTP library: most of the traffic, at a fraction of the cost.

pub(crate) mod connection;
mod date;
mod hear;
pub(crate) mod relay;
mod reply;
pub(crate) mod request;
pub(crate) mod template;
mod write;
