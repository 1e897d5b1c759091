//! Edits a line for a terminal that sends each key and shows what it gets, as readline would.
//!
//! The keys of one read are carried out first; then the screen is drawn once. So the line's length
//! bounds what an editor writes, however many keys come at once.

use super::history::{HISTORY_BYTES_MAX, History};
pub use super::keys::Key;
use super::keys::Keys;
use super::screen::{Screen, first_end, last_start, width};
use crate::protocol::is_permitted;
use crate::state::saved;

const BELL: u8 = 7;
/// Shown behind a line that Ctrl-C has dropped.
const DROPPED: &str = "^C";
/// The memory for a line grows by this many bytes.
const STEP_BYTES: usize = 64;
/// The most that a character takes with the code points without width that belong to it, in bytes. The
/// longest that people use are flags of parts of countries: seven code points of four bytes.
const CHARACTER_BYTES_MAX: usize = 32;
/// How many names a second TAB shows. It says if there are more.
pub const NAMES_SHOWN_MAX: usize = 40;
/// The most that moving the cursor, erasing, the bell and [`DROPPED`] add to what [`Editor::type_in`]
/// writes.
const MOVES_BYTES_MAX: usize = 64;

/// What a person has typed that the editor does not deal with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line. It stays on the screen, and the cursor is below it.
    Line(String),
    /// TAB: the caller gives [`Editor::complete`] the names.
    Tab,
    /// Ctrl-C: the line is forgotten. It stays on the screen, marked, and the cursor is below it.
    Dropped,
    /// Ctrl-D on an empty line.
    End,
}

/// A line that somebody edits, with the lines before it and the window that shows it.
#[derive(Debug)]
pub struct Editor {
    keys: Keys,
    screen: Screen,
    /// The line. It never begins with a code point without width.
    line: String,
    /// Before which byte of it the cursor is. It never cuts off code points without width.
    cursor: usize,
    line_bytes_max: usize,
    /// How many bytes of the line are as they were drawn last.
    unchanged: usize,
    history: History,
    /// How far back in the history the line comes from; 0 if it is not from there.
    recalled: usize,
    /// The line that was being typed when somebody went back in the history.
    draft: String,
    /// Whether the bell is to ring when the screen is next drawn.
    is_bell_due: bool,
    /// Whether the screen is to be cleared first.
    is_clearing_due: bool,
    /// Whether the last key was a TAB that several names followed from.
    is_ambiguous: bool,
}

impl Editor {
    /// Begins with an empty line, on a terminal whose cursor is at the beginning of an empty row. A
    /// size of 0 is unknown. Lines have at most `line_bytes_max` bytes.
    pub fn new(columns: u16, rows: u16, line_bytes_max: usize) -> Editor {
        Editor {
            keys: Keys::new(),
            screen: Screen::new(columns, rows),
            line: String::new(),
            cursor: 0,
            line_bytes_max,
            unchanged: 0,
            history: History::default(),
            recalled: 0,
            draft: String::new(),
            is_bell_due: false,
            is_clearing_due: false,
            is_ambiguous: false,
        }
    }

    /// The most memory that an editor keeps between calls, in bytes, in three blocks besides itself.
    /// While one of them grows, it may be there twice.
    pub fn memory_bytes_max(line_bytes_max: usize) -> usize {
        size_of::<Editor>() + 2 * line_bytes_max + HISTORY_BYTES_MAX
    }

    /// Whether it could have got there with lines of at most `line_bytes_max` bytes.
    pub fn is_sound(&self, line_bytes_max: usize) -> bool {
        let is_place = |at| self.line.is_char_boundary(at);
        let fits = self.line.len().max(self.draft.len()) <= line_bytes_max;
        fits && self.line_bytes_max == line_bytes_max
            && is_place(self.cursor)
            && is_place(self.unchanged)
            && self.screen.is_sound()
            && self.history.is_sound()
    }

    /// How much memory it keeps, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let lines = self.line.capacity() + self.draft.capacity();
        size_of::<Editor>() + lines + self.history.memory_bytes()
    }

    /// The most that one call of [`Editor::type_in`] or [`Editor::press`] writes, in bytes; the others
    /// add to that the text which they show. The narrowest window takes most: there, two bytes follow
    /// each character to end its row.
    pub fn screen_bytes_max(line_bytes_max: usize) -> usize {
        3 * line_bytes_max + MOVES_BYTES_MAX
    }

    /// Takes keys off the front of `input` until one is for the caller, or takes in all of `input` and
    /// returns `None`. Appends to `out` what the terminal is to show.
    pub fn type_in(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Typed> {
        while let Some(key) = self.keys.next(input) {
            if let Some(typed) = self.carry_out(key, out) {
                return Some(typed);
            }
        }
        self.draw(out);
        None
    }

    /// Does what a key does, for one that comes otherwise than as bytes: in a telnet command.
    pub fn press(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Typed> {
        let typed = self.carry_out(key, out);
        if typed.is_none() {
            self.draw(out);
        }
        typed
    }

    /// Shows `text` above the line. It consists of whole lines, which end in CR LF.
    pub fn above(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.screen.withdraw(out);
        self.unchanged = 0;
        out.extend(text);
        self.draw(out);
    }

    /// The window has another size, or 0 for one that is unknown.
    pub fn resize(&mut self, columns: u16, rows: u16, out: &mut Vec<u8>) {
        if self.screen.differs(columns, rows) {
            self.screen.resize(columns, rows, &self.line, out);
            self.unchanged = 0;
            self.draw(out);
        }
    }

    /// Completes the word before the cursor to the name that begins with it, without regard to case;
    /// if there are several, to what they have in common. At the beginning of a line, a colon follows
    /// the name, as in irssi and WeeChat, unless it is a command's. If no word stands there, or no name
    /// begins with it, TAB is a space.
    ///
    /// On a second TAB returns the names, which the caller shows above the line. If there are more than
    /// [`NAMES_SHOWN_MAX`], they may not be all, and nothing is completed.
    pub fn complete(&mut self, names: &[impl AsRef<str>], out: &mut Vec<u8>) -> Option<String> {
        let was_ambiguous = std::mem::take(&mut self.is_ambiguous);
        let start = self.word_start(self.cursor);
        let word = &self.line[start..self.cursor];
        let is_begun = |name: &&str| common_len(name, word) == word.len();
        let names = names.iter().map(AsRef::as_ref);
        let begun: Vec<&str> = names.filter(is_begun).collect();
        let first = begun.split_first().filter(|_| !word.is_empty());
        let Some((name, others)) = first else {
            // TABs in pasted text keep its words apart.
            self.is_bell_due = !word.is_empty();
            self.insert(' ');
            self.draw(out);
            return None;
        };
        let common = others.iter().map(|other| common_len(name, other)).min();
        let common = match begun.len() > NAMES_SHOWN_MAX {
            true => Some(word.len()),
            false => common,
        };
        let (from, text) = match common {
            Some(common) => {
                self.is_ambiguous = true;
                if common == word.len() && was_ambiguous {
                    return Some(listing(&begun));
                }
                self.is_bell_due = true;
                (self.cursor, name[word.len()..common].to_owned())
            }
            None => {
                let is_address = start == 0 && !name.starts_with('/');
                let is_spaced = self.line[self.cursor..].starts_with(' ');
                let colon = if is_address { ":" } else { "" };
                let space = if is_spaced { "" } else { " " };
                (start, [*name, colon, space].concat())
            }
        };
        self.replace_word(from, &text);
        self.draw(out);
        None
    }

    /// The word before the cursor, which TAB completes.
    pub fn word(&self) -> &str {
        &self.line[self.word_start(self.cursor)..self.cursor]
    }

    /// Leaves the line on the screen, with the cursor below it, and returns what was typed of it.
    pub fn finish(mut self, out: &mut Vec<u8>) -> String {
        match self.line.is_empty() {
            true => self.draw(out),
            false => self.screen.leave(&self.line, self.unchanged, "", out),
        }
        self.line
    }

    /// Carries out a key. If it is for the caller, the screen is drawn.
    fn carry_out(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Typed> {
        self.is_ambiguous &= key == Key::Complete;
        let (before, after) = self.line.split_at(self.cursor);
        match key {
            Key::Character(c) => self.insert(c),
            Key::Invalid => self.is_bell_due = true,
            Key::Return => {
                let line = self.leave("", out);
                self.history.keep(&line);
                return Some(Typed::Line(line));
            }
            Key::Complete => {
                self.draw(out);
                return Some(Typed::Tab);
            }
            Key::Interrupt => {
                self.leave(DROPPED, out);
                return Some(Typed::Dropped);
            }
            Key::DeleteOrEnd if self.line.is_empty() => {
                self.draw(out);
                return Some(Typed::End);
            }
            Key::Left => self.cursor = last_start(before),
            Key::Right => self.cursor += first_end(after),
            Key::WordLeft => self.cursor = self.last_word_start(),
            Key::WordRight => self.cursor = self.word_end(),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.line.len(),
            Key::Older => self.recall(self.recalled + 1),
            Key::Newer => self.recall(self.recalled.saturating_sub(1)),
            Key::Backspace => self.erase(last_start(before), self.cursor),
            Key::Delete | Key::DeleteOrEnd => {
                self.erase(self.cursor, self.cursor + first_end(after));
            }
            Key::EraseWord => self.erase(self.last_word_start(), self.cursor),
            Key::EraseBefore => self.erase(0, self.cursor),
            Key::EraseAfter => self.erase(self.cursor, self.line.len()),
            Key::EraseLine => self.erase(0, self.line.len()),
            Key::ClearScreen => self.is_clearing_due = true,
        }
        None
    }

    /// Draws what has changed.
    fn draw(&mut self, out: &mut Vec<u8>) {
        self.prepare(out);
        self.screen
            .draw(&self.line, self.cursor, self.unchanged, out);
        self.unchanged = self.line.len();
        if self.line.is_empty() {
            self.line = String::new();
        }
    }

    /// Leaves the line on the screen with `mark` behind it and the cursor below, and begins an empty one.
    fn leave(&mut self, mark: &str, out: &mut Vec<u8>) -> String {
        self.prepare(out);
        self.screen.leave(&self.line, self.unchanged, mark, out);
        self.cursor = 0;
        self.unchanged = 0;
        self.recalled = 0;
        self.draft = String::new();
        std::mem::take(&mut self.line)
    }

    /// Rings the bell and clears the screen, if that is due.
    fn prepare(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_bell_due) {
            out.push(BELL);
        }
        if std::mem::take(&mut self.is_clearing_due) {
            self.screen.clear(out);
            self.unchanged = 0;
        }
    }

    /// Inserts a character at the cursor if it is permitted and there is room. One without width
    /// belongs to the one before it, so there must be one.
    fn insert(&mut self, c: char) {
        let is_mark = width(c) == 0;
        let from = match is_mark {
            true => last_start(&self.line[..self.cursor]),
            false => self.cursor,
        };
        let bytes = self.cursor - from + c.len_utf8();
        let is_refused = !is_permitted(c)
            || c == '\t'
            || is_mark && (from == self.cursor || bytes > CHARACTER_BYTES_MAX);
        if is_refused || !self.make_room(c.len_utf8()) {
            self.is_bell_due = true;
            return;
        }
        self.unchanged = self.unchanged.min(from);
        self.line.insert(self.cursor, c);
        self.cursor += c.len_utf8();
    }

    /// Reserves memory for as many bytes more; false if the line would be too long.
    fn make_room(&mut self, bytes: usize) -> bool {
        let needed = self.line.len() + bytes;
        if needed > self.line_bytes_max {
            return false;
        }
        if needed > self.line.capacity() {
            let wanted = needed.next_multiple_of(STEP_BYTES).min(self.line_bytes_max);
            self.line.reserve_exact(wanted - self.line.len());
        }
        true
    }

    /// Erases the bytes `from` up to `to`, which end at or begin with the cursor, or hold it.
    fn erase(&mut self, from: usize, to: usize) {
        if from < to {
            self.line.drain(from..to);
            self.cursor = from;
            self.unchanged = self.unchanged.min(from);
        }
    }

    /// Puts `text` in place of what stands between `start` and the cursor.
    fn replace_word(&mut self, start: usize, text: &str) {
        let grown = text.len().saturating_sub(self.cursor - start);
        if !self.make_room(grown) {
            self.is_bell_due = true;
            return;
        }
        self.line.replace_range(start..self.cursor, text);
        self.cursor = start + text.len();
        self.unchanged = self.unchanged.min(start);
    }

    /// Shows the line that is so far back in the history; the one that was being typed, for 0.
    fn recall(&mut self, back: usize) {
        if back == self.recalled {
            return;
        }
        let line = match back {
            0 => std::mem::take(&mut self.draft),
            _ => match self.history.line(back) {
                Some(line) => line.to_owned(),
                None => return,
            },
        };
        let typed = std::mem::replace(&mut self.line, line);
        if self.recalled == 0 {
            self.draft = typed;
        }
        self.recalled = back;
        self.cursor = self.line.len();
        self.unchanged = 0;
    }

    /// Where the word begins that byte `at` is in or at the end of.
    fn word_start(&self, at: usize) -> usize {
        let before = &self.line[..at];
        let blank = before.rfind(char::is_whitespace);
        blank.map_or(0, |blank| blank + first_end(&before[blank..]))
    }

    /// Where the last word before the cursor begins.
    fn last_word_start(&self) -> usize {
        let last = self.line[..self.cursor].rfind(is_in_word);
        self.word_start(last.unwrap_or(0))
    }

    /// Where the word ends that the cursor is in or before.
    fn word_end(&self) -> usize {
        let after = &self.line[self.cursor..];
        let start = after.find(is_in_word).unwrap_or(after.len());
        let word = &after[start..];
        let len = word.find(char::is_whitespace).unwrap_or(word.len());
        self.cursor + start + len
    }
}

/// Whether a code point is neither a blank nor without width, as those are that may follow a blank.
fn is_in_word(c: char) -> bool {
    !c.is_whitespace() && width(c) > 0
}

/// How many bytes two names have in common at their beginning, without regard to case.
fn common_len(name: &str, other: &str) -> usize {
    let mut pairs = name.char_indices().zip(other.chars());
    let differs = |((_, a), b): &((usize, char), char)| !a.eq_ignore_ascii_case(b);
    let end = name.len().min(other.len());
    pairs.find(differs).map_or(end, |((at, _), _)| at)
}

/// The first of some names, and whether there are more.
fn listing(names: &[&str]) -> String {
    let shown = &names[..names.len().min(NAMES_SHOWN_MAX)];
    let mut text = shown.join(" ");
    if names.len() > shown.len() {
        text += " and more";
    }
    text
}

saved!(struct Editor {
    keys,
    screen,
    line,
    cursor,
    line_bytes_max,
    unchanged,
    history,
    recalled,
    draft,
    is_bell_due,
    is_clearing_due,
    is_ambiguous,
});
