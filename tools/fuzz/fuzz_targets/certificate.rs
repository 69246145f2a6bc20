//! A certificate in a handshake, to the identity in it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzz::certificate(bytes);
});
