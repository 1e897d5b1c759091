//! Draws a line that is being edited, over as many rows of a terminal as it takes.
//!
//! What is relied on is what VT100s and everything since have in common: CR, LF, BS, BEL, the
//! movements CSI A to D, CSI J and CSI H, and that a character after a full row goes to the next row.
//! Whether the cursor waits at a full row's end or goes on at once differs between terminals. A space
//! and a CR after each full row make it go on in either case; that is readline's way
//! (`_rl_term_autowrap`). A wide character that does not fit into the last column gets its row from
//! here as well. So where the cursor is never depends on the terminal.
//!
//! A character's width is that of its first code point, as `wcwidth` has it, and code points without
//! width belong to the one before. Some terminals give emoji that are joined, or that have a variation
//! selector, another width; no table is right for all of them.

use crate::state::saved;
use unicode_width::UnicodeWidthChar;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const BS: u8 = 8;
const ERASE_BELOW: &[u8] = b"\x1b[J";
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";
/// Makes the cursor go on after a full row.
const WRAP: &[u8] = &[b' ', CR];
/// Shown for a character that is wider than the window.
const TOO_WIDE: &[u8] = b"?";
/// The window of a client that does not say its size.
const COLUMNS_DEFAULT: u16 = 80;
const ROWS_DEFAULT: u16 = 24;

/// The width of a code point in columns: 0, 1 or 2.
pub fn width(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        // The table has one character of three, a Khmer sign. Terminals have none.
        _ => c.width().unwrap_or(0).min(2),
    }
}

/// Where the first character of `text` ends, with the code points without width that belong to it.
pub fn first_end(text: &str) -> usize {
    let mut rest = text.char_indices().skip(1);
    rest.find(|&(_, c)| width(c) > 0)
        .map_or(text.len(), |(at, _)| at)
}

/// Where the last character of `text` begins.
pub fn last_start(text: &str) -> usize {
    let mut chars = text.char_indices().rev();
    chars.find(|&(_, c)| width(c) > 0).map_or(0, |(at, _)| at)
}

/// A place in the rows of a line. Rows count from the line's first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    row: usize,
    column: usize,
}

/// What a terminal shows of a line.
///
/// A line with more rows than fit into the window is shown in part: the rows around the cursor.
#[derive(Debug)]
pub struct Screen {
    columns: u16,
    rows: u16,
    /// How many bytes the line had that was drawn last, and which of them the cursor was put before.
    line_bytes: usize,
    cursor: usize,
    /// Where the terminal's cursor is.
    at: Place,
    /// The first row that is shown.
    top: usize,
}

impl Screen {
    /// A terminal whose cursor is at the beginning of an empty row. A size of 0 is unknown.
    pub fn new(columns: u16, rows: u16) -> Screen {
        let or = |size, default| if size == 0 { default } else { size };
        Screen {
            columns: or(columns, COLUMNS_DEFAULT),
            rows: or(rows, ROWS_DEFAULT),
            line_bytes: 0,
            cursor: 0,
            at: Place::default(),
            top: 0,
        }
    }

    /// Whether it has a size.
    pub fn is_sound(&self) -> bool {
        self.columns > 0 && self.rows > 0
    }

    /// How many rows are shown. Below them one stays free: after a full row the cursor goes there.
    fn rows_shown(&self) -> usize {
        usize::from(self.rows - 1).max(1)
    }

    /// Draws a line and puts the cursor before its byte `cursor`. Its first `unchanged` bytes are as
    /// they were drawn last, and neither cuts a character.
    pub fn draw(&mut self, line: &str, cursor: usize, unchanged: usize, out: &mut Vec<u8>) {
        // While somebody types at the line's end, the beginning need not be looked at.
        let from = match self.cursor == unchanged && self.line_bytes == unchanged {
            true => self.at,
            false => self.after(Place::default(), &line[..unchanged]),
        };
        let end = self.after(from, &line[unchanged..]);
        let target = match cursor == line.len() {
            true => end,
            false => self.before(line, cursor),
        };
        let rows_hidden = (end.row + 1).saturating_sub(self.rows_shown());
        // The cursor's row is in the middle, so that what is shown does not depend on the past.
        let top = target
            .row
            .saturating_sub(self.rows_shown() / 2)
            .min(rows_hidden);
        if top == self.top {
            if unchanged < self.line_bytes.max(line.len()) {
                self.paint(
                    from,
                    &line[unchanged..],
                    self.rows_shown(),
                    unchanged < self.line_bytes,
                    out,
                );
            }
        } else {
            self.withdraw(out);
            self.top = top;
            self.at = Place {
                row: top,
                column: 0,
            };
            self.paint(Place::default(), line, self.rows_shown(), false, out);
        }
        self.go_to(target, out);
        self.line_bytes = line.len();
        self.cursor = cursor;
    }

    /// Leaves a line on the screen, all of it, with `mark` behind it, and goes to the row below.
    pub fn leave(&mut self, line: &str, unchanged: usize, mark: &str, out: &mut Vec<u8>) {
        let end = self.after(Place::default(), line);
        if self.top == 0 && end.row < self.rows_shown() {
            self.draw(line, line.len(), unchanged, out);
        } else {
            self.withdraw(out);
            self.paint(Place::default(), line, usize::MAX, false, out);
        }
        self.paint(self.at, mark, usize::MAX, false, out);
        // After a full row the cursor is there already.
        if self.at.column > 0 || self.at.row == 0 {
            out.extend([CR, LF]);
        }
        self.forget();
    }

    /// Takes the line off the screen, and puts the cursor where it began.
    pub fn withdraw(&mut self, out: &mut Vec<u8>) {
        if self.line_bytes > 0 {
            let first = Place {
                row: self.top,
                column: 0,
            };
            self.go_to(first, out);
            out.extend(ERASE_BELOW);
        }
        self.forget();
    }

    /// Clears the screen and puts the cursor into its corner.
    pub fn clear(&mut self, out: &mut Vec<u8>) {
        out.extend(CLEAR);
        self.forget();
    }

    /// Takes the line as it was drawn last off a window whose size has become another.
    ///
    /// Terminals that wrap rows again have moved the cursor up or down, others have not. The smaller of
    /// the two distances is used, so a part of the line may be left standing above it, but nothing else
    /// is ever erased.
    pub fn resize(&mut self, columns: u16, rows: u16, line: &str, out: &mut Vec<u8>) {
        let first = self.first_in_row(line, self.top);
        let resized = Screen::new(columns, rows);
        let rewrapped = resized.before(&line[first..], self.cursor - first);
        let up = rewrapped.row.min(self.at.row - self.top);
        if self.line_bytes > 0 {
            go(up, b'A', out);
            out.push(CR);
            out.extend(ERASE_BELOW);
        }
        *self = resized;
    }

    /// Whether the window has another size.
    pub fn differs(&self, columns: u16, rows: u16) -> bool {
        let other = Screen::new(columns, rows);
        (other.columns, other.rows) != (self.columns, self.rows)
    }

    /// The cursor is at the beginning of an empty row, where the next line is to be drawn.
    fn forget(&mut self) {
        *self = Screen::new(self.columns, self.rows);
    }

    /// Where a character is drawn that comes at `place`, and what comes after it.
    fn step(&self, place: Place, width: usize) -> (Place, Place) {
        let columns = usize::from(self.columns);
        let width = if width > columns { 1 } else { width };
        let next_row = |place: Place| Place {
            row: place.row + 1,
            column: 0,
        };
        let drawn = match place.column + width > columns {
            true => next_row(place),
            false => place,
        };
        let after = Place {
            column: drawn.column + width,
            ..drawn
        };
        match after.column == columns {
            true => (drawn, next_row(drawn)),
            false => (drawn, after),
        }
    }

    /// Where the cursor is after `text` that comes at `place`.
    fn after(&self, place: Place, text: &str) -> Place {
        let widths = text.chars().map(width).filter(|&width| width > 0);
        widths.fold(place, |place, width| self.step(place, width).1)
    }

    /// Where the character of a line that begins at byte `at` is drawn.
    fn before(&self, line: &str, at: usize) -> Place {
        let place = self.after(Place::default(), &line[..at]);
        let next = line[at..].chars().next();
        next.map_or(place, |c| self.step(place, width(c)).0)
    }

    /// Where the first character of a line begins that is drawn in a row.
    fn first_in_row(&self, line: &str, row: usize) -> usize {
        let mut place = Place::default();
        let is_there = |&(_, c): &(usize, char)| {
            let width = width(c);
            let (drawn, after) = self.step(place, width);
            place = if width > 0 { after } else { place };
            width > 0 && drawn.row >= row
        };
        line.char_indices()
            .find(is_there)
            .map_or(line.len(), |(at, _)| at)
    }

    /// Draws what comes at `place`, if it is in the first `rows` rows from the top.
    fn paint(
        &mut self,
        mut place: Place,
        text: &str,
        rows: usize,
        is_erasing: bool,
        out: &mut Vec<u8>,
    ) {
        let top = self.top;
        self.go_to(
            place.max(Place {
                row: top,
                column: 0,
            }),
            out,
        );
        if is_erasing {
            out.extend(ERASE_BELOW);
        }
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (character, after) = rest.split_at(first_end(rest));
            rest = after;
            let width = width(c);
            let (drawn, after) = self.step(place, width);
            if drawn.row >= top.saturating_add(rows) {
                break;
            }
            if drawn.row > place.row && place.row >= top {
                out.extend(std::iter::repeat_n(
                    b' ',
                    usize::from(self.columns) - place.column,
                ));
                out.extend(WRAP);
            }
            if drawn.row >= top {
                match width > usize::from(self.columns) {
                    true => out.extend(TOO_WIDE),
                    false => out.extend(character.as_bytes()),
                }
                if after.row > drawn.row {
                    out.extend(WRAP);
                }
            }
            place = after;
        }
        self.at = place.max(self.at);
    }

    /// Moves the cursor to a place that is shown.
    fn go_to(&mut self, place: Place, out: &mut Vec<u8>) {
        let at = self.at;
        go(at.row.saturating_sub(place.row), b'A', out);
        go(place.row.saturating_sub(at.row), b'B', out);
        match (at.column, place.column) {
            (from, to) if from == to => {}
            (_, 0) => out.push(CR),
            (from, to) if from == to + 1 => out.push(BS),
            (from, to) => {
                go(from.saturating_sub(to), b'D', out);
                go(to.saturating_sub(from), b'C', out);
            }
        }
        self.at = place;
    }
}

/// Moves the cursor by some places, in the direction of `letter`.
fn go(places: usize, letter: u8, out: &mut Vec<u8>) {
    match places {
        0 => {}
        1 => out.extend([0x1b, b'[', letter]),
        _ => {
            out.extend(b"\x1b[");
            out.extend(places.to_string().as_bytes());
            out.push(letter);
        }
    }
}

saved!(struct Place { row, column });
saved!(struct Screen { columns, rows, line_bytes, cursor, at, top });
