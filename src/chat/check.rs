//! What must hold between sessions, rooms and timers whenever no call is in progress. For tests.

use std::collections::HashSet;

use slab::Slab;

use super::ids::{ConnId, RoomKey, SessionKey};
use super::kept_rooms::KeptRooms;
use super::room::Room;
use super::session::{Delivery, Session};
use super::usage::{OriginKey, Usage, Usages};
use super::{Chat, by_room_name};
use crate::protocol::{LifeId, Mode, Name};
use crate::time::{Millis, Now};
use crate::wheel::Wheel;

/// A room, as tests see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// Its name.
    pub name: Name,
    /// Which life of its log it is.
    pub log: LifeId,
    /// How many members it has.
    pub members: usize,
    /// The number of its newest event.
    pub newest: u64,
    /// Since when nobody is in it, if that is so.
    pub empty_since: Option<Millis>,
}

impl Chat {
    /// The rooms that there are, in no order.
    pub fn rooms(&self) -> Vec<RoomState> {
        let rooms = self.rooms.iter().map(|(_, room)| RoomState {
            name: room.name,
            log: room.log_id,
            members: room.members.len(),
            newest: room.newest(),
            empty_since: room.kept.map(|kept| kept.since),
        });
        rooms.collect()
    }

    /// The connection to which a session is attached.
    pub fn conn_of(&self, key: SessionKey) -> Option<ConnId> {
        self.sessions.get(key.index()).and_then(Session::conn)
    }

    /// How many connections of clients there are.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// How many sessions are attached.
    pub fn attached_sessions(&self) -> usize {
        self.attached as usize
    }

    /// Checks that all parts agree, that nothing is left of things that have gone, and that no deadline
    /// was missed. Looks at everything.
    ///
    /// # Panics
    ///
    /// If that is not so.
    pub fn assert_consistent(&self, now: Now) {
        self.assert_rooms();
        self.assert_usages();
        self.assert_timers(now);
        self.assert_link(now);
        let attached = self.sessions.iter().filter(|(_, s)| s.conn().is_some());
        assert_eq!(attached.clone().count() as u64, self.attached);
        let in_push_mode = attached.filter(|(_, s)| s.mode == Mode::Push);
        assert_eq!(in_push_mode.count() as u64, self.attached_push);
        let ended: u64 = self.stats.sessions_ended.iter().sum();
        let alive = self.sessions.len() as u64;
        assert_eq!(alive + ended, self.stats.sessions_total);
    }

    fn assert_usages(&self) {
        let counted = self
            .sessions
            .iter()
            .filter(|(_, s)| !matches!(s.origin, OriginKey::Local(_)));
        assert_eq!(self.usages.sum().sessions as usize, counted.count());
        self.usages.assert_consistent();
        for (_, session) in &self.sessions {
            let usage = self.usages.get(session.origin);
            assert!(usage.sessions as usize <= self.limits.per_address_max);
            assert!(usage.connections as usize <= self.limits.per_address_max);
        }
        assert!(self.sessions.len() <= self.limits.sessions_max);
        assert!(self.rooms.len() <= self.limits.rooms_at_once_max());
        assert!(self.connections <= self.limits.connections_max);
        assert!(self.operators.len() <= self.limits.operators_max);
    }

    fn assert_rooms(&self) {
        assert_eq!(self.rooms.len(), self.room_names.len());
        let (mut members, mut log_bytes) = (0, 0);
        for (room_key, room) in &self.rooms {
            let may_be_freed = room.members.is_empty() && !room.is_permanent;
            assert_eq!(may_be_freed, room.kept.is_some(), "{}", room.name);
            assert!(room.kept.is_none() || room.audience.is_empty());
            assert_eq!(
                self.room_names.get(&by_room_name(&self.rooms, room.name)),
                Some(room_key as u32)
            );
            assert!(room.log.len_bytes() <= self.limits.log_bytes);
            members += room.members.len();
            log_bytes += room.log.len_bytes() as u64;
            let name_of = |key: SessionKey| self.sessions[key.index()].name.folded();
            let (keys, count) = room.members.keys_after(None);
            let keys: Vec<SessionKey> = keys.map(SessionKey).collect();
            assert_eq!((keys.len(), keys.len()), (count, room.members.len()));
            assert!(keys.is_sorted_by(|&a, &b| name_of(a) < name_of(b)));
            for key in keys {
                let session = &self.sessions[key.index()];
                assert_eq!(session.room, RoomKey::at(room_key));
                assert!(session.cursor <= room.log.next());
                let attachment = session.attachment.as_ref();
                let index = attachment.and_then(|a| a.audience_index);
                assert!(index.is_none_or(|index| room.audience[index as usize] == key));
                let listens = attachment.is_some() && !matches!(session.delivery(), Delivery::Kept);
                assert_eq!(index.is_some(), listens);
            }
            let audience: HashSet<SessionKey> = room.audience.iter().copied().collect();
            assert_eq!(audience.len(), room.audience.len());
            assert!(
                audience
                    .iter()
                    .all(|&key| self.sessions.contains(key.index()))
            );
            assert_eq!(
                room.is_dirty,
                self.dirty.contains(&RoomKey::at(room_key)),
                "{} is marked for service but not listed, or the other way round",
                room.name
            );
        }
        assert_eq!(members, self.sessions.len());
        assert_eq!(log_bytes, self.log_bytes);
        self.kept.assert_consistent(&self.rooms);
        assert!(
            self.dirty
                .iter()
                .all(|&key| self.rooms.contains(key.index()))
        );
    }

    fn assert_timers(&self, now: Now) {
        for (_, when) in self.wheels().into_iter().flat_map(Wheel::iter) {
            assert!(when > now.past, "a timer was missed");
        }
        let room_deadline = self.next_room_deadline();
        assert!(room_deadline.is_none_or(|when| when > now.past));
        for (key, _) in self.session_timers.wheel().iter() {
            assert!(self.sessions.contains(key as usize), "{key} has a timer");
        }
        for (key, session) in &self.sessions {
            if let Some((when, what)) = session.deadline(now.past) {
                assert!(when > now.past, "{} missed {what:?}", session.name);
                let filed = self.session_timers.when(SessionKey::at(key));
                assert!(filed.is_some_and(|filed| filed <= when));
            }
        }
    }
}

impl KeptRooms {
    /// Checks that the list leads through all rooms that nobody is in, in the order in which they
    /// became empty, both ways.
    ///
    /// # Panics
    ///
    /// If that is not so.
    fn assert_consistent(&self, rooms: &Slab<Room>) {
        let keys: Vec<_> = self.iter(rooms).map(|(key, _)| key).collect();
        let since: Vec<_> = self.iter(rooms).map(|(_, kept)| kept.since).collect();
        let without_members =
            (rooms.iter()).filter(|(_, room)| room.members.is_empty() && !room.is_permanent);
        assert_eq!(
            (keys.len(), keys.len()),
            (self.len(), without_members.count())
        );
        assert!(since.is_sorted(), "{since:?}");
        let before = self.iter(rooms).map(|(_, kept)| kept.before);
        let expected = std::iter::once(None).chain(keys.iter().copied().map(Some));
        assert!(before.chain([self.last]).eq(expected));
    }
}

impl Usages {
    /// Checks that every origin has something or waits to be forgotten, and that not too many wait.
    ///
    /// # Panics
    ///
    /// If that is not so.
    fn assert_consistent(&self) {
        for (_, (origin, usage)) in &self.usages {
            assert!(!usage.is_empty() || usage.is_waiting, "{origin:?}");
        }
        let waiting = self.usages.iter().filter(|(_, s)| s.1.is_waiting);
        assert_eq!(waiting.count(), self.waiting.len());
        assert!(self.waiting.len() <= self.waiting_max);
    }

    /// The sum of all usages.
    fn sum(&self) -> Usage {
        let mut sum = Usage::default();
        for (_, (_, usage)) in &self.usages {
            sum.connections += usage.connections;
            sum.sessions += usage.sessions;
        }
        sum
    }
}
