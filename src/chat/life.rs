//! The life of a session: create, attach, detach, destroy, each in one place.

use super::caller::Caller;
use super::ended::End;
use super::ids::{RoomKey, SessionKey};
use super::notice::Notice;
use super::room::Room;
use super::session::{Attachment, Session, TalkState};
use super::usage::Usage;
use super::{Chat, by_name, by_room_name};
use crate::protocol::{
    Alive, Bye, Event, IDLE_MIN_S, IDLE_TCP_MIN_S, Join, LeaveReason, Limits, Name, Output,
    SecretHash,
};
use crate::talk::{Form, Viewer};
use crate::time::{Millis, Now};

/// What becomes of the events that a session has not got yet when it loses its connection.
pub(super) enum OwedEvents {
    /// The server writes them before the BYE, if they are few.
    Written,
    /// It does not: the session gets them later, or its client takes nothing anyway.
    Kept,
}

impl Chat {
    /// Creates a session, makes it a member of its room, and attaches its connection. `after` is an event
    /// of the room that its client has seen. Nothing else creates a session.
    pub(super) fn create(
        &mut self,
        caller: &mut Caller,
        join: &Join<'_>,
        room_key: RoomKey,
        after: Option<u64>,
        secret: SecretHash,
        now: Now,
    ) -> SessionKey {
        let name = join.name;
        self.kept.remove(&mut self.rooms, room_key);
        let next = self.rooms[room_key.index()].log.next();
        if !join.is_quiet {
            self.append(room_key, Event::Joined { name: name.into() }, now);
        }
        let own_key = self.own_key(join);
        let room = &mut self.rooms[room_key.index()];
        let key = SessionKey::at(self.sessions.insert(Session {
            secret,
            name,
            room: room_key,
            origin: caller.origin,
            idle_s: self.limits.granted_idle_s(join),
            cursor: room.cursor_for(after, join.history, next),
            said: 0,
            arrival_us: 0,
            alive_at: now.at,
            mode: join.mode,
            alive: join.alive,
            is_quiet: join.is_quiet,
            is_behind: false,
            is_revoked: false,
            is_talk: caller.form == Form::Talk,
            carried: 0,
            key: own_key,
            attachment: None,
        }));
        room.members.insert(key.0, &by_name(&self.sessions, name));
        if let Some(linked) = &mut room.link {
            linked.roster_hash.add(name, join.mode);
        }
        log::debug!("{name} joined {} from {}", room.name, caller.peer);
        self.attach(caller, key, now);

        let one_more = |usage: &mut Usage| usage.sessions += 1;
        self.usages.change(caller.origin, now.at.micros(), one_more);
        self.stats.sessions_total += 1;
        let sessions = self.sessions.len();
        self.stats.sessions_most = self.stats.sessions_most.max(sessions as u64);
        self.sessions_shrink.added(sessions);
        key
    }

    /// Creates a room, in the place of one that nobody is in if there are too many.
    pub(super) fn open_room(&mut self, name: Name) -> RoomKey {
        self.make_place_for_room();
        let log_id = self.boot.nth(self.logs_begun);
        self.logs_begun = self.logs_begun.wrapping_add(1);
        let room = Room::new(name, log_id, &self.limits);
        let key = RoomKey::at(self.rooms.insert(room));
        self.rooms_shrink.added(self.rooms.len());
        self.room_names
            .insert(key.0, &by_room_name(&self.rooms, name));
        self.link_room(key, Millis(0));
        key
    }

    /// Attaches a connection to a detached session.
    pub(super) fn attach(&mut self, caller: &mut Caller, key: SessionKey, now: Now) {
        self.cancel_handshake(caller);
        let session = &mut self.sessions[key.index()];
        caller.hold(key, session);
        let mut attachment = Box::new(Attachment::new(caller.conn));
        if caller.form == Form::Talk {
            let next = self.rooms[session.room.index()].log.next();
            let today = self.local.at(now.unix_ms).day;
            attachment.talk = Some(Box::new(TalkState {
                viewer: Viewer::new(next, today, caller.columns),
                taken: session.cursor,
            }));
        }
        session.attachment = Some(attachment);
        session.touch(now.at);
        session.arrival_us = session.arrival_us.max(caller.arrival_us);
        caller.arrival_us = session.arrival_us;
        let mode = session.mode;
        self.count_attached(mode, true);
        self.join_audience(key);
        self.arm(key, now.past);
    }

    /// Takes a session's connection away. From now on its idle time runs. A person who comes back gets
    /// what the client's system may not have taken once more.
    pub(super) fn detach(&mut self, key: SessionKey, now: Now) {
        self.leave_audience(key);
        let session = &mut self.sessions[key.index()];
        session.touch_if_kept_alive(now.at);
        let attachment = session.attachment.take();
        if let Some(talk) = attachment.and_then(|a| a.talk) {
            // A person has no way to say what they have seen.
            session.cursor = talk.taken;
        }
        let mode = session.mode;
        self.count_attached(mode, false);
        self.arm(key, now.past);
    }

    /// Destroys a session. If it was the last member of its room, keeps that or frees it.
    pub(super) fn destroy(&mut self, key: SessionKey, reason: LeaveReason, now: Now) {
        let room_key = self.remove_session(key, reason, now);
        if self.rooms[room_key.index()].members.is_empty() {
            self.keep_or_free(room_key, now);
        }
        self.shrink_if_worth_it();
    }

    /// Notes that a session was removed. When many have gone, returns memory: in each slab, what lies
    /// after the last entry in use.
    fn shrink_if_worth_it(&mut self) {
        let capacity = self.sessions.capacity();
        if !self.sessions_shrink.removed(self.sessions.len(), capacity) {
            return;
        }
        self.has_freed_memory = true;
        self.sessions.shrink_to_fit();
        self.usages.shrink();
        self.session_timers.shrink();
    }

    /// Removes a session with everything that the server keeps for it, and appends its LEFT. Nothing
    /// else removes one. Returns its room, which may be empty now.
    pub(super) fn remove_session(
        &mut self,
        key: SessionKey,
        reason: LeaveReason,
        now: Now,
    ) -> RoomKey {
        self.leave_audience(key);
        let Session {
            name,
            room,
            mode,
            ref attachment,
            ..
        } = self.sessions[key.index()];
        if attachment.is_some() {
            self.count_attached(mode, false);
        }
        let room = &mut self.rooms[room.index()];
        room.members.remove(&by_name(&self.sessions, name));
        if let Some(linked) = &mut room.link {
            linked.roster_hash.remove(name, mode);
        }
        let session = self.sessions.remove(key.index());
        self.session_timers.cancel(key);
        // Its key may be void when its last session is gone.
        let origin = self.usages.origin(session.origin);
        let one_less = |usage: &mut Usage| usage.sessions -= 1;
        self.usages
            .change(session.origin, now.at.micros(), one_less);
        self.stats.sessions_ended[reason.index()] += 1;
        let end = End { reason, at: now.at };
        self.ended.add(key, session.secret, end);

        if reason == LeaveReason::Slow && self.journal.admits_slow(origin, now) {
            let (room, idle_s) = (room.name, session.idle_s);
            log::info!("{name} in {room} stalled: it read nothing for {idle_s} s");
        }
        log::debug!("{name} left {}: {}", room.name, reason.as_str());
        if !session.is_quiet {
            self.append(
                session.room,
                Event::Left {
                    name: name.into(),
                    reason,
                },
                now,
            );
        }
        session.room
    }

    /// Says goodbye to the connection that is about to lose a session, if the session has one.
    pub(super) fn goodbye_notice(
        &mut self,
        key: SessionKey,
        bye: Bye,
        owed: OwedEvents,
        now: Now,
    ) -> Option<Notice> {
        let conn = self.sessions[key.index()].conn()?;
        let mut text = Vec::new();
        self.end_wait(key, now, &mut text);
        if let OwedEvents::Written = owed {
            self.write_owed(key, &mut text);
        }
        self.sessions[key.index()]
            .form()
            .write(&Output::Bye(bye), &mut text);
        Some(Notice::goodbye(conn, text))
    }
}

impl Limits {
    /// The idle time of a new session: what its client asks for, within the limits.
    pub(super) fn granted_idle_s(&self, join: &Join<'_>) -> u32 {
        let idle_min_s = match join.alive {
            Alive::Ping => IDLE_MIN_S,
            Alive::Tcp => IDLE_TCP_MIN_S,
        };
        let idle_s = join.idle_s.unwrap_or(self.idle_s);
        idle_s.min(self.idle_max_s).max(idle_min_s)
    }
}
