//! Sessions and rooms: what the server is, without its sockets.
//!
//! Requests go in with the time, and answers come out as bytes for the connection that asked. The
//! caller then fires what is due ([`Chat::due`], [`Chat::settle`]) and writes out what sessions
//! are owed ([`Chat::prepare`], [`Chat::owed`], [`Chat::given`]). Here is what creates, attaches,
//! detaches and destroys sessions, each in one place; `commands` has a function for each verb,
//! `deadlines` what the wheel fires, `delivery` what goes out of a room's log.

mod commands;
mod consistency;
mod deadlines;
mod delivery;
mod ended;
mod session;

use std::collections::BTreeMap;

use slab::Slab;

pub use deadlines::Due;
pub use session::{Client, ConnId};

use crate::protocol::{Bye, Error, Event, Folded, LeaveReason, Limits, Mode, Reply, Request};
use crate::protocol::{ERRORS_MAX, Token};
use crate::room::{Room, SessionKey};
use crate::stats::{Gauges, Stats};
use crate::time::{Millis, Now};
use crate::wheel::Wheel;
use ended::{End, Ended};
use session::{Attachment, Session};

/// How long a connection may take for its last words, in seconds.
const GOODBYE_SECS_MAX: u32 = 30;
/// Fewer sessions than this are not worth giving memory back for, before all are gone.
const CROWD_MIN: usize = 1024;

/// What a timer in the wheel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Session(SessionKey),
    Handshake(ConnId),
}

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
    sessions: Slab<Session>,
    attached: u64,
    /// The most sessions that there were since memory was last given back.
    crowd: usize,
    rooms: Slab<Room>,
    room_names: BTreeMap<Folded, u32>,
    wheel: Wheel<Timer>,
    ended: Ended,
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
            sessions: Slab::new(),
            attached: 0,
            crowd: 0,
            rooms: Slab::new(),
            room_names: BTreeMap::new(),
            wheel: Wheel::new(),
            ended: Ended::default(),
            dirty: Vec::new(),
            log_bytes: 0,
            must_serve: false,
            line: Vec::new(),
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

    /// Greets a new connection, which now has to get a session in time.
    pub fn connect(&mut self, conn: ConnId, now: Now, out: &mut Vec<u8>) -> Client {
        let mut client = Client {
            conn,
            session: None,
            handshake: None,
            errors: 0,
        };
        self.expect_session(&mut client, now.at);
        crate::protocol::write_hello(out);
        client
    }

    /// Lets go of a connection that is gone; its session, if any, lives on without.
    pub fn disconnect(&mut self, client: &mut Client, now: Now) {
        if let Some(timer) = client.handshake.take() {
            self.wheel.cancel(timer);
        }
        if let Some(key) = client.session.take() {
            self.detach(key, now);
        }
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
            self.end_wait(key, now, out);
            // A line is a sign of life when it is complete.
            if request != Request::TooLong {
                self.sessions[key as usize].touch(now.at);
            }
        }
        let mut outcome = Outcome::default();
        let result = match request {
            Request::Empty => return outcome,
            Request::Http => {
                self.part(client, Bye::Abuse, now, out);
                outcome.closes = true;
                return outcome;
            }
            Request::Bad(error) => Err(error),
            Request::TooLong => Err(self.line_too_long()),
            Request::Command(command) => self.execute(client, command, now, &mut outcome),
        };
        match result {
            Ok(reply) => {
                client.errors = 0;
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
                if client.errors >= ERRORS_MAX {
                    self.part(client, Bye::Abuse, now, out);
                    outcome.closes = true;
                }
            }
        }
        outcome
    }

    /// The last words to a connection, which is to be closed when it has taken them; its session,
    /// if any, lives on without.
    pub fn part(&mut self, client: &mut Client, bye: Bye, now: Now, out: &mut Vec<u8>) {
        if let Some(key) = client.session.take() {
            self.end_wait(key, now, out);
            self.detach(key, now);
        }
        if let Some(timer) = client.handshake.take() {
            self.wheel.cancel(timer);
        }
        let when = now.at + Millis::from_secs(GOODBYE_SECS_MAX);
        client.handshake = Some(self.wheel.file(when, Timer::Handshake(client.conn)));
        bye.write(out);
    }

    fn refuse(&mut self, client: &mut Client, error: &Error, out: &mut Vec<u8>) {
        self.stats.errors += 1;
        client.errors += 1;
        error.write(out);
    }

    /// Gives a connection without a session its time to get one.
    fn expect_session(&mut self, client: &mut Client, at: Millis) {
        let when = at + Millis::from_secs(self.limits.handshake);
        client.handshake = Some(self.wheel.file(when, Timer::Handshake(client.conn)));
    }

    /// Makes a connection the one that holds a session, which no other holds.
    fn attach(&mut self, client: &mut Client, key: SessionKey, now: Now) {
        if let Some(timer) = client.handshake.take() {
            self.wheel.cancel(timer);
        }
        client.session = Some(key);
        let session = &mut self.sessions[key as usize];
        session.attachment = Some(Box::new(Attachment::new(client.conn)));
        session.touch(now.at);
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
        let was_held = session.is_held();
        session.attachment = None;
        if was_held {
            session.touch(now.at);
        }
        self.attached -= 1;
        self.arm(key, now.past);
    }

    /// Ends a session: the one place where one is removed, with all that the server holds for it.
    fn destroy(&mut self, key: SessionKey, reason: LeaveReason, now: Now) {
        self.leave_seat(key);
        let session = self.sessions.remove(key as usize);
        if let Some(timer) = session.timer {
            self.wheel.cancel(timer);
        }
        self.attached -= u64::from(session.attachment.is_some());
        self.stats.sessions_ended[reason.index()] += 1;
        let token = Token {
            slot: key,
            secret: session.secret,
        };
        self.ended.add(token, End { reason, at: now.at });

        let room = &mut self.rooms[session.room as usize];
        room.members.remove(&session.name.folded());
        log::debug!("{} left {}: {}", session.name, room.name, reason.as_str());
        if room.members.is_empty() {
            self.dirty.retain(|&dirty| dirty != session.room);
            let room = self.rooms.remove(session.room as usize);
            self.room_names.remove(&room.name.folded());
            self.log_bytes -= room.log.len_bytes() as u64;
        } else {
            let name = session.name;
            self.append(session.room, Event::Left { name, reason }, now);
        }
        self.shrink();
    }

    /// Gives memory back when most of a crowd is gone: of each table as much as lies behind the
    /// last entry that is in use.
    fn shrink(&mut self) {
        let left = self.sessions.len();
        if left > 0 && (self.crowd < CROWD_MIN || left > self.crowd / 4) {
            return;
        }
        self.crowd = left;
        self.sessions.shrink_to_fit();
        self.rooms.shrink_to_fit();
        self.wheel.shrink();
    }

    fn gauges(&self, now: Now) -> Gauges {
        Gauges {
            uptime: now.at.secs(),
            sessions: self.sessions.len() as u64,
            sessions_attached: self.attached,
            rooms: self.rooms.len() as u64,
            log_bytes: self.log_bytes,
            timers: self.wheel.len() as u64,
        }
    }
}
