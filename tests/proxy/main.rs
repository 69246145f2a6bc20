//! Requests to the models against real upstreams on loopback, without TLS and without a mesh.

#[path = "../shared/answer.rs"]
mod answer;
mod bad;
mod counts;
mod early;
mod ends;
mod inference;
mod leaving;
mod predict;
mod raw;
mod repeats;
mod shield;
mod shortcut;
mod testers;
mod world;
