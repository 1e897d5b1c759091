//! What the server writes, and the form in which it does.

use std::fmt::{self, Write};

use super::command::{Alive, Mode};
use super::error::Error;
use super::limits::Limits;
use super::name::{NAME_BYTES_MAX, Name};
use super::token::Token;
use super::verb::VERBS;

/// The version of the protocol that this server speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The longest reply, in bytes, unless it holds a single event that is longer.
pub const REPLY_BYTES_MAX: usize = 8192;
/// The longest first line of a reply that has a body, in bytes with its end.
pub const REPLY_HEAD_BYTES_MAX: usize = 96;
/// The longest event line other than MSG, in bytes with its end.
pub const SHORT_EVENT_BYTES_MAX: usize =
    "LEFT ".len() + 2 * (20 + 1) + NAME_BYTES_MAX + 1 + "replaced".len() + 2;
/// The most bytes that an event line takes beside a message's text.
pub const EVENT_OVERHEAD_BYTES: usize = "MSG ".len() + 2 * (20 + 1) + NAME_BYTES_MAX + 1 + 2;

impl Limits {
    /// The longest event line, in bytes with its end.
    pub fn event_bytes_max(&self) -> usize {
        (self.message_bytes_max + EVENT_OVERHEAD_BYTES).max(SHORT_EVENT_BYTES_MAX)
    }

    /// The most that one command can append to a log, in bytes: a message, or two other events.
    pub fn appended_bytes_max(&self) -> usize {
        self.event_bytes_max().max(2 * SHORT_EVENT_BYTES_MAX)
    }

    /// The smallest log that works with these limits, in bytes: what one command can append must
    /// fit beside what is still to be written out.
    pub fn log_bytes_min(&self) -> usize {
        4096.max(2 * self.appended_bytes_max())
    }
}

/// Lets the `write!` family append to a buffer of bytes.
pub(crate) struct Text<'a>(pub &'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends a line with its end to a buffer of bytes.
macro_rules! write_line {
    ($out:expr, $($arg:tt)*) => {
        $crate::protocol::append_line($out, format_args!($($arg)*))
    };
}
pub(crate) use write_line;

/// What [`write_line!`] does, in one place, since its uses are many.
pub(crate) fn append_line(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = Text(out).write_fmt(text);
    out.extend_from_slice(b"\r\n");
}

/// Appends the server's first line on a connection.
pub fn write_hello(out: &mut Vec<u8>) {
    let version = env!("CARGO_PKG_VERSION");
    write_line!(out, "HELLO chinwag/{version} protocol={PROTOCOL_VERSION}");
}

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

/// The answer to one command. Idle times are in seconds, `unix_ms` in milliseconds since 1970-01-01
/// UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "PROTOCOL.md documents each reply's words")]
pub enum Reply<'a> {
    Joined {
        token: Token,
        name: Name,
        room: Name,
        mode: Mode,
        idle_s: u32,
        alive: Alive,
        seq: u64,
        members: usize,
    },
    Resumed {
        name: Name,
        room: Name,
        mode: Mode,
        idle_s: u32,
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
                idle_s,
                alive,
                seq,
                members,
            } => {
                let (mode, alive) = (mode.as_str(), alive.as_str());
                write_line!(
                    out,
                    "OK JOIN session={token} name={name} room={room} mode={mode} idle={idle_s} \
                     alive={alive} seq={seq} members={members}"
                );
            }
            Reply::Resumed {
                name,
                room,
                mode,
                idle_s,
                alive,
                seq,
                members,
                said,
            } => {
                let (mode, alive) = (mode.as_str(), alive.as_str());
                write_line!(
                    out,
                    "OK RESUME name={name} room={room} mode={mode} idle={idle_s} \
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    fn text(reply: &Reply<'_>) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn listing(lines: &[&str]) -> Listing {
        let mut listing = Listing::default();
        for line in lines {
            assert!(listing.add(|out| write_line!(out, "{line}")));
        }
        listing
    }

    /// All replies that have a body, with the largest numbers in their heads.
    fn with_body(body: &Listing) -> [Reply<'static>; 4] {
        let max = u64::MAX;
        #[rustfmt::skip]
        let replies = [
            Reply::Polled { events: body.clone(), last: max, more: max },
            Reply::Who { members: body.clone(), seq: max, more: max },
            Reply::Rooms { rooms: body.clone(), more: max },
            Reply::Stats { stats: body.clone() },
        ];
        replies
    }

    #[test]
    fn each_reply_has_its_words_in_order() {
        let token = "0000001f00112233445566778899aabbccddeeff";
        let (name, room) = (Name::parse("Ann").unwrap(), Name::parse("den").unwrap());
        let joined = Reply::Joined {
            token: Token::parse(token).unwrap(),
            name,
            room,
            mode: Mode::Pull,
            idle_s: 60,
            alive: Alive::Ping,
            seq: 7,
            members: 2,
        };
        let resumed = Reply::Resumed {
            name,
            room,
            mode: Mode::Push,
            idle_s: 3600,
            alive: Alive::Tcp,
            seq: 0,
            members: 1,
            said: 3,
        };
        let body = || listing(&["A 1", "B 2"]);
        #[rustfmt::skip]
        let table = [
            (joined, format!("OK JOIN session={token} name=Ann room=den mode=pull idle=60 alive=ping seq=7 members=2\r\n")),
            (resumed, "OK RESUME name=Ann room=den mode=push idle=3600 alive=tcp seq=0 members=1 said=3\r\n".into()),
            (Reply::Said { seq: 1, unix_ms: 2 }, "OK SAY 1 2\r\n".into()),
            (Reply::Polled { events: body(), last: 3, more: 4 }, "OK POLL 2 last=3 more=4\r\nA 1\r\nB 2\r\n".into()),
            (Reply::Polled { events: listing(&[]), last: 3, more: 0 }, "OK POLL 0 last=3 more=0\r\n".into()),
            (Reply::Pong { text: "" }, "OK PING\r\n".into()),
            (Reply::Pong { text: " a b" }, "OK PING  a b\r\n".into()),
            (Reply::Left, "OK LEAVE\r\n".into()),
            (Reply::Detached, "OK DETACH\r\n".into()),
            (Reply::Who { members: body(), seq: 9, more: 1 }, "OK WHO 2 seq=9 more=1\r\nA 1\r\nB 2\r\n".into()),
            (Reply::Rooms { rooms: body(), more: 1 }, "OK ROOMS 2 more=1\r\nA 1\r\nB 2\r\n".into()),
            (Reply::Stats { stats: body() }, "OK STATS 2\r\nA 1\r\nB 2\r\n".into()),
            (Reply::Quit, "OK QUIT\r\n".into()),
        ];
        for (reply, expected) in table {
            assert_eq!(text(&reply), expected);
        }
    }

    #[test]
    fn help_shows_each_verb_in_as_many_lines_as_it_says() {
        let text = text(&Reply::Help);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("OK HELP {}", lines.len() - 1));
        for verb in &VERBS {
            let syntax = format!("{} {}", verb.name, verb.syntax);
            assert!(lines.contains(&syntax.trim_end()), "{syntax}");
        }
        assert!(text.len() <= REPLY_BYTES_MAX);
        assert!(text.ends_with("\r\n"));
    }

    #[test]
    fn an_error_is_one_line() {
        for code in Code::ALL {
            let mut out = Vec::new();
            Error::new(code, "what to do").write(&mut out);
            let expected = format!("ERR {} what to do\r\n", code.as_str());
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_full_reply_is_no_longer_than_a_reply_may_be() {
        for len in [1, 2, 7, 60, 100, 1100, Listing::BYTES_MAX] {
            let mut full = Listing::default();
            let line = "x".repeat(len);
            while full.add(|out| out.extend_from_slice(line.as_bytes())) {}
            assert_eq!(full.lines(), (Listing::BYTES_MAX / len) as u64);
            assert!(full.room() < len);
            full.lines = u64::MAX;
            for reply in with_body(&full) {
                let text = text(&reply);
                let head = text.find("\r\n").unwrap() + 2;
                assert!(head <= REPLY_HEAD_BYTES_MAX, "{}", &text[..head]);
                assert!(text.len() <= REPLY_BYTES_MAX, "{}", text.len());
            }
        }
    }

    #[test]
    fn a_line_that_does_not_fit_leaves_no_trace() {
        let mut listing = Listing::default();
        let almost = vec![b'x'; Listing::BYTES_MAX - 3];
        assert!(listing.add(|out| out.extend_from_slice(&almost)));
        assert_eq!(listing.room(), 3);
        let before = listing.clone();
        assert!(!listing.add(|out| write_line!(out, "no")));
        assert_eq!(listing, before);
        assert!(listing.add(|out| write_line!(out, "y")));
        assert_eq!((listing.lines(), listing.room()), (2, 0));
        assert!(!listing.add(|out| out.push(b'x')));
    }

    #[test]
    fn lines_that_are_there_already_are_taken_even_if_there_are_too_many() {
        let mut events = listing(&["LOST 1 2"]);
        let long = vec![b'x'; Listing::BYTES_MAX];
        events.add_lines(2, [b"MSG\r\n", &long]);
        assert_eq!((events.lines(), events.room()), (3, 0));
        assert!(events.text.starts_with(b"LOST 1 2\r\nMSG\r\nx"));
        assert!(!events.add(|out| out.push(b'x')));
    }
}
