#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::dpop_proof::run(data));
