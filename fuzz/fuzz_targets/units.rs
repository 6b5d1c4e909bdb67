#![no_main]
//! Takes any bytes as the units that an upstream names.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model::units::exercise(bytes);
});
