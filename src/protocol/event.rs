//! What happens in a room.

use super::name::Name;
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
        name: Name,
        /// The message.
        text: &'a str,
    },
    /// A session became a member.
    Joined {
        /// The member's name.
        name: Name,
    },
    /// A member's session ended.
    Left {
        /// The member's name.
        name: Name,
        /// Why it ended.
        reason: LeaveReason,
    },
}
