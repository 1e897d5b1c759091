//! The server's answers as values, and their text.

use super::{
    Alive, Error, Mode, Name, REPLY_BYTES_MAX, REPLY_HEAD_BYTES_MAX, Token, VERBS, write_line,
};

/// Lines behind a reply's first line, as many as fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    lines: u64,
    text: Vec<u8>,
}

impl Listing {
    /// The most bytes that the lines may take.
    pub const BYTES_MAX: usize = REPLY_BYTES_MAX - REPLY_HEAD_BYTES_MAX;

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// How many more bytes fit.
    pub fn room(&self) -> usize {
        Self::BYTES_MAX.saturating_sub(self.text.len())
    }

    /// Adds one line if it fits; `write` appends it with its end.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let len = self.text.len();
        write(&mut self.text);
        let fits = self.text.len() <= Self::BYTES_MAX;
        if fits {
            self.lines += 1;
        } else {
            self.text.truncate(len);
        }
        fits
    }

    /// Adds lines that are there already, whether they fit or not.
    pub fn add_lines(&mut self, lines: u64, text: [&[u8]; 2]) {
        self.lines += lines;
        self.text.reserve_exact(text[0].len() + text[1].len());
        for slice in text {
            self.text.extend_from_slice(slice);
        }
    }
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "PROTOCOL.md documents each reply's words")]
pub enum Reply<'a> {
    Joined {
        token: Token,
        name: Name,
        room: Name,
        mode: Mode,
        idle: u32,
        alive: Alive,
        seq: u64,
        members: usize,
    },
    Resumed {
        name: Name,
        room: Name,
        mode: Mode,
        idle: u32,
        alive: Alive,
        seq: u64,
        members: usize,
        said: u64,
    },
    Said {
        seq: u64,
        unix_ms: u64,
    },
    Polled {
        events: Listing,
        last: u64,
        more: u64,
    },
    Pong {
        text: &'a str,
    },
    Left,
    Detached,
    Who {
        members: Listing,
        seq: u64,
        more: u64,
    },
    Rooms {
        rooms: Listing,
        more: u64,
    },
    Stats {
        stats: Listing,
    },
    Help,
    Quit,
}

impl Reply<'_> {
    /// Appends the reply's lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Joined {
                token,
                name,
                room,
                mode,
                idle,
                alive,
                seq,
                members,
            } => {
                let (mode, alive) = (mode.as_str(), alive.as_str());
                write_line!(
                    out,
                    "OK JOIN session={token} name={name} room={room} mode={mode} idle={idle} \
                     alive={alive} seq={seq} members={members}"
                );
            }
            Reply::Resumed {
                name,
                room,
                mode,
                idle,
                alive,
                seq,
                members,
                said,
            } => {
                let (mode, alive) = (mode.as_str(), alive.as_str());
                write_line!(
                    out,
                    "OK RESUME name={name} room={room} mode={mode} idle={idle} \
                     alive={alive} seq={seq} members={members} said={said}"
                );
            }
            Reply::Said { seq, unix_ms } => write_line!(out, "OK SAY {seq} {unix_ms}"),
            Reply::Polled { events, last, more } => {
                write_line!(out, "OK POLL {} last={last} more={more}", events.lines);
                out.extend_from_slice(&events.text);
            }
            Reply::Pong { text: "" } => write_line!(out, "OK PING"),
            Reply::Pong { text } => write_line!(out, "OK PING {text}"),
            Reply::Left => write_line!(out, "OK LEAVE"),
            Reply::Detached => write_line!(out, "OK DETACH"),
            Reply::Who { members, seq, more } => {
                write_line!(out, "OK WHO {} seq={seq} more={more}", members.lines);
                out.extend_from_slice(&members.text);
            }
            Reply::Rooms { rooms, more } => {
                write_line!(out, "OK ROOMS {} more={more}", rooms.lines);
                out.extend_from_slice(&rooms.text);
            }
            Reply::Stats { stats } => {
                write_line!(out, "OK STATS {}", stats.lines);
                out.extend_from_slice(&stats.text);
            }
            Reply::Help => write_help(out),
            Reply::Quit => write_line!(out, "OK QUIT"),
        }
    }
}

impl Error {
    /// Appends the error's line.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_line!(out, "ERR {} {}", self.code.as_str(), self.text);
    }
}

/// Two lines a verb: what to type, and what for.
fn write_help(out: &mut Vec<u8>) {
    write_line!(out, "OK HELP {}", 2 * VERBS.len());
    for verb in &VERBS {
        match verb.syntax {
            "" => write_line!(out, "{}", verb.name),
            syntax => write_line!(out, "{} {syntax}", verb.name),
        }
        write_line!(out, "    {}", verb.summary);
    }
}
