//! A room: its members by name, its event log, and its audience.
//!
//! A room knows no more of sessions than their keys.

use super::event_log::EventLog;
use super::ids::SessionKey;
use crate::protocol::{Limits, Name};
use crate::sorted_index::SortedIndex;

/// A room that has members.
#[derive(Debug)]
pub struct Room {
    /// The room's name as its first member wrote it.
    pub name: Name,
    /// Its newest events.
    pub log: EventLog,
    /// The members, sorted by name regardless of case.
    pub members: SortedIndex,
    /// The sessions to which the server writes events as they happen: attached push sessions, and pull
    /// sessions whose POLL waits. In no order.
    pub audience: Vec<SessionKey>,
    /// The number of the first event that has not been offered to all of the audience.
    pub unserved: u64,
    /// The room is on the list of those whose audience is to be served.
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

    /// Where the cursor of a new member begins. The member asks for `history` events before its JOINED,
    /// which is the newest event.
    pub fn cursor_for(&self, history: u64) -> u64 {
        self.newest().saturating_sub(history).max(self.log.first())
    }

    /// Whether the next command could make the log drop an event that has not been offered to all of
    /// the audience.
    pub fn must_serve(&self, limits: &Limits) -> bool {
        let unserved = self.log.tail_bytes(self.unserved);
        let next = limits.appended_bytes_max();
        !self.audience.is_empty() && unserved + next > limits.log_bytes
    }
}
