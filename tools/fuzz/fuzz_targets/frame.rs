//! What a peer sends after the greeting: frames, messages, and what a member makes of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mesh::fuzz::messages(bytes);
});
