//! How long the lines that the server writes can be, and what follows from it.

use super::limits::{Limits, NAME_BYTES_MAX};

/// The longest first line of a reply that has a body, in bytes with its end.
pub const REPLY_HEAD_BYTES_MAX: usize = 96;
/// The longest decimal number of 64 bits, with the space before it.
const NUMBER_BYTES_MAX: usize = 1 + 20;
/// What an event line has besides its first word and what follows the name: a number, a time, the
/// name, and the end of the line.
const EVENT_FRAME_BYTES_MAX: usize = 2 * NUMBER_BYTES_MAX + (1 + NAME_BYTES_MAX) + 2;
/// The longest name of a box behind that of a member, with what stands between them.
const BOX_BYTES_MAX: usize = 1 + NAME_BYTES_MAX;
/// The longest event line other than MSG, in bytes with its end.
const SHORT_EVENT_BYTES_MAX: usize = "LEFT".len() + EVENT_FRAME_BYTES_MAX + (1 + "replaced".len());
/// The most bytes that a MSG line has besides its text.
const MSG_OVERHEAD_BYTES: usize = "MSG".len() + EVENT_FRAME_BYTES_MAX + 1;

impl Limits {
    /// The longest event line, in bytes with its end.
    pub fn event_bytes_max(&self) -> usize {
        let longest = (self.message_bytes_max + MSG_OVERHEAD_BYTES).max(SHORT_EVENT_BYTES_MAX);
        longest + self.box_bytes_max()
    }

    /// The most bytes that one command can append to a log: a message, or two other events.
    pub fn appended_bytes_max(&self) -> usize {
        let short = SHORT_EVENT_BYTES_MAX + self.box_bytes_max();
        self.event_bytes_max().max(2 * short)
    }

    /// What a member's name has behind it if the member is on another box, in bytes.
    fn box_bytes_max(&self) -> usize {
        match self.is_linked {
            true => BOX_BYTES_MAX,
            false => 0,
        }
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
    use crate::protocol::name::{FullName, Name};
    use crate::protocol::output::Output;

    #[test]
    fn the_longest_events_are_exactly_as_long_as_their_bounds() {
        let box_name = Name::parse(&"n".repeat(NAME_BYTES_MAX)).unwrap();
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
        for (message_bytes_max, is_linked) in [(1, false), (20, true), (1024, false), (1024, true)]
        {
            let limits = Limits {
                message_bytes_max,
                is_linked,
                ..Limits::default()
            };
            let name = FullName {
                name: box_name,
                at: is_linked.then_some(box_name),
            };
            let said = "t".repeat(message_bytes_max);
            let longest_msg = len(Event::Msg { name, text: &said });
            let left = LeaveReason::ALL.map(|reason| len(Event::Left { name, reason }));
            let longest_left = left.into_iter().max().unwrap();
            assert!(len(Event::Joined { name }) < longest_left);
            let (at, number) = (box_name, u64::MAX);
            let of_boxes = [
                Event::Split {
                    at,
                    members: number,
                },
                Event::Healed {
                    at,
                    members: number,
                },
                Event::Missed { at, count: number },
            ];
            let longest_of_boxes = of_boxes.map(len).into_iter().max().unwrap();
            assert!(!is_linked || longest_of_boxes <= longest_left);
            assert_eq!(limits.event_bytes_max(), longest_msg.max(longest_left));
            assert_eq!(
                limits.appended_bytes_max(),
                longest_msg.max(2 * longest_left)
            );
        }
    }
}
