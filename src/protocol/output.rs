//! Everything that the server writes. This is the only file that knows its form on the wire;
//! `sizes` knows how long the lines can be.
//!
//! A new event takes a value in `event`, its form and its first word here, its bound in `sizes`, and a
//! section in PROTOCOL.md. A new reply takes a value of [`Reply`] and its form.

use std::fmt::{self, Write};

use super::bye::Bye;
use super::command::{Alive, Mode, SessionName};
use super::error::{Advice, Error, TakenUntil, WayBack};
use super::event::{Event, Numbered};
use super::life_id::LifeId;
use super::limits::REPLY_BYTES_MAX;
use super::name::{FullName, Name};
use super::operator::{OPERATOR_HELP_END, OPERATOR_VERBS};
use super::sizes::REPLY_HEAD_BYTES_MAX;
use super::token::Token;
use super::verb::{HELP_END, VERBS, Verb};
use super::words::words;

/// What ends each line that the server writes.
pub const LINE_END: &str = "\r\n";

/// The version of the protocol that this server speaks.
const PROTOCOL_VERSION: u32 = 1;
/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lets the `write!` family append to a buffer of bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends a line with its end to a buffer of bytes.
macro_rules! write_line {
    ($out:expr, $($arg:tt)*) => {
        append_line($out, format_args!($($arg)*))
    };
}

/// Does the work of [`write_line!`]. As a function it is in the program only once.
fn append_line(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    append_text(out, text);
    out.extend_from_slice(LINE_END.as_bytes());
}

/// Appends a text to a buffer of bytes.
pub fn append_text(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = Text(out).write_fmt(text);
}

/// The first words of all lines that the server sends unasked.
pub const UNASKED: [&str; 11] = [
    "MSG", "JOINED", "LEFT", "SPLIT", "HEALED", "MISSED", "LOST", "EXPIRING", "ALIVE", "NOTICE",
    "BYE",
];

/// Something that the server writes. The end of a time's name is its unit; `unix_ms` counts since
/// 1970-01-01 UTC.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "PROTOCOL.md documents the words of each line")]
pub enum Output<'a> {
    /// The first line on a connection.
    Hello {
        boot: LifeId,
        message_bytes_max: usize,
        /// This box's name, if its rooms span boxes.
        link: Option<Name>,
        /// Whether the connection is the operator's.
        is_operator: bool,
    },
    /// The server has carried out a command.
    Reply(&'a Reply<'a>),
    /// The server refuses a line.
    Error(&'a Error),

    // Lines of a reply's body.
    Member {
        name: Name,
        mode: Mode,
        presence: Presence,
        silent_s: u64,
    },
    RemoteMember {
        name: FullName,
        mode: Mode,
        reach: Reach,
        since_s: u64,
    },
    Room {
        name: Name,
        members: usize,
        newest: u64,
    },
    Version,
    Stat {
        name: &'a str,
        value: u64,
    },
    /// A session as the operator sees it.
    Session {
        session: SessionName,
        mode: Mode,
        presence: Presence,
        silent_s: u64,
        origin: &'a dyn fmt::Display,
        unread: u64,
    },
    /// A line for people.
    Help(&'a str),

    // Lines that the server sends unasked.
    Event(Numbered<'a>),
    /// The log dropped events before this session got them.
    Lost {
        count: u64,
        next_seq: u64,
    },
    /// The server crashed there, so that no event has these numbers.
    Gap {
        count: u64,
        next_seq: u64,
    },
    /// Something will end unless the client does what the text asks for.
    Expiring {
        what: Expiring,
        left_s: u32,
    },
    /// The answer to telnet's AYT, which asks whether the server is there.
    Alive,
    /// What the operator tells everybody.
    Notice(&'a str),
    /// The last line on a connection.
    Bye(Bye),
}

impl Output<'_> {
    /// Appends the line, or the lines of a reply, each with its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Output::Hello {
                boot,
                message_bytes_max,
                link,
                is_operator,
            } => {
                let socket = if is_operator { " socket=admin" } else { "" };
                let (before, link) = match &link {
                    Some(name) => (" link=", name.as_str()),
                    None => ("", ""),
                };
                write_line!(
                    out,
                    "HELLO chinwag/{VERSION} protocol={PROTOCOL_VERSION} boot={boot} \
                     max-message={message_bytes_max}{before}{link}{socket}"
                );
            }
            Output::Reply(reply) => reply.write(out),
            Output::Error(error) => write_line!(out, "ERR {} {error}", error.code()),
            Output::Member {
                name,
                mode,
                presence,
                silent_s,
            } => write_line!(out, "MEMBER {name} {mode} {presence} {silent_s}"),
            Output::RemoteMember {
                name,
                mode,
                reach,
                since_s,
            } => write_line!(out, "MEMBER {name} {mode} {reach} {since_s}"),
            Output::Room {
                name,
                members,
                newest,
            } => {
                write_line!(out, "ROOM {name} {members} {newest}");
            }
            Output::Version => write_line!(out, "STAT version {VERSION}"),
            Output::Stat { name, value } => write_line!(out, "STAT {name} {value}"),
            Output::Session {
                session: SessionName { room, name },
                mode,
                presence,
                silent_s,
                origin,
                unread,
            } => write_line!(
                out,
                "SESSION {room} {name} {mode} {presence} {silent_s} {origin} {unread}"
            ),
            Output::Help(line) => write_line!(out, "{line}"),
            Output::Event(Numbered {
                seq,
                unix_ms,
                event,
            }) => match event {
                Event::Msg { name, text } => write_line!(out, "MSG {seq} {unix_ms} {name} {text}"),
                Event::Joined { name } => write_line!(out, "JOINED {seq} {unix_ms} {name}"),
                Event::Left { name, reason } => {
                    write_line!(out, "LEFT {seq} {unix_ms} {name} {reason}");
                }
                Event::Split { at, members } => {
                    write_line!(out, "SPLIT {seq} {unix_ms} {at} {members}");
                }
                Event::Healed { at, members } => {
                    write_line!(out, "HEALED {seq} {unix_ms} {at} {members}");
                }
                Event::Missed { at, count } => {
                    write_line!(out, "MISSED {seq} {unix_ms} {at} {count}");
                }
            },
            Output::Lost { count, next_seq } | Output::Gap { count, next_seq } => {
                write_line!(out, "LOST {count} {next_seq}");
            }
            Output::Expiring { what, left_s } => {
                write_line!(out, "EXPIRING {left_s} {}", what.text());
            }
            Output::Alive => write_line!(out, "ALIVE"),
            Output::Notice(text) => write_line!(out, "NOTICE {text}"),
            Output::Bye(bye) => write_line!(out, "BYE {} {}", bye.as_str(), bye.text()),
        }
    }
}

/// What ends unless a client does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiring {
    /// A session that shows no sign of life.
    Session,
    /// A connection that gets no session, and whose client has sent nothing yet.
    Silence,
}

impl Expiring {
    const fn text(self) -> &'static str {
        match self {
            Expiring::Session => "press Return to stay",
            Expiring::Silence => "type TALK and your name to chat, or HELP",
        }
    }
}

words! {
    /// Whether a member's session has a connection.
    pub enum Presence {
        /// It has one.
        Attached = "attached",
        /// It has none.
        Detached = "detached",
    }
}

words! {
    /// Whether another box can be reached.
    pub enum Reach {
        /// It can.
        Linked = "linked",
        /// It cannot.
        Away = "away",
    }
}

/// What the server tells a client about the session that it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "PROTOCOL.md documents its words")]
pub struct Membership {
    pub name: Name,
    pub room: Name,
    pub mode: Mode,
    pub idle_s: u32,
    pub alive: Alive,
    /// The room's newest event.
    pub newest: u64,
    /// How many members the room has.
    pub members: usize,
    /// Which life of the room's log it is.
    pub log: LifeId,
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Membership {
            name,
            room,
            mode,
            idle_s,
            alive,
            newest,
            members,
            log: _,
        } = self;
        write!(
            f,
            "name={name} room={room} mode={mode} idle={idle_s} alive={alive} seq={newest} \
             members={members}"
        )
    }
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "PROTOCOL.md documents each reply's words")]
pub enum Reply<'a> {
    Joined {
        token: Token,
        membership: Membership,
    },
    Resumed {
        membership: Membership,
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

    // Only the operator gets these.
    Sessions {
        sessions: Listing,
        more: u64,
    },
    Ended,
    /// A notice is on its way to that many members.
    Telling {
        members: u64,
    },
    OperatorHelp,

    // Only people get these.
    Entered(Entered),
    Again {
        events: Listing,
    },
}

/// What a person sees who enters a room, or comes back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Their name.
    pub name: Name,
    /// The room.
    pub room: Name,
    /// Some of the other members.
    pub others: Listing,
    /// How many other members there are besides those.
    pub more: u64,
    /// How many events have come while they were away; `None` if they have just come.
    pub missed: Option<u64>,
    /// The events before they came, if they see only some of those.
    pub earlier: Option<Earlier>,
}

/// How many events there were before somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// How many of them are shown, at least one.
    pub shown: u64,
    /// How many the room's log holds, which are more.
    pub held: u64,
}

impl Reply<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Joined { token, membership } => {
                let log = membership.log;
                write_line!(out, "OK JOIN session={token} {membership} log={log}");
            }
            Reply::Resumed { membership, said } => {
                let log = membership.log;
                write_line!(out, "OK RESUME {membership} said={said} log={log}");
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
            Reply::Help => write_help(VERBS, HELP_END, out),
            Reply::OperatorHelp => write_help(OPERATOR_VERBS, OPERATOR_HELP_END, out),
            Reply::Sessions { sessions, more } => {
                write_line!(out, "OK SESSIONS {} more={more}", sessions.lines);
                out.extend_from_slice(&sessions.text);
            }
            Reply::Ended => write_line!(out, "OK END"),
            Reply::Telling { members } => write_line!(out, "OK TELL-ALL {members}"),
            Reply::Quit => write_line!(out, "OK QUIT"),
            Reply::Entered(_) | Reply::Again { .. } => {
                unreachable!("only people have commands with these replies")
            }
        }
    }
}

/// Appends the reply to HELP.
fn write_help(verbs: &[Verb], end: &[&'static str], out: &mut Vec<u8>) {
    let lines = verbs.iter().flat_map(|verb| verb.help).chain(end);
    write_line!(out, "OK HELP {}", lines.clone().count());
    lines.for_each(|line| Output::Help(line).write(out));
}

/// Writes the text after the code, which is one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::BadLine(_, text) => text,
            Error::UnknownVerb { found, advice } => {
                write!(f, "{found} is not a command; ")?;
                return match advice {
                    Advice::Verb(verb) => write!(f, "did you mean {verb}? HELP lists them"),
                    Advice::Begin => f.write_str("type TALK and your name to chat, or HELP"),
                    Advice::Say => f.write_str("to say something, begin with SAY"),
                };
            }
            Error::NotForOperators { found } => {
                return write!(
                    f,
                    "{found} is not a command here: this is the operator's socket, with STATS, \
                     SESSIONS, END, TELL-ALL, HELP and QUIT"
                );
            }
            Error::NoMember => "nobody in that room has that name; SESSIONS lists all",
            Error::OnOtherBox { at } => {
                return write!(f, "that member is on the box {at}: END the session there");
            }
            Error::LineTooLong { bytes_max } => {
                return write!(
                    f,
                    "a line has at most {bytes_max} bytes; the rest is skipped"
                );
            }
            Error::NoSession => "this connection has no session: TALK, JOIN or RESUME first",
            Error::AlreadyJoined => "this connection has a session: LEAVE or DETACH first",
            Error::UnknownSession => "there is no session with that token; JOIN again",
            Error::SessionEnded { reason, ago_s } => {
                return write!(f, "{reason} {ago_s}");
            }
            Error::NameTaken {
                name,
                way_back,
                until,
            } => return write_name_taken(f, *name, *way_back, *until),
            Error::InRoom { room } => return write!(f, "you are in {room} already"),
            Error::NotAuthorized => {
                "the server does not know that name with that key; after the name, say key=<key>"
            }
            Error::WrongMode => {
                "a push session gets its events unasked; JOIN with mode=pull to POLL"
            }
            Error::AfterNewest { newest } => {
                return write!(f, "after= takes at most {newest}, the room's newest event");
            }
            Error::TooManySessions => "the server has too many sessions; try again later",
            Error::TooManySessionsOfAddress => {
                "your address has too many sessions; LEAVE one of them"
            }
            Error::TooManyRooms => "the server has too many rooms; enter one that ROOMS lists",
            Error::NotSaved => "the server cannot save this room to its disk now; try again later",
            Error::NoRandomNumbers => "the system has no random numbers",
        })
    }
}

/// Says who has a name, how to get it back, and how long it stays taken.
fn write_name_taken(
    f: &mut fmt::Formatter<'_>,
    name: Name,
    way_back: WayBack,
    until: TakenUntil,
) -> fmt::Result {
    let whose = match until {
        TakenUntil::Detached { .. } => "",
        _ => " by a client that is connected",
    };
    let way_back = match way_back {
        WayBack::Token => "RESUME its session",
        WayBack::TokenOrKey => "JOIN with its key, RESUME its session",
        WayBack::TalkWithKey => "TALK with its key",
        WayBack::Talk => match until {
            TakenUntil::KeptAlive { idle_s } => {
                return write!(
                    f,
                    "{name} is taken{whose}; if that was you: close that connection and try again; if it \
                     is lost, the server notices within {idle_s} s"
                );
            }
            _ => "TALK from the same address",
        },
    };
    write!(
        f,
        "{name} is taken{whose}; if that was you: {way_back}, or "
    )?;
    match until {
        TakenUntil::Detached { left_s } => {
            write!(f, "try again in {left_s} s, when it has expired")
        }
        TakenUntil::Silent { left_s } => {
            write!(
                f,
                "try again in {left_s} s: if it stays silent, it will have expired"
            )
        }
        TakenUntil::KeptAlive { idle_s } => {
            write!(f, "close that connection and try again {idle_s} s later")
        }
    }
}

/// The lines after a reply's first line, as many as fit.
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

    /// The lines themselves.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many more bytes fit.
    pub fn space_bytes(&self) -> usize {
        Self::BYTES_MAX.saturating_sub(self.text.len())
    }

    /// Adds a line if it fits.
    pub fn add(&mut self, line: Output<'_>) -> bool {
        self.add_written(|out| line.write(out))
    }

    /// Adds what `write` appends, which counts as a line, if it fits.
    pub fn add_written(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
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

    /// Adds lines that are already written, whether they fit or not.
    pub fn add_lines(&mut self, lines: u64, text: [&[u8]; 2]) {
        self.lines += lines;
        self.text.reserve_exact(text[0].len() + text[1].len());
        for slice in text {
            self.text.extend_from_slice(slice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bye::Abuse;
    use crate::protocol::error::Code;
    use crate::protocol::event::LeaveReason;

    fn text(output: Output<'_>) -> String {
        let mut out = Vec::new();
        output.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn listing(lines: &[&str]) -> Listing {
        let mut listing = Listing::default();
        for line in lines {
            assert!(listing.add_written(|out| write_line!(out, "{line}")));
        }
        listing
    }

    /// All replies that have a body, with the largest numbers in their heads.
    fn with_body(body: &Listing) -> [Reply<'static>; 5] {
        let max = u64::MAX;
        #[rustfmt::skip]
        let replies = [
            Reply::Polled { events: body.clone(), last: max, more: max },
            Reply::Who { members: body.clone(), seq: max, more: max },
            Reply::Rooms { rooms: body.clone(), more: max },
            Reply::Stats { stats: body.clone() },
            Reply::Sessions { sessions: body.clone(), more: max },
        ];
        replies
    }

    #[test]
    fn every_reply_has_its_words_in_order() {
        let token = "0000001f00112233445566778899aabbccddeeff";
        let (name, room) = (Name::parse("Ann").unwrap(), Name::parse("den").unwrap());
        let membership = Membership {
            name,
            room,
            mode: Mode::Pull,
            idle_s: 60,
            alive: Alive::Ping,
            newest: 7,
            members: 2,
            log: LifeId::new(0xa1),
        };
        let joined = Reply::Joined {
            token: Token::parse(token).unwrap(),
            membership,
        };
        let membership = Membership {
            mode: Mode::Push,
            idle_s: 3600,
            alive: Alive::Tcp,
            newest: 0,
            members: 1,
            ..membership
        };
        let resumed = Reply::Resumed {
            membership,
            said: 3,
        };
        let body = || listing(&["A 1", "B 2"]);
        #[rustfmt::skip]
        let table = [
            (joined, format!("OK JOIN session={token} name=Ann room=den mode=pull idle=60 alive=ping seq=7 members=2 log=00000000000000a1\r\n")),
            (resumed, "OK RESUME name=Ann room=den mode=push idle=3600 alive=tcp seq=0 members=1 said=3 log=00000000000000a1\r\n".into()),
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
            (Reply::Sessions { sessions: body(), more: 1 }, "OK SESSIONS 2 more=1\r\nA 1\r\nB 2\r\n".into()),
            (Reply::Ended, "OK END\r\n".into()),
            (Reply::Telling { members: 3 }, "OK TELL-ALL 3\r\n".into()),
        ];
        for (reply, expected) in table {
            assert_eq!(text(Output::Reply(&reply)), expected);
        }
    }

    #[test]
    fn help_fits_a_terminal_and_leaves_a_line_to_type_on() {
        for reply in [Reply::Help, Reply::OperatorHelp] {
            let text = text(Output::Reply(&reply));
            assert!(text.ends_with("\r\n"));
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[0], format!("OK HELP {}", lines.len() - 1));
            assert!(lines.len() < 24, "{} lines", lines.len());
            for line in &lines {
                assert!(line.is_ascii() && line.len() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn help_says_in_one_column_what_each_verb_does() {
        const HELP_COLUMN: usize = 30;
        for verb in VERBS.iter().chain(OPERATOR_VERBS) {
            let usage = verb.help[0].get(..HELP_COLUMN).expect(verb.name);
            assert!(usage.ends_with("  "), "{usage}");
            assert_ne!(verb.help[0].as_bytes()[HELP_COLUMN], b' ', "{usage}");
            let mut words = usage.split_whitespace();
            assert_eq!(words.next(), Some(verb.name));
            let more = verb.help[1..].iter().flat_map(|line| line.split(' '));
            for word in words.chain(more.filter(|word| !word.is_empty())) {
                assert!(verb.syntax.contains(word), "{}: {word}", verb.name);
            }
        }
    }

    #[test]
    fn an_error_is_one_line() {
        for code in Code::ALL {
            let error = Error::BadLine(code, "what to do".into());
            let expected = format!("ERR {} what to do\r\n", code.as_str());
            assert_eq!(text(Output::Error(&error)), expected);
        }
        let reason = LeaveReason::Quit;
        let ended = Error::SessionEnded { reason, ago_s: 7 };
        assert_eq!(text(Output::Error(&ended)), "ERR session-ended quit 7\r\n");
    }

    #[test]
    fn a_name_that_is_taken_says_for_how_long() {
        use TakenUntil::{Detached, KeptAlive, Silent};
        use WayBack::{Talk, TalkWithKey, Token, TokenOrKey};
        let taken = |way_back, until| {
            let name = Name::parse("Bob").unwrap();
            let error = Error::NameTaken {
                name,
                way_back,
                until,
            };
            text(Output::Error(&error))
        };
        #[rustfmt::skip]
        let table = [
            (Token, Detached { left_s: 43 }, "; if that was you: RESUME its session, or try again in 43 s, when it has expired\r\n"),
            (TokenOrKey, Detached { left_s: 1 }, "; if that was you: JOIN with its key, RESUME its session, or try again in 1 s, when it has expired\r\n"),
            (Talk, Detached { left_s: 20 }, "; if that was you: TALK from the same address, or try again in 20 s, when it has expired\r\n"),
            (TalkWithKey, Detached { left_s: 20 }, "; if that was you: TALK with its key, or try again in 20 s, when it has expired\r\n"),
            (Token, Silent { left_s: 9 }, " by a client that is connected; if that was you: RESUME its session, or try again in 9 s: if it stays silent, it will have expired\r\n"),
            (TokenOrKey, KeptAlive { idle_s: 60 }, " by a client that is connected; if that was you: JOIN with its key, RESUME its session, or close that connection and try again 60 s later\r\n"),
            (Talk, KeptAlive { idle_s: 60 }, " by a client that is connected; if that was you: close that connection and try again; if it is lost, the server notices within 60 s\r\n"),
        ];
        for (way_back, until, rest) in table {
            let expected = format!("ERR name-taken Bob is taken{rest}");
            assert_eq!(taken(way_back, until), expected);
        }
    }

    #[test]
    fn a_full_reply_is_not_too_long() {
        for len in [1, 2, 7, 60, 100, 1100, Listing::BYTES_MAX] {
            let mut full = Listing::default();
            let line = "x".repeat(len);
            while full.add_written(|out| out.extend_from_slice(line.as_bytes())) {}
            assert_eq!(full.lines(), (Listing::BYTES_MAX / len) as u64);
            assert!(full.space_bytes() < len);
            full.lines = u64::MAX;
            for reply in with_body(&full) {
                let text = text(Output::Reply(&reply));
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
        assert!(listing.add_written(|out| out.extend_from_slice(&almost)));
        assert_eq!(listing.space_bytes(), 3);
        let before = listing.clone();
        assert!(!listing.add_written(|out| write_line!(out, "no")));
        assert_eq!(listing, before);
        assert!(listing.add_written(|out| write_line!(out, "y")));
        assert_eq!((listing.lines(), listing.space_bytes()), (2, 0));
        assert!(!listing.add_written(|out| out.push(b'x')));
    }

    #[test]
    fn a_listing_takes_lines_that_are_already_written_even_if_they_do_not_fit() {
        let mut events = listing(&["LOST 1 2"]);
        let long = vec![b'x'; Listing::BYTES_MAX];
        events.add_lines(2, [b"MSG\r\n", &long]);
        assert_eq!((events.lines(), events.space_bytes()), (3, 0));
        assert!(events.text.starts_with(b"LOST 1 2\r\nMSG\r\nx"));
        assert!(!events.add_written(|out| out.push(b'x')));
    }

    #[test]
    fn every_other_line_has_its_words_in_order() {
        let name = Name::parse("Ann").unwrap();
        let member = |mode, presence, silent_s| Output::Member {
            name,
            mode,
            presence,
            silent_s,
        };
        let event = |event| {
            Output::Event(Numbered {
                seq: 7,
                unix_ms: 8,
                event,
            })
        };
        let hello = |link, is_operator| Output::Hello {
            boot: LifeId::new(11),
            message_bytes_max: 1024,
            link,
            is_operator,
        };
        let at = Name::parse("attic").unwrap();
        let remote = |reach| Output::RemoteMember {
            name: FullName { name, at: Some(at) },
            mode: Mode::Push,
            reach,
            since_s: 12,
        };
        let reason = LeaveReason::Slow;
        let text_of_abuse = Abuse::Http.text();
        #[rustfmt::skip]
        let table = [
            (hello(None, false), format!("HELLO chinwag/{VERSION} protocol=1 boot=000000000000000b max-message=1024\r\n")),
            (hello(Some(at), false), format!("HELLO chinwag/{VERSION} protocol=1 boot=000000000000000b max-message=1024 link=attic\r\n")),
            (hello(None, true), format!("HELLO chinwag/{VERSION} protocol=1 boot=000000000000000b max-message=1024 socket=admin\r\n")),
            (Output::Session { session: SessionName { room: at, name }, mode: Mode::Push, presence: Presence::Attached, silent_s: 3, origin: &"-", unread: 4 }, "SESSION attic Ann push attached 3 - 4\r\n".into()),
            (Output::Notice(" a  b"), "NOTICE  a  b\r\n".into()),
            (member(Mode::Push, Presence::Attached, 0), "MEMBER Ann push attached 0\r\n".into()),
            (member(Mode::Pull, Presence::Detached, 60), "MEMBER Ann pull detached 60\r\n".into()),
            (remote(Reach::Linked), "MEMBER Ann@attic push linked 12\r\n".into()),
            (remote(Reach::Away), "MEMBER Ann@attic push away 12\r\n".into()),
            (Output::Room { name, members: 2, newest: 9 }, "ROOM Ann 2 9\r\n".into()),
            (Output::Version, format!("STAT version {VERSION}\r\n")),
            (Output::Stat { name: "events", value: 5 }, "STAT events 5\r\n".into()),
            (event(Event::Msg { name: name.into(), text: " a  b" }), "MSG 7 8 Ann  a  b\r\n".into()),
            (event(Event::Joined { name: name.into() }), "JOINED 7 8 Ann\r\n".into()),
            (event(Event::Left { name: name.into(), reason }), "LEFT 7 8 Ann slow\r\n".into()),
            (event(Event::Split { at, members: 3 }), "SPLIT 7 8 attic 3\r\n".into()),
            (event(Event::Healed { at, members: 3 }), "HEALED 7 8 attic 3\r\n".into()),
            (event(Event::Missed { at, count: 3 }), "MISSED 7 8 attic 3\r\n".into()),
            (Output::Lost { count: 1, next_seq: 2 }, "LOST 1 2\r\n".into()),
            (Output::Expiring { what: Expiring::Session, left_s: 20 }, "EXPIRING 20 press Return to stay\r\n".into()),
            (Output::Expiring { what: Expiring::Silence, left_s: 57 }, "EXPIRING 57 type TALK and your name to chat, or HELP\r\n".into()),
            (Output::Alive, "ALIVE\r\n".into()),
            (Output::Bye(Bye::Quit), "BYE quit goodbye\r\n".into()),
            (Output::Bye(Bye::Abuse(Abuse::Http)), format!("BYE abuse {text_of_abuse}\r\n")),
        ];
        for (output, expected) in table {
            assert_eq!(text(output), expected);
        }
    }

    #[test]
    fn every_line_that_is_sent_unasked_begins_with_one_of_the_listed_words() {
        let at = Name::parse("attic").unwrap();
        let name = FullName::from(at);
        let event = |event| {
            Output::Event(Numbered {
                seq: 1,
                unix_ms: 2,
                event,
            })
        };
        let reason = LeaveReason::Left;
        let first_words = [
            event(Event::Msg { name, text: "hi" }),
            event(Event::Joined { name }),
            event(Event::Left { name, reason }),
            event(Event::Split { at, members: 1 }),
            event(Event::Healed { at, members: 1 }),
            event(Event::Missed { at, count: 1 }),
            Output::Lost {
                count: 1,
                next_seq: 2,
            },
            Output::Expiring {
                what: Expiring::Silence,
                left_s: 1,
            },
            Output::Alive,
            Output::Notice("hi"),
            Output::Bye(Bye::Quit),
        ]
        .map(|output| text(output).split_whitespace().next().unwrap().to_owned());
        assert_eq!(first_words, UNASKED);
    }
}
