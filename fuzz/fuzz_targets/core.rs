//! Fuzzes the core, with connections and clock of its own.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chinwag_fuzz::targets::core(bytes));
