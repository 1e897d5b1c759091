//! What only the operator can do: list sessions, end them, and tell everybody something.
//!
//! Telling goes through the sessions in the order of their keys, some in each turn. Nothing waits for a
//! member: one whose connection has taken nothing of what was written to it before misses the notice.

use super::caller::Caller;
use super::commands::CommandResult;
use super::ids::{ConnId, RoomKey, SessionKey};
use super::life::OwedEvents;
use super::notice::Notice;
use super::origin::Origin;
use super::room::Room;
use super::session::Session;
use super::{Chat, by_name, by_room_name};
use crate::plural::count;
use crate::protocol::{
    Bye, Error, FullName, LeaveReason, Listing, Mode, Name, OPERATOR_SILENCE_S, Output, Reply,
    SessionName,
};
use crate::talk::{Form, write_notice};
use crate::time::{Millis, Now};

/// The notice that is on its way to everybody, and who gets it next.
#[derive(Debug)]
pub(super) struct Telling {
    text: String,
    next: SessionKey,
    /// No session had this key or a later one at the start.
    end: SessionKey,
}

/// How many sessions may still be looked at, and how many members may get the notice.
#[derive(Debug)]
pub struct TellBudget {
    /// How many keys of sessions, in use or not.
    pub keys: usize,
    /// How many members.
    pub members: usize,
}

impl Chat {
    /// How many connections the operator has.
    pub fn operators(&self) -> usize {
        self.operators.len()
    }

    /// The operator's connections if there are as many as there may be; otherwise none.
    pub fn operators_if_full(&self) -> &[ConnId] {
        match self.operators.len() < self.limits.operators_max {
            true => &[],
            false => &self.operators,
        }
    }

    /// Lists sessions in the order of rooms and names, from behind the given one on. Looks once at
    /// each room behind it, to count its members, and once at each session that fits.
    pub(super) fn list_sessions<'a>(
        &self,
        after: Option<SessionName>,
        now: Now,
    ) -> CommandResult<'a> {
        let mut sessions = Listing::default();
        let (mut count, mut fits) = (0, true);
        let mut list = |room: &Room, keys: &mut dyn Iterator<Item = u32>, of_room: usize| {
            count += of_room;
            while fits {
                let Some(key) = keys.next() else { return };
                let session = &self.sessions[key as usize];
                fits =
                    sessions.add(self.session_line(session, room, now, &self.origin_of(session)));
            }
        };
        let begun = after.and_then(|after| Some((self.room_named(after.room)?, after.name)));
        if let Some((room, name)) = begun {
            let room = &self.rooms[room.index()];
            let after = by_name(&self.sessions, name);
            let (mut keys, of_room) = room.members.keys_after(Some(&after));
            list(room, &mut keys, of_room);
        }
        let after = after.map(|after| by_room_name(&self.rooms, after.room));
        let (rooms, _) = self
            .room_names
            .keys_after(after.as_ref().map(|after| after as _));
        for room in rooms.map(|key| &self.rooms[RoomKey(key).index()]) {
            let (mut keys, of_room) = room.members.keys_after(None);
            list(room, &mut keys, of_room);
        }
        let more = count as u64 - sessions.lines();
        Ok(Reply::Sessions { sessions, more })
    }

    /// A session as the operator sees it.
    fn session_line<'a>(
        &self,
        session: &Session,
        room: &Room,
        now: Now,
        origin: &'a Origin,
    ) -> Output<'a> {
        let log = &room.log;
        let held = log.count(session.cursor, log.next());
        Output::Session {
            session: SessionName {
                room: room.name,
                name: session.name,
            },
            mode: session.mode,
            presence: session.presence(),
            silent_s: session.silent_s(now.at),
            origin,
            unread: held + log.first().saturating_sub(session.cursor),
        }
    }

    fn origin_of(&self, session: &Session) -> Origin {
        self.usages.origin(session.origin)
    }

    /// Ends a session. The member gets what has happened before it, and a goodbye.
    pub(super) fn end<'a>(
        &mut self,
        room: Name,
        name: FullName,
        now: Now,
        ended: &mut Option<Notice>,
    ) -> CommandResult<'a> {
        let own = self.link_name();
        if let Some(at) = name
            .at
            .filter(|at| own.is_none_or(|own| own.folded() != at.folded()))
        {
            return Err(Error::OnOtherBox { at });
        }
        let room = self.room_named(room);
        let key = room.and_then(|room| self.member_named(room, name.name));
        let key = key.ok_or(Error::NoMember)?;
        let (session, room) = self.session_and_room(key);
        log::info!("the operator has ended {} in {}", session.name, room.name);
        *ended = self.goodbye_notice(key, Bye::Ended, OwedEvents::Written, now);
        self.destroy(key, LeaveReason::Ended, now);
        Ok(Reply::Ended)
    }

    /// Begins to tell everybody something: every member in push mode that is connected.
    pub(super) fn begin_to_tell<'a>(&mut self, text: &str) -> CommandResult<'a> {
        debug_assert!(!self.is_telling(), "the operator's lines wait for that");
        let members = self.attached_push;
        log::info!("the operator tells {} something", count(members, "member"));
        if members > 0 {
            self.telling = Some(Telling {
                text: text.to_owned(),
                next: SessionKey(0),
                end: SessionKey::at(self.sessions.capacity()),
            });
        }
        Ok(Reply::Telling { members })
    }

    /// Whether a notice is on its way to everybody.
    pub fn is_telling(&self) -> bool {
        self.telling.is_some()
    }

    /// The connection of the next member that gets the notice, within a budget; `None` if the budget is
    /// used up, or everybody has got it.
    pub fn next_to_tell(&mut self, budget: &mut TellBudget) -> Option<ConnId> {
        let telling = self.telling.as_mut()?;
        while budget.keys > 0 && budget.members > 0 {
            if telling.next >= telling.end {
                self.telling = None;
                return None;
            }
            let session = self.sessions.get(telling.next.index());
            telling.next.0 += 1;
            budget.keys -= 1;
            let in_push_mode = session.filter(|session| session.mode == Mode::Push);
            if let Some(conn) = in_push_mode.and_then(Session::conn) {
                budget.members -= 1;
                return Some(conn);
            }
        }
        None
    }

    /// Appends the notice to the output of a connection.
    pub fn tell(&mut self, caller: &Caller, out: &mut Vec<u8>) {
        if let Some(telling) = &self.telling {
            match caller.form {
                Form::Talk => write_notice(&telling.text, caller.columns, out),
                form => form.write(&Output::Notice(&telling.text), out),
            }
            self.stats.notices += 1;
        }
    }

    /// Counts a member that misses the notice.
    pub fn count_untold(&mut self) {
        self.stats.notices_missed += 1;
    }
}

impl Caller {
    /// Since when the operator has been silent, if for long enough to make way for another connection of
    /// theirs.
    pub fn silent_operator_since(&self, now: Now) -> Option<Millis> {
        let silence = Millis::from_secs(OPERATOR_SILENCE_S);
        (self.is_operator() && self.heard_at + silence <= now.past).then_some(self.heard_at)
    }
}
