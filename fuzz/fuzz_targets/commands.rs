//! Fuzzes the command parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::commands(bytes));
