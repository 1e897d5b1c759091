//! The most memory that sessions and rooms take.

use super::origin::Shares;
use super::room::Room;
use super::session::{Attachment, Session};
use super::{Chat, End, Token};
use crate::protocol::{ENDED_MAX, Limits};
use crate::wheel::Wheel;

/// What a key takes in a sorted index: eight bytes, in a chunk that is a quarter full, with its
/// share of the row of chunks.
pub const INDEX_ENTRY_BYTES: u64 = 40;
/// What an index takes beside, be there a single key in it.
const INDEX_BYTES: u64 = 96;

impl Chat {
    /// The most that sessions take, and what the server keeps with each: timer, name, place in the
    /// audience, share. In bytes.
    pub fn sessions_memory_max(limits: &Limits) -> u64 {
        let (conns, sessions) = (limits.connections_max as u64, limits.sessions_max as u64);
        table(sessions, size_of::<Session>())
            + table(sessions, Wheel::TIMER_BYTES)
            + table(2 * conns, Wheel::TIMER_BYTES)
            + conns.min(sessions) * (size_of::<Attachment>() as u64 + 32)
            + sessions * INDEX_ENTRY_BYTES
            // A room's seats are a table too, of which at least a quarter is taken.
            + 6 * sessions * size_of::<u32>() as u64
            + Shares::memory_max(limits)
    }

    /// The most that rooms take without their logs. In bytes.
    pub fn rooms_memory_max(limits: &Limits) -> u64 {
        let rooms = limits.rooms_max.min(limits.sessions_max) as u64;
        table(rooms, size_of::<Room>())
            + rooms * (INDEX_ENTRY_BYTES + INDEX_BYTES)
            + 2 * limits.event_bytes_max() as u64
    }

    /// The most that the memory of ended sessions takes. In bytes.
    pub fn ended_memory_max() -> u64 {
        (ENDED_MAX * size_of::<(Token, End)>()) as u64
    }
}

/// The most that a growing table of so many entries takes: its room is a power of two, and while
/// it grows the old one, of half the size, is there too.
pub fn table(entries: u64, entry_bytes: usize) -> u64 {
    // A slab's entry may need a word to tell whether it is taken.
    entries.max(4).next_power_of_two() * (entry_bytes + size_of::<usize>()) as u64 * 3 / 2
}
