//! A certificate request, in PEM.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzz::request(bytes);
});
