//! What HTTPS clients see of one node, in process and over TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "../shared/answer.rs"]
mod answer;
mod changes;
mod cluster;
mod command;
#[path = "../shared/gullible.rs"]
mod gullible;
mod https;
mod matrix;
mod models;
mod outcomes;
mod reads;
mod revoked;
mod world;
