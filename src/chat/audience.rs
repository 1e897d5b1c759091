//! What happens in a room reaches its audience: the attached sessions to which the server writes
//! events.

use super::Chat;
use super::ids::{ConnId, RoomKey, SessionKey};
use super::session::Delivery;
use crate::protocol::{Event, Numbered, Output};
use crate::time::Now;

impl Chat {
    /// Appends an event to a room's log, and returns its number.
    pub(super) fn append(&mut self, room_key: RoomKey, event: Event<'_>, now: Now) -> u64 {
        self.append_at(room_key, event, now.unix_ms, now)
    }

    /// Appends an event that happened at a time of day, and returns its number.
    pub(super) fn append_at(
        &mut self,
        room_key: RoomKey,
        event: Event<'_>,
        unix_ms: u64,
        now: Now,
    ) -> u64 {
        let room = &mut self.rooms[room_key.index()];
        let seq = room.log.next();
        self.line.clear();
        Output::Event(Numbered {
            seq,
            unix_ms,
            event,
        })
        .write(&mut self.line);
        self.log_bytes -= room.log.len_bytes() as u64;
        room.log.append(&self.line);
        self.log_bytes += room.log.len_bytes() as u64;
        self.is_save_urgent |= room.needs_promise();
        if let Some(linked) = &mut room.link {
            if linked.count(&event) {
                let due = linked.change(now.at);
                self.wake_link(due);
            }
        }
        self.stats.events += 1;
        self.stats.events_bytes += self.line.len() as u64;
        self.mark_dirty(room_key);
        seq
    }

    /// Marks a room so that the hub serves its audience: before anything else if the room's log could
    /// otherwise drop an event that the hub has not offered to the whole audience.
    pub(super) fn mark_dirty(&mut self, room_key: RoomKey) {
        let room = &mut self.rooms[room_key.index()];
        self.is_serving_urgent |= room.is_serving_urgent(&self.limits);
        if !room.is_dirty && room.has_readers() {
            room.is_dirty = true;
            self.dirty.push(room_key);
        }
    }

    /// Keeps a room's log from dropping events that a session has not got, until the hub has offered
    /// them to its connection once more.
    pub(super) fn offer_again(&mut self, key: SessionKey) {
        let session = &self.sessions[key.index()];
        let room = &mut self.rooms[session.room.index()];
        if matches!(session.delivery(), Delivery::Pushed) && session.cursor < room.unserved {
            room.unserved = session.cursor;
            if room.is_serving_urgent(&self.limits) {
                self.mark_dirty(session.room);
            }
        }
    }

    /// Puts the connections of the next audience to serve into `audience`. Returns false if none is
    /// left.
    ///
    /// The hub calls this at the end of a turn; and `only_if_urgent` before it answers another line or
    /// settles another timer. Serving is urgent when a log could otherwise drop events for which a
    /// connection has space. The hub then serves all audiences.
    pub fn next_audience(&mut self, only_if_urgent: bool, audience: &mut Vec<ConnId>) -> bool {
        if only_if_urgent && !self.is_serving_urgent {
            return false;
        }
        audience.clear();
        let Some(room_key) = self.dirty.pop() else {
            self.is_serving_urgent = false;
            return false;
        };
        let room = &mut self.rooms[room_key.index()];
        room.is_dirty = false;
        room.unserved = room.log.next();
        let is_linked = room.link.is_some();
        let sessions = &self.sessions;
        let members = room.audience.iter();
        audience.extend(members.filter_map(|&key| sessions[key.index()].conn()));
        if is_linked {
            self.note_appended(room_key);
        }
        true
    }

    /// Adds an attached session to its room's audience, unless its events wait for a POLL.
    pub(super) fn join_audience(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key.index()];
        if let Delivery::Kept = session.delivery() {
            return;
        }
        let room_key = session.room;
        let room = &mut self.rooms[room_key.index()];
        // Older events that it has not got count as unserved too.
        room.unserved = match room.audience.len() {
            0 => session.cursor,
            _ => room.unserved.min(session.cursor),
        };
        session.attached_mut().audience_index = Some(room.audience.len() as u32);
        room.audience.push(key);
        if session.cursor < room.log.next() {
            self.mark_dirty(room_key);
        }
    }

    /// Removes a session from its room's audience, if it is there.
    pub(super) fn leave_audience(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key.index()];
        let attachment = session.attachment.as_mut();
        let Some(index) = attachment.and_then(|a| a.audience_index.take()) else {
            return;
        };
        let room = &mut self.rooms[session.room.index()];
        room.audience.swap_remove(index as usize);
        if room.audience.len() < room.audience.capacity() / 4 {
            // Most of the audience has gone: returns their memory.
            room.audience.shrink_to(2 * room.audience.len());
        }
        if let Some(&moved) = room.audience.get(index as usize) {
            let moved = &mut self.sessions[moved.index()];
            moved.attached_mut().audience_index = Some(index);
        }
    }
}

impl Chat {
    /// Puts a session that was loaded back into its room's audience, if it is attached and belongs there. What
    /// the room has to serve is known already.
    pub(super) fn listen_again(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key.index()];
        if session.attachment.is_none() {
            return;
        }
        let mode = session.mode;
        self.count_attached(mode, true);
        let session = &mut self.sessions[key.index()];
        let is_listening = !matches!(session.delivery(), Delivery::Kept);
        let audience = &mut self.rooms[session.room.index()].audience;
        let index = is_listening.then_some(audience.len() as u32);
        session.attached_mut().audience_index = index;
        if is_listening {
            audience.push(key);
        }
    }
}
