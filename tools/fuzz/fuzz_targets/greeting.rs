//! HELLO and WELCOME.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mesh::fuzz::greeting(bytes);
});
