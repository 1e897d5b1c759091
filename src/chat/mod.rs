//! Sessions and rooms: what the server is, without its sockets.
//!
//! Requests go in with the time, and answers come out as bytes for the connection that asked. The
//! caller then fires what is due ([`Chat::due`], [`Chat::settle`]) and writes out what sessions
//! are owed ([`Chat::end_wait`], [`Chat::owed`], [`Chat::given`]). Here is what creates, attaches,
//! detaches and destroys sessions, each in one place; `commands` has a function for each verb,
//! `deadlines` what the wheel fires, `delivery` what goes out of a room's log.

mod admission;
mod commands;
mod consistency;
mod deadlines;
mod delivery;
mod ended;
pub mod event_log;
mod journal;
pub mod keys;
mod memory;
mod origin;
mod rate;
pub mod room;
mod session;
pub mod stats;

use std::cmp::Ordering;

use slab::Slab;

pub use deadlines::{Allowance, Due};
pub use memory::{INDEX_ENTRY_BYTES, table};
pub use origin::{Origin, Peer};
pub use session::{Client, ConnId};

use crate::chat::keys::Keys;
use crate::chat::room::{Room, SessionKey};
use crate::chat::stats::{Gauges, Stats};
use crate::protocol::{
    Abuse, Bye, Code, Error, Event, LeaveReason, Limits, Mode, Name, Reply, Request,
};
use crate::protocol::{DENIALS_MAX, ERRORS_MAX, Token, write_alive};
use crate::shrink::ShrinkPolicy;
use crate::sorted_index::{self, SortedIndex, Sought};
use crate::time::{Millis, Now};
use crate::wheel::Wheel;
use ended::{End, Ended};
use journal::{Full, Journal};
use origin::{Share, Shares};
use session::{Attachment, Session};

/// How long a connection may take for its last words, in seconds, and never for longer than it could
/// go without a session.
const GOODBYE_SECS_MAX: u32 = 30;

/// Bytes for a connection other than the one that is being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The connection that is to get them.
    pub conn: ConnId,
    /// Whole lines.
    pub text: Vec<u8>,
    /// Whether they are the last, and the connection's session is not its own any more.
    pub closes: bool,
}

/// What becomes of the events that a session is owed when it loses its connection.
enum Owed {
    /// They are written before the last words, as far as they are few.
    Told,
    /// They are not: they stay the session's, or cannot be written anyhow.
    Kept,
}

/// What an answer means for connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The connection that was answered is to be closed once it has its answer.
    pub closes: bool,
    /// Another connection lost its session to this one.
    pub replaced: Option<Message>,
}

/// All sessions and rooms.
#[derive(Debug)]
pub struct Chat {
    limits: Limits,
    /// Who may join; none if anybody may.
    keys: Option<Keys>,
    shares: Shares,
    sessions: Slab<Session>,
    attached: u64,
    crowd: ShrinkPolicy,
    /// Memory was given back to the allocator, which may keep it.
    is_crowd_gone: bool,
    rooms: Slab<Room>,
    room_names: SortedIndex,
    /// A timer for each session, under its key.
    session_timers: Wheel,
    /// A timer for each connection that has no session.
    handshakes: Wheel,
    /// A timer for each connection that has to wait before it is read again.
    throttles: Wheel,
    ended: Ended,
    journal: Journal,
    /// Rooms whose audience is to be served.
    dirty: Vec<u32>,
    /// Bytes of events that all logs hold.
    log_bytes: u64,
    /// Whether that has to happen before anything else is appended.
    must_serve: bool,
    /// Where an event's line is put together.
    line: Vec<u8>,
    /// What the server counts; the caller adds what it alone can see.
    pub stats: Stats,
}

impl Chat {
    /// A server without sessions.
    pub fn new(limits: Limits) -> Self {
        Chat {
            limits,
            keys: None,
            shares: Shares::new(&limits),
            sessions: Slab::new(),
            attached: 0,
            crowd: ShrinkPolicy::default(),
            is_crowd_gone: false,
            rooms: Slab::new(),
            room_names: SortedIndex::default(),
            session_timers: Wheel::new(),
            handshakes: Wheel::new(),
            throttles: Wheel::new(),
            ended: Ended::new(),
            journal: Journal::new(),
            dirty: Vec::with_capacity(64),
            log_bytes: 0,
            must_serve: false,
            line: Vec::with_capacity(limits.event_bytes_max()),
            stats: Stats::default(),
        }
    }

    /// What the server was told to allow.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The connection that holds a session.
    pub fn conn_of(&self, key: SessionKey) -> Option<ConnId> {
        self.sessions.get(key as usize).and_then(Session::conn)
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many of them a connection holds.
    pub fn attached_sessions(&self) -> usize {
        self.attached as usize
    }

    /// Whether a crowd of sessions has gone since this was asked last.
    pub fn take_crowd_gone(&mut self) -> bool {
        std::mem::take(&mut self.is_crowd_gone)
    }

    /// Greets a new connection, which now has to get a session in time; or says goodbye to one
    /// for which there is no room.
    pub fn connect(
        &mut self,
        conn: ConnId,
        peer: Peer,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Option<Client> {
        crate::protocol::write_hello(out);
        let origin = peer.origin();
        let from_there = self.shares.connections(origin) as usize;
        let refused = if self.stats.connections >= self.limits.connections_max as u64 {
            Some((&mut self.stats.refused_connections, Full::Connections))
        } else if from_there >= self.limits.per_address_max {
            let count = &mut self.stats.refused_connections_address;
            Some((count, Full::ConnectionsOfAddress))
        } else {
            None
        };
        if let Some((count, full)) = refused {
            *count += 1;
            self.journal.full(full, &peer, &self.limits, now);
            Bye::Full.write(out);
            return None;
        }
        self.stats.connections += 1;
        self.stats.connections_total += 1;
        self.stats.connections_most = self.stats.connections_most.max(self.stats.connections);
        let origin = self.shares.connect(origin, now.at.micros());
        let mut client = Client {
            conn,
            peer,
            origin,
            session: None,
            errors: 0,
            denials: 0,
            is_understood: false,
            has_had_session: false,
            heard_at: now.at,
            is_throttled: false,
            arrival_us: 0,
            is_new: true,
            paid_bytes: 0,
        };
        self.expect_session(&mut client, now.at);
        Some(client)
    }

    /// Lets go of a connection that is gone; its session, if any, lives on without.
    pub fn disconnect(&mut self, client: &mut Client, now: Now) {
        self.end_timers(client);
        if let Some(key) = client.session.take() {
            self.detach(key, now);
        }
        // Whoever guesses keys may hang up before the server does, and connect again.
        if (1..DENIALS_MAX).contains(&client.denials) {
            self.journal.denied(client.denials, &client.peer, now);
        }
        self.shares
            .disconnect(client.origin, client.arrival_us, now.at.micros());
        self.stats.connections -= 1;
    }

    /// Answers one line of a client, or what came instead of one; the answer is appended to `out`.
    pub fn answer(
        &mut self,
        client: &mut Client,
        request: Request<'_>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if let Some(key) = client.session {
            // What telnet says is a sign of life and no line.
            if !matches!(request, Request::Sign | Request::AreYouThere) {
                self.end_wait_as_of(key, client.heard_at, now, out);
            }
            // A line is a sign of life when it is complete.
            if request != Request::TooLong {
                self.sessions[key as usize].touch(client.heard_at);
            }
        }
        let mut outcome = Outcome::default();
        let result = match request {
            Request::Empty | Request::Sign => return outcome,
            Request::AreYouThere => {
                write_alive(out);
                return outcome;
            }
            Request::Abuse(abuse) => return self.expel(client, abuse, now, out),
            // An HTTP request line may be as long as a web page likes.
            Request::TooLong if !client.is_understood => {
                return self.expel(client, Abuse::TooLong, now, out);
            }
            Request::Bad(error) => Err(error),
            Request::TooLong => Err(self.line_too_long()),
            Request::Command(command) => self.execute(client, command, now, &mut outcome),
        };
        match result {
            Ok(reply) => {
                client.errors = 0;
                client.is_understood = true;
                self.stats.commands += 1;
                if let Some(reply) = reply {
                    reply.write(out);
                    if reply == Reply::Quit {
                        self.part(client, Bye::Quit, now, out);
                        outcome.closes = true;
                    }
                }
            }
            Err(error) => {
                self.refuse(client, &error, out);
                if client.denials >= DENIALS_MAX {
                    return self.expel(client, Abuse::Denials, now, out);
                }
                if client.errors >= ERRORS_MAX {
                    return self.expel(client, Abuse::Errors, now, out);
                }
            }
        }
        outcome
    }

    /// The last words to a connection, which is to be closed when it has taken them; its session,
    /// if any, lives on without. One that has no session gets no more time than it had.
    pub fn part(&mut self, client: &mut Client, bye: Bye, now: Now, out: &mut Vec<u8>) {
        if let Some(key) = client.session.take() {
            self.end_wait(key, now, out);
            self.detach(key, now);
        }
        let secs = GOODBYE_SECS_MAX.min(self.limits.handshake);
        let end = now.at + Millis::from_secs(secs);
        let filed = self.handshakes.when(client.conn);
        if filed.is_none_or(|filed| filed > end) {
            self.give_time(client, now.at, secs);
        }
        bye.write(out);
    }

    /// Closes a connection that does what no chat client does: the one place where that is done.
    fn expel(&mut self, client: &mut Client, abuse: Abuse, now: Now, out: &mut Vec<u8>) -> Outcome {
        self.stats.connections_abuse += 1;
        self.journal.abuse(abuse, &client.peer, now);
        self.part(client, Bye::Abuse(abuse), now, out);
        Outcome {
            closes: true,
            replaced: None,
        }
    }

    fn refuse(&mut self, client: &mut Client, error: &Error, out: &mut Vec<u8>) {
        self.stats.errors += 1;
        // A text that somebody pasted in a room is no attack.
        if error.code != Code::BadCommand || !client.has_had_session {
            client.errors += 1;
        }
        error.write(out);
    }

    /// Gives a connection without a session its time to get one.
    fn expect_session(&mut self, client: &mut Client, at: Millis) {
        self.give_time(client, at, self.limits.handshake);
    }

    /// Makes a connection the one that holds a session, which no other holds.
    fn attach(&mut self, client: &mut Client, key: SessionKey, now: Now) {
        self.end_time(client);
        client.session = Some(key);
        client.has_had_session = true;
        let session = &mut self.sessions[key as usize];
        session.attachment = Some(Box::new(Attachment::new(client.conn)));
        session.touch(now.at);
        session.arrival_us = session.arrival_us.max(client.arrival_us);
        client.arrival_us = session.arrival_us;
        self.attached += 1;
        if session.mode == Mode::Push {
            self.take_seat(key);
        }
        self.arm(key, now.past);
    }

    /// Takes a session from its connection; from now on its idle time runs.
    fn detach(&mut self, key: SessionKey, now: Now) {
        self.leave_seat(key);
        let session = &mut self.sessions[key as usize];
        session.touch_if_held(now.at);
        session.attachment = None;
        self.attached -= 1;
        self.arm(key, now.past);
    }

    /// Ends a session, tells its room, and frees that if nobody is left there.
    fn destroy(&mut self, key: SessionKey, reason: LeaveReason, now: Now) {
        let (room_key, name) = self.remove_session(key, reason, now);
        if self.rooms[room_key as usize].members.is_empty() {
            self.dirty.retain(|&dirty| dirty != room_key);
            let name = self.rooms[room_key as usize].name;
            self.room_names.remove(&by_room_name(&self.rooms, name));
            let room = self.rooms.remove(room_key as usize);
            self.log_bytes -= room.log.len_bytes() as u64;
        } else {
            self.append(room_key, Event::Left { name, reason }, now);
        }
        self.shrink();
    }

    /// Gives memory back when a crowd is gone: of each table as much as lies behind the last entry
    /// that is in use.
    fn shrink(&mut self) {
        let room = self.sessions.capacity();
        if !self.crowd.one_went(self.sessions.len(), room) {
            return;
        }
        self.is_crowd_gone = true;
        self.sessions.shrink_to_fit();
        self.shares.shrink();
        self.rooms.shrink_to_fit();
        self.session_timers.shrink();
    }

    /// Removes a session with all that the server holds for it: the one place where that is done.
    /// Gives its room, which may be empty now and has not been told, and its name.
    fn remove_session(&mut self, key: SessionKey, reason: LeaveReason, now: Now) -> (u32, Name) {
        self.leave_seat(key);
        let Session { name, room, .. } = self.sessions[key as usize];
        let room = &mut self.rooms[room as usize];
        room.members.remove(&by_name(&self.sessions, name));
        let session = self.sessions.remove(key as usize);
        self.session_timers.cancel(key);
        self.attached -= u64::from(session.attachment.is_some());
        let one_less = |share: &mut Share| share.sessions -= 1;
        self.shares
            .change(session.origin, now.at.micros(), one_less);
        self.stats.sessions_ended[reason.index()] += 1;
        let token = Token {
            slot: key,
            secret: session.secret,
        };
        self.ended.add(token, End { reason, at: now.at });

        if reason == LeaveReason::Slow {
            let origin = self.shares.origin(session.origin);
            if self.journal.admits_slow(origin, now) {
                log::info!("{name} in {} read nothing for too long", room.name);
            }
        }
        log::debug!("{name} left {}: {}", room.name, reason.as_str());
        (session.room, name)
    }

    /// Replaces the keys; none lets anybody join. Sessions whose name has no key any more, or another
    /// one, are revoked: their clients are not heard any more, and they end within the next turns,
    /// some in each.
    pub fn set_keys(&mut self, keys: Option<Keys>, now: Now) {
        let old = std::mem::replace(&mut self.keys, keys);
        let Some(keys) = &self.keys else {
            return;
        };
        // The wheel fires last what was filed first.
        for (key, session) in self.sessions.iter_mut().rev() {
            let has_key = keys.get(session.name);
            let had_key = old.as_ref().map(|old| old.get(session.name));
            if has_key.is_none() || had_key.is_some_and(|had_key| had_key != has_key) {
                session.is_revoked = true;
                self.session_timers.file(key as SessionKey, now.past);
            }
        }
    }

    /// Whether a session has lost the right to its name, and is about to end.
    pub fn is_revoked(&self, key: SessionKey) -> bool {
        self.sessions[key as usize].is_revoked
    }

    /// What the connection of a session is told when it loses that.
    fn last_words(&mut self, key: SessionKey, bye: Bye, owed: Owed, now: Now) -> Option<Message> {
        let conn = self.sessions[key as usize].conn()?;
        let mut text = Vec::new();
        self.end_wait(key, now, &mut text);
        if let Owed::Told = owed {
            self.tell_owed(key, &mut text);
        }
        bye.write(&mut text);
        Some(Message {
            conn,
            text,
            closes: true,
        })
    }

    /// Logs what is due to be logged, such as what was left out before.
    pub fn write_journal(&mut self, now: Now) {
        self.journal.turn(now);
    }

    fn wheels(&self) -> [&Wheel; 3] {
        [&self.session_timers, &self.handshakes, &self.throttles]
    }

    /// Gives back the memory that timers of connections took which are gone.
    pub fn shrink_timers(&mut self) {
        self.handshakes.shrink();
        self.throttles.shrink();
    }

    fn gauges(&self, now: Now) -> Gauges {
        Gauges {
            uptime: now.at.secs(),
            sessions: self.sessions.len() as u64,
            sessions_attached: self.attached,
            rooms: self.rooms.len() as u64,
            log_bytes: self.log_bytes,
            timers: self.wheels().iter().map(|wheel| wheel.len() as u64).sum(),
        }
    }
}

/// How a session's name compares with a name.
fn by_name(sessions: &Slab<Session>, name: Name) -> Sought<impl Fn(SessionKey) -> Ordering> {
    sorted_index::by_name(name, |key| sessions[key as usize].name.folded())
}

/// How a room's name compares with a name.
fn by_room_name(rooms: &Slab<Room>, name: Name) -> Sought<impl Fn(u32) -> Ordering> {
    sorted_index::by_name(name, |key| rooms[key as usize].name.folded())
}
