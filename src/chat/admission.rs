//! Admission: which keys and limits decide whether a client may join.

use super::ids::{RoomKey, SessionKey};
use super::journal::Full;
use super::keys::{KeyHash, Keys};
use super::room::Room;
use super::{Caller, Chat};
use crate::protocol::{Error, Join, Presence, TakenUntil, WayBack};
use crate::time::{Millis, Now};

impl Chat {
    /// Replaces the keys; `None` lets anybody join. Revokes each session whose name has lost its key or
    /// got a different one: the server stops answering its client, and ends the session within the next
    /// few turns.
    pub fn set_keys(&mut self, keys: Option<Keys>, now: Now) {
        let old = std::mem::replace(&mut self.keys, keys);
        let Some(keys) = &self.keys else {
            return;
        };
        let members = |(_, room): (usize, &Room)| room.members.keys_after(None).0.collect();
        let members: Vec<Vec<u32>> = self.rooms.iter().map(members).collect();
        // Those of a room end in the order of their names: of timers that are due, the wheel fires the one
        // filed last first.
        for key in members.concat().into_iter().rev().map(SessionKey) {
            let session = &mut self.sessions[key.index()];
            let has_key = keys.get(session.name);
            let had_key = old.as_ref().map(|old| old.get(session.name));
            if has_key.is_none() || had_key.is_some_and(|had_key| had_key != has_key) {
                session.is_revoked = true;
                self.session_timers.file(key, now.past);
            }
        }
    }

    /// Checks that a JOIN has the key of its name, if joining takes one.
    pub(super) fn check_key(&self, join: &Join<'_>) -> Result<(), Error> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        if join.key.is_some_and(|key| keys.accepts(join.name, key)) {
            return Ok(());
        }
        Err(Error::NotAuthorized)
    }

    /// Checks that a JOIN may take its name back from a session that has it: with a users file any that
    /// has come so far, without one only if that session began with the same key.
    pub(super) fn check_take_back(
        &self,
        namesake: SessionKey,
        join: &Join<'_>,
        now: Now,
    ) -> Result<(), Error> {
        let key = join.key.filter(|_| self.keys.is_none()).map(KeyHash::of);
        match self.has_key_of(namesake, key.as_ref()) {
            true => Ok(()),
            false => Err(self.name_taken(namesake, now)),
        }
    }

    /// Whether a client whose own key has this hash may have the name of a session. With a users file,
    /// its key was checked already.
    pub(super) fn has_key_of(&self, session: SessionKey, key: Option<&KeyHash>) -> bool {
        let own = self.sessions[session.index()].key.as_deref();
        self.keys.is_some() || own.zip(key).is_some_and(|(own, key)| own == key)
    }

    /// The error about a name that a session has.
    pub(super) fn name_taken(&self, session: SessionKey, now: Now) -> Error {
        let session = &self.sessions[session.index()];
        let left_s = |end: Millis| end.since(now.at).0.div_ceil(1000);
        let until = match (session.idle_end().map(left_s), session.presence()) {
            (Some(left_s), Presence::Detached) => TakenUntil::Detached { left_s },
            (Some(left_s), Presence::Attached) => TakenUntil::Silent { left_s },
            (None, _) => TakenUntil::KeptAlive {
                idle_s: session.idle_s,
            },
        };
        Error::NameTaken {
            name: session.name,
            way_back: match (session.is_talk, session.key.is_some()) {
                (false, false) => WayBack::Token,
                (false, true) => WayBack::TokenOrKey,
                (true, false) => WayBack::Talk,
                (true, true) => WayBack::TalkWithKey,
            },
            until,
        }
    }

    /// The key that a new session keeps, so that a later JOIN can take its name back. With a users file
    /// it needs none.
    pub(super) fn own_key(&self, join: &Join<'_>) -> Option<Box<KeyHash>> {
        let key = join.key.filter(|_| self.keys.is_none())?;
        Some(Box::new(KeyHash::of(key)))
    }

    /// Checks that the limits allow one more session, which replaces another if there is one that
    /// `goes`, and a new room if `room_key` is `None`. That one may take the place of a room that nobody
    /// is in, or is left in.
    pub(super) fn check_space(
        &mut self,
        caller: &Caller,
        room_key: Option<RoomKey>,
        goes: Option<SessionKey>,
        now: Now,
    ) -> Result<(), Error> {
        let replaced = usize::from(goes.is_some());
        let same_origin = |key: SessionKey| self.sessions[key.index()].origin == caller.origin;
        let replaced_of_origin = usize::from(goes.is_some_and(same_origin));
        let is_alone = |key: SessionKey| {
            let room = self.session_and_room(key).1;
            room.members.len() == 1 && !room.is_permanent
        };
        let rooms = self.rooms.len() - self.kept.len() - usize::from(goes.is_some_and(is_alone));
        let of_origin = self.usages.get(caller.origin).sessions as usize;
        let (count, full_of, error) = if self.sessions.len() >= self.limits.sessions_max + replaced
        {
            let count = &mut self.stats.refused_sessions;
            (count, Full::Sessions, Error::TooManySessions)
        } else if of_origin >= self.limits.per_address_max + replaced_of_origin {
            let count = &mut self.stats.refused_sessions_address;
            let error = Error::TooManySessionsOfAddress;
            (count, Full::SessionsOfAddress, error)
        } else if room_key.is_none() && rooms >= self.limits.rooms_max {
            let count = &mut self.stats.refused_rooms;
            (count, Full::Rooms, Error::TooManyRooms)
        } else {
            return Ok(());
        };
        *count += 1;
        self.journal.full(full_of, &caller.peer, &self.limits, now);
        Err(error)
    }
}
