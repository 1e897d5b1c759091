//! Admission: which keys and limits decide whether a client may join.

use super::ids::{RoomKey, SessionKey};
use super::journal::Full;
use super::keys::Keys;
use super::{Caller, Chat};
use crate::protocol::{Error, Join};
use crate::time::Now;

impl Chat {
    /// Replaces the keys; `None` lets anybody join. Revokes each session whose name has lost its key or
    /// got a different one: the server stops answering its client, and ends the session within the next
    /// few turns.
    pub fn set_keys(&mut self, keys: Option<Keys>, now: Now) {
        let old = std::mem::replace(&mut self.keys, keys);
        let Some(keys) = &self.keys else {
            return;
        };
        // Of timers that are due, the wheel fires the one filed last first.
        for (key, session) in self.sessions.iter_mut().rev() {
            let has_key = keys.get(session.name);
            let had_key = old.as_ref().map(|old| old.get(session.name));
            if has_key.is_none() || had_key.is_some_and(|had_key| had_key != has_key) {
                session.is_revoked = true;
                self.session_timers.file(SessionKey::at(key), now.past);
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

    /// Checks that the limits allow one more session, which replaces its `namesake` if it has one, and
    /// a new room if `room_key` is `None`. That one may take the place of a room that nobody is in.
    pub(super) fn check_space(
        &mut self,
        caller: &Caller,
        room_key: Option<RoomKey>,
        namesake: Option<SessionKey>,
        now: Now,
    ) -> Result<(), Error> {
        let replaced = usize::from(namesake.is_some());
        let same_origin = |key: SessionKey| self.sessions[key.index()].origin == caller.origin;
        let replaced_of_origin = usize::from(namesake.is_some_and(same_origin));
        let of_origin = self.usages.get(caller.origin).sessions as usize;
        let (count, full_of, error) = if self.sessions.len() >= self.limits.sessions_max + replaced
        {
            let count = &mut self.stats.refused_sessions;
            (count, Full::Sessions, Error::TooManySessions)
        } else if of_origin >= self.limits.per_address_max + replaced_of_origin {
            let count = &mut self.stats.refused_sessions_address;
            let error = Error::TooManySessionsOfAddress;
            (count, Full::SessionsOfAddress, error)
        } else if room_key.is_none() && self.rooms.len() - self.kept.len() >= self.limits.rooms_max
        {
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
