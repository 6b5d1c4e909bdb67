#![no_main]
//! Takes any bytes as the fields of a signature.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agents::web_bot_auth::exercise(bytes);
});
