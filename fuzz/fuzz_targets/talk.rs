//! Fuzzes talk form: whatever a person types.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::talk(bytes));
