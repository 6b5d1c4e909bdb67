#![no_main]
//! Takes any bytes as a request target.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model::target::exercise(bytes);
});
