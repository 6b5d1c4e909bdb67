#![no_main]
//! Takes any bytes as the JSON of a payment.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agents::payment::x402::exercise(bytes);
});
