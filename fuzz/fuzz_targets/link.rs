//! Fuzzes what comes over the link.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::link(bytes));
