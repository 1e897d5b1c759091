//! Fuzzes the users file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::users(bytes));
