//! A room: its members by name, its event log, and who is to be served when something happens.
//!
//! A room knows sessions by their keys only; what they are is `chat`'s business.

use super::event_log::EventLog;
use super::ids::SessionKey;
use crate::protocol::{Limits, Name};
use crate::sorted_index::SortedIndex;

/// A room that has members.
#[derive(Debug)]
pub struct Room {
    /// The room's name as its first member wrote it.
    pub name: Name,
    /// What happened here, as far as it is held.
    pub log: EventLog,
    /// The members, sorted by name without regard to case.
    pub members: SortedIndex,
    /// The sessions that something may be written to when an event is appended: attached push
    /// sessions and waiting POLLs, in no order.
    pub audience: Vec<SessionKey>,
    /// The number of the first event that the audience was not yet served with.
    pub unserved: u64,
    /// Whether the room is on the list of those whose audience is to be served.
    pub is_dirty: bool,
}

impl Room {
    /// An empty room.
    pub fn new(name: Name, limits: &Limits) -> Self {
        Room {
            name,
            log: EventLog::new(limits.log_bytes),
            members: SortedIndex::default(),
            audience: Vec::new(),
            unserved: 1,
            is_dirty: false,
        }
    }

    /// The number of the newest event.
    pub fn newest(&self) -> u64 {
        self.log.next() - 1
    }

    /// Where a new member's cursor stands that asks for `history` events from before its JOINED,
    /// which is the newest.
    pub fn cursor_for(&self, history: u64) -> u64 {
        self.newest().saturating_sub(history).max(self.log.first())
    }

    /// Whether the next command could make the log drop an event before the audience was served
    /// with it.
    pub fn must_serve(&self, limits: &Limits) -> bool {
        let unserved = self.log.tail_bytes(self.unserved);
        let next = limits.appended_bytes_max();
        !self.audience.is_empty() && unserved + next > limits.log_bytes
    }
}
