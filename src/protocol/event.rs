//! What happens in a room.

use super::name::{FullName, Name};
use super::output::LINE_END;
use super::words::words;

words! {
    /// Why a member left its room.
    pub enum LeaveReason {
        /// LEAVE.
        Left = "left",
        /// No sign of life for its idle time.
        Expired = "expired",
        /// QUIT.
        Quit = "quit",
        /// Its client took nothing for its idle time, though there was something to send.
        Slow = "slow",
        /// The holder of the name's key took the name back.
        Replaced = "replaced",
        /// The operator ended its session.
        Ended = "ended",
        /// The server came to no good end. No LEFT says this: there was nobody to write it.
        Crashed = "crashed",
    }
}

impl LeaveReason {
    /// Its place in [`LeaveReason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Something that happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A member said something.
    Msg {
        /// The member's name.
        name: FullName,
        /// The message.
        text: &'a str,
    },
    /// A session became a member.
    Joined {
        /// The member's name.
        name: FullName,
    },
    /// A member's session ended.
    Left {
        /// The member's name.
        name: FullName,
        /// Why it ended.
        reason: LeaveReason,
    },
    /// Another box of the room is not to be reached any more.
    Split {
        /// Its name.
        at: Name,
        /// How many members it has in the room.
        members: u64,
    },
    /// Another box of the room is to be reached from now on.
    Healed {
        /// Its name.
        at: Name,
        /// How many members it has in the room.
        members: u64,
    },
    /// Events of another box never reached this one.
    Missed {
        /// Its name.
        at: Name,
        /// How many.
        count: u64,
    },
}

/// An event with its number and its time, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// Its number in its room.
    pub seq: u64,
    /// When it happened.
    pub unix_ms: u64,
    /// What happened.
    pub event: Event<'a>,
}

impl<'a> Numbered<'a> {
    /// Reads a line that [`Output::Event`](super::Output::Event) has written, with its end.
    pub fn read_line(line: &'a str) -> Option<Numbered<'a>> {
        Numbered::read(line.strip_suffix(LINE_END)?)
    }

    /// Reads a line that [`Output::Event`](super::Output::Event) has written, with or without its end.
    pub fn read(line: &'a str) -> Option<Numbered<'a>> {
        let line = line.trim_end_matches(['\r', '\n']);
        let (kind, rest) = split_word(line);
        let (seq, rest) = split_word(rest?);
        let (unix_ms, rest) = split_word(rest?);
        let (name, rest) = split_word(rest?);
        let seq = seq.parse().ok()?;
        let unix_ms = unix_ms.parse().ok()?;
        let name = FullName::parse(name)?;
        let count = || rest?.parse().ok();
        let event = match (kind, rest) {
            ("MSG", Some(text)) => Event::Msg { name, text },
            ("JOINED", None) => Event::Joined { name },
            ("LEFT", Some(reason)) => {
                let reason = *(LeaveReason::ALL.iter()).find(|r| r.as_str() == reason)?;
                Event::Left { name, reason }
            }
            (_, Some(_)) if name.is_local() => {
                let at = name.name;
                match kind {
                    "SPLIT" => Event::Split {
                        at,
                        members: count()?,
                    },
                    "HEALED" => Event::Healed {
                        at,
                        members: count()?,
                    },
                    "MISSED" => Event::Missed {
                        at,
                        count: count()?,
                    },
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Numbered {
            seq,
            unix_ms,
            event,
        })
    }
}

/// Whether a line that [`Output::Event`](super::Output::Event) has written is about a member of this box.
/// Looks at no more of it than it has to.
pub fn is_local_line(line: &[u8]) -> bool {
    let kind = memchr::memchr(b' ', line).map_or(line, |end| &line[..end]);
    if ![&b"MSG"[..], b"JOINED", b"LEFT"].contains(&kind) {
        return false;
    }
    let mut rest = line;
    // The name is the fourth word.
    for _ in 0..3 {
        let Some(end) = memchr::memchr(b' ', rest) else {
            return false;
        };
        rest = &rest[end + 1..];
    }
    memchr::memchr2(b'@', b' ', rest).is_none_or(|at| rest[at] != b'@')
}

/// The first word of a text, and what follows the space behind it. Words are short, so looking at each
/// byte is the fastest.
pub fn split_word(text: &str) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == b' ') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Output;

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let at = Name::parse("attic").unwrap();
        let names = ["Ann-2", "Ann-2@attic"].map(|name| FullName::parse(name).unwrap());
        let texts = [
            "hi",
            " two  spaces ",
            "\ttab",
            "/me waves",
            "MSG 1 2 bob hi",
            "\u{1f986}",
        ];
        let of_members = names.into_iter().flat_map(|name| {
            let said = texts.map(|text| Event::Msg { name, text });
            let left = LeaveReason::ALL.map(|reason| Event::Left { name, reason });
            let joined = [Event::Joined { name }];
            said.into_iter().chain(left).chain(joined)
        });
        let of_boxes = [
            Event::Split { at, members: 0 },
            Event::Healed {
                at,
                members: u64::MAX,
            },
            Event::Missed { at, count: 7 },
        ];
        for event in of_members.chain(of_boxes) {
            for (seq, unix_ms) in [(1, 0), (7, 1_763_800_000_000), (u64::MAX, u64::MAX)] {
                let mut line = Vec::new();
                let numbered = Numbered {
                    seq,
                    unix_ms,
                    event,
                };
                Output::Event(numbered).write(&mut line);
                let line = std::str::from_utf8(&line).unwrap();
                assert_eq!(Numbered::read(line), Some(numbered));
                let is_local = match event {
                    Event::Msg { name, .. } | Event::Joined { name } | Event::Left { name, .. } => {
                        name.is_local()
                    }
                    Event::Split { .. } | Event::Healed { .. } | Event::Missed { .. } => false,
                };
                assert_eq!(is_local_line(line.as_bytes()), is_local);
                assert_eq!(Numbered::read(&line[..line.len() - 2]), Some(numbered));
            }
        }
    }

    #[test]
    fn what_is_no_event_is_not_read_as_one() {
        for line in [
            "",
            "MSG",
            "MSG 1 2 ann",
            "MSG x 2 ann hi",
            "MSG 1 2 _ann hi",
            "LOST 1 2",
            "JOINED 1 2 ann hi",
            "LEFT 1 2 ann",
            "LEFT 1 2 ann sulking",
            "MSG 1 2 ann@ hi",
            "MSG 1 2 @attic hi",
            "MSG 1 2 ann@attic@attic hi",
            "SPLIT 1 2 attic",
            "SPLIT 1 2 ann@attic 3",
            "HEALED 1 2 attic x",
            "MISSED 1 2 attic -1",
            "OK SAY 1 2",
        ] {
            assert_eq!(Numbered::read(line), None, "{line}");
        }
    }
}
