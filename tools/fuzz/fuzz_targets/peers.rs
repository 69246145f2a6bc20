//! PEERS_NODE_* and the other addresses of the configuration.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mesh::fuzz::variables(bytes);
});
