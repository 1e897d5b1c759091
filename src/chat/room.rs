//! A room: its members by name, its event log, and its audience.
//!
//! Of sessions a room knows only the keys.

use super::event_log::EventLog;
use super::ids::SessionKey;
use super::kept_rooms::Kept;
use super::link::LinkedRoom;
use crate::protocol::{Join, LifeId, Limits, Name};
use crate::sorted_index::SortedIndex;

/// A room that has members, or had some.
#[derive(Debug)]
pub(super) struct Room {
    /// The room's name as its first member wrote it.
    pub name: Name,
    /// Which life of the log it is.
    pub log_id: LifeId,
    /// Its newest events.
    pub log: EventLog,
    /// The members, sorted by name regardless of case.
    pub members: SortedIndex,
    /// The sessions to which the server writes events as they happen: attached push sessions, and pull
    /// sessions whose POLL waits. In no order.
    pub audience: Vec<SessionKey>,
    /// The number of the first event that the hub has not offered to the whole audience.
    pub unserved: u64,
    /// Whether the hub still has to serve its audience.
    pub is_dirty: bool,
    /// Its place among those that nobody is in; `None` if somebody is.
    pub kept: Option<Kept>,
    /// No event gets a number above this before a later one is promised on disk; [`UNBOUND`] if that is
    /// not needed.
    pub promised: u64,
    /// The number that the save in progress promises.
    pub to_promise: u64,
    /// It stays, whether somebody is in it or not.
    pub is_permanent: bool,
    /// What it has besides if it spans boxes.
    pub link: Option<Box<LinkedRoom>>,
}

/// The bound on the numbers of a room that no file on disk knows.
pub const UNBOUND: u64 = u64::MAX;

impl Room {
    /// An empty room.
    pub fn new(name: Name, log_id: LifeId, limits: &Limits) -> Self {
        Room {
            name,
            log_id,
            log: EventLog::new(limits.log_bytes),
            members: SortedIndex::default(),
            audience: Vec::new(),
            unserved: 1,
            is_dirty: false,
            kept: None,
            promised: UNBOUND,
            to_promise: UNBOUND,
            is_permanent: false,
            link: None,
        }
    }

    /// The number of the newest event.
    pub fn newest(&self) -> u64 {
        self.log.next() - 1
    }

    /// The event after which a JOIN asks to go on, if it means this life of the log.
    pub fn seen_by(&self, join: &Join<'_>) -> Option<u64> {
        let since = join.since.filter(|since| since.log == self.log_id);
        since.map(|since| since.after)
    }

    /// The first cursor of a member that joined when the next event had the number `next`: after the
    /// event that it has seen, or before as much history as it asks for.
    pub fn cursor_for(&self, after: Option<u64>, history: u64, next: u64) -> u64 {
        match after {
            Some(after) => after + 1,
            None => self.log.before(next, history),
        }
    }

    /// Whether somebody reads its events as they happen.
    pub fn has_readers(&self) -> bool {
        !self.audience.is_empty() || self.link.is_some()
    }

    /// Whether the next command could make the log drop an event that the hub has not offered to the
    /// whole audience.
    pub fn is_serving_urgent(&self, limits: &Limits) -> bool {
        let unserved = self.log.tail_bytes(self.unserved);
        let next = limits.appended_bytes_max();
        self.has_readers() && unserved + next > limits.log_bytes
    }
}
