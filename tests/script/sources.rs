//! Where scripts come from: the transcripts, and the dialogues in documents.

use std::fs;
use std::path::{Path, PathBuf};

use super::Script;

/// The files in `tests/transcripts`: a first paragraph that says what a file proves, then its
/// script.
pub fn transcripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (purpose, script) = text
            .split_once("\n\n")
            .unwrap_or_else(|| panic!("{name}: there is no first paragraph"));
        Script::parse(&name, purpose.lines().count() + 2, script)
    };
    paths.iter().map(read).collect()
}

/// The dialogues that README.md and PROTOCOL.md show.
pub fn documents() -> Vec<Script> {
    let of = |name| {
        let blocks = blocks(&document(name), "chinwag");
        assert!(!blocks.is_empty(), "{name} shows no dialogue");
        let scripts = blocks.into_iter();
        scripts.map(move |(line, text)| Script::parse(name, line, &text))
    };
    of("README.md").chain(of("PROTOCOL.md")).collect()
}

/// The text of a file here.
pub fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

/// The fenced blocks of a kind, with the number of their first line.
pub fn blocks(text: &str, kind: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut block: Option<(usize, String)> = None;
    let opening = format!("```{kind}");
    for (index, line) in text.lines().enumerate() {
        if let Some((_, body)) = &mut block {
            if line == "```" {
                blocks.extend(block.take());
            } else {
                *body += line;
                body.push('\n');
            }
        } else if line == opening {
            block = Some((index + 2, String::new()));
        }
    }
    assert!(block.is_none(), "a block has no end");
    blocks
}
