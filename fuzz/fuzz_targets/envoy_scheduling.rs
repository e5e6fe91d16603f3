#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::envoy_scheduling::run(data));
