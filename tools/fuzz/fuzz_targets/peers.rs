//! PEERS_NODE_* and the other addresses of the configuration.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| { if let Ok(text) = std::str::from_utf8(bytes) { canary::mesh::fuzz::variables(text); } });
