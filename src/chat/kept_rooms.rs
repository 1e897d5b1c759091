//! Rooms that nobody is in, and that the server keeps for those who come later.
//!
//! All are kept equally long, so the one that has been empty longest is the next whose time is over,
//! and also the one that goes when another room needs its place. A list in the order in which they
//! became empty answers both, and needs no timer for each.

use slab::Slab;

use super::Chat;
use super::by_room_name;
use super::ids::RoomKey;
use super::room::Room;
use crate::time::{Millis, Now};

/// The rooms without members, the one that has been empty longest first: a doubly linked list through
/// the rooms.
#[derive(Debug, Default)]
pub(super) struct KeptRooms {
    first: Option<RoomKey>,
    pub(super) last: Option<RoomKey>,
    len: usize,
}

/// The place of a room in that list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Since when nobody is in it.
    pub(super) since: Millis,
    pub(super) before: Option<RoomKey>,
    after: Option<RoomKey>,
}

impl KeptRooms {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The one that has been empty longest.
    pub fn first(&self) -> Option<RoomKey> {
        self.first
    }

    /// All of them, with their places.
    pub(super) fn iter<'a>(
        &self,
        rooms: &'a Slab<Room>,
    ) -> impl Iterator<Item = (RoomKey, Kept)> + use<'a> {
        let with_place = |key: RoomKey| Some((key, rooms[key.index()].kept?));
        let first = self.first.and_then(with_place);
        std::iter::successors(first, move |(_, kept)| kept.after.and_then(with_place))
    }

    /// Adds a room that has become empty.
    pub(super) fn push(&mut self, rooms: &mut Slab<Room>, key: RoomKey, since: Millis) {
        rooms[key.index()].kept = Some(Kept {
            since,
            before: self.last,
            after: None,
        });
        *self.link_after(rooms, self.last) = Some(key);
        self.last = Some(key);
        self.len += 1;
    }

    /// Removes a room, if it is there.
    pub fn remove(&mut self, rooms: &mut Slab<Room>, key: RoomKey) {
        let Some(kept) = rooms[key.index()].kept.take() else {
            return;
        };
        *self.link_after(rooms, kept.before) = kept.after;
        *self.link_before(rooms, kept.after) = kept.before;
        self.len -= 1;
    }

    /// The link that leads on from a room, or to the first one.
    fn link_after<'a>(
        &'a mut self,
        rooms: &'a mut Slab<Room>,
        key: Option<RoomKey>,
    ) -> &'a mut Option<RoomKey> {
        match key {
            Some(key) => &mut Self::of(rooms, key).after,
            None => &mut self.first,
        }
    }

    /// The link that leads back from a room, or to the last one.
    fn link_before<'a>(
        &'a mut self,
        rooms: &'a mut Slab<Room>,
        key: Option<RoomKey>,
    ) -> &'a mut Option<RoomKey> {
        match key {
            Some(key) => &mut Self::of(rooms, key).before,
            None => &mut self.last,
        }
    }

    fn of(rooms: &mut Slab<Room>, key: RoomKey) -> &mut Kept {
        let kept = &mut rooms[key.index()].kept;
        kept.as_mut().expect("links lead to rooms of the list")
    }
}

impl Chat {
    /// Keeps a room whose last member has gone, or frees it if the server keeps none.
    pub(super) fn keep_or_free(&mut self, key: RoomKey, now: Now) {
        match self.limits.keep_rooms_s {
            _ if self.rooms[key.index()].is_permanent => {}
            0 => self.free_room(key),
            _ => self.kept.push(&mut self.rooms, key, now.at),
        }
    }

    /// Makes place for one more room, if there is none: frees the one that has been empty longest.
    pub(super) fn make_place_for_room(&mut self) {
        if self.rooms.len() < self.limits.rooms_max {
            return;
        }
        if let Some(key) = self.kept.first() {
            self.stats.rooms_evicted += 1;
            self.free_room(key);
        }
    }

    /// When the next kept room is to be freed.
    pub(super) fn next_room_deadline(&self) -> Option<Millis> {
        let room = &self.rooms[self.kept.first()?.index()];
        let keep = Millis::from_secs(self.limits.keep_rooms_s);
        room.kept.map(|kept| kept.since + keep)
    }

    /// Frees the rooms that were kept for long enough, at most `work` of them.
    pub(super) fn free_due_rooms(&mut self, past: Millis, work: &mut usize) {
        while self.next_room_deadline().is_some_and(|when| when <= past) && *work > 0 {
            let Some(key) = self.kept.first() else { return };
            *work -= 1;
            self.free_room(key);
        }
    }

    /// Frees a room without members, with its log.
    pub(super) fn free_room(&mut self, key: RoomKey) {
        self.kept.remove(&mut self.rooms, key);
        self.unlink_room(key);
        let Room { name, is_dirty, .. } = self.rooms[key.index()];
        if is_dirty {
            self.dirty.retain(|&dirty| dirty != key);
        }
        self.room_names.remove(&by_room_name(&self.rooms, name));
        let room = self.rooms.remove(key.index());
        self.rooms_freed += 1;
        self.log_bytes -= room.log.len_bytes() as u64;
        log::debug!("freed the room {name}");
        let (left, capacity) = (self.rooms.len(), self.rooms.capacity());
        if self.rooms_shrink.removed(left, capacity) {
            self.has_freed_memory = true;
            self.rooms.shrink_to_fit();
        }
    }
}
