#![no_main]
//! Takes any bytes as lines of `Content-Length`, behind a NUL those of `Transfer-Encoding`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model::length::exercise(bytes);
});
