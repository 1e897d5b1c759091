//! Plays the inputs that the fuzz targets start from, and those that they have found.

use std::fs;
use std::path::Path;

use crate::{cuts, world};

#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// Plays every file in a target's corpus, in order.
fn play(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(corpus.join(target)).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let played = std::panic::catch_unwind(|| run(&bytes));
        assert!(played.is_ok(), "{} failed", file.display());
    }
}

#[test]
fn lines() {
    play("lines", targets::lines);
}

#[test]
fn commands() {
    play("commands", targets::commands);
}

#[test]
fn users() {
    play("users", targets::users);
}

#[test]
fn core() {
    play("core", targets::core);
}
