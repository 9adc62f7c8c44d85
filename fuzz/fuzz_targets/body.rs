#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kairanban_fuzz::body::check(input));
