//! Narrated dialogues, one file each: played against the core, and over TCP where no time passes.

use std::fs;
use std::path::Path;

use crate::support::script::{CoreStage, Script};
use crate::tcp::TcpStage;

/// The transcripts: behind a first paragraph that says what a file proves comes its script.
fn transcripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (purpose, script) = text
            .split_once("\n\n")
            .unwrap_or_else(|| panic!("{name}: there is no first paragraph"));
        Script::parse(&name, purpose.lines().count() + 2, script)
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_transcript_plays_against_the_core() {
    let failures: Vec<_> = transcripts()
        .iter()
        .filter_map(|script| script.play(&mut CoreStage::new(script)).err())
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_transcript_in_which_no_time_passes_plays_over_tcp() {
    let mut failures = Vec::new();
    let mut played = 0;
    for script in transcripts()
        .iter()
        .filter(|script| script.plays_over_tcp())
    {
        failures.extend(script.play(&mut TcpStage::new(script)).err());
        played += 1;
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(played > 0);
}
