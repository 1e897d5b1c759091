//! How long the lines that the server writes can be, and what follows from it.

use super::limits::{Limits, NAME_BYTES_MAX};

/// The longest first line of a reply that has a body, in bytes with its end.
pub const REPLY_HEAD_BYTES_MAX: usize = 96;
/// The longest decimal number of 64 bits, with the space before it.
const NUMBER_BYTES_MAX: usize = 1 + 20;
/// What an event line has besides its first word and what follows the name: a number, a time, the
/// name, and the end of the line.
const EVENT_FRAME_BYTES_MAX: usize = 2 * NUMBER_BYTES_MAX + (1 + NAME_BYTES_MAX) + 2;
/// The longest event line other than MSG, in bytes with its end.
const SHORT_EVENT_BYTES_MAX: usize = "LEFT".len() + EVENT_FRAME_BYTES_MAX + (1 + "replaced".len());
/// The most bytes that a MSG line has besides its text.
const MSG_OVERHEAD_BYTES: usize = "MSG".len() + EVENT_FRAME_BYTES_MAX + 1;

impl Limits {
    /// The longest event line, in bytes with its end.
    pub fn event_bytes_max(&self) -> usize {
        (self.message_bytes_max + MSG_OVERHEAD_BYTES).max(SHORT_EVENT_BYTES_MAX)
    }

    /// The most bytes that one command can append to a log: a message, or two other events.
    pub fn appended_bytes_max(&self) -> usize {
        self.event_bytes_max().max(2 * SHORT_EVENT_BYTES_MAX)
    }

    /// The smallest log that works with these limits, in bytes. It has space for what one command
    /// can append, and besides for as much that is still to be written to members.
    pub fn log_bytes_min(&self) -> usize {
        4096.max(2 * self.appended_bytes_max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::{Event, LeaveReason, Numbered};
    use crate::protocol::name::Name;
    use crate::protocol::output::Output;

    #[test]
    fn the_longest_events_are_exactly_as_long_as_their_bounds() {
        let name = Name::parse(&"n".repeat(NAME_BYTES_MAX)).unwrap();
        let len = |event: Event<'_>| {
            let (seq, unix_ms) = (u64::MAX, u64::MAX);
            let mut out = Vec::new();
            Output::Event(Numbered {
                seq,
                unix_ms,
                event,
            })
            .write(&mut out);
            out.len()
        };
        for message_bytes_max in [1, 20, 1024] {
            let limits = Limits {
                message_bytes_max,
                ..Limits::default()
            };
            let said = "t".repeat(message_bytes_max);
            let longest_msg = len(Event::Msg { name, text: &said });
            assert_eq!(longest_msg, message_bytes_max + MSG_OVERHEAD_BYTES);
            let left = LeaveReason::ALL.map(|reason| len(Event::Left { name, reason }));
            let longest_left = left.into_iter().max().unwrap();
            assert_eq!(longest_left, SHORT_EVENT_BYTES_MAX);
            assert!(len(Event::Joined { name }) < longest_left);
            assert_eq!(limits.event_bytes_max(), longest_msg.max(longest_left));
        }
    }
}
