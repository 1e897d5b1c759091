//! The line editor, against a terminal and a simple model: what the screen shows after each step.
//!
//! The terminal is the crate vt100. It takes widths of characters from the same table as the editor;
//! where it differs all the same, a test below names the characters, and no other test uses them.
//!
//! A failure names its seed; `CHINWAG_SEED=<seed> cargo test editor::` plays it again.

use std::num::NonZeroU16;
use std::ops::Range;

use chinwag::talk::editor::{Editor, Key, Typed};
use fastrand::Rng;

use crate::seeds::play_seeds;

const COLUMNS: [u16; 7] = [1, 2, 3, 10, 40, 80, 132];
const LINE_BYTES_MAX: usize = 300;
const SEEDS: u64 = 20;
const NAMES: [&str; 7] = ["ann", "Annabel", "annika", "bob", "zoë", "/who", "/rooms"];

/// A terminal, and all that it has shown.
pub struct Terminal {
    parser: vt100::Parser,
}

fn size(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap()
}

impl Terminal {
    pub fn new(columns: u16, rows: u16) -> Terminal {
        let parser = vt100::Parser::new(size(rows), size(columns), 1_000_000);
        Terminal { parser }
    }

    pub fn process(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
    }

    /// Gives the window another size. What is longer than a row is cut off, not wrapped again.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.parser.screen_mut().set_size(size(rows), size(columns));
    }

    pub fn columns(&self) -> u16 {
        self.parser.screen().size().1.get()
    }

    pub fn rows(&self) -> u16 {
        self.parser.screen().size().0.get()
    }

    /// How many rows have left the screen at its top.
    fn rows_gone(&self) -> usize {
        self.parser.screen().scrollback_len()
    }

    /// The rows from this one on, without the blanks at their ends. Those that left the screen count.
    pub fn text(&mut self, from: usize) -> Vec<String> {
        let (columns, gone) = (self.columns(), self.rows_gone());
        let screen = self.parser.screen_mut();
        let mut rows = Vec::new();
        let mut at = from;
        while at < gone {
            screen.set_scrollback(gone - at);
            let page: Vec<_> = screen.rows(0, columns).take(gone - at).collect();
            at += page.len();
            rows.extend(page);
        }
        screen.set_scrollback(0);
        rows.extend(screen.rows(0, columns).skip(at - gone));
        rows.iter().map(|row| row.trim_end().to_owned()).collect()
    }

    /// The row and column of the cursor.
    pub fn cursor(&self) -> (usize, usize) {
        let (row, column) = self.parser.screen().cursor_position();
        (self.rows_gone() + usize::from(row), column.into())
    }
}

/// A terminal whose cursor goes on at once after a full row, and whose window has no end.
struct Eager {
    columns: usize,
    /// What each cell shows. The second one of a wide character shows nothing.
    rows: Vec<Vec<String>>,
    row: usize,
    column: usize,
    /// Where it has shown a character last.
    last: (usize, usize),
}

impl Eager {
    fn new(columns: u16) -> Eager {
        let columns = columns.into();
        Eager {
            columns,
            rows: vec![vec![" ".to_owned(); columns]],
            row: 0,
            column: 0,
            last: (0, 0),
        }
    }

    fn next_row(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(vec![" ".to_owned(); self.columns]);
        }
    }

    fn put(&mut self, c: char) {
        if c == '\u{301}' {
            let (row, column) = self.last;
            return self.rows[row][column].push(c);
        }
        let width = width(&c.to_string());
        assert!(self.column + width <= self.columns, "it need not wrap {c}");
        let cells = &mut self.rows[self.row][self.column..];
        cells[0] = c.to_string();
        cells[1..width].fill(String::new());
        self.last = (self.row, self.column);
        self.column += width;
        if self.column == self.columns {
            self.column = 0;
            self.next_row();
        }
    }

    fn process(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\x07' => {}
                '\x08' => self.column -= 1,
                '\r' => self.column = 0,
                '\n' => self.next_row(),
                '\x1b' => {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    let count = rest[1..end].parse().unwrap_or(1);
                    match &rest[end..=end] {
                        "A" => self.row -= count,
                        "B" => self.row += count,
                        "C" => self.column += count,
                        "D" => self.column -= count,
                        _ => {
                            assert_eq!(&rest[..=end], "[J");
                            self.rows.truncate(self.row + 1);
                            self.rows[self.row][self.column..].fill(" ".to_owned());
                        }
                    }
                    assert!(self.row < self.rows.len() && self.column < self.columns);
                    rest = &rest[end + 1..];
                }
                c => self.put(c),
            }
        }
    }

    /// The rows from this one on, without the blanks at their ends.
    fn text(&self, from: usize) -> Vec<String> {
        let rows = self.rows[from..].iter().map(|row| row.concat());
        rows.map(|row| row.trim_end().to_owned()).collect()
    }
}

fn width(character: &str) -> usize {
    match character.chars().next().unwrap() {
        '中' | '한' | '🦆' => 2,
        _ => 1,
    }
}

/// The rows that characters take in a window, where each begins, and where the last one ends.
fn lay_out(characters: &[String], columns: u16) -> (Vec<String>, Vec<(usize, usize)>) {
    let columns = usize::from(columns);
    let mut rows = vec![String::new()];
    let mut column = 0;
    let mut places = Vec::new();
    for character in characters {
        let (shown, width) = match width(character) {
            width if width > columns => ("?", 1),
            width => (&**character, width),
        };
        if column + width > columns {
            rows.push(String::new());
            column = 0;
        }
        places.push((rows.len() - 1, column));
        rows.last_mut().unwrap().push_str(shown);
        column += width;
        if column == columns {
            rows.push(String::new());
            column = 0;
        }
    }
    places.push((rows.len() - 1, column));
    (rows, places)
}

/// The rows of a line after which the cursor has gone to the next one.
fn rows_left(characters: &[String], columns: u16) -> Vec<String> {
    let (mut rows, _) = lay_out(characters, columns);
    if rows.len() > 1 && rows.last().unwrap().is_empty() {
        rows.pop();
    }
    rows
}

/// What an editor has to do, said simply: a line is characters, and the history lines.
#[derive(Default)]
struct Model {
    line: Vec<String>,
    cursor: usize,
    history: Vec<Vec<String>>,
    recalled: usize,
    draft: Vec<String>,
}

impl Model {
    fn press(&mut self, key: Key) -> Option<Typed> {
        let end = self.line.len();
        match key {
            Key::Character(c) => self.insert(c),
            Key::Return => {
                let line = self.forget();
                let newest = self.history.first();
                if !line.concat().trim().is_empty() && newest != Some(&line) {
                    self.history.insert(0, line.clone());
                    self.history.truncate(20);
                    let bytes = |lines: &[Vec<String>]| -> usize {
                        lines.iter().map(|line| line.concat().len() + 1).sum()
                    };
                    while bytes(&self.history) > 2048 {
                        self.history.pop();
                    }
                }
                return Some(Typed::Line(line.concat()));
            }
            Key::Interrupt => {
                self.forget();
                return Some(Typed::Dropped);
            }
            Key::DeleteOrEnd if end == 0 => return Some(Typed::End),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = end.min(self.cursor + 1),
            Key::WordLeft => self.cursor = self.word_start(),
            Key::WordRight => {
                while self.cursor < end && self.line[self.cursor].starts_with(' ') {
                    self.cursor += 1;
                }
                while self.cursor < end && !self.line[self.cursor].starts_with(' ') {
                    self.cursor += 1;
                }
            }
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = end,
            Key::Older => self.recall(self.recalled + 1),
            Key::Newer if self.recalled > 0 => self.recall(self.recalled - 1),
            Key::Backspace => self.erase(self.cursor.saturating_sub(1)..self.cursor),
            Key::Delete | Key::DeleteOrEnd => self.erase(self.cursor..end.min(self.cursor + 1)),
            Key::EraseWord => self.erase(self.word_start()..self.cursor),
            Key::EraseBefore => self.erase(0..self.cursor),
            Key::EraseAfter => self.erase(self.cursor..end),
            Key::EraseLine => self.erase(0..end),
            Key::Newer | Key::Invalid | Key::ClearScreen => {}
            Key::Complete => unreachable!("no random step presses TAB"),
        }
        None
    }

    fn insert(&mut self, c: char) {
        let has_room = self.line.concat().len() + c.len_utf8() <= LINE_BYTES_MAX;
        if c == '\u{301}' {
            if has_room && self.cursor > 0 {
                self.line[self.cursor - 1].push(c);
            }
        } else if has_room {
            self.line.insert(self.cursor, c.to_string());
            self.cursor += 1;
        }
    }

    fn erase(&mut self, range: Range<usize>) {
        self.cursor = range.start;
        self.line.drain(range);
    }

    fn word_start(&self) -> usize {
        let before = &self.line[..self.cursor];
        let is_blank = |c: &String| c.starts_with(' ');
        let last = before.iter().rposition(|c| !is_blank(c)).unwrap_or(0);
        let blank = before[..last].iter().rposition(is_blank);
        blank.map_or(0, |at| at + 1)
    }

    fn recall(&mut self, back: usize) {
        let line = match back {
            0 => self.draft.clone(),
            _ if back > self.history.len() => return,
            _ => self.history[back - 1].clone(),
        };
        let typed = std::mem::replace(&mut self.line, line);
        if self.recalled == 0 {
            self.draft = typed;
        }
        self.recalled = back;
        self.cursor = self.line.len();
    }

    fn forget(&mut self) -> Vec<String> {
        self.cursor = 0;
        self.recalled = 0;
        self.draft.clear();
        std::mem::take(&mut self.line)
    }
}

/// Somebody at a terminal, and what they have to see.
struct Desk {
    terminal: Terminal,
    editor: Editor,
    model: Model,
    /// A terminal that goes on at once after a full row, if it has to see the same.
    eager: Option<Eager>,
    /// The rows above the line.
    above: Vec<String>,
    /// What the last call wrote.
    out: Vec<u8>,
}

impl Desk {
    fn new(columns: u16, rows: u16) -> Desk {
        Desk {
            terminal: Terminal::new(columns, rows),
            editor: Editor::new(columns, rows, LINE_BYTES_MAX),
            model: Model::default(),
            eager: None,
            above: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The rows of the line that are to be seen, and the cursor's place in them.
    fn line(&self) -> (Vec<String>, (usize, usize)) {
        let (rows, places) = lay_out(&self.model.line, self.terminal.columns());
        let (row, column) = places[self.model.cursor];
        let shown = usize::from(self.terminal.rows() - 1);
        let top = row.saturating_sub(shown / 2);
        let top = top.min(rows.len().saturating_sub(shown));
        let rows = rows.into_iter().skip(top).take(shown).collect();
        (rows, (row - top, column))
    }

    /// Shows what was written, and checks everything from a row on.
    #[track_caller]
    fn check_from(&mut self, from: usize) {
        self.terminal.parser.process(&self.out);
        let (rows, (row, column)) = self.line();
        let mut expected = self.above[from..].to_vec();
        expected.extend(rows.iter().map(|row| row.trim_end().to_owned()));
        let mut found = self.terminal.text(from);
        let below = found.split_off(found.len().min(expected.len()));
        let cursor = (self.above.len() + row, column);
        let wrote = self.out.escape_ascii();
        // Rows in which nothing stands need not be there.
        let is_whole = found.iter().eq(&expected) || trimmed(&found) == trimmed(&expected);
        assert!(
            is_whole,
            "found {found:#?}, not {expected:#?}, after {wrote}"
        );
        assert!(
            below.iter().all(String::is_empty),
            "below: {below:#?} after {wrote}"
        );
        assert_eq!(self.terminal.cursor(), cursor, "cursor after {wrote}");
        if let Some(eager) = &mut self.eager {
            eager.process(std::str::from_utf8(&self.out).unwrap());
            assert_eq!(trimmed(&eager.text(from)), trimmed(&expected), "{wrote}");
            assert_eq!((eager.row, eager.column), cursor, "cursor after {wrote}");
        }
    }

    #[track_caller]
    fn check(&mut self) {
        self.check_from(self.above.len().saturating_sub(30));
        let kept = self.editor.memory_bytes();
        assert!(kept <= Editor::memory_bytes_max(LINE_BYTES_MAX), "{kept}");
        if self.model.line.is_empty() && self.model.history.is_empty() {
            assert_eq!(kept, size_of::<Editor>());
        }
    }

    /// Types keys, whose bytes come in one read. `keys` are those that it completes.
    #[track_caller]
    fn type_in(&mut self, bytes: &[u8], keys: &[Key]) {
        let mut input = bytes;
        let mut keys = keys.iter();
        loop {
            self.out.clear();
            let typed = self.editor.type_in(&mut input, &mut self.out);
            let bytes_max = Editor::screen_bytes_max(LINE_BYTES_MAX);
            assert!(self.out.len() <= bytes_max, "{} bytes", self.out.len());
            let mut expected = None;
            while expected.is_none() {
                let Some(&key) = keys.next() else { break };
                let mut line = self.model.line.clone();
                if key == Key::Interrupt {
                    line.extend(["^", "C"].map(str::to_owned));
                }
                let rows = rows_left(&line, self.terminal.columns());
                expected = self.model.press(key);
                if matches!(expected, Some(Typed::Line(_) | Typed::Dropped)) {
                    let rows = rows.iter().map(|row| row.trim_end().to_owned());
                    self.above.extend(rows);
                }
            }
            assert_eq!(typed, expected);
            self.check();
            if typed.is_none() {
                break;
            }
        }
        assert_eq!(input, b"");
    }

    /// Types text whose characters are keys each.
    #[track_caller]
    fn text(&mut self, text: &str) {
        let keys: Vec<_> = text.chars().map(Key::Character).collect();
        self.type_in(text.as_bytes(), &keys);
    }

    /// Shows messages above the line.
    #[track_caller]
    fn messages(&mut self, messages: &[String]) {
        let lines = messages.iter().map(|message| format!("{message}\r\n"));
        let text = lines.collect::<String>();
        self.out.clear();
        self.editor.above(text.as_bytes(), &mut self.out);
        for message in messages {
            let characters: Vec<_> = message.chars().map(String::from).collect();
            let rows = rows_left(&characters, self.terminal.columns());
            self.above
                .extend(rows.iter().map(|row| row.trim_end().to_owned()));
        }
        self.check();
    }

    /// Gives the window another size. The terminal cuts rows off or leaves them, as xterm does.
    #[track_caller]
    fn resize(&mut self, columns: u16, rows: u16) {
        let (_, (row, _)) = self.line();
        let were = self.terminal.columns();
        self.terminal.parser.set_size(size(rows), size(columns));
        // What has left the screen stays there.
        let begun = (self.terminal.cursor().0 - row).max(self.terminal.rows_gone());
        let text = self.terminal.text(0);
        self.out.clear();
        self.editor.resize(columns, rows, &mut self.out);
        self.terminal.parser.process(&std::mem::take(&mut self.out));
        let (_, (row, _)) = self.line();
        let begins = self.terminal.cursor().0 - row;
        // In a wider window a part of the line may be left above it.
        assert!(begins >= begun && (begins == begun || columns > were));
        self.above = text[..begins].to_vec();
        self.check_from(0);
    }
}

/// Rows without the empty ones at their end.
fn trimmed(rows: &[String]) -> &[String] {
    let end = rows.iter().rposition(|row| !row.is_empty());
    &rows[..end.map_or(0, |at| at + 1)]
}

/// A key and how a terminal sends it.
fn random_key(rng: &mut Rng, model: &Model) -> (Key, Vec<u8>) {
    let character = |c: char| (Key::Character(c), c.to_string().into_bytes());
    let keys: &[(Key, &str)] = &[
        (Key::Left, "\x1b[D"),
        (Key::Left, "\x02"),
        (Key::Right, "\x1bOC"),
        (Key::WordLeft, "\x1b[1;5D"),
        (Key::WordRight, "\x1bf"),
        (Key::Home, "\x1b[1~"),
        (Key::End, "\x05"),
        (Key::Older, "\x1b[A"),
        (Key::Older, "\x10"),
        (Key::Newer, "\x1b[B"),
        (Key::Backspace, "\x7f"),
        (Key::Backspace, "\x08"),
        (Key::Delete, "\x1b[3~"),
        (Key::DeleteOrEnd, "\x04"),
        (Key::EraseWord, "\x17"),
        (Key::EraseBefore, "\x15"),
        (Key::EraseAfter, "\x0b"),
        (Key::Interrupt, "\x03"),
        (Key::Return, "\r"),
        (Key::Invalid, "\u{202e}"),
        (Key::Invalid, "\x1b[5~"),
    ];
    match rng.u8(..100) {
        0..45 => character(rng.lowercase()),
        45..55 => character(' '),
        55..70 => character(rng.choice(['é', '中', '한', '🦆', 'ß']).unwrap()),
        // The terminal shows only a few in one place.
        70..75 if !has_marks(model) => character('\u{301}'),
        70..78 => character('x'),
        _ => {
            let (key, bytes) = rng.choice(keys).unwrap();
            (*key, bytes.as_bytes().to_vec())
        }
    }
}

fn has_marks(model: &Model) -> bool {
    let before = model.cursor.checked_sub(1).map(|at| &model.line[at]);
    before.is_some_and(|character| character.chars().count() > 3)
}

/// Runs a test for each width of the window and for each seed.
fn for_seeds(test: impl Fn(u16, &mut Rng)) {
    play_seeds(SEEDS, |seed, steps| {
        for columns in COLUMNS {
            steps.push(format!("{columns} columns"));
            test(columns, &mut Rng::with_seed(seed));
        }
    });
}

/// Takes one step of a person or of the room.
fn random_step(desk: &mut Desk, rng: &mut Rng, rest: &mut (Vec<u8>, Option<Key>)) {
    if rng.u8(..6) == 0 {
        let message = |rng: &mut Rng| {
            let len = rng.usize(..100);
            (0..len)
                .map(|_| rng.choice(['a', 'b', 'é', ' ']).unwrap())
                .collect::<String>()
        };
        let count = rng.usize(1..4);
        let mut messages: Vec<_> = (0..count).map(|_| format!("<{}", message(rng))).collect();
        // After a full row, terminals differ about what CR LF does.
        let columns = usize::from(desk.terminal.columns());
        let is_full = |message: &&mut String| message.chars().count() % columns == 0;
        if desk.eager.is_some() {
            messages
                .iter_mut()
                .filter(is_full)
                .for_each(|message| message.push('.'));
        }
        desk.messages(&messages);
        return;
    }
    let (mut bytes, key) = std::mem::take(rest);
    let mut keys: Vec<_> = key.into_iter().collect();
    for _ in 0..rng.choice([0, 1, 1, 1, 5, 40]).unwrap() {
        let (key, sent) = random_key(rng, &desk.model);
        bytes.extend(sent);
        keys.push(key);
        if has_marks(&desk.model) {
            break;
        }
    }
    // A read may end within a key.
    let (key, sent) = random_key(rng, &desk.model);
    let cut = rng.usize(..sent.len());
    if cut > 0 {
        bytes.extend(&sent[..cut]);
        *rest = (sent[cut..].to_vec(), Some(key));
    }
    desk.type_in(&bytes, &keys);
}

#[test]
fn the_line_is_whole_and_last_and_messages_are_in_order_above_it_whatever_happens() {
    for_seeds(|columns, rng| {
        let mut desk = Desk::new(columns, rng.u16(2..30));
        if columns > 1 && rng.bool() {
            desk.eager = Some(Eager::new(columns));
        }
        let mut rest = Default::default();
        for _ in 0..150 {
            random_step(&mut desk, rng, &mut rest);
        }
        desk.out.clear();
        desk.check_from(0);
    });
}

#[test]
fn the_line_is_whole_and_last_in_a_window_that_changes_its_size() {
    for_seeds(|_, rng| {
        let mut desk = Desk::new(80, 24);
        let mut rest = Default::default();
        for _ in 0..150 {
            random_step(&mut desk, rng, &mut rest);
            if rng.u8(..5) == 0 {
                let columns = [rng.choice(COLUMNS).unwrap(), rng.u16(1..100)];
                desk.resize(rng.choice(columns).unwrap(), rng.u16(2..30));
            }
        }
    });
}

#[test]
fn typing_at_the_end_of_the_line_writes_what_was_typed_and_nothing_else() {
    let mut editor = Editor::new(5, 24, LINE_BYTES_MAX);
    let mut typed = |input: &str| {
        let mut out = Vec::new();
        assert_eq!(editor.type_in(&mut input.as_bytes(), &mut out), None);
        out.escape_ascii().to_string()
    };
    assert_eq!(typed("a"), "a");
    assert_eq!(typed("bc"), "bc");
    assert_eq!(typed("\u{7f}"), r"\x08\x1b[J");
    assert_eq!(typed("\x1b[D"), r"\x08");
    assert_eq!(typed("\x1b[D\x1b[D\x1b[C\x1b[C\x1b[C"), r"\x1b[C");
    assert_eq!(typed("\x1b[D\x1b[C"), "");
    // A full row.
    assert_eq!(typed("cde"), r"cde \r");
    assert_eq!(typed("f"), "f");
    assert_eq!(typed("\x01"), r"\x1b[A\r");
    assert_eq!(typed("\x05"), r"\x1b[B\x1b[C");
}

#[test]
fn return_leaves_the_line_and_goes_to_the_row_below() {
    for (typed, written) in [
        ("", r"\r\n"),
        ("abc", r"abc\r\n"),
        // After a full row the cursor is there.
        ("abcde", r"abcde \r"),
        ("abcde\x02", r"abcde \r"),
        ("abc\x01", r"abc\r\n"),
    ] {
        let mut editor = Editor::new(5, 24, LINE_BYTES_MAX);
        for end in ["\r", "\r\n", "\n", "\r\0"] {
            let mut out = Vec::new();
            let text = format!("{typed}{end}");
            let found = editor.type_in(&mut text.as_bytes(), &mut out);
            let line = typed.trim_end_matches(['\x01', '\x02']);
            assert_eq!(found, Some(Typed::Line(line.to_owned())));
            assert_eq!(out.escape_ascii().to_string(), written, "{text:?}");
            // An LF of before is not an empty line.
            assert_eq!(editor.type_in(&mut &end.as_bytes()[1..], &mut out), None);
            editor.type_in(&mut &b"x\x15"[..], &mut out);
        }
    }
}

#[test]
fn a_dropped_line_is_marked() {
    for (typed, written) in [
        ("", r"^C\r\n"),
        ("abc", r"abc^C \r"),
        ("abcd\x01", r"abcd^ \rC\r\n"),
        ("abcde", r"abcde \r^C\r\n"),
    ] {
        let mut editor = Editor::new(5, 24, LINE_BYTES_MAX);
        let mut out = Vec::new();
        let text = format!("{typed}\x03");
        let found = editor.type_in(&mut text.as_bytes(), &mut out);
        assert_eq!(found, Some(Typed::Dropped));
        assert_eq!(out.escape_ascii().to_string(), written, "{text:?}");
    }
    // The mark takes no room in the line, and its own row in the narrowest window.
    for columns in 1..8 {
        let mut desk = Desk::new(columns, 4);
        for len in [0, 1, 5, 12, LINE_BYTES_MAX] {
            desk.text(&"x".repeat(len));
            desk.type_in(b"\x01\x03", &[Key::Home, Key::Interrupt]);
        }
    }
}

#[test]
fn pasted_lines_are_lines() {
    let mut desk = Desk::new(10, 5);
    let lines = (0..120).map(|n| format!("line {n} of what was pasted\r"));
    let text = lines.collect::<String>() + "and this";
    let keys = text.chars().map(|c| match c {
        '\r' => Key::Return,
        c => Key::Character(c),
    });
    let keys: Vec<_> = keys.collect();
    desk.type_in(text.as_bytes(), &keys);
    assert_eq!(desk.model.line.concat(), "and this");
}

#[test]
fn what_a_line_cannot_hold_rings_the_bell_once_a_read_and_is_not_taken_in() {
    for refused in [
        &b"\xff"[..],
        b"\xe9\xe9",
        b"\xc2\x9b",
        "\u{202e}".as_bytes(),
        "\u{2028}\u{2029}".as_bytes(),
    ] {
        let mut editor = Editor::new(80, 24, LINE_BYTES_MAX);
        let mut out = Vec::new();
        let input = [b"a", refused, b"b"].concat();
        assert_eq!(editor.type_in(&mut &input[..], &mut out), None);
        assert_eq!(out, b"\x07ab");
        let typed = editor.type_in(&mut &b"\r"[..], &mut out);
        assert_eq!(typed, Some(Typed::Line("ab".to_owned())));
    }
    // A mark needs a character that it belongs to.
    let mut editor = Editor::new(80, 24, LINE_BYTES_MAX);
    let mut out = Vec::new();
    editor.type_in(&mut "\u{301}e\u{301}\r".as_bytes(), &mut out);
    assert_eq!(out, "\u{7}e\u{301}\r\n".as_bytes());
    // It can have 15 of two bytes, and Scotland its flag.
    for (text, taken) in [
        ("e".to_owned() + &"\u{301}".repeat(20), 31),
        (
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}".to_owned(),
            28,
        ),
    ] {
        editor.type_in(&mut text.as_bytes(), &mut out);
        let typed = editor.type_in(&mut &b"\r"[..], &mut out);
        assert_eq!(typed, Some(Typed::Line(text[..taken].to_owned())));
    }
}

#[test]
fn words_end_at_blanks() {
    // A mark on a blank belongs to the blank.
    for (keys, line) in [
        ("\x17", "ab  \u{301}c\u{3000}|"),
        ("\x17\x1b\x7f", "ab  \u{301}|"),
        ("\x01\x1bf", "ab|  \u{301}c\u{3000}d "),
        ("\x01\x1bf\x1bf", "ab  \u{301}c|\u{3000}d "),
        ("\x01\x1bf\x1bf\x1bf", "ab  \u{301}c\u{3000}d| "),
        ("\x01\x1bf\x1bf\x1bf\x1bf", "ab  \u{301}c\u{3000}d |"),
        ("\x1bb\x1bb", "ab  \u{301}|c\u{3000}d "),
        ("\x1bb\x1bb\x1bb", "|ab  \u{301}c\u{3000}d "),
        ("\x15 \x1bb", "| "),
    ] {
        let mut editor = Editor::new(80, 24, LINE_BYTES_MAX);
        let typed = format!("ab  \u{301}c\u{3000}d {keys}|\r");
        let found = editor.type_in(&mut typed.as_bytes(), &mut Vec::new());
        assert_eq!(found, Some(Typed::Line(line.to_owned())), "{keys:?}");
    }
}

#[test]
fn a_line_has_at_most_as_many_bytes_as_it_may() {
    let mut editor = Editor::new(80, 24, 7);
    let mut out = Vec::new();
    editor.type_in(&mut "123456éx".as_bytes(), &mut out);
    assert_eq!(out, b"\x07123456x");
    out.clear();
    editor.type_in(&mut &b"y\x7fz"[..], &mut out);
    assert_eq!(out, b"\x07\x08\x1b[Jz");
    let typed = editor.type_in(&mut &b"\r"[..], &mut out);
    assert_eq!(typed, Some(Typed::Line("123456z".to_owned())));
}

#[test]
fn the_half_typed_line_comes_back_behind_the_history() {
    let mut desk = Desk::new(20, 24);
    for line in ["one", "two"] {
        desk.text(line);
        desk.type_in(b"\r", &[Key::Return]);
    }
    desk.text("half");
    for (key, bytes, line) in [
        (Key::Older, "\x1b[A", "two"),
        (Key::Older, "\x1b[A", "one"),
        (Key::Older, "\x10", "one"),
        (Key::Newer, "\x0e", "two"),
        (Key::Newer, "\x1b[B", "half"),
        (Key::Newer, "\x1b[B", "half"),
    ] {
        desk.type_in(bytes.as_bytes(), &[key]);
        assert_eq!(desk.model.line.concat(), line);
    }
}

#[test]
fn interrupt_end_and_telnets_keys_do_what_they_say() {
    let mut editor = Editor::new(80, 24, LINE_BYTES_MAX);
    let mut out = Vec::new();
    assert_eq!(
        editor.type_in(&mut &b"\x04"[..], &mut out),
        Some(Typed::End)
    );
    assert_eq!(editor.type_in(&mut &b"ab\x01\x04"[..], &mut out), None);
    assert_eq!(editor.press(Key::EraseLine, &mut out), None);
    assert_eq!(
        editor.type_in(&mut &b"\x04"[..], &mut out),
        Some(Typed::End)
    );
    out.clear();
    assert_eq!(editor.type_in(&mut &b"abc"[..], &mut out), None);
    assert_eq!(editor.press(Key::Backspace, &mut out), None);
    assert_eq!(editor.press(Key::Interrupt, &mut out), Some(Typed::Dropped));
    assert_eq!(out, b"abc\x08\x1b[J^C\r\n");
    // What was dropped is not in the history, and what is left at the end comes back.
    assert_eq!(
        editor.type_in(&mut &b"\x10\x1b[Ahalf\x01"[..], &mut out),
        None
    );
    out.clear();
    assert_eq!(editor.finish(&mut out), "half");
    assert_eq!(out, b"\x1b[4C\r\n");
}

#[test]
fn clearing_the_screen_leaves_the_line_alone_on_it() {
    let mut desk = Desk::new(10, 6);
    desk.messages(&["one".to_owned(), "two".to_owned()]);
    desk.text("a line of two rows");
    desk.above = Vec::new();
    desk.type_in(b"\x02\x0c", &[Key::Left, Key::ClearScreen]);
    desk.check_from(0);
}

/// Types text on an empty line, with TABs that complete the names above, and returns what the line is
/// then, and what was listed. A `|` shows where the cursor is.
fn complete(text: &str) -> (String, Vec<String>) {
    let mut editor = Editor::new(80, 24, 40);
    let mut listed = Vec::new();
    let mut input = text.as_bytes();
    let mut out = Vec::new();
    while let Some(typed) = editor.type_in(&mut input, &mut out) {
        assert_eq!(typed, Typed::Tab);
        listed.extend(editor.complete(&NAMES, &mut out));
    }
    editor.type_in(&mut &b"|"[..], &mut out);
    (editor.finish(&mut out), listed)
}

#[test]
fn tab_completes_names_as_irssi_does() {
    for (typed, line) in [
        ("bo\t", "bob: |"),
        ("B\t", "bob: |"),
        ("hi bo\t", "hi bob |"),
        ("hi bo\t!", "hi bob !|"),
        // What stands behind stays, and a space is not doubled.
        ("bo hi\x01\x06\x06\t", "bob:| hi"),
        ("bohi\x01\x06\x06\t", "bob: |hi"),
        ("ANNA\t", "Annabel: |"),
        ("zO\t", "zoë: |"),
        ("/w\t", "/who |"),
        ("hi /w\t", "hi /who |"),
        // What several names have in common.
        ("a\t", "ann|"),
        ("hi A\t", "hi Ann|"),
        ("x\t", "x |"),
        // Pasted text keeps its words apart.
        ("\t\t", "  |"),
        ("bob \t", "bob  |"),
        ("annab\t\t", "Annabel:  |"),
        ("x\ty\tz", "x y z|"),
        ("\tif x ==\x20\t1,\t\t2", " if x ==  1,  2|"),
        ("a  b\x02\x02\t", "a  | b"),
        // Too long a line.
        (
            "123456789 123456789 123456789 123456 bo\t",
            "123456789 123456789 123456789 123456 bo|",
        ),
    ] {
        assert_eq!(complete(typed), (line.to_owned(), vec![]), "{typed:?}");
    }
}

#[test]
fn a_tab_that_completes_nothing_is_a_space_and_rings_only_behind_a_word() {
    for (typed, written) in [("", " "), ("x", "x\u{7} "), ("x ", "x  ")] {
        let mut editor = Editor::new(80, 24, 40);
        let mut out = Vec::new();
        let text = typed.to_owned() + "\t";
        let found = editor.type_in(&mut text.as_bytes(), &mut out);
        assert_eq!(found, Some(Typed::Tab));
        assert_eq!(editor.complete(&NAMES, &mut out), None);
        assert_eq!(out, written.as_bytes());
    }
    // A line that is full rings as well.
    let mut editor = Editor::new(80, 24, 2);
    let mut out = Vec::new();
    editor.type_in(&mut &b"x \t"[..], &mut out);
    editor.complete(&NAMES, &mut out);
    assert_eq!(out, b"x \x07");
}

#[test]
fn a_second_tab_lists_names_that_are_left() {
    let all = ["ann Annabel annika".to_owned()];
    assert_eq!(complete("a\t\t"), ("ann|".to_owned(), all.to_vec()));
    assert_eq!(complete("hi ann\t\t\t").1, [&all[..], &all].concat());
    assert_eq!(complete("ann\t!\x7f\t").1, [""; 0]);

    let names: Vec<_> = (0..50).map(|n| format!("bob{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut editor = Editor::new(80, 24, 40);
    let mut out = Vec::new();
    let mut input = &b"bob\t\t"[..];
    assert_eq!(editor.type_in(&mut input, &mut out), Some(Typed::Tab));
    assert_eq!(editor.complete(&names, &mut out), None);
    assert_eq!(out, b"bob\x07");
    assert_eq!(editor.type_in(&mut input, &mut out), Some(Typed::Tab));
    let listed = editor.complete(&names, &mut out).unwrap();
    assert!(listed.starts_with("bob0 bob1 ") && listed.ends_with(" bob39 and more"));
}

#[test]
fn a_window_of_no_size_is_taken_for_80_by_24() {
    let mut out = Vec::new();
    let mut editor = Editor::new(0, 0, LINE_BYTES_MAX);
    editor.type_in(&mut &b"x".repeat(80)[..], &mut out);
    assert_eq!(out, [&b"x".repeat(80)[..], b" \r"].concat());
    out.clear();
    editor.resize(80, 24, &mut out);
    assert_eq!(out, b"");
    editor.resize(81, 0, &mut out);
    assert_eq!(out, [b"\r\x1b[J", &b"x".repeat(80)[..]].concat());
    out.clear();
    editor.resize(0, 24, &mut out);
    assert_eq!(out, [b"\r\x1b[J", &b"x".repeat(80)[..], b" \r"].concat());
}

/// What a terminal shows that wraps its rows again when its window changes: what was said, and a line
/// with the cursor before one of its characters.
fn rewrapped(columns: u16, said: &str, line: &[String], cursor: usize) -> Terminal {
    let mut terminal = Terminal::new(columns, 24);
    terminal.parser.process(format!("{said}\r\n").as_bytes());
    let (rows, places) = lay_out(line, columns);
    terminal.parser.process(rows.join("\r\n").as_bytes());
    let up = rows.len() - 1 - places[cursor].0;
    for _ in 0..up {
        terminal.parser.process(b"\x1b[A");
    }
    terminal.parser.process(b"\r");
    for _ in 0..places[cursor].1 {
        terminal.parser.process(b"\x1b[C");
    }
    terminal
}

#[test]
fn terminals_that_wrap_rows_again_lose_nothing_either() {
    for_seeds(|columns, rng| {
        if columns < 3 {
            return;
        }
        for _ in 0..20 {
            let (mut desk, other) = (Desk::new(columns, 24), rng.u16(3..150));
            let len = rng.usize(..20);
            let text: String = (0..len)
                .map(|_| rng.choice(['a', 'é', '中']).unwrap())
                .collect();
            desk.text(&text);
            for _ in 0..rng.usize(..=len) {
                desk.type_in(b"\x02", &[Key::Left]);
            }
            let line = desk.model.line.clone();
            let mut terminal = rewrapped(other, "<ann> hi", &line, desk.model.cursor);
            desk.out.clear();
            desk.editor.resize(other, 24, &mut desk.out);
            terminal.parser.process(&desk.out);
            let rows = terminal.text(0);
            let said = rows_left(
                &"<ann> hi".chars().map(String::from).collect::<Vec<_>>(),
                other,
            );
            assert_eq!(
                rows[..said.len()],
                said.iter().map(|row| row.trim_end()).collect::<Vec<_>>()
            );
            desk.terminal = terminal;
            let (_, (row, _)) = desk.line();
            let begins = desk.terminal.cursor().0 - row;
            // In a narrower window a part of the line may be left above it.
            assert!(begins == said.len() || other < columns);
            desk.above = rows[..begins].to_vec();
            desk.out.clear();
            desk.check_from(0);
        }
    });
}

/// The only characters for which the editor and the terminal differ: U+FE0F, which in this terminal
/// makes some symbols before it wide and in others does not, and U+FFFD, which it does not show.
#[test]
fn the_terminal_has_the_same_width_for_each_character() {
    let mut differ = Vec::new();
    // Nothing is assigned between, and what is private comes after.
    for c in ('\u{a0}'..'\u{40000}').chain('\u{e0000}'..'\u{e1000}') {
        let mut out = Vec::new();
        let mut editor = Editor::new(10, 24, LINE_BYTES_MAX);
        let text = format!("a ☎{c}");
        editor.type_in(&mut text.as_bytes(), &mut out);
        if out[0] == 7 {
            continue; // no line may contain it
        }
        // Goes to the telephone, by as many columns as there are from there to the end.
        editor.type_in(&mut &b"\x1bb"[..], &mut out);
        let mut terminal = Terminal::new(10, 2);
        terminal.parser.process(&out);
        if terminal.cursor() != (0, 2) {
            differ.push(c);
        }
    }
    assert_eq!(differ, ['\u{fe0f}', '\u{fffd}']);
}

/// A stream as a terminal may send it, or as it never would.
fn random_stream(rng: &mut Rng) -> Vec<u8> {
    let pieces: &[&[u8]] = &[
        b"a",
        b"b c",
        b"an",
        b" ",
        b"\t",
        b"\t\t",
        b"\r",
        b"\n",
        b"\0",
        b"\x1b",
        b"\x1b[",
        b"\x1bO",
        b"[",
        b"A",
        b"B",
        b"C",
        b"D",
        b"H",
        b"1",
        b";5",
        b"3~",
        b"\x1b[A",
        b"\x1b[D",
        b"\x1b[3~",
        b"\x01",
        b"\x02",
        b"\x04",
        b"\x05",
        b"\x06",
        b"\x08",
        b"\x0b",
        b"\x0e",
        b"\x10",
        b"\x15",
        b"\x17",
        b"\x7f",
        b"\x03",
        b"\xc3",
        b"\xa9",
        b"\xe4\xb8",
        b"\xad",
        b"\xf0\x9f",
        b"\xa6\x86",
        b"\xff",
        b"x\xcc\x81",
        b"hello there ",
    ];
    let count = rng.usize(..200);
    let some = |_| match rng.u8(..8) {
        0 => "é中🦆한".as_bytes(),
        _ => rng.choice(pieces).unwrap(),
    };
    (0..count).map(some).collect::<Vec<_>>().concat()
}

/// What comes of a stream that comes in these reads: what was typed, the line, what the screen shows.
fn outcome<'i>(
    columns: u16,
    rows: u16,
    reads: impl Iterator<Item = &'i [u8]>,
) -> (Vec<String>, String, Vec<String>, (usize, usize)) {
    let mut terminal = Terminal::new(columns, rows);
    let mut editor = Editor::new(columns, rows, LINE_BYTES_MAX);
    let mut events = Vec::new();
    for mut read in reads {
        loop {
            let mut out = Vec::new();
            let typed = editor.type_in(&mut read, &mut out);
            if typed == Some(Typed::Tab) {
                let names = editor.complete(&NAMES, &mut out);
                let text = names.map(|names| format!("-- {names}\r\n"));
                editor.above(text.unwrap_or_default().as_bytes(), &mut out);
            }
            terminal.parser.process(&out);
            match typed {
                Some(typed) => events.push(format!("{typed:?}")),
                None => break,
            }
        }
        assert_eq!(read, b"");
    }
    let shown = trimmed(&terminal.text(0)).to_vec();
    let line = editor.finish(&mut Vec::new());
    (events, line, shown, terminal.cursor())
}

#[test]
fn a_stream_means_the_same_however_reads_cut_it() {
    for_seeds(|columns, rng| {
        for _ in 0..6 {
            let rows = rng.u16(2..30);
            let stream = random_stream(rng);
            let whole = outcome(columns, rows, std::iter::once(&stream[..]));
            let bytes = outcome(columns, rows, stream.chunks(1));
            assert_eq!(whole, bytes, "{}", stream.escape_ascii());
            let size = rng.usize(2..20);
            let pieces = outcome(columns, rows, stream.chunks(size));
            assert_eq!(whole, pieces, "{}", stream.escape_ascii());
        }
    });
}

/// Checks that a terminal gets characters that a line may contain, and what moves its cursor and
/// erases.
#[track_caller]
fn check_written(out: &[u8]) {
    let text = std::str::from_utf8(out).unwrap();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\x1b' {
            let sequence = rest.strip_prefix('[').unwrap();
            let sequence = sequence.trim_start_matches(|c: char| c.is_ascii_digit());
            assert!(
                sequence.starts_with(['A', 'B', 'C', 'D', 'H', 'J']),
                "{text:?}"
            );
            rest = sequence;
        } else {
            let is_known = !c.is_control() || "\r\n\x07\x08".contains(c);
            assert!(is_known, "{text:?}");
        }
    }
}

#[test]
fn whatever_comes_neither_takes_more_than_it_may_nor_controls_the_terminal() {
    for_seeds(|columns, rng| {
        let max = rng.usize(..200);
        let mut editor = Editor::new(columns, rng.u16(..30), max);
        for _ in 0..20 {
            let random: Vec<_> = (0..rng.usize(..100)).map(|_| rng.u8(..)).collect();
            let input = [random_stream(rng), random].concat();
            let mut input = &input[..];
            let mut out = Vec::new();
            while let Some(typed) = editor.type_in(&mut input, &mut out) {
                assert!(out.len() <= Editor::screen_bytes_max(max), "{}", out.len());
                check_written(&out);
                out.clear();
                match typed {
                    Typed::Tab => _ = editor.complete(&NAMES, &mut out),
                    Typed::Line(line) => assert!(line.len() <= max),
                    Typed::Dropped | Typed::End => {}
                }
                check_written(&out);
                out.clear();
            }
            assert!(out.len() <= Editor::screen_bytes_max(max), "{}", out.len());
            assert!(editor.memory_bytes() <= Editor::memory_bytes_max(max));
            match rng.u8(..4) {
                0 => editor.above(b"<bob> hi\r\n", &mut out),
                1 => editor.resize(
                    rng.choice([0, 1, 2, 80, u16::MAX]).unwrap(),
                    rng.u16(..),
                    &mut out,
                ),
                2 => {
                    _ = editor.press(
                        rng.choice([Key::Backspace, Key::EraseLine, Key::Interrupt])
                            .unwrap(),
                        &mut out,
                    )
                }
                _ => {}
            }
            check_written(&out);
        }
    });
}

#[test]
fn memory_is_what_the_bound_says_and_goes_back_with_the_line() {
    let mut editor = Editor::new(80, 24, LINE_BYTES_MAX);
    let idle = size_of::<Editor>();
    let mut out = Vec::new();
    let mut type_in = |editor: &mut Editor, text: &str| {
        let mut input = text.as_bytes();
        while editor.type_in(&mut input, &mut out).is_some() {}
        editor.memory_bytes()
    };
    assert_eq!(type_in(&mut editor, ""), idle);
    assert_eq!(type_in(&mut editor, "x"), idle + 64);
    assert_eq!(type_in(&mut editor, "\x7f"), idle);
    assert_eq!(type_in(&mut editor, "x\x03"), idle);
    // All that it may keep: full lines in the history, one of them recalled, and a full draft.
    for n in 0..20 {
        type_in(&mut editor, &format!("{n}{}\r", "x".repeat(LINE_BYTES_MAX)));
    }
    let kept = type_in(&mut editor, &("y".repeat(LINE_BYTES_MAX) + "\x10"));
    assert_eq!(kept, Editor::memory_bytes_max(LINE_BYTES_MAX));
    assert_eq!(type_in(&mut editor, "\x03"), kept - 2 * LINE_BYTES_MAX);
}
