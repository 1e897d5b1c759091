//! Leaves the tables for unwinding out of the release build, which never unwinds: a panic aborts.
//!
//! They are a tenth of the program. The standard library always brings its own, and no compiler option
//! for a single profile drops ours; so this tells the linker to throw them away.

use std::path::PathBuf;
use std::{env, fs};

/// Adds to the linker's own script, by GNU ld's and LLVM's rules alike.
const SCRIPT: &str = "\
SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.gcc_except_table*) } }
INSERT AFTER .text;
";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    // The code that gcc adds to a program without libraries refers to the tables.
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && !is_static {
        let script =
            PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it")).join("tables.ld");
        fs::write(&script, SCRIPT).expect("Cargo's folder can be written");
        for argument in ["-T", &script.display().to_string()] {
            println!("cargo:rustc-link-arg-bin=chinwag={argument}");
        }
    }
}
