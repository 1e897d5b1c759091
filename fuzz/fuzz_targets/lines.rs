//! Fuzzes the line splitter, with telnet.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::lines(bytes));
