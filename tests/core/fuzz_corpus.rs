//! Plays the inputs that the fuzz targets start from, and those that they have found.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::seeds::cases;
use crate::{cuts, eventful, world};

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
fn link() {
    play("link", targets::link);
}

#[test]
fn talk() {
    play("talk", targets::talk);
}

#[test]
fn core() {
    play("core", targets::core);
}

#[test]
fn states() {
    play("states", targets::states);
}

/// What people type, and what their clients add to it.
fn typed() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 34] = [
        b"hello",
        b" ",
        b"/",
        b"//",
        b"/who",
        b"/rooms",
        b"/room den",
        b"/room lobby",
        b"/again",
        b"/again 2",
        b"/me ",
        b"/help",
        b"/quit",
        b"/edit",
        b"/edit off",
        b"\r\n",
        b"\n",
        b"\r\0",
        b"\r",
        b"\x08",
        b"\x7f",
        b"\x15",
        b"\t",
        b"\x1b[D",
        b"\x1b",
        b"\xff\xfd\x01",
        b"\xff\xfd\x03",
        b"\xff\xfe\x01",
        b"\xff\xfb\x1f",
        b"\xff\xfa\x1f\0\x10\0\x18\xff\xf0",
        b"\xff\xf6",
        b"\xff",
        "\u{e9}\u{6f22}".as_bytes(),
        &[b'x'; 1100],
    ];
    vec(select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn whatever_a_person_types_means_the_same_however_it_is_cut(size in 0..50_u8, typed in typed()) {
        targets::talk(&[&[size][..], &typed].concat());
    }
}
