#![no_main]
//! Takes any bytes as a path to be brought into normal form.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model::path::exercise(bytes);
});
