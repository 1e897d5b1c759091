//! What is appended to rooms' logs, and who is served with it.

use super::Chat;
use super::ids::{ConnId, RoomKey, SessionKey};
use super::session::Delivery;
use crate::protocol::{Event, Output};
use crate::time::Now;

impl Chat {
    /// Appends an event to a room's log and gives its number.
    pub(super) fn append(&mut self, room_key: RoomKey, event: Event<'_>, now: Now) -> u64 {
        let room = &mut self.rooms[room_key.index()];
        let seq = room.log.next();
        self.line.clear();
        let unix_ms = now.unix_ms;
        Output::Event {
            seq,
            unix_ms,
            event,
        }
        .write(&mut self.line);
        self.log_bytes -= room.log.len_bytes() as u64;
        room.log.append(&self.line);
        self.log_bytes += room.log.len_bytes() as u64;
        self.stats.events += 1;
        self.stats.events_bytes += self.line.len() as u64;
        self.mark_dirty(room_key);
        seq
    }

    /// Sees to it that a room's audience is served, at once if its log is about to drop what
    /// somebody was not given.
    pub(super) fn mark_dirty(&mut self, room_key: RoomKey) {
        let room = &mut self.rooms[room_key.index()];
        self.must_serve |= room.must_serve(&self.limits);
        if !room.is_dirty && !room.audience.is_empty() {
            room.is_dirty = true;
            self.dirty.push(room_key);
        }
    }

    /// Lets no log drop what a session is owed before its connection was offered it once more.
    pub(super) fn offer_again(&mut self, key: SessionKey) {
        let session = &self.sessions[key.index()];
        let room = &mut self.rooms[session.room.index()];
        if matches!(session.delivery(), Delivery::Pushed) && session.cursor < room.unserved {
            room.unserved = session.cursor;
            if room.must_serve(&self.limits) {
                self.mark_dirty(session.room);
            }
        }
    }

    /// Puts the connections of the next audience that is to be served into `audience`; false if there
    /// is none left.
    ///
    /// To be asked at the end of a turn; and before the next line is answered or the next timer is
    /// settled, `only_if_urgent`, which it is when a log could otherwise drop events that a connection
    /// has space for. All audiences are then served.
    pub fn next_audience(&mut self, only_if_urgent: bool, audience: &mut Vec<ConnId>) -> bool {
        if only_if_urgent && !self.must_serve {
            return false;
        }
        audience.clear();
        let Some(room_key) = self.dirty.pop() else {
            self.must_serve = false;
            return false;
        };
        let room = &mut self.rooms[room_key.index()];
        room.is_dirty = false;
        room.unserved = room.log.next();
        let sessions = &self.sessions;
        let members = room.audience.iter();
        audience.extend(members.filter_map(|&key| sessions[key.index()].conn()));
        true
    }

    /// Puts an attached session among those that are served when something happens.
    pub(super) fn join_audience(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key.index()];
        let room_key = session.room;
        let room = &mut self.rooms[room_key.index()];
        let Some(attachment) = &mut session.attachment else {
            return;
        };
        // What it is owed from before counts like what is appended now.
        room.unserved = match room.audience.len() {
            0 => session.cursor,
            _ => room.unserved.min(session.cursor),
        };
        attachment.audience_index = Some(room.audience.len() as u32);
        room.audience.push(key);
        if session.cursor < room.log.next() {
            self.mark_dirty(room_key);
        }
    }

    pub(super) fn leave_audience(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key.index()];
        let attachment = session.attachment.as_mut();
        let Some(index) = attachment.and_then(|a| a.audience_index.take()) else {
            return;
        };
        let room = &mut self.rooms[session.room.index()];
        room.audience.swap_remove(index as usize);
        if room.audience.len() < room.audience.capacity() / 4 {
            // A crowd's seats are not kept.
            room.audience.shrink_to(2 * room.audience.len());
        }
        if let Some(&moved) = room.audience.get(index as usize) {
            if let Some(attachment) = &mut self.sessions[moved.index()].attachment {
                attachment.audience_index = Some(index);
            }
        }
    }
}
