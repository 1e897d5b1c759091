//! The most memory that sessions and rooms take.

use super::Chat;
use super::ended::EndedSession;
use super::keys::KeyHash;
use super::owed_in_talk::buffers_bytes_max;
use super::room::Room;
use super::session::{Attachment, Session, TalkState};
use super::usage::Usages;
use crate::allocator::{array_bytes, slab_bytes};
use crate::protocol::{ENDED_MAX, Limits};
use crate::sorted_index::SortedIndex;
use crate::state::CHUNK_BYTES;
use crate::wheel::Wheel;

/// What an index takes besides its keys, even if it has only one.
const INDEX_BYTES: u64 = 96;

impl Chat {
    /// The most that sessions take, in bytes, with what the server keeps for each: timer, name, key,
    /// place in an audience, usage.
    pub fn sessions_memory_bytes_max(limits: &Limits) -> u64 {
        let (conns, sessions) = (limits.connections_max as u64, limits.sessions_max as u64);
        let timed = limits.connections_at_once_max() as u64;
        let attached = conns.min(sessions);
        slab_bytes::<Session>(sessions)
            + array_bytes(sessions, Wheel::TIMER_BYTES)
            + array_bytes(2 * timed, Wheel::TIMER_BYTES)
            + attached * (size_of::<Attachment>() as u64 + size_of::<TalkState>() as u64 + 2 * 32)
            + sessions * SortedIndex::ENTRY_BYTES
            // A room's audience is a growing list too, and at least a quarter full. Only attached
            // sessions are in one.
            + 6 * attached * size_of::<u32>() as u64
            // An allocator adds at most this to a block of that size.
            + sessions * (size_of::<KeyHash>() as u64 + 16)
            + Usages::memory_bytes_max(limits)
    }

    /// The most that rooms take without their logs, in bytes.
    pub fn rooms_memory_bytes_max(limits: &Limits) -> u64 {
        let rooms = limits.rooms_at_once_max() as u64;
        slab_bytes::<Room>(rooms)
            + rooms * (SortedIndex::ENTRY_BYTES + INDEX_BYTES)
            + 2 * limits.event_bytes_max() as u64
            + buffers_bytes_max(limits)
    }

    /// What the list of ended sessions takes, in bytes.
    pub fn ended_memory_bytes_max() -> u64 {
        (ENDED_MAX * size_of::<EndedSession>()) as u64
    }

    /// The most that sessions and rooms take in a state without connections, in bytes, with `names` names
    /// that may join.
    pub fn state_bytes_max(limits: &Limits, names: u64) -> u64 {
        let (conns, sessions) = (limits.connections_max as u64, limits.sessions_max as u64);
        let rooms = limits.rooms_at_once_max() as u64;
        let pieces = (limits.log_bytes / CHUNK_BYTES + 3) as u64;
        let log = limits.log_bytes as u64 + pieces * RECORD_BYTES;
        SERVER_BYTES
            + sessions * SESSION_BYTES
            + rooms * (ROOM_BYTES + log)
            + (2 * conns + sessions) * ORIGIN_BYTES
            + ENDED_MAX as u64 * ENDED_BYTES
            + names * KEY_BYTES
    }
}

/// The most bytes of a state that go to each thing, with its timers and marks.
const SERVER_BYTES: u64 = 8 * 1024;
const SESSION_BYTES: u64 = 320;
const ROOM_BYTES: u64 = 192;
const RECORD_BYTES: u64 = 16;
const ORIGIN_BYTES: u64 = 48;
const ENDED_BYTES: u64 = 48;
const KEY_BYTES: u64 = 64;
