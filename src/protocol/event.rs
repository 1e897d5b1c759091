//! Lines that no command asked for: a room's events, and notices to one client.

use super::{Name, write_line};

/// The first words of all lines that no command asked for.
pub const UNASKED: [&str; 7] = ["MSG", "JOINED", "LEFT", "LOST", "EXPIRING", "ALIVE", "BYE"];

/// Why a member left its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// LEAVE.
    Left,
    /// No sign of life for its idle time.
    Expired,
    /// QUIT.
    Quit,
    /// Its connection took nothing of what it was owed for its idle time.
    Slow,
    /// The holder of the name's key took the name back.
    Replaced,
}

impl LeaveReason {
    /// Every reason, in the order of [`LeaveReason::index`].
    pub const ALL: [LeaveReason; 5] = [
        LeaveReason::Left,
        LeaveReason::Expired,
        LeaveReason::Quit,
        LeaveReason::Slow,
        LeaveReason::Replaced,
    ];

    /// The reason as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            LeaveReason::Left => "left",
            LeaveReason::Expired => "expired",
            LeaveReason::Quit => "quit",
            LeaveReason::Slow => "slow",
            LeaveReason::Replaced => "replaced",
        }
    }

    /// Its place among all reasons.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Something that happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A member said something.
    Msg {
        /// Who.
        name: Name,
        /// What.
        text: &'a str,
    },
    /// A session became a member.
    Joined {
        /// Whose.
        name: Name,
    },
    /// A member's session ended.
    Left {
        /// Whose.
        name: Name,
        /// Why.
        reason: LeaveReason,
    },
}

impl Event<'_> {
    /// Appends the event's line.
    pub fn write(&self, seq: u64, unix_ms: u64, out: &mut Vec<u8>) {
        match self {
            Event::Msg { name, text } => write_line!(out, "MSG {seq} {unix_ms} {name} {text}"),
            Event::Joined { name } => write_line!(out, "JOINED {seq} {unix_ms} {name}"),
            Event::Left { name, reason } => {
                let reason = reason.as_str();
                write_line!(out, "LEFT {seq} {unix_ms} {name} {reason}");
            }
        }
    }
}

/// Appends the line that tells a session of `count` events that the log dropped before they were
/// given to it.
pub fn write_lost(count: u64, next_seq: u64, out: &mut Vec<u8>) {
    write_line!(out, "LOST {count} {next_seq}");
}

/// Appends the line that warns a session that it will expire.
pub fn write_expiring(seconds: u32, out: &mut Vec<u8>) {
    write_line!(out, "EXPIRING {seconds}");
}

/// Appends the line that answers telnet's question whether the server is there.
pub fn write_alive(out: &mut Vec<u8>) {
    write_line!(out, "ALIVE");
}

/// What no well-meant chat client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abuse {
    /// Many errors without an OK in between.
    Errors,
    /// Several JOINs without the right key.
    Denials,
    /// A line of HTTP, or of a protocol that looks like it.
    Http,
    /// A stream that begins as TLS does.
    Tls,
    /// A line that is too long, before anything was understood.
    TooLong,
}

impl Abuse {
    /// What to tell the client, and the server's log.
    pub const fn text(self) -> &'static str {
        match self {
            Abuse::Errors => "too many errors without an OK in between",
            Abuse::Denials => "too many JOINs without the right key",
            Abuse::Http => "this is a chat server, which speaks no HTTP",
            Abuse::Tls => "this port takes plain text; TLS ends in front of it, or on another port",
            Abuse::TooLong => "the line is too long for a chat client that has yet to get an OK",
        }
    }
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// The client said QUIT.
    Quit,
    /// The session showed no sign of life for its idle time.
    Expired,
    /// Another connection resumed the session, or its name or key was taken from it.
    Replaced,
    /// The connection took nothing of what it was owed for the session's idle time.
    Slow,
    /// The connection got no session in time.
    Handshake,
    /// The server has too many connections.
    Full,
    /// The server shuts down.
    Shutdown,
    /// The client does what no well-meant client does.
    Abuse(Abuse),
}

impl Bye {
    /// Every reason, with one of the kinds of abuse.
    pub const ALL: [Bye; 8] = [
        Bye::Quit,
        Bye::Expired,
        Bye::Replaced,
        Bye::Slow,
        Bye::Handshake,
        Bye::Full,
        Bye::Shutdown,
        Bye::Abuse(Abuse::Errors),
    ];

    /// The reason as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Bye::Quit => "quit",
            Bye::Expired => "expired",
            Bye::Replaced => "replaced",
            Bye::Slow => "slow",
            Bye::Handshake => "handshake",
            Bye::Full => "full",
            Bye::Shutdown => "shutdown",
            Bye::Abuse(_) => "abuse",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Bye::Quit => "goodbye",
            Bye::Expired => "no sign of life; send PING now and then",
            Bye::Replaced => "the session, or the right to its name, is another's now",
            Bye::Slow => "nothing was read for too long",
            Bye::Handshake => "no JOIN or RESUME in time",
            Bye::Full => "the server has too many connections; try again later",
            Bye::Shutdown => "the server shuts down",
            Bye::Abuse(abuse) => abuse.text(),
        }
    }

    /// Appends the last line on a connection.
    pub fn write(self, out: &mut Vec<u8>) {
        write_line!(out, "BYE {} {}", self.as_str(), self.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Limits, NAME_BYTES_MAX, SHORT_EVENT_BYTES_MAX};

    #[test]
    fn all_lines_that_no_command_asked_for_are_known_and_no_longer_than_that() {
        let name = Name::parse(&"n".repeat(NAME_BYTES_MAX)).unwrap();
        let text = &"t".repeat(1024);
        let reason = LeaveReason::Replaced;
        let events = [
            Event::Msg { name, text },
            Event::Joined { name },
            Event::Left { name, reason },
        ];
        let mut lines = Vec::new();
        for event in events {
            let mut line = Vec::new();
            event.write(u64::MAX, u64::MAX, &mut line);
            lines.push(line);
        }
        assert_eq!(lines[0].len(), Limits::default().event_bytes_max());
        assert!(lines[1].len() < lines[2].len());
        assert_eq!(lines[2].len(), SHORT_EVENT_BYTES_MAX);
        let mut out = Vec::new();
        write_lost(1, 2, &mut out);
        write_expiring(3, &mut out);
        write_alive(&mut out);
        Bye::Quit.write(&mut out);
        let rest = out.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec);
        lines.extend(rest);
        let first_word = |line: &Vec<u8>| {
            let text = std::str::from_utf8(line).unwrap();
            text.trim_end().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(lines.iter().map(first_word).collect::<Vec<_>>(), UNASKED);
    }
}
