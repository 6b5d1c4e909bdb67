#![no_main]
//! Takes any bytes as lines of `X-Forwarded-For`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model::origin::exercise(bytes);
});
