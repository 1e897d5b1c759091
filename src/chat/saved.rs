//! Saves sessions and rooms with all that belongs to them, and loads them again.
//!
//! What follows from the rest is not saved: lists of names, members and audiences are made again. What
//! is loaded is checked as a whole, so that nothing that was written by mistake or malice can lead to
//! a server that does not add up.

use super::caller::Caller;
use super::ended::End;
use super::event_log::{EventLog, LogHead, NUMBER_MAX};
use super::head::Kind;
use super::ids::{ConnId, RoomKey, SessionKey};
use super::journal::Journal;
use super::keys::Keys;
use super::link::LoadingLink;
use super::room::{Room, UNBOUND};
use super::session::Session;
use super::timers::Timers;
use super::usage::LoadingUsages;
use super::{Chat, Head, by_name, by_room_name};
use crate::link::Settings;
use crate::protocol::{Event, LeaveReason, LifeId, Limits, Name, Numbered};
use crate::state::{Damage, Fields, IMPOSSIBLE, Part, Summary, Tag, Writer, saved};
use crate::time::{Millis, Now, Zone};
use crate::wheel::Wheel;

/// What belongs to no single session or room.
const CHAT: Tag = *b"CHAT";
const STATS: Tag = *b"STAT";
/// A room without its events, and a piece of its events.
const ROOM: Tag = *b"ROOM";
const EVENTS: Tag = *b"EVTS";
/// The rooms that nobody is in, with the time since when that is so.
const KEPT: Tag = *b"KEPT";
const SESSION: Tag = *b"SESS";
/// Timers: of sessions, of connections without one, of connections that have to wait.
const SESSION_TIMERS: Tag = *b"TSES";
const HANDSHAKES: Tag = *b"THAN";
const THROTTLES: Tag = *b"TTHR";

const TOO_MANY_CONNECTIONS: Damage =
    Damage("it has more connections than --max-connections and --admin allow now");
const TOO_MANY_SESSIONS: Damage = Damage("it has more sessions than --max-sessions allows now");
const TOO_MANY_ROOMS: Damage = Damage("it has more rooms than --max-rooms allows now");
const TOO_MANY_OF_ADDRESS: Damage =
    Damage("an address has more in it than --max-per-address allows now");
const TOO_MANY_EVENTS: Damage =
    Damage("its events take more than --log-bytes and --max-message allow now");

/// What belongs to no single session or room.
#[derive(Debug)]
struct ChatFields {
    logs_begun: u64,
    has_keys: bool,
    has_freed_memory: bool,
    is_serving_urgent: bool,
    /// The presents of the timer wheels: of sessions, handshakes, throttles.
    presents: [Millis; 3],
    started_at: Millis,
    journal: Journal,
    dirty: Vec<RoomKey>,
}

saved!(struct ChatFields {
    logs_begun,
    has_keys,
    has_freed_memory,
    is_serving_urgent,
    presents,
    started_at,
    journal,
    dirty,
});

/// A room without its events.
#[derive(Debug)]
struct RoomFields {
    name: Name,
    log_id: LifeId,
    log: LogHead,
    unserved: u64,
    promised: u64,
}

saved!(struct RoomFields { name, log_id, log, unserved, promised });

impl Chat {
    /// Appends all sessions and rooms to a state, and what belongs to them.
    pub fn save(&self, kind: Kind, out: &mut Writer<'_>) {
        out.record(CHAT, |out| {
            ChatFields {
                logs_begun: self.logs_begun,
                has_keys: self.keys.is_some(),
                has_freed_memory: self.has_freed_memory,
                is_serving_urgent: self.is_serving_urgent,
                presents: self.wheels().map(Wheel::present),
                started_at: self.started_at,
                journal: self.journal.clone(),
                dirty: self.dirty.clone(),
            }
            .save(out);
        });
        out.record(STATS, |out| self.stats.save(out));
        if let Some(keys) = &self.keys {
            keys.save(out);
        }
        self.usages.save(out);
        self.save_rooms(kind, out);
        for (key, session) in &self.sessions {
            out.record(SESSION, |out| {
                SessionKey::at(key).save(out);
                session.save(out);
            });
        }
        self.session_timers.save(SESSION_TIMERS, out);
        self.handshakes.save(HANDSHAKES, out);
        self.throttles.save(THROTTLES, out);
        self.ended.save(out);
        self.save_link(kind, out);
    }

    fn save_rooms(&self, kind: Kind, out: &mut Writer<'_>) {
        for (key, room) in &self.rooms {
            let key = RoomKey::at(key);
            let fields = RoomFields {
                name: room.name,
                log_id: room.log_id,
                log: room.log.head(),
                unserved: room.unserved,
                promised: match kind {
                    Kind::Running => room.to_promise,
                    Kind::Upgrade | Kind::Stop => room.promised,
                },
            };
            out.record(ROOM, |out| {
                key.save(out);
                fields.save(out);
            });
            for piece in room.log.pieces() {
                out.record(EVENTS, |out| {
                    key.save(out);
                    piece.into_iter().for_each(|bytes| out.put(bytes));
                });
            }
        }
        let kept = self.kept.iter(&self.rooms);
        out.list(KEPT, kept.map(|(key, kept)| (key, kept.since)));
    }

    /// Adds what a state with these sessions and rooms is recognised by.
    pub fn summarize(&self, summary: &mut Summary) {
        summary.sessions = self.sessions.len() as u64;
        summary.rooms = self.rooms.len() as u64;
        summary.add(self.keys.as_ref().map_or(0, Keys::len) as u64);
        for (key, session) in &self.sessions {
            let [low, high] = session.secret.to_numbers();
            let conn = session.conn().map_or(u64::MAX, |conn| conn.0.into());
            let idle_s = session.idle_s.into();
            let (at, arrival_us) = (session.alive_at.0, session.arrival_us);
            let (cursor, said) = (session.cursor, session.said);
            for value in [
                key as u64, low, high, conn, idle_s, at, arrival_us, cursor, said,
            ] {
                summary.add(value);
            }
        }
        self.summarize_link(summary);
        for (_, room) in &self.rooms {
            let (first, next) = (room.log.first(), room.log.next());
            let len = room.log.len_bytes() as u64;
            for value in [
                room.log_id.number(),
                first,
                next,
                len,
                room.members.len() as u64,
            ] {
                summary.add(value);
            }
        }
    }
}

/// The key that a room gets which had another.
fn room_now(rooms_formerly: &[RoomKey], formerly: RoomKey) -> Result<RoomKey, Damage> {
    let found = rooms_formerly.binary_search(&formerly);
    found.map(RoomKey::at).map_err(|_| IMPOSSIBLE)
}

/// Sessions and rooms that are being loaded.
pub struct LoadingChat {
    chat: Chat,
    kind: Kind,
    /// When the state was written.
    now: Now,
    fields: Option<ChatFields>,
    keys: Keys,
    usages: LoadingUsages,
    /// The former keys of the rooms that have come, in order. They get other keys.
    rooms_formerly: Vec<RoomKey>,
    /// What has to come out as the number of each room's next event.
    next: Vec<u64>,
    kept: Vec<(RoomKey, Millis)>,
    /// In the order of their keys.
    sessions: Vec<(usize, Session)>,
    timers: Vec<(Tag, Vec<(u32, Millis)>)>,
    /// The connections that have come, with the sessions that they hold.
    conns: Vec<(ConnId, Option<SessionKey>)>,
    /// Those that have to wait before they are read.
    throttled: Vec<ConnId>,
    link: LoadingLink,
}

impl LoadingChat {
    /// Begins to load what a state with this head has.
    pub fn new(head: &Head, limits: Limits, zone: Zone, link: Option<Settings>) -> LoadingChat {
        LoadingChat {
            chat: Chat::new(limits, head.boot, zone),
            kind: head.kind,
            now: Now::exactly(head.at, head.unix_ms),
            fields: None,
            keys: Keys::default(),
            usages: LoadingUsages::new(&limits),
            rooms_formerly: Vec::new(),
            next: Vec::new(),
            kept: Vec::new(),
            sessions: Vec::new(),
            timers: Vec::new(),
            conns: Vec::new(),
            throttled: Vec::new(),
            link: LoadingLink::new(link),
        }
    }

    /// Takes a record of [`Chat::save`]; false if it is another's.
    ///
    /// # Errors
    ///
    /// If no chat could have written it, or if it has more than the limits allow.
    pub fn take(&mut self, tag: Tag, fields: &mut Fields<'_>) -> Result<bool, Damage> {
        match tag {
            CHAT => self.fields = Some(Part::load(fields)),
            STATS => self.chat.stats = Part::load(fields),
            ROOM => self.take_room(fields)?,
            EVENTS => self.take_events(fields)?,
            KEPT => self.kept.append(&mut fields.list()),
            SESSION => self.take_session(fields)?,
            SESSION_TIMERS | HANDSHAKES | THROTTLES => self.timers.push((tag, fields.list())),
            _ => {
                let formerly = &self.rooms_formerly;
                let room_now = |key| room_now(formerly, key);
                return Ok(self.link.take(tag, fields, room_now)?
                    || self.keys.take(tag, fields)?
                    || self.usages.take(tag, fields)?
                    || self.chat.ended.take(tag, fields)?);
            }
        }
        Ok(true)
    }

    fn take_room(&mut self, fields: &mut Fields<'_>) -> Result<(), Damage> {
        let key = RoomKey::load(fields);
        let RoomFields {
            name,
            log_id,
            log,
            unserved,
            promised,
        } = Part::load(fields);
        let chat = &mut self.chat;
        if self.rooms_formerly.last().is_some_and(|&last| last >= key)
            || chat.room_named(name).is_some()
        {
            return Err(IMPOSSIBLE);
        }
        if self.kind.is_upgrade() && chat.rooms.len() >= chat.limits.rooms_at_once_max() {
            return Err(TOO_MANY_ROOMS);
        }
        let is_bounded = promised <= NUMBER_MAX;
        let may_be_unbounded = promised == UNBOUND && self.kind != Kind::Running;
        if !is_bounded && !may_be_unbounded {
            return Err(IMPOSSIBLE);
        }
        self.rooms_formerly.push(key);
        self.next.push(log.next());
        let key = RoomKey::at(chat.rooms.insert(Room {
            log: EventLog::with_head(log, chat.limits.log_bytes)?,
            unserved,
            promised,
            ..Room::new(name, log_id, &chat.limits)
        }));
        let target = by_room_name(&chat.rooms, name);
        chat.room_names.insert(key.0, &target);
        Ok(())
    }

    /// Appends events to the room that has come last.
    fn take_events(&mut self, fields: &mut Fields<'_>) -> Result<(), Damage> {
        let key = self.room_now(RoomKey::load(fields))?;
        let must_fit = self.kind.is_upgrade();
        let event_bytes_max = self.chat.limits.event_bytes_max();
        let log = &mut self.chat.rooms[key.index()].log;
        let mut rest = std::str::from_utf8(fields.rest()).map_err(|_| IMPOSSIBLE)?;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest.as_bytes()).ok_or(IMPOSSIBLE)?;
            let (text, behind) = rest.split_at(end + 1);
            rest = behind;
            let line = text.as_bytes();
            let event = Numbered::read_line(text);
            let seq = event.ok_or(IMPOSSIBLE)?.seq;
            if seq != log.next() {
                return Err(IMPOSSIBLE);
            }
            let first = log.first();
            match line.len() <= event_bytes_max {
                true => log.append(line),
                false => log.drop_up_to(seq),
            }
            if must_fit && log.first() != first {
                return Err(TOO_MANY_EVENTS);
            }
        }
        Ok(())
    }

    fn take_session(&mut self, fields: &mut Fields<'_>) -> Result<(), Damage> {
        let key = SessionKey::load(fields).index();
        let mut session = Session::load(fields);
        if self.sessions.last().is_some_and(|&(last, _)| last >= key) {
            return Err(IMPOSSIBLE);
        }
        session.room = self.room_now(session.room)?;
        let log = &self.chat.rooms[session.room.index()].log;
        if !session.is_sound(log.next(), self.now.at) {
            return Err(IMPOSSIBLE);
        }
        self.check_arrival(session.arrival_us)?;
        self.usages
            .count(&mut session.origin, |usage| usage.sessions += 1)?;
        if !self.kind.is_upgrade() {
            session.touch_if_kept_alive(self.now.at);
            session.attachment = None;
        }
        self.sessions.push((key, session));
        Ok(())
    }

    /// Takes the core's part of a connection, and what its session needs of it.
    ///
    /// # Errors
    ///
    /// If no connection could have been like that, or if there are more than the limits allow.
    pub fn take_caller(&mut self, caller: &mut Caller) -> Result<(), Damage> {
        let is_known = self
            .conns
            .last()
            .is_some_and(|(last, _)| *last >= caller.conn);
        if is_known || !self.kind.is_upgrade() || !caller.is_sound(self.now.at) {
            return Err(IMPOSSIBLE);
        }
        if caller.conn.index() >= self.chat.limits.connections_at_once_max() {
            return Err(TOO_MANY_CONNECTIONS);
        }
        if caller.is_operator() {
            self.chat.operators.push(caller.conn);
        }
        self.check_arrival(caller.arrival_us)?;
        self.usages
            .count(&mut caller.origin, |usage| usage.connections += 1)?;
        self.conns.push((caller.conn, caller.session));
        if caller.is_throttled {
            self.throttled.push(caller.conn);
        }
        let Some(key) = caller.session else {
            return Ok(());
        };
        let place = self
            .sessions
            .binary_search_by_key(&key.index(), |&(key, _)| key);
        let (_, session) = &self.sessions[place.map_err(|_| IMPOSSIBLE)?];
        let is_like_this = session.conn() == Some(caller.conn) && session.form() == caller.form;
        match is_like_this {
            true => Ok(()),
            false => Err(IMPOSSIBLE),
        }
    }

    /// Checks a theoretical arrival time, which is never far from now.
    fn check_arrival(&self, arrival_us: u64) -> Result<(), Damage> {
        const AHEAD_MAX: Millis = Millis(60 * 60 * 1000);
        match arrival_us <= (self.now.at + AHEAD_MAX).micros() {
            true => Ok(()),
            false => Err(IMPOSSIBLE),
        }
    }

    fn room_now(&self, formerly: RoomKey) -> Result<RoomKey, Damage> {
        room_now(&self.rooms_formerly, formerly)
    }

    /// The chat, once all records and connections have come, and how many sessions the state has.
    ///
    /// # Errors
    ///
    /// If something is missing, does not fit together, or is more than the limits allow.
    pub fn finish(mut self) -> Result<(Chat, usize), Damage> {
        let fields = self.fields.take().ok_or(Damage("a record is missing"))?;
        if !fields.journal.is_sound(self.now.at) {
            return Err(IMPOSSIBLE);
        }
        self.check_events()?;
        self.link.mark_rooms(&mut self.chat)?;
        let sessions = std::mem::take(&mut self.sessions);
        let sessions_saved = sessions.len();
        match self.kind {
            Kind::Running => self.end_all(sessions),
            Kind::Upgrade | Kind::Stop => self.settle_in(sessions)?,
        }
        self.keep_rooms()?;
        self.file_timers(fields.presents)?;
        if self.kind.is_upgrade() {
            self.mark_rooms(&fields)?;
        }
        let mut chat = self.chat;
        chat.usages = self.usages.finish(self.now.at.micros());
        let per_address_max = chat.limits.per_address_max as u32;
        if self.kind.is_upgrade() && !chat.usages.are_at_most(per_address_max) {
            return Err(TOO_MANY_OF_ADDRESS);
        }
        chat.keys = fields.has_keys.then_some(self.keys);
        chat.logs_begun = fields.logs_begun;
        chat.journal = fields.journal;
        chat.started_at = match self.kind {
            Kind::Upgrade => fields.started_at,
            Kind::Stop | Kind::Running => self.now.at,
        };
        // A counter of another version may be missing.
        let ended: u64 = chat.stats.sessions_ended.iter().sum();
        chat.stats.sessions_total = chat.sessions.len() as u64 + ended;
        chat.connections = self.conns.len() - chat.operators.len();
        if chat.connections > chat.limits.connections_max
            || chat.operators.len() > chat.limits.operators_max
        {
            return Err(TOO_MANY_CONNECTIONS);
        }
        chat.connections_shrink.added(chat.connections);
        chat.sessions_shrink.added(chat.sessions.len());
        chat.rooms_shrink.added(chat.rooms.len());
        self.link.finish(self.kind, &mut chat, self.now.at)?;
        Ok((chat, sessions_saved))
    }

    /// Checks that all events of all rooms have come.
    fn check_events(&mut self) -> Result<(), Damage> {
        let chat = &mut self.chat;
        for ((_, room), &next) in chat.rooms.iter().zip(&self.next) {
            if room.log.next() != next || room.unserved > next {
                return Err(IMPOSSIBLE);
            }
            chat.log_bytes += room.log.len_bytes() as u64;
        }
        Ok(())
    }

    /// Makes the sessions members of their rooms.
    fn settle_in(&mut self, mut sessions: Vec<(usize, Session)>) -> Result<(), Damage> {
        let sessions_max = self.chat.limits.sessions_max;
        let fitting = sessions.partition_point(|&(key, _)| key < sessions_max);
        // The place of a session is in its token, and cannot change.
        let excess = sessions.split_off(fitting);
        if self.kind.is_upgrade() && !excess.is_empty() {
            return Err(TOO_MANY_SESSIONS);
        }
        let keys: Vec<usize> = sessions.iter().map(|&(key, _)| key).collect();
        let chat = &mut self.chat;
        chat.sessions = sessions.into_iter().collect();
        for key in keys.into_iter().map(SessionKey::at) {
            let Session { name, room, .. } = chat.sessions[key.index()];
            let members = &mut chat.rooms[room.index()].members;
            let is_known = members.get(&by_name(&chat.sessions, name)).is_some();
            if is_known {
                return Err(IMPOSSIBLE);
            }
            members.insert(key.0, &by_name(&chat.sessions, name));
            chat.listen_again(key);
        }
        let holding = self.conns.iter().filter(|(_, session)| session.is_some());
        if chat.attached != holding.count() as u64 {
            return Err(IMPOSSIBLE);
        }
        let excess_events = excess.len() as u64;
        if !(chat.rooms.iter()).all(|(_, room)| room.has_numbers_for(excess_events, UNBOUND)) {
            return Err(IMPOSSIBLE);
        }
        for (key, session) in excess {
            self.end_one(key, session, LeaveReason::Expired);
        }
        Ok(())
    }

    /// Ends a session that has not become a member.
    fn end_one(&mut self, key: usize, session: Session, reason: LeaveReason) {
        let at = self.now.at;
        let key = SessionKey::at(key);
        let Session { name, room, .. } = session;
        self.usages
            .change(session.origin, |usage| usage.sessions -= 1);
        let chat = &mut self.chat;
        chat.ended.add(key, session.secret, End { reason, at });
        chat.stats.sessions_ended[reason.index()] += 1;
        if reason != LeaveReason::Crashed && !session.is_quiet {
            chat.append(
                room,
                Event::Left {
                    name: name.into(),
                    reason,
                },
                self.now,
            );
        }
    }

    /// Ends all sessions because of a crash, those that were alive last at last. Rooms are not told: nobody
    /// is there.
    fn end_all(&mut self, mut sessions: Vec<(usize, Session)>) {
        sessions.sort_by_key(|(_, session)| session.alive_at);
        for (key, session) in sessions {
            self.end_one(key, session, LeaveReason::Crashed);
        }
    }

    /// Keeps the rooms that nobody is in, in their order.
    fn keep_rooms(&mut self) -> Result<(), Damage> {
        let mut kept = Vec::new();
        for (key, since) in std::mem::take(&mut self.kept) {
            let key = self.room_now(key)?;
            if !self.chat.rooms[key.index()].is_permanent {
                kept.push((key, since));
            }
        }
        let chat = &mut self.chat;
        let mut latest = Millis(0);
        for (key, since) in kept {
            let room = &chat.rooms[key.index()];
            let is_in_order = (latest..=self.now.at).contains(&since);
            if room.kept.is_some() || !room.members.is_empty() || !is_in_order {
                return Err(IMPOSSIBLE);
            }
            latest = since;
            chat.kept.push(&mut chat.rooms, key, since);
        }
        for key in (0..self.rooms_formerly.len()).map(RoomKey::at) {
            let room = &chat.rooms[key.index()];
            if room.members.is_empty() && room.kept.is_none() && !room.is_permanent {
                if self.kind.is_upgrade() {
                    return Err(IMPOSSIBLE);
                }
                chat.kept
                    .push(&mut chat.rooms, key, self.now.at.max(latest));
            }
        }
        Ok(())
    }

    /// Marks the rooms whose audience was to be served.
    fn mark_rooms(&mut self, fields: &ChatFields) -> Result<(), Damage> {
        for &formerly in &fields.dirty {
            let key = self.room_now(formerly)?;
            let room = &mut self.chat.rooms[key.index()];
            if std::mem::replace(&mut room.is_dirty, true) {
                return Err(IMPOSSIBLE);
            }
            self.chat.dirty.push(key);
        }
        self.chat.is_serving_urgent = fields.is_serving_urgent;
        self.chat.has_freed_memory = fields.has_freed_memory;
        Ok(())
    }

    /// Files the timers of what is still there, and checks that nothing lacks one.
    fn file_timers(&mut self, presents: [Millis; 3]) -> Result<(), Damage> {
        if presents.into_iter().any(|present| present > self.now.at) {
            return Err(IMPOSSIBLE);
        }
        let chat = &mut self.chat;
        let [sessions, handshakes, throttles] = presents;
        chat.session_timers = Timers::at(sessions);
        chat.handshakes = Timers::at(handshakes);
        chat.throttles = Timers::at(throttles);
        for (tag, timers) in std::mem::take(&mut self.timers) {
            for (id, when) in timers {
                let conn = self
                    .conns
                    .binary_search_by_key(&ConnId(id), |&(conn, _)| conn);
                match tag {
                    SESSION_TIMERS if chat.sessions.contains(id as usize) => {
                        chat.session_timers.file(SessionKey(id), when);
                    }
                    HANDSHAKES if conn.is_ok() => chat.handshakes.file(ConnId(id), when),
                    THROTTLES if conn.is_ok() => chat.throttles.file(ConnId(id), when),
                    _ if self.kind.is_upgrade() => return Err(IMPOSSIBLE),
                    _ => {}
                }
            }
        }
        chat.arm_all(self.now.at);
        let mut without_session = self.conns.iter().filter(|(_, session)| session.is_none());
        let has_timers = without_session.all(|&(conn, _)| {
            chat.operators.contains(&conn) || chat.handshakes.when(conn).is_some()
        }) && (self.throttled.iter())
            .all(|&conn| chat.throttles.when(conn).is_some());
        match has_timers {
            true => Ok(()),
            false => Err(IMPOSSIBLE),
        }
    }
}
