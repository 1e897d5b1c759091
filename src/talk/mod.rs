//! The people's form: how a person types, and how the server shows a person what happens.
//!
//! It is a second reader and a second writer of the same commands, replies and events that programs
//! get as lines. What a command does is decided in `chat`, for both alike.
//!
//! | question | file |
//! |---|---|
//! | what a typed line means | `typed` |
//! | how replies, errors and lists are shown | `shown` |
//! | how events are shown, and to whom not | `viewer` |
//! | how long messages are broken into rows | `wrap` |
//! | editing a line, for telnet: keys, the line, lines before it, the terminal | `keys`, `editor`, `history`, `screen` |

pub mod editor;
mod history;
mod keys;
mod screen;
mod shown;
mod typed;
mod viewer;
mod wrap;

pub use history::HISTORY_LINES_MAX;
pub use typed::COMMANDS;
pub use viewer::{LocalClock, Viewer};
pub use wrap::{COLUMNS_DEFAULT, COLUMNS_MIN, shown_bytes_max};

use crate::protocol::{Limits, Output, Request};
use crate::state::saved;

/// How a connection and the server speak with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// In lines for programs, which PROTOCOL.md describes.
    #[default]
    Lines,
    /// In lines for people, since TALK.
    Talk,
    /// In lines for programs, about what the operator can do.
    Operator,
}

/// Appends a line that the server says to a person.
pub fn write_line(text: &str, out: &mut Vec<u8>) {
    shown::line(out, format_args!("-- {text}"));
}

/// Appends what the operator says, in rows for a person's window of `columns`.
pub fn write_notice(text: &str, columns: u16, out: &mut Vec<u8>) {
    const BEGINNING: &str = "-- the operator says: ";
    out.extend_from_slice(BEGINNING.as_bytes());
    wrap::wrap(text, BEGINNING.len(), columns, out);
    out.extend_from_slice(b"\r\n");
}

impl Form {
    /// Reads a line without its end.
    pub fn read<'a>(self, line: &'a [u8], limits: &Limits) -> Request<'a> {
        match self {
            Form::Lines => Request::read(line, limits),
            Form::Talk => typed::read(line, limits),
            Form::Operator => Request::read_of_operator(line, limits),
        }
    }

    /// Appends an output other than an event, which a [`Viewer`] shows, and to a person other than a NOTICE:
    /// see [`write_notice`].
    pub fn write(self, output: &Output<'_>, out: &mut Vec<u8>) {
        match self {
            Form::Lines | Form::Operator => output.write(out),
            Form::Talk => shown::write(output, out),
        }
    }
}

saved!(enum Form { 0 = Lines, 1 = Talk, 2 = Operator });
