//! The project's sentences are plain English: a new sentence with one of the habits below fails here.
//! CONTRIBUTING.md says what to write instead.
//!
//! The check reads documents, comments, and the strings of Rust code. It knows words and phrases, not
//! grammar, so it finds only what is nearly always wrong. Where a phrase is right, put it into
//! [`ALLOWED`].

use std::fs;
use std::path::{Path, PathBuf};

/// Where one of the phrases is right: a file, and a part of the sentence, in small letters and without
/// punctuation. An entry that is no longer needed fails.
const ALLOWED: &[(&str, &str)] = &[];

/// What is checked.
const CHECKED: &[&str] = &[
    ".ci",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "PROTOCOL.md",
    "README.md",
    "benches",
    "build.rs",
    "clippy.toml",
    "dist",
    "examples",
    "fuzz",
    "src",
    "tests",
    "tools",
];

/// Folders in those that hold no sentences of the project.
const NO_SENTENCES: &[&str] = &["fuzz/artifacts", "fuzz/corpus", "fuzz/target"];

/// Phrases, in small letters, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("only who", "only those who"),
    ("but who", "but those who"),
    ("by who", "by whoever"),
    ("for who", "for those who"),
    ("from who", "from whoever"),
    ("of who", "of those who"),
    ("than who", "than those who"),
    ("to who", "to whoever"),
    ("with who", "with whoever"),
    ("these many", "name the number"),
    ("sees to it", "the verb itself: it replaces, tells, closes"),
    (
        "is owed",
        "say who sends what: the events that wait for a session",
    ),
    (
        "are owed",
        "say who sends what: the events that wait for a session",
    ),
    ("beside", "besides, next to, as well as"),
    ("as far as", "if, as much as, as long as"),
    ("anew", "again"),
    ("own accord", "unasked"),
    ("none if", "say what happens otherwise"),
    ("for want of", "because there is no, for lack of"),
    ("be it", "whether it is"),
    ("be that", "whether that is"),
    ("come into being", "say who creates it"),
    ("comes into being", "say who creates it"),
    ("lets go of", "detaches, drops"),
    ("he", "a client is it, a person they"),
    ("him", "a client is it, a person they"),
    ("himself", "a client is it, a person they"),
    ("his", "a client is it, a person they"),
];

/// A sentence, or as much of one as stands in one comment or string.
#[derive(Debug)]
struct Sentence {
    /// The line on which it begins.
    line: usize,
    /// Its words as they are written, without punctuation.
    words: Vec<String>,
    /// The commas and semicolons in it, each with the index of the word that follows.
    breaks: Vec<(usize, char)>,
    is_question: bool,
}

impl Sentence {
    /// Its words in small letters, with a space before and after each.
    fn small(&self) -> String {
        format!(" {} ", self.words.join(" ").to_lowercase())
    }

    /// The habits that it shows, and what to write instead.
    fn habits(&self) -> Vec<String> {
        let text = self.small();
        let phrases = PHRASES
            .iter()
            .filter(|(phrase, _)| text.contains(&format!(" {phrase} ")))
            .map(|(phrase, instead)| format!("\"{phrase}\": {instead}"));
        let mut habits: Vec<_> = phrases.collect();
        match self.word(0) {
            "Has" | "Have" if !self.is_question => {
                habits.push("\"Has it do\": the verb itself, or makes it do".into());
            }
            "Sees" => habits.push("\"Sees that\": checks, waits until".into()),
            _ => {}
        }
        if !self.is_question && (self.word(0) == "Who" || self.has_headless_who()) {
            habits.push("\"who …\": whoever, clients that".into());
        }
        for (index, pair) in self.words.windows(2).enumerate() {
            let pair = [pair[0].to_lowercase(), pair[1].to_lowercase()];
            match [&*pair[0], &*pair[1]] {
                ["so", "many" | "much" | "long" | "often"] if !self.has_result(index + 2) => {
                    habits.push(format!("\"so {}\": name the number", pair[1]));
                }
                [be, done @ ("given" | "told")] if TO_BE.contains(&be) && !self.is_right(index) => {
                    habits.push(format!("\"{be} {done}\": {PASSIVE}"));
                }
                [be, "sent"] if TO_BE.contains(&be) && self.is_somebody_sent(index) => {
                    habits.push(format!("\"{be} sent\": {PASSIVE}"));
                }
                ["how", "often"] if self.counts(index + 2) => {
                    habits.push("\"how often\": how many times".into());
                }
                ["each", number] if number.bytes().all(|b| b.is_ascii_digit()) => {
                    habits.push(format!("\"each {number}\": every {number}"));
                }
                _ => {}
            }
        }
        habits
    }

    /// Whether it goes on with the result of a "so", as in "so long that" and "so many as to".
    fn has_result(&self, from: usize) -> bool {
        let rest = self.words.iter().skip(from).take(3);
        rest.clone().any(|word| word == "that" || word == "as")
    }

    /// A word as it is written, or nothing after the end.
    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// Whether a "who" within it belongs to nobody: after a semicolon, or after an introduction that a
    /// comma ends. After another comma it may belong to the word before.
    fn has_headless_who(&self) -> bool {
        let is_introduced = INTRODUCTIONS.contains(&&*self.word(0).to_lowercase());
        let first_comma = self.breaks.iter().find(|(_, mark)| *mark == ',');
        let is_headless = |&(index, mark): &(usize, char)| {
            let is_first = Some(index) == first_comma.map(|(index, _)| *index);
            self.word(index) == "who" && (mark == ';' || is_introduced && is_first)
        };
        self.breaks.iter().any(is_headless)
    }

    /// Whether "is given" or "is told" is right here: in a condition such as "if a name is given" or
    /// "than is given", for an option that "may be given twice", and for what is "told apart".
    fn is_right(&self, index: usize) -> bool {
        let before = self.words[index.saturating_sub(5)..index].iter();
        let mut before = before.rev().map(|word| word.to_lowercase());
        let is_compared = |word: &String| ["as", "than"].contains(&&**word);
        let is_condition =
            |word: String| ["if", "unless", "when", "where", "once"].contains(&&*word);
        before.clone().next().as_ref().is_some_and(is_compared)
            || before.any(is_condition)
            || ["apart", "back", "several", "twice", "up"].contains(&self.word(index + 2))
    }

    /// Whether "is sent" says what somebody gets, as in "the client is sent a line" and "what it was
    /// sent". That a line is sent is right.
    fn is_somebody_sent(&self, index: usize) -> bool {
        let before = |back: usize| index.checked_sub(back).map_or("", |index| self.word(index));
        let next = self.word(index + 2);
        let is_it =
            before(1) == "it" && ["what", "What", "that", "everything"].contains(&before(2));
        let is_person = PERSONS.contains(&&*before(1).to_lowercase());
        let things = ["a", "an", "the", "it", "them", "nothing", "anything", "so"];
        is_it || is_person || things.contains(&next)
    }

    /// Whether the words from this one on tell of the past, so that "how often" asks for a number.
    fn counts(&self, from: usize) -> bool {
        let next = self.words.iter().skip(from).take(6);
        let past = [
            "was", "were", "has", "have", "had", "made", "took", "did", "came", "went", "got",
        ];
        next.clone().any(|word| past.contains(&&**word))
    }
}

const PASSIVE: &str = "say who gives, tells, sends, gets";
const TO_BE: &[&str] = &["is", "are", "was", "were", "be", "been", "being"];

/// Words that begin an introduction, as in "Without a log, nobody knows".
const INTRODUCTIONS: &[&str] = &[
    "after",
    "as",
    "at",
    "before",
    "besides",
    "for",
    "here",
    "if",
    "in",
    "now",
    "on",
    "once",
    "otherwise",
    "since",
    "so",
    "then",
    "there",
    "unless",
    "until",
    "when",
    "where",
    "while",
    "with",
    "without",
];

/// Those to whom something is sent.
const PERSONS: &[&str] = &[
    "anybody",
    "client",
    "clients",
    "everybody",
    "member",
    "members",
    "nobody",
    "receiver",
    "receivers",
    "sender",
    "session",
    "sessions",
    "somebody",
    "they",
    "you",
];

/// The text of one line of a file, as sentences go: what is not text is left out.
#[derive(Debug)]
struct Piece {
    line: usize,
    text: String,
    /// Whether it goes on with the sentence of the piece before it.
    continues: bool,
}

/// What separates a comment from the code before it, by a file's kind, and what else may stand at the
/// beginning of a comment's line.
fn markers(path: &Path) -> &'static [&'static str] {
    match path.extension().and_then(|ext| ext.to_str()) {
        Some("c" | "h" | "js" | "java" | "go" | "php") => &["//", "/*", "*"],
        Some("lua") => &["--"],
        _ => &["#"],
    }
}

/// The comments and strings of Rust code.
fn pieces_of_rust(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // Within a string: the characters that end it, and whether a backslash escapes.
    let mut string: Option<(String, bool)> = None;
    let mut comments_before = false;
    for (index, mut rest) in text.lines().enumerate() {
        let line = index + 1;
        let mut is_comment = false;
        let mut push = |text: &str, continues: bool| {
            pieces.push(Piece {
                line,
                text: text.to_owned(),
                continues,
            });
        };
        let mut continues = string.is_some();
        loop {
            if let Some((end, escapes)) = &string {
                let escaped = |at: usize| {
                    let before = rest[..at].bytes().rev().take_while(|&b| b == b'\\');
                    *escapes && before.count() % 2 == 1
                };
                let found = rest
                    .match_indices(&**end)
                    .find(|&(at, _)| !escaped(at))
                    .map(|(at, _)| at);
                let (inside, behind) = match found {
                    Some(at) => (&rest[..at], Some(&rest[at + end.len()..])),
                    None => (rest, None),
                };
                push(&inside.replace("\\n", " ").replace('\\', ""), continues);
                match behind {
                    Some(behind) => (rest, string) = (behind, None),
                    None => break,
                }
            }
            let Some(at) = rest.find(['"', '\'', '/']) else {
                break;
            };
            let (code, from) = rest.split_at(at);
            if from.starts_with("//") {
                let comment = from.trim_start_matches(['/', '!']);
                push(comment, comments_before && code.trim().is_empty());
                is_comment = true;
                break;
            }
            let char_len = ["'\"'", "'\\\"'", "'/'"]
                .iter()
                .find(|quoted| from.starts_with(**quoted))
                .map(|quoted| quoted.len());
            if let Some(inside) = from.strip_prefix('"') {
                let hashes = code.len() - code.trim_end_matches('#').len();
                let is_raw = code.trim_end_matches('#').ends_with('r');
                let hashes = if is_raw { hashes } else { 0 };
                string = Some((format!("\"{}", "#".repeat(hashes)), !is_raw));
                continues = false;
                rest = inside;
            } else {
                rest = &from[char_len.unwrap_or(1)..];
            }
        }
        comments_before = is_comment;
    }
    pieces
}

/// The text of a document, or of a file whose comments begin with one of some marks. Code between
/// comments is text as well, a sentence a line: its words are hardly ever those that are looked for.
fn pieces_of_text(text: &str, path: &Path) -> Vec<Piece> {
    let kind = path.extension().and_then(|ext| ext.to_str());
    let (is_markdown, is_manual) = (kind == Some("md"), kind == Some("8"));
    // A transcript begins with a paragraph; then come comments and a dialogue.
    let mut is_prose = is_markdown || is_manual || kind == Some("txt");
    let mut is_fenced = false;
    let mut continues = false;
    let mut pieces = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        is_fenced ^= is_markdown && trimmed.starts_with("```");
        is_prose &= kind != Some("txt") || !trimmed.is_empty();
        let marks = if is_prose { &[] } else { markers(path) };
        let mark = marks.iter().find(|mark| trimmed.starts_with(**mark));
        let text = trimmed.trim_start_matches(mark.unwrap_or(&""));
        let is_dialogue = kind == Some("txt") && !is_prose && mark.is_none();
        let is_item = is_markdown && text.starts_with(['-', '#']);
        let is_table = is_markdown && text.starts_with('|');
        let is_macro = is_manual && text.starts_with('.');
        let is_break = text.trim().is_empty() || is_macro && ends_sentence(text);
        if is_fenced || is_dialogue || is_break {
            continues = false;
            continue;
        }
        // What a manual page's macro shows is a word, whose punctuation counts.
        let end = text.split(' ').next_back().filter(|word| word.len() == 1);
        let shown = format!("`` {}", end.unwrap_or_default());
        let text = if is_macro { &shown } else { text };
        for (cell, text) in text.split('|').enumerate() {
            if cell == 0 || is_table {
                pieces.push(Piece {
                    line: index + 1,
                    text: text.trim_start_matches(['-', '#', ' ']).to_owned(),
                    continues: continues && !is_item && !is_table,
                });
            }
        }
        continues = (is_prose || mark.is_some()) && !is_table;
    }
    pieces
}

/// Whether a line of a manual page's source begins something new.
fn ends_sentence(line: &str) -> bool {
    let name = line.get(1..3).unwrap_or_default();
    ["Sh", "Ss", "It", "Pp", "Bl", "El", "Bd", "Ed", "Dl", "Nd"].contains(&name)
}

/// Puts sentences together. What stands between backticks counts as one word.
fn sentences(pieces: &[Piece]) -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    let mut is_open = false;
    for piece in pieces {
        is_open &= piece.continues;
        let parts = piece.text.split('`').enumerate();
        let text: String = parts
            .map(|(index, part)| if index % 2 == 0 { part } else { "`" })
            .collect();
        for word in text.split_whitespace() {
            if !is_open {
                sentences.push(Sentence {
                    line: piece.line,
                    words: Vec::new(),
                    breaks: Vec::new(),
                    is_question: false,
                });
            }
            let sentence = sentences.last_mut().expect("one was just begun");
            let bare = match word.contains('{') {
                true => "`", // what a format puts there
                false => word.trim_matches(|c: char| !c.is_alphanumeric() && c != '`'),
            };
            if !bare.is_empty() {
                sentence.words.push(bare.to_owned());
            }
            let end = word.trim_end_matches([')', '"', '\'', '*']);
            if let Some(mark @ (',' | ';')) = end.chars().next_back() {
                sentence.breaks.push((sentence.words.len(), mark));
            }
            is_open = !end.ends_with(['.', '?', '!', ':']);
            sentence.is_question = end.ends_with('?');
        }
    }
    sentences
}

fn sentences_of(path: &Path, text: &str) -> Vec<Sentence> {
    let pieces = match path.extension().and_then(|ext| ext.to_str()) {
        Some("rs") => pieces_of_rust(text),
        _ => pieces_of_text(text, path),
    };
    sentences(&pieces)
}

/// All files of a folder and of the folders in it, or a file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return path.exists().then(|| path.to_owned()).into_iter().collect();
    }
    let mut paths: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}

#[test]
fn every_sentence_is_free_of_the_five_habits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = String::new();
    let mut is_used = vec![false; ALLOWED.len()];
    let mut checked = 0;
    for path in CHECKED.iter().flat_map(|name| files(&root.join(name))) {
        let name = path.strip_prefix(root).unwrap();
        let is_in = |folders: &[&str]| folders.iter().any(|folder| name.starts_with(folder));
        // The list of phrases itself.
        if is_in(NO_SENTENCES) || name.ends_with(file!()) {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else {
            continue; // no text, such as a font or a seed
        };
        for sentence in sentences_of(name, &text) {
            checked += 1;
            let habits = sentence.habits();
            if habits.is_empty() {
                continue;
            }
            let small = sentence.small();
            let allowed = ALLOWED
                .iter()
                .position(|(file, phrase)| name.ends_with(file) && small.contains(phrase));
            match allowed {
                Some(index) => is_used[index] = true,
                None => {
                    let (name, line) = (name.display(), sentence.line);
                    for habit in habits {
                        found += &format!("{name}:{line}: {habit}\n    {}\n", small.trim());
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
    let unused = ALLOWED.iter().zip(is_used).filter(|(_, is_used)| !is_used);
    let unused: Vec<_> = unused.map(|(entry, _)| entry).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
    assert!(checked > 1000, "{checked}");
}

fn habits(file: &str, text: &str) -> Vec<String> {
    let sentences = sentences_of(Path::new(file), text);
    sentences.iter().flat_map(Sentence::habits).collect()
}

#[test]
fn sentences_with_the_habits_are_found() {
    for text in [
        "Who has the token has the session.",
        "Nobody else has the name; who came later waits.",
        "Without a name, who reads the log decides.",
        "That is an error. Who does not read costs nothing.",
        "Before that only who takes nothing is overtaken.",
        "It comes back after so many seconds.",
        "The server waits so long.",
        "Has the server read its file.",
        "Has a client never read again.",
        "Sees to it that nothing is lost.",
        "Sees that the server goes on.",
        "The sender is given the event too.",
        "What a session is owed at the moment.",
        "The members are told why.",
        "If there is one, the time as the core is told it.",
        "The event that all are to be given.",
        "A server can be told to do wrong.",
        "Nobody had been given the line.",
        "Nobody was sent anything more.",
        "The client is sent a line.",
        "The end of what it was sent before.",
        "How often it was written to.",
        "It counts how often the server has slept.",
        "It is listened on beside the default address.",
        "As far as the log reaches.",
        "Then it begins anew.",
        "What the server says of its own accord.",
        "The seconds left, none if there is no timer.",
        "It ends for want of a sign of life.",
        "Any line, be it empty, keeps it alive.",
        "It tries again each 5 seconds.",
        "A client sends his line.",
    ] {
        for file in ["x.md", "x.8", "x.txt"] {
            assert!(!habits(file, text).is_empty(), "{file}: {text}");
        }
        let middle = text.find(' ').unwrap();
        let (before, after) = text.split_at(middle);
        let after = after.trim_start();
        for code in [
            format!("/// {before}\n/// {after}\nfn f() {{}}\n"),
            format!("let x = 1; // {text}\n"),
            format!("f(\"{text}\");\n"),
            format!("f(\n    \"{before} \\\n     {after}\",\n);\n"),
            format!("f(r#\"\n{text}\n\"#);\n"),
        ] {
            assert!(!habits("x.rs", &code).is_empty(), "{code}");
        }
        let comment = format!("set -e\n# {before}\n# {after}\n");
        assert!(!habits("x.sh", &comment).is_empty(), "{comment}");
    }
}

#[test]
fn plain_sentences_are_left_alone() {
    for text in [
        "Whoever holds the token controls the session.",
        "Clients that do not read cost nothing.",
        "WHO lists the members who are there. Who is there?",
        "It says who may join, and how many there are.",
        "The line is so long that it does not fit.",
        "Keep it as long as the log holds it.",
        "The client, who has a name, is there. A member, who may be late, joins.",
        "Before the line, the client, who has a name, waits.",
        "Bytes that were sent get lost. EXPIRING is sent to push sessions. It holds what is sent later.",
        "It says how often the server looks.",
        "The server sends the sender the event too.",
        "If no address is given, the default is used.",
        "It takes more than was given, or as many as are given.",
        "Besides those, it listens on the default address.",
        "Clients are told apart, memory is given back, and an option may be given twice.",
        "It tries again every 5 seconds, once for each of 3 addresses.",
        "She sends her line; others hear it.",
    ] {
        for file in ["x.md", "x.8", "x.txt"] {
            assert_eq!(habits(file, text), [""; 0], "{file}: {text}");
        }
        assert_eq!(habits("x.rs", &format!("//! {text}\n")), [""; 0]);
    }
    // What is code and not a sentence.
    for (file, text) in [
        ("x.rs", "Who => anew(beside, is_given), // to list\n"),
        ("x.rs", "fn joins_anew_beside<'a>(he: &'a str) {}\n"),
        ("x.rs", "let c = '\"'; anew();\nlet d = '/'; anew();\n"),
        (
            "x.md",
            "It ends.\n```sh\nbegin anew\n```\nType `anew` then.\n",
        ),
        ("x.txt", "It ends.\n\nann> SAY who begins anew\n"),
        ("x.8", "It goes\n.Sh anew\nand\n.Fl beside .\n"),
    ] {
        assert_eq!(habits(file, text), [""; 0], "{text}");
    }
}

#[test]
fn sentences_end_where_they_end() {
    let line = |file: &str, text: &str| -> Vec<usize> {
        let sentences = sentences_of(Path::new(file), text);
        let found = sentences.iter().filter(|s| !s.habits().is_empty());
        found.map(|sentence| sentence.line).collect()
    };
    // A comment's end, a paragraph's, a cell's and an item's end a sentence.
    assert_eq!(line("x.rs", "// so\nf();\n// many\n"), [0; 0]);
    assert_eq!(line("x.rs", "// so\n// many\n"), [1]);
    assert_eq!(line("x.md", "so\n\nmany\n\nand so\nmany\n"), [5]);
    assert_eq!(line("x.md", "| so | many |\n| so many | |\n"), [2]);
    assert_eq!(line("x.md", "- so\n- many\n- so\n  many\n"), [3]);
    assert_eq!(
        line("x.8", "So\n.Pp\nmany\n.Fl -x\nfor who\n.Pa x .\nWho\n"),
        [3, 7]
    );
    assert_eq!(
        line("x.txt", "So\nmany.\n\nso\n# so\n# many\nmany\n"),
        [1, 5]
    );
}
