//! Fuzzes states that are loaded.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::states(bytes));
