//! What may name what: modules those below them, the core no sockets and no clocks, and tests each
//! guarantee.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chinwag::protocol::UNASKED;

use crate::script::sources::document;

/// Files and folders of `src` that are not core: they do what only the system can do.
const SHELL: [&str; 6] = ["main", "net", "secret_file", "server", "startup", "users"];

/// Modules of the standard library that sockets, clocks, files, threads and the environment are in.
const SYSTEM: [&str; 8] = ["env", "fs", "io", "net", "os", "process", "thread", "time"];

/// Dependencies that compute and do nothing else.
const PURE: [&str; 7] = [
    "getopts",
    "log",
    "memchr",
    "sha2",
    "slab",
    "subtle",
    "unicode_width",
];

/// What some parts of the core may name all the same.
const EXCEPTIONS: [(&str, &[&str]); 7] = [
    // What a block of memory takes is arithmetic; that memory is given back is not.
    ("allocator", &["libc"]),
    // It adds up what everything takes, the shell's parts too.
    ("ceiling", &["crate::net", "crate::users"]),
    // The system's addresses are values; they open nothing.
    ("chat/origin", &["core::net"]),
    ("options", &["std::net", "crate::net"]),
    // Streams are whatever can be read and written; the tests have streams of their own.
    ("hub", &["std::io"]),
    // Nobody may be able to guess a token.
    ("protocol/token", &["getrandom"]),
    // No two servers may have the same number.
    ("protocol/life_id", &["getrandom"]),
];

/// All files of a folder, with those of the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// The files of a folder here that are text, with their texts, by their paths in it.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = String::from_utf8(fs::read(&path).unwrap());
        text.ok().map(|text| (name.to_owned(), text))
    };
    files(&root).into_iter().filter_map(read).collect()
}

/// Whether a path is that of a module, as a file or as a folder, or of something in it.
fn is_in(path: &str, part: &str) -> bool {
    let rest = path.strip_prefix(part);
    rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
}

/// A file's code before its own tests.
fn without_tests(text: &str) -> &str {
    text.split("mod tests {").next().unwrap()
}

/// What the code of a file names: words, and `a::b` for each `b` that is taken out of `a`, alone or
/// with others in braces. Comments do not count, nor do the file's own tests.
fn names(text: &str) -> BTreeSet<String> {
    let code = without_tests(text)
        .lines()
        .map(|line| line.split("//").next().unwrap());
    let code = code.collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    // The path before each brace that is open.
    let mut outer: Vec<String> = Vec::new();
    let mut path = String::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = &*code;
    while let Some(c) = rest.chars().next() {
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if len > 0 {
            let (word, after) = rest.split_at(len);
            let parent = match path.strip_suffix("::") {
                Some(path) => Some(path),
                None => outer.last().and_then(|outer| outer.strip_suffix("::")),
            };
            if let Some(parent) = parent {
                names.insert(format!("{parent}::{word}"));
            }
            names.insert(word.to_owned());
            path.push_str(word);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("::") {
            path.push_str("::");
            rest = after;
        } else {
            match c {
                '{' => outer.push(std::mem::take(&mut path)),
                '}' => _ = outer.pop(),
                _ => {}
            }
            path.clear();
            rest = &rest[c.len_utf8()..];
        }
    }
    names
}

#[test]
fn names_are_found_however_they_are_taken() {
    let text = "\
        use std::{cell::Cell, io::{self, Read}, net};\n\
        use mio::Token; // not std::thread\n\
        fn f() { std::fs::read(); crate::server::run(); Instant::now() }\n\
        #[cfg(test)]\nmod tests { use std::os; }";
    let names = names(text);
    for name in [
        "std::cell",
        "std::io",
        "std::net",
        "std::fs",
        "mio",
        "crate::server",
        "Instant",
    ] {
        assert!(names.contains(name), "no {name}: {names:?}");
    }
    for name in ["std::thread", "std::os"] {
        assert!(!names.contains(name), "{name}: {names:?}");
    }
}

/// The shell passes the time and bytes to the core. All of `src` is core but for [`SHELL`].
#[test]
fn the_core_names_neither_sockets_nor_clocks() {
    let manifest = document("Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n\n").unwrap();
    let dependencies = dependencies
        .lines()
        .map(|line| line.split(' ').next().unwrap());
    let dependencies: Vec<_> = dependencies.map(|name| name.replace('-', "_")).collect();
    assert!(
        PURE.iter()
            .all(|name| dependencies.contains(&name.to_string()))
    );
    let systems = SYSTEM
        .iter()
        .flat_map(|name| [format!("std::{name}"), format!("core::{name}")]);
    let shells = SHELL.iter().map(|part| format!("crate::{part}"));
    let crates = dependencies
        .iter()
        .filter(|name| !PURE.contains(&name.as_str()));
    let forbidden: BTreeSet<_> = systems.chain(shells).chain(crates.cloned()).collect();

    let sources = sources("src");
    for part in SHELL.iter().chain(EXCEPTIONS.iter().map(|(part, _)| part)) {
        let is_there = sources.iter().any(|(path, _)| is_in(path, part));
        assert!(is_there, "there is no {part} any more");
    }

    let mut looked_at = 0;
    let mut wrong = Vec::new();
    for (path, text) in sources {
        if SHELL.iter().any(|part| is_in(&path, part)) {
            continue;
        }
        let exceptions = EXCEPTIONS.iter().filter(|(part, _)| is_in(&path, part));
        let permitted: Vec<_> = exceptions.flat_map(|(_, names)| *names).collect();
        let named = names(&text);
        let named = named.intersection(&forbidden);
        let named = named.filter(|name| !permitted.contains(&&name.as_str()));
        wrong.extend(named.map(|name| format!("src/{path} names {name}")));
        looked_at += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(looked_at > 30, "{looked_at}");
}

/// What the server writes has its form in one file: no other begins or ends a line of the protocol.
#[test]
fn only_the_output_writes_lines_of_the_protocol() {
    let others = ["HELLO", "OK", "ERR", "MEMBER", "ROOM", "STAT"];
    let first_words = UNASKED.iter().chain(&others);
    let mut marks: Vec<_> = first_words.map(|word| format!("\"{word} ")).collect();
    marks.push(r"\r\n".to_owned());
    let (mut missing, mut wrong) = (marks.clone(), Vec::new());
    for (path, text) in sources("src") {
        let code = without_tests(&text);
        let found = marks.iter().filter(|mark| code.contains(mark.as_str()));
        // People's lines are no lines of the protocol, but end like them.
        let found = found.filter(|mark| !(path.starts_with("talk/") && *mark == r"\r\n"));
        if path == "protocol/output.rs" {
            let found: Vec<_> = found.collect();
            missing.retain(|mark| !found.contains(&mark));
        } else {
            wrong.extend(found.map(|mark| format!("src/{path} has {mark}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What it begins with alone has no space behind it.
    assert_eq!(missing, [r#""ALIVE "#]);
}

/// The order of modules in `src/lib.rs`, from the program down to what uses nothing.
fn layers() -> Vec<String> {
    let text = document("src/lib.rs");
    let entries = text.lines().filter_map(|line| line.strip_prefix("//! - "));
    let names = entries.map(|entry| entry.split('`').nth(1).expect("a name in backticks"));
    names.map(str::to_owned).collect()
}

/// So there is no circle, and the list in `src/lib.rs` is true.
#[test]
fn each_module_uses_only_those_below_it() {
    let layers = layers();
    let layer = |name: &str| layers.iter().position(|layer| layer == name);
    let mut found = BTreeSet::new();
    let mut uses = 0;
    for (path, text) in sources("src") {
        let module = path.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let above = layer(module).unwrap_or_else(|| panic!("src/lib.rs does not tell of {module}"));
        found.insert(above);
        for used in text.split("crate::").skip(1) {
            let end = used.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            let used = &used[..end.unwrap()];
            let is_below = layer(used).is_some_and(|below| below >= above);
            assert!(is_below, "src/{path} uses {used}");
            uses += 1;
        }
    }
    assert_eq!(found.len(), layers.len(), "{layers:?} are not all there");
    assert!(uses > 100, "{uses}");
}

/// So that the map in `src/lib.rs` stays true when a file moves.
#[test]
fn the_map_of_the_source_names_files_that_exist() {
    let text = document("src/lib.rs");
    let rows = text.lines().filter(|line| line.starts_with("//! |"));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let named: Vec<_> = words.filter(|word| word.ends_with(".rs")).collect();
    let files = sources("src");
    for name in &named {
        let exists = files.iter().any(|(path, _)| path == name);
        assert!(exists, "there is no src/{name}");
    }
    assert!(named.len() > 30, "{named:?}");
}

/// Modules of the tests that have no tests of their own.
const HELPERS: [&str; 9] = [
    "cuts", "eventful", "logged", "members", "process", "script", "seeds", "steps", "world",
];

/// Each module of tests, file or folder that README.md says shows something is there, and each module
/// of tests is named.
#[test]
fn the_readme_names_the_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = document("README.md");
    let (_, text) = readme.split_once("\n| file | what it shows |\n").unwrap();
    let (what_shows, rest) = text.split_once("\n\n").unwrap();
    let (_, promises) = rest.split_once("\n| promise | tests |\n").unwrap();
    let (promises, _) = promises.split_once("\n\n").unwrap();
    let first = what_shows.lines().map(|row| row.split('|').nth(1).unwrap());
    let last = promises.lines().map(|row| row.rsplit('|').nth(1).unwrap());
    let names = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let named: Vec<_> = first.chain(last).flat_map(names).collect();
    assert!(named.len() > 50, "{named:?}");

    let modules: Vec<String> = ["core", "program"]
        .iter()
        .flat_map(|name| {
            let main = document(&format!("tests/{name}/main.rs"));
            let modules = main.lines().filter_map(|line| line.strip_prefix("mod "));
            let modules = modules.filter_map(|line| line.strip_suffix(';'));
            modules.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    for name in &named {
        let path = match name.strip_prefix("transcripts/") {
            Some(name) => format!("tests/transcripts/{name}"),
            None => name.clone(),
        };
        let (start, _) = path.split_once('*').unwrap_or((&path, ""));
        let (folder, start) = start.rsplit_once('/').unwrap_or((".", start));
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten();
        let mut names = entries.map(|entry| entry.unwrap().file_name());
        let is_path = path.contains('/')
            && names.any(|file| file.to_str().is_some_and(|file| file.starts_with(start)));
        assert!(is_path || modules.contains(name), "there is no {name}");
    }
    let unnamed: Vec<_> = modules
        .iter()
        .filter(|module| !named.contains(module) && !HELPERS.contains(&module.as_str()))
        .collect();
    assert!(unnamed.is_empty(), "README.md does not name {unnamed:?}");
}

/// What is written above each test of a file, with the test's name.
fn tests(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_above = |line: &&&str| line.starts_with("///") || line.starts_with("#[");
    let test = |at: usize| {
        let above = lines[..at].iter().rev().take_while(is_above);
        let below = lines[at..].iter().skip_while(is_above).take(1);
        above.chain(below).copied().collect::<Vec<_>>().join("\n")
    };
    let found = lines.iter().enumerate();
    let found = found.filter(|(_, line)| **line == "#[test]");
    found.map(|(at, _)| test(at)).collect()
}

/// The guarantees that a text names, as `G13`, or as `g13` in a function's name.
fn guarantees(text: &str) -> Vec<usize> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let numbers = words.filter_map(|word| word.strip_prefix(['G', 'g'])?.parse().ok());
    numbers.collect()
}

/// A test names a guarantee in its documentation or in its own name, a transcript in its first
/// paragraph.
#[test]
fn every_guarantee_is_named_by_a_test() {
    let text = document("PROTOCOL.md");
    let promised = text.lines().filter_map(|line| line.strip_prefix("- **G"));
    let promised: Vec<usize> = promised
        .map(|line| line.split("**").next().unwrap().parse().unwrap())
        .collect();
    assert!(promised.iter().copied().eq(1..=promised.len()));

    let mut named = BTreeSet::new();
    for (path, text) in [sources("src"), sources("tests")].concat() {
        if path.ends_with(".rs") {
            named.extend(tests(&text).iter().flat_map(|test| guarantees(test)));
        } else if path.starts_with("transcripts/") {
            named.extend(guarantees(text.split("\n\n").next().unwrap()));
        }
    }
    let unnamed: Vec<_> = promised.iter().filter(|n| !named.contains(n)).collect();
    assert!(unnamed.is_empty(), "no test names {unnamed:?}");
    let unknown: Vec<_> = named.iter().filter(|n| !promised.contains(n)).collect();
    assert!(
        unknown.is_empty(),
        "tests name {unknown:?}, which nobody has promised"
    );
}
