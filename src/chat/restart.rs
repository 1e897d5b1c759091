//! What becomes of sessions and rooms over a restart of the server, and of rooms over a crash.
//!
//! After a good end, sessions go on where they were. After a crash, all that is known is from a moment
//! before it. So sessions have ended, and a room goes on with numbers that the server cannot have given:
//! each save on disk *promises* that no event gets a number above a bound before the next save has
//! promised a higher one.

use super::Chat;
use super::event_log::NUMBER_MAX;
use super::ids::{RoomKey, SessionKey};
use super::room::{Room, UNBOUND};
use crate::protocol::{Error, LeaveReason, LifeId};
use crate::time::{Millis, Now};

/// What is left at least of a session's idle time after a restart: clients wait before they try again.
pub const LEFT_MIN: Millis = Millis(60_000);
/// Over how many restarts a session is carried without a sign of life.
pub const CARRIED_MAX: u8 = 16;
/// How many numbers a save promises beyond those that events have.
pub const PROMISED_AHEAD: u64 = 1_000_000;

impl Chat {
    /// Goes on with sessions and rooms of a run of the server that has come to a good end. Each session has
    /// what was left of its idle time, or a minute if that is more. If the limits are lower now, those
    /// sessions end that have shown no sign of life for longest.
    pub fn go_on(&mut self, now: Now) {
        let mut by_life: Vec<(Millis, SessionKey)> = Vec::with_capacity(self.sessions.len());
        for (key, session) in &mut self.sessions {
            by_life.push((session.alive_at, SessionKey::at(key)));
            let left_from = (now.at + LEFT_MIN).since(Millis::from_secs(session.idle_s));
            session.alive_at = session.alive_at.max(left_from);
        }
        by_life.sort_unstable();
        for (_, room) in &mut self.rooms {
            room.promised = UNBOUND;
        }
        self.free_excess_rooms();
        for &(_, key) in &by_life {
            let is_too_old = self.sessions[key.index()].carried >= CARRIED_MAX;
            if is_too_old || self.is_in_excess(key) {
                self.destroy(key, LeaveReason::Expired, now);
                self.free_excess_rooms();
            } else {
                self.sessions[key.index()].carried += 1;
            }
        }
        self.sessions.shrink_to_fit();
    }

    /// Whether the limits allow less than there is, so that this session has to go.
    fn is_in_excess(&self, key: SessionKey) -> bool {
        let origin = self.sessions[key.index()].origin;
        let limits = &self.limits;
        self.sessions.len() > limits.sessions_max
            || self.usages.get(origin).sessions as usize > limits.per_address_max
            || self.rooms.len() > limits.rooms_at_once_max()
    }

    /// Frees rooms that nobody is in, as long as there are too many or the server keeps none.
    fn free_excess_rooms(&mut self) {
        let rooms_max = self.limits.rooms_at_once_max();
        while let Some(key) = self.kept.first() {
            if self.limits.keep_rooms_s > 0 && self.rooms.len() <= rooms_max {
                return;
            }
            self.free_room(key);
        }
    }

    /// Goes on with the rooms of a run of the server that came to no good end, in its life `boot`. Their
    /// numbers go on behind all that it can have used.
    pub fn recover(&mut self, boot: LifeId) {
        self.boot = boot;
        self.logs_begun = 1;
        self.free_excess_rooms();
        for (_, room) in &mut self.rooms {
            let promised = room.promised;
            if promised != UNBOUND {
                self.log_bytes -= room.log.len_bytes() as u64;
                room.log.skip_to(promised.saturating_add(1));
                self.log_bytes += room.log.len_bytes() as u64;
            }
            room.promised = UNBOUND;
            room.unserved = room.log.next();
            if let Some(linked) = &mut room.link {
                // A log that is begun from now on has a higher number.
                linked.begin_life(room.log.next());
            }
        }
    }

    /// Begins to save for the case that the server comes to no good end: decides which numbers that
    /// promises.
    pub fn begin_save(&mut self) {
        for (_, room) in &mut self.rooms {
            room.to_promise = (room.newest() + PROMISED_AHEAD).min(NUMBER_MAX);
        }
    }

    /// Notes whether what was saved since [`begin_save`](Self::begin_save) is on disk. If so, what it has
    /// promised is in force. If not, it may be there all the same, so a lower promise stays in force.
    pub fn end_save(&mut self, is_on_disk: bool) {
        self.is_save_urgent &= !is_on_disk;
        for (_, room) in &mut self.rooms {
            let promised = std::mem::replace(&mut room.to_promise, UNBOUND);
            room.promised = match is_on_disk {
                true => promised,
                false => room.promised.min(promised),
            };
        }
    }

    /// Whether a room has used up half of its promised numbers, so that the next save should not wait.
    pub fn is_save_urgent(&self) -> bool {
        self.is_save_urgent
    }

    /// A number that changes whenever something changes that a save is for: the events, the rooms, and
    /// which sessions there are.
    pub fn changes(&self) -> u64 {
        let ended: u64 = self.stats.sessions_ended.iter().sum();
        self.stats.events + self.stats.sessions_total + ended + self.rooms_freed
    }

    /// Checks that a room has promised numbers for what a command adds, and for a LEFT of each member:
    /// those come whatever is on disk.
    pub(super) fn check_promised(&self, room: Option<RoomKey>, events: u64) -> Result<(), Error> {
        let Some(key) = room else { return Ok(()) };
        let room = &self.rooms[key.index()];
        // What is being saved may be on disk already.
        let promised = room.promised.min(room.to_promise);
        match room.has_numbers_for(events, promised) {
            true => Ok(()),
            false => Err(Error::NotSaved),
        }
    }
}

impl Room {
    /// Whether there are numbers up to `promised` for more events, and for a LEFT of each member.
    pub(super) fn has_numbers_for(&self, events: u64, promised: u64) -> bool {
        self.newest() + events + self.members.len() as u64 <= promised.min(NUMBER_MAX)
    }

    /// Whether it has used up half of its promised numbers.
    pub(super) fn needs_promise(&self) -> bool {
        self.newest() + PROMISED_AHEAD / 2 > self.promised
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Limits, Name};
    use crate::sorted_index::by_name;

    #[test]
    fn a_room_keeps_the_last_numbers_for_those_who_leave() {
        let name = Name::parse("den").unwrap();
        let mut room = Room::new(name, LifeId::new(0), &Limits::default());
        assert!(room.has_numbers_for(10, 10) && !room.has_numbers_for(11, 10));
        room.log.skip_to(NUMBER_MAX - 1);
        assert!(room.has_numbers_for(2, UNBOUND) && !room.has_numbers_for(3, UNBOUND));
        room.members.insert(0, &by_name(name, |_| name.folded()));
        assert!(room.has_numbers_for(1, UNBOUND) && !room.has_numbers_for(2, UNBOUND));
    }
}
