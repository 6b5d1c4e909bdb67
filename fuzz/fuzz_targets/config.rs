#![no_main]
//! Takes any bytes as a configuration file.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    config::exercise(bytes);
});
