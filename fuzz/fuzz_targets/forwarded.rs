#![no_main]
//! Takes any bytes as lines of `Forwarded`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model::forwarded::exercise(bytes);
});
