//! The short way for plain requests must not be told apart from the real server: the same bytes go both ways, and the
//! same answers must come back.

mod decisions;
mod repeats;
mod upstreams;
pub(crate) mod world;
