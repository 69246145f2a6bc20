//! The bodies of requests, and plans in files.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    api::fuzz::body(bytes);
});
