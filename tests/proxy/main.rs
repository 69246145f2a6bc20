//! Requests to the models against real upstreams on loopback, without TLS and without a mesh.

mod bad;
mod inference;
mod predict;
mod shield;
mod shortcut;
mod testers;
mod world;
