//! HELLO and WELCOME.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    canary::mesh::fuzz::greeting(bytes);
});
