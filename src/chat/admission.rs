//! Who is let in: keys and limits.

use super::commands::full;
use super::ids::{RoomKey, SessionKey};
use super::journal::Full;
use super::{Chat, Client};
use crate::protocol::{Code, Error, Join};
use crate::time::Now;

impl Chat {
    /// Whether who wants to join has the key of the name, where that takes one.
    pub(super) fn check_key(&self, join: &Join<'_>) -> Result<(), Error> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        if join.key.is_some_and(|key| keys.allow(join.name, key)) {
            return Ok(());
        }
        let text = "the name and its key are not known here: JOIN <name> key=<key>";
        Err(Error::new(Code::NotAuthorized, text))
    }

    /// Whether there is room for one more session, in a room that is new if it has no key yet, and
    /// in place of the `namesake` if there is one.
    pub(super) fn check_space(
        &mut self,
        client: &Client,
        room_key: Option<RoomKey>,
        namesake: Option<SessionKey>,
        now: Now,
    ) -> Result<(), Error> {
        let replaced = usize::from(namesake.is_some());
        let same_origin = |key: SessionKey| self.sessions[key.index()].origin == client.origin;
        let replaced_there = usize::from(namesake.is_some_and(same_origin));
        let from_there = self.usages.get(client.origin).sessions as usize;
        let (count, full_of, text) = if self.sessions.len() >= self.limits.sessions_max + replaced {
            let text = "the server has too many sessions; try again later";
            (&mut self.stats.refused_sessions, Full::Sessions, text)
        } else if from_there >= self.limits.per_address_max + replaced_there {
            let text = "your address has too many sessions; LEAVE one of them";
            let count = &mut self.stats.refused_sessions_address;
            (count, Full::SessionsOfAddress, text)
        } else if room_key.is_none() && self.rooms.len() >= self.limits.rooms_max {
            let text = "the server has too many rooms; join one of those that ROOMS lists";
            (&mut self.stats.refused_rooms, Full::Rooms, text)
        } else {
            return Ok(());
        };
        *count += 1;
        self.journal.full(full_of, &client.peer, &self.limits, now);
        Err(full(text))
    }
}
