#![no_main]
//! Takes any bytes as the name of a header.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(name) = std::str::from_utf8(bytes) {
        model::header::exercise(name);
    }
});
