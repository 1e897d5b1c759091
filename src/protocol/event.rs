//! Lines that no command asked for: a room's events, and notices to one client.

use super::name::Name;
use super::output::write_line;
use super::words::words;

/// The first words of all lines that no command asked for.
pub const UNASKED: [&str; 7] = ["MSG", "JOINED", "LEFT", "LOST", "EXPIRING", "ALIVE", "BYE"];

words! {
    /// Why a member left its room.
    pub enum LeaveReason {
        /// LEAVE.
        Left = "left",
        /// No sign of life for its idle time.
        Expired = "expired",
        /// QUIT.
        Quit = "quit",
        /// Its connection took nothing of what it was owed for its idle time.
        Slow = "slow",
        /// The holder of the name's key took the name back.
        Replaced = "replaced",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::output::SHORT_EVENT_BYTES_MAX;
    use crate::protocol::{Bye, Limits, NAME_BYTES_MAX};

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
