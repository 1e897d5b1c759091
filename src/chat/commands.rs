//! What each command does: one small function per verb.

use super::caller::Caller;
use super::ended::End;
use super::ids::{RoomKey, SessionKey};
use super::life::OwedEvents;
use super::notice::Notice;
use super::origin::Peer;
use super::room::Room;
use super::session::Session;
use super::{Chat, by_name, by_room_name};
use crate::protocol::{
    Bye, Command, Error, Event, FullName, Join, LeaveReason, Listing, Membership, Mode, Name,
    Order, Output, Parting, Poll, Query, Reply, Resume, Secret, SecretHash, Token,
};
use crate::time::Now;

pub(super) type CommandResult<'a> = Result<Reply<'a>, Error>;

/// Where a session begins, and which sessions end for it.
pub(super) struct Place {
    /// The room, if there is one of that name.
    pub room: Option<RoomKey>,
    /// The session that has the name there, and loses it.
    pub namesake: Option<SessionKey>,
    /// The session of the same person in another room.
    pub left: Option<SessionKey>,
    /// The event of the room that the client has seen last, if it says so.
    pub after: Option<u64>,
}

impl Chat {
    /// Carries out a command. `None` means that the reply comes later.
    pub(super) fn execute<'a>(
        &mut self,
        caller: &mut Caller,
        command: Command<'a>,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> Result<Option<Reply<'a>>, Error> {
        match command {
            Command::Talk(talk) => self.talk(caller, talk, now, replaced),
            Command::Join(join) => self.join(caller, join, now, replaced),
            Command::Resume(resume) => self.resume(caller, resume, now, replaced),
            Command::Say(text) => self.say(caller, text, now),
            Command::Ping(text) => Ok(Reply::Pong { text }),
            Command::Query(Query::Poll(poll)) => return self.poll(caller, poll, now),
            Command::Query(Query::Who { after }) => self.who(caller, after, now),
            Command::Query(Query::Rooms { after }) => self.list_rooms(caller, after),
            Command::Query(Query::Again { events }) => self.again(caller, events),
            Command::Query(Query::Stats) => self.show_stats(caller, now),
            Command::Parting(Parting::Enter { room }) => self.enter(caller, room, now, replaced),
            Command::Query(Query::Help) => self.help(caller, now),
            Command::Query(Query::Sessions { after }) => self.list_sessions(after, now),
            Command::Order(Order::End { room, name }) => self.end(room, name, now, replaced),
            Command::Order(Order::TellAll(text)) => self.begin_to_tell(text),
            Command::Parting(Parting::Leave) => self.leave(caller, now),
            Command::Parting(Parting::Detach) => self.detach_caller(caller, now),
            Command::Parting(Parting::Quit) => self.quit(caller, now),
        }
        .map(Some)
    }

    fn join<'a>(
        &mut self,
        caller: &mut Caller,
        join: Join<'_>,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> CommandResult<'a> {
        check_no_session(caller)?;
        self.check_key_of(caller, &join, now)?;
        let room_key = self.room_named(join.room);
        let namesake = room_key.and_then(|room| self.member_named(room, join.name));
        if let Some(namesake) = namesake {
            self.check_take_back(namesake, &join, now)?;
        }
        // Nobody has seen anything of a log that is still to begin, even if they can tell its number.
        let room = room_key.map(|room| &self.rooms[room.index()]);
        let after = room.and_then(|room| room.seen_by(&join));
        room.map_or(Ok(()), |room| check_after(room, after))?;
        let place = Place {
            room: room_key,
            namesake,
            left: None,
            after,
        };
        let (key, secret) = self.begin(caller, &join, place, now, replaced)?;
        let token = Token {
            slot: key.0,
            secret,
        };
        Ok(Reply::Joined {
            token,
            membership: self.membership(key),
        })
    }

    /// Begins a session, and returns the secret that goes into its token. If the limits do not allow it,
    /// nothing has changed.
    pub(super) fn begin(
        &mut self,
        caller: &mut Caller,
        join: &Join<'_>,
        place: Place,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> Result<(SessionKey, Secret), Error> {
        self.check_space(caller, place.room, place.left.or(place.namesake), now)?;
        self.check_promised(place.room, 2)?;
        let secret = Secret::random().map_err(|_| Error::NoRandomNumbers)?;
        if let Some(left) = place.left {
            self.destroy(left, LeaveReason::Left, now);
        }
        if let Some(namesake) = place.namesake {
            *replaced = self.take_name_back(namesake, now);
        }
        let room = place.room.unwrap_or_else(|| self.open_room(join.room));
        let hash = SecretHash::of(secret);
        let key = self.create(caller, join, room, place.after, hash, now);
        Ok((key, secret))
    }

    /// Ends a session so that another can have its name: whoever has the key has the name. Even an empty
    /// room stays, since the new session joins it.
    fn take_name_back(&mut self, key: SessionKey, now: Now) -> Option<Notice> {
        let goodbye = self.goodbye_notice(key, Bye::Replaced, OwedEvents::Written, now);
        self.remove_session(key, LeaveReason::Replaced, now);
        goodbye
    }

    /// Checks that a client has the key of the name under which it wants to join.
    pub(super) fn check_key_of(
        &mut self,
        caller: &mut Caller,
        join: &Join<'_>,
        now: Now,
    ) -> Result<(), Error> {
        caller.has_paused &= join.key.is_none();
        let checked = self.check_key(join);
        if checked.is_err() {
            caller.denials += 1;
            self.usages.deny(caller.origin, now);
            self.stats.refused_keys += 1;
        }
        checked
    }

    pub(super) fn room_named(&self, name: Name) -> Option<RoomKey> {
        let key = self.room_names.get(&by_room_name(&self.rooms, name));
        key.map(RoomKey)
    }

    pub(super) fn member_named(&self, room: RoomKey, name: Name) -> Option<SessionKey> {
        let members = &self.rooms[room.index()].members;
        members.get(&by_name(&self.sessions, name)).map(SessionKey)
    }

    fn resume<'a>(
        &mut self,
        caller: &mut Caller,
        resume: Resume,
        now: Now,
        replaced: &mut Option<Notice>,
    ) -> CommandResult<'a> {
        check_no_session(caller)?;
        let key = self.find_session(resume.token, now)?;
        check_after(self.session_and_room(key).1, resume.after)?;
        if let Some(goodbye) = self.goodbye_notice(key, Bye::Replaced, OwedEvents::Kept, now) {
            self.detach(key, now);
            *replaced = Some(goodbye);
        }
        if let Some(after) = resume.after {
            self.set_cursor(key, after);
        }
        self.attach(caller, key, now);

        Ok(Reply::Resumed {
            membership: self.membership(key),
            said: self.sessions[key.index()].said,
        })
    }

    /// What JOIN and RESUME tell a client about its session.
    fn membership(&self, key: SessionKey) -> Membership {
        let (session, room) = self.session_and_room(key);
        Membership {
            name: session.name,
            room: room.name,
            mode: session.mode,
            idle_s: session.idle_s,
            alive: session.alive,
            newest: room.newest(),
            members: room.members.len() + self.remote_members(session.room) as usize,
            log: room.log_id,
        }
    }

    /// The session that a token names.
    fn find_session(&mut self, token: Option<Token>, now: Now) -> Result<SessionKey, Error> {
        let found = self.find_known_session(token, now);
        if found == Err(Error::UnknownSession) {
            self.stats.refused_tokens += 1;
        }
        found
    }

    fn find_known_session(&self, token: Option<Token>, now: Now) -> Result<SessionKey, Error> {
        let token = token.ok_or(Error::UnknownSession)?;
        let (key, secret) = (SessionKey(token.slot), SecretHash::of(token.secret));
        let session = self.sessions.get(key.index());
        let session = session.filter(|s| s.secret == secret);
        let end = match session {
            Some(session) if !session.is_revoked => return Ok(key),
            Some(_) => End {
                reason: LeaveReason::Replaced,
                at: now.at,
            },
            None => (self.ended.get(key, secret)).ok_or(Error::UnknownSession)?,
        };
        Err(Error::SessionEnded {
            reason: end.reason,
            ago_s: now.at.since(end.at).secs(),
        })
    }

    fn say<'a>(&mut self, caller: &Caller, text: &str, now: Now) -> CommandResult<'a> {
        let key = session_of(caller)?;
        self.check_promised(Some(self.sessions[key.index()].room), 1)?;
        let session = &mut self.sessions[key.index()];
        session.said += 1;
        let (room, name) = (session.room, session.name);
        self.stats.messages += 1;
        let seq = self.append(
            room,
            Event::Msg {
                name: name.into(),
                text,
            },
            now,
        );
        let attachment = self.sessions[key.index()].attached_mut();
        if let Some(talk) = &mut attachment.talk {
            talk.viewer.has_said(seq);
        }
        let unix_ms = now.unix_ms;
        Ok(Reply::Said { seq, unix_ms })
    }

    fn poll<'a>(
        &mut self,
        caller: &Caller,
        poll: Poll,
        now: Now,
    ) -> Result<Option<Reply<'a>>, Error> {
        let key = session_of(caller)?;
        let (session, room) = self.session_and_room(key);
        if session.mode == Mode::Push {
            return Err(Error::WrongMode);
        }
        check_after(room, poll.after)?;
        if let Some(after) = poll.after {
            self.set_cursor(key, after);
        }
        let (session, room) = self.session_and_room(key);
        if poll.wait_s > 0 && session.cursor == room.log.next() {
            self.start_wait(key, poll, caller.heard_at, now);
            return Ok(None);
        }
        Ok(Some(self.batch(key, poll.max, Listing::BYTES_MAX, now)))
    }

    fn leave<'a>(&mut self, caller: &mut Caller, now: Now) -> CommandResult<'a> {
        let key = session_of(caller)?;
        caller.session = None;
        self.destroy(key, LeaveReason::Left, now);
        self.start_handshake(caller, now.at);
        Ok(Reply::Left)
    }

    fn detach_caller<'a>(&mut self, caller: &mut Caller, now: Now) -> CommandResult<'a> {
        let key = session_of(caller)?;
        caller.session = None;
        self.detach(key, now);
        self.start_handshake(caller, now.at);
        Ok(Reply::Detached)
    }

    fn quit<'a>(&mut self, caller: &mut Caller, now: Now) -> CommandResult<'a> {
        if let Some(key) = caller.session.take() {
            self.destroy(key, LeaveReason::Quit, now);
        }
        Ok(Reply::Quit)
    }

    fn who<'a>(&self, caller: &Caller, after: Option<FullName>, now: Now) -> CommandResult<'a> {
        let (session, room) = self.session_and_room(session_of(caller)?);
        let mut members = Listing::default();
        let mut add = |line| members.add_written(|out| caller.form.write(&line, out));
        let mut count = 0;
        let mut fits = true;
        // Those of this box come first.
        if after.is_none_or(|after| after.is_local()) {
            let after = after.map(|after| by_name(&self.sessions, after.name));
            let (keys, local) = room
                .members
                .keys_after(after.as_ref().map(|after| after as _));
            count += local;
            for key in keys {
                fits = add(member_line(&self.sessions[key as usize], now));
                if !fits {
                    break;
                }
            }
        }
        if self.link.is_some() {
            for line in self.remote_members_after(session.room, after, now) {
                count += 1;
                fits = fits && add(line);
            }
        }
        let more = count as u64 - members.lines();
        let seq = room.newest();
        Ok(Reply::Who { members, seq, more })
    }

    fn list_rooms<'a>(&self, caller: &Caller, after: Option<Name>) -> CommandResult<'a> {
        self.check_member(caller)?;
        let mut rooms = Listing::default();
        let after = after.map(|name| by_room_name(&self.rooms, name));
        let (keys, count) = self
            .room_names
            .keys_after(after.as_ref().map(|after| after as _));
        for key in keys {
            let room = &self.rooms[key as usize];
            let line = Output::Room {
                name: room.name,
                members: room.members.len() + self.remote_members(RoomKey(key)) as usize,
                newest: room.newest(),
            };
            let fits = rooms.add_written(|out| caller.form.write(&line, out));
            if !fits {
                break;
            }
        }
        let more = count as u64 - rooms.lines();
        Ok(Reply::Rooms { rooms, more })
    }

    fn show_stats<'a>(&self, caller: &Caller, now: Now) -> CommandResult<'a> {
        // Whoever may use the server's Unix sockets looks after this machine, or is trusted by those
        // who do.
        if !matches!(caller.peer, Peer::Local { .. }) {
            self.check_member(caller)?;
        }
        let stats = self.list_stats(now);
        Ok(Reply::Stats { stats })
    }

    fn help<'a>(&mut self, caller: &mut Caller, now: Now) -> CommandResult<'a> {
        if caller.is_operator() {
            return Ok(Reply::OperatorHelp);
        }
        // People who read it need time for that, but nobody gets it again and again.
        if caller.session.is_none() && !caller.has_had_help {
            caller.has_had_help = true;
            self.start_handshake(caller, now.at);
        }
        Ok(Reply::Help)
    }

    /// Checks that a client may look around: if joining takes a key, only members may.
    fn check_member(&self, caller: &Caller) -> Result<(), Error> {
        match self.keys {
            Some(_) => session_of(caller).map(|_| ()),
            None => Ok(()),
        }
    }

    pub(super) fn session_and_room(&self, key: SessionKey) -> (&Session, &Room) {
        let session = &self.sessions[key.index()];
        (session, &self.rooms[session.room.index()])
    }
}

/// Checks that a room has had the event that a client says it has seen.
fn check_after(room: &Room, after: Option<u64>) -> Result<(), Error> {
    let newest = room.newest();
    match after.is_some_and(|after| after > newest) {
        true => Err(Error::AfterNewest { newest }),
        false => Ok(()),
    }
}

pub(super) fn session_of(caller: &Caller) -> Result<SessionKey, Error> {
    caller.session.ok_or(Error::NoSession)
}

pub(super) fn check_no_session(caller: &Caller) -> Result<(), Error> {
    match caller.session {
        None => Ok(()),
        Some(_) => Err(Error::AlreadyJoined),
    }
}

/// A member as WHO lists it.
pub(super) fn member_line(member: &Session, now: Now) -> Output<'static> {
    Output::Member {
        name: member.name,
        mode: member.mode,
        presence: member.presence(),
        silent_s: member.silent_s(now.at),
    }
}
