//! Moves bytes between connections and `chat`: what one turn of the server's loop does.
//!
//! Each turn reads what is readable, then fires what is due, then writes what is owed. Sockets
//! come before timers, so that a client whose PING already waits is not expired by a server that
//! was stalled: timers fire only up to the moment of which all that was sent is known to be read.
//! No connection gets more than its share of a turn; who has something left is
//! remembered for the next. The hub knows neither the poll nor the clocks, and its streams may be
//! a test's.

use std::io;

use slab::Slab;

use crate::chat::{Chat, ConnId, Due, Message};
use crate::conn::{Conn, Link, OUT_BYTES_ENOUGH, Readiness};
use crate::line::Item;
use crate::protocol::{Bye, Limits, Request};
use crate::time::{Millis, Now};

/// Bytes that are read at once.
const READ_BYTES: usize = 4096;
/// How often a connection is read in one turn.
const READS_PER_TURN: usize = 16;
/// Bytes that are written to a connection in one turn, unless a log is about to drop some.
const WRITE_BYTES_PER_TURN: usize = 256 * 1024;
/// Timers that are looked at in one turn.
const TIMERS_PER_TURN: usize = 256;
/// For how many turns timers may be held back because not all was read that has come.
const TURNS_HELD_BACK: u32 = 16;

/// All connections, with the chat they take part in.
pub struct Hub<L> {
    chat: Chat,
    conns: Slab<Conn<L>>,
    /// Connections to be read in the next turn.
    to_read: Vec<ConnId>,
    /// Connections to be written at the end of the turn.
    to_write: Vec<ConnId>,
    /// Timers fire up to this moment.
    horizon: Millis,
    /// Turns since it was moved.
    held_back: u32,
    /// What every connection is read into.
    buffer: Vec<u8>,
    /// Where the line is put that comes before the events a session is owed.
    notice: Vec<u8>,
    /// Where the audience of the room that is served is put.
    audience: Vec<ConnId>,
}

impl<L: Link> Hub<L> {
    /// A hub without connections.
    pub fn new(limits: Limits) -> Self {
        Hub {
            chat: Chat::new(limits),
            conns: Slab::new(),
            to_read: Vec::new(),
            to_write: Vec::new(),
            horizon: Millis(0),
            held_back: 0,
            buffer: vec![0; READ_BYTES],
            notice: Vec::new(),
            audience: Vec::new(),
        }
    }

    /// The sessions and rooms.
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// A connection's stream, while it is open.
    pub fn link(&mut self, conn: ConnId) -> Option<&mut L> {
        self.conns.get_mut(conn as usize).map(|c| &mut c.link)
    }

    /// The number that the next accepted connection will have.
    pub fn next_conn(&self) -> ConnId {
        self.conns.vacant_key() as ConnId
    }

    /// Takes a new connection on.
    pub fn accept(&mut self, link: L, now: Now) -> ConnId {
        let conn = self.next_conn();
        let mut greeting = Vec::new();
        let client = self.chat.connect(conn, now, &mut greeting);
        self.conns.insert(Conn::new(link, client, greeting));
        self.chat.stats.connections += 1;
        self.chat.stats.connections_total += 1;
        self.write_later(conn);
        conn
    }

    /// Notes what the poll reports of a connection.
    pub fn ready(&mut self, key: ConnId, readiness: Readiness) {
        let Some(conn) = self.conns.get_mut(key as usize) else {
            return;
        };
        let Readiness {
            readable,
            writable,
            read_closed,
            urgent,
            broken,
        } = readiness;
        conn.is_readable |= readable || read_closed || urgent || broken;
        conn.is_writable |= writable || broken;
        conn.is_read_to_the_end |= read_closed || urgent || broken;
        conn.is_broken |= broken;
        if conn.is_readable {
            self.read_later(key);
        }
        if writable || broken {
            self.write_later(key);
        }
    }

    /// Whether something is left to do without waiting for anything.
    pub fn has_work(&self) -> bool {
        !self.to_read.is_empty() || !self.to_write.is_empty()
    }

    /// When something is due next.
    pub fn next_deadline(&mut self) -> Option<Millis> {
        self.chat.next_deadline()
    }

    /// One turn: read, fire, write.
    ///
    /// `heard_all` says that the poll has reported, through [`ready`](Self::ready), all that had
    /// come by `now.past`.
    pub fn turn(&mut self, now: Now, heard_all: bool) {
        for key in std::mem::take(&mut self.to_read) {
            if let Some(conn) = self.conns.get_mut(key as usize) {
                conn.is_to_read = false;
                self.read(key, now);
            }
        }
        self.held_back += 1;
        if heard_all && self.to_read.is_empty() || self.held_back > TURNS_HELD_BACK {
            self.horizon = now.past;
            self.held_back = 0;
        }
        let past = self.horizon;
        self.fire(Now { past, ..now });
        self.serve_rooms(now, false);
        for key in std::mem::take(&mut self.to_write) {
            if let Some(conn) = self.conns.get_mut(key as usize) {
                conn.is_to_write = false;
                self.write(key, now, WRITE_BYTES_PER_TURN);
            }
        }
    }

    /// Tells everybody that the server shuts down; connections close as they have taken that.
    pub fn shut_down(&mut self, now: Now) {
        self.serve_rooms(now, false);
        let keys: Vec<_> = self.conns.iter().map(|(key, _)| key as ConnId).collect();
        for key in keys {
            self.part(key, Bye::Shutdown, now);
        }
    }

    /// Says goodbye to a connection, to be closed once it has taken that.
    fn part(&mut self, key: ConnId, bye: Bye, now: Now) {
        let conn = &mut self.conns[key as usize];
        if !conn.is_closing {
            let (_, client, out) = conn.parts();
            self.chat.part(client, bye, now, out);
            conn.is_closing = true;
        }
        self.write(key, now, WRITE_BYTES_PER_TURN);
    }

    /// Checks that connections and sessions agree, and what [`Chat::assert_consistent`] checks.
    ///
    /// # Panics
    ///
    /// If they do not. Meant for tests, between two turns.
    pub fn assert_consistent(&self, now: Now) {
        self.chat.assert_consistent(now);
        assert_eq!(self.chat.stats.connections, self.conns.len() as u64);
        for (key, conn) in &self.conns {
            if let Some(session) = conn.client.session() {
                assert_eq!(self.chat.conn_of(session), Some(key as ConnId));
            }
        }
        let holding = self
            .conns
            .iter()
            .filter(|(_, c)| c.client.session().is_some());
        assert_eq!(holding.count(), self.chat.attached_sessions());
    }

    fn read_later(&mut self, key: ConnId) {
        let conn = &mut self.conns[key as usize];
        if !conn.is_to_read {
            conn.is_to_read = true;
            self.to_read.push(key);
        }
    }

    fn write_later(&mut self, key: ConnId) {
        let conn = &mut self.conns[key as usize];
        if !conn.is_to_write {
            conn.is_to_write = true;
            self.to_write.push(key);
        }
    }

    /// Reads a connection's share of the turn and answers its lines.
    fn read(&mut self, key: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(key as usize) else {
            return;
        };
        // While it is in hand, nothing closes it.
        conn.is_in_hand = true;
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_PER_TURN {
            if !self.read_once(key, &mut buffer, now) {
                break;
            }
        }
        self.buffer = buffer;
        let conn = &mut self.conns[key as usize];
        conn.is_in_hand = false;
        if conn.may_be_read() {
            self.read_later(key);
        }
        self.write_later(key);
    }

    /// Answers the lines that were received, then receives once more; false if there is nothing
    /// more to do for now.
    fn read_once(&mut self, key: ConnId, buffer: &mut [u8], now: Now) -> bool {
        let conn = &mut self.conns[key as usize];
        let input = std::mem::take(&mut conn.input);
        if !input.is_empty() {
            self.take_input(key, &input, now);
        }
        let conn = &mut self.conns[key as usize];
        if !conn.may_be_read() || !conn.input.is_empty() {
            return false;
        }
        match conn.link.read(buffer) {
            Ok(0) => conn.has_ended = true,
            Ok(len) => {
                // Less than was asked for is all there is, and more to come makes itself known:
                // epoll(7), in its answer 9. It does not go without saying for the end of the
                // stream and for urgent bytes.
                conn.is_readable = len == buffer.len() || conn.is_read_to_the_end;
                self.chat.stats.bytes_in += len as u64;
                self.take_input(key, &buffer[..len], now);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    conn.is_readable = false;
                    // One who cannot be told anything need not be waited for.
                    conn.has_ended |= conn.is_broken;
                }
                io::ErrorKind::Interrupted => {}
                _ => {
                    conn.has_ended = true;
                    conn.is_broken = true;
                }
            },
        }
        true
    }

    /// Answers the lines in `input`, until the client ought to take its answers first; the rest is
    /// kept.
    fn take_input(&mut self, key: ConnId, mut input: &[u8], now: Now) {
        let limits = *self.chat.limits();
        loop {
            if self.conns[key as usize].out_len() >= OUT_BYTES_ENOUGH {
                self.flush(key, now, WRITE_BYTES_PER_TURN);
            }
            let conn = &mut self.conns[key as usize];
            if conn.is_closing {
                return;
            }
            if conn.out_len() >= OUT_BYTES_ENOUGH {
                conn.input = input.to_vec();
                return;
            }
            let (lines, client, out) = conn.parts();
            let session = client.session();
            let request = match lines.next(&mut input, limits.line_bytes_max()) {
                None => return,
                Some(Item::Line(line)) => Request::read(line, &limits),
                Some(Item::TooLong) => Request::TooLong,
                Some(Item::Skipped) => Request::Empty,
                Some(Item::Negotiation(answer)) => {
                    out.extend_from_slice(&answer);
                    continue;
                }
            };
            let parting = match &request {
                Request::Command(command) => command.parting(),
                _ => None,
            };
            let outcome = match parting {
                None => self.chat.answer(client, request, now, out),
                Some(command) => {
                    // What the session is owed reaches the client before it lets go of it.
                    self.flush(key, now, usize::MAX);
                    let (_, client, out) = self.conns[key as usize].parts();
                    self.chat
                        .answer(client, Request::Command(command), now, out)
                }
            };
            let conn = &mut self.conns[key as usize];
            conn.is_closing |= outcome.closes;
            if conn.client.session() != session {
                conn.is_stalled = false;
                self.update_watch(key);
            }
            if let Some(message) = outcome.replaced {
                self.deliver(message, now);
            }
            self.serve_if_needed(now);
        }
    }

    /// Fires what is due, within the turn's allowance.
    fn fire(&mut self, now: Now) {
        let mut work = TIMERS_PER_TURN;
        while let Some(due) = self.chat.due(now, &mut work) {
            match due {
                Due::Session(session, conn) => {
                    if let Some(conn) = conn {
                        self.read_at_last(conn, now);
                    }
                    if let Some(message) = self.chat.settle(session, now) {
                        self.deliver(message, now);
                    }
                }
                Due::Handshake(conn) => {
                    Chat::handshake_fired(&mut self.conns[conn as usize].client);
                    self.read_at_last(conn, now);
                    if Chat::settle_handshake(&self.conns[conn as usize].client) {
                        self.part(conn, Bye::Handshake, now);
                        self.close(conn, now);
                    }
                }
            }
            self.serve_if_needed(now);
        }
    }

    /// Reads a connection that is about to lose something for not having sent anything.
    fn read_at_last(&mut self, key: ConnId, now: Now) {
        self.conns[key as usize].is_readable = true;
        self.read(key, now);
    }

    /// Appends what a connection is told that did not ask, and closes it if that was the last.
    fn deliver(&mut self, message: Message, now: Now) {
        let key = message.conn;
        let conn = &mut self.conns[key as usize];
        conn.out().extend_from_slice(&message.text);
        if message.closes {
            conn.client.lose_session();
            conn.is_closing = true;
            self.flush(key, now, WRITE_BYTES_PER_TURN);
            self.close(key, now);
        } else {
            self.write_later(key);
        }
    }

    /// Serves the rooms if a log is about to drop what somebody was not given.
    fn serve_if_needed(&mut self, now: Now) {
        if self.chat.must_serve() {
            self.serve_rooms(now, true);
        }
    }

    /// Writes what has happened in rooms to those who are there. Nobody is left out if it is
    /// `urgent`: somebody whose stream took nothing a moment ago may take something now.
    fn serve_rooms(&mut self, now: Now, urgent: bool) {
        let share = match urgent {
            true => usize::MAX,
            false => WRITE_BYTES_PER_TURN,
        };
        let mut audience = std::mem::take(&mut self.audience);
        while self.chat.next_dirty_room(&mut audience) {
            for &key in &audience {
                let conn = self.conns.get(key as usize);
                if conn.is_some_and(|conn| urgent || conn.is_writable) {
                    self.write(key, now, share);
                }
            }
        }
        self.audience = audience;
    }

    /// Writes to a connection, and closes it if that was all there is to do for it.
    fn write(&mut self, key: ConnId, now: Now, share: usize) {
        self.flush(key, now, share);
        let conn = &self.conns[key as usize];
        let session = conn.client.session();
        let is_owed = session.is_some_and(|session| self.chat.is_owed(session));
        if conn.is_done(is_owed) {
            self.close(key, now);
        } else if conn.may_be_read() {
            self.read_later(key);
        }
    }

    /// Writes what a connection is owed until its stream takes no more, or about `share` bytes.
    fn flush(&mut self, key: ConnId, now: Now, share: usize) {
        let mut sum = 0;
        loop {
            let conn = &mut self.conns[key as usize];
            if conn.is_broken {
                conn.drop_out();
                conn.is_readable = true;
                return;
            }
            let session = conn.client.session().filter(|_| !conn.is_closing);
            let mut owed = [&[][..]; 3];
            if let Some(session) = session {
                if conn.out_len() == 0 {
                    self.chat.prepare(session, now, conn.out());
                }
                owed = self.chat.owed(session, &mut self.notice);
            }
            if conn.out_len() == 0 && owed.iter().all(|slice| slice.is_empty()) {
                return self.set_stalled(key, None);
            }
            if sum >= share {
                self.write_later(key);
                return self.set_stalled(key, None);
            }
            match conn.write(owed) {
                Ok(written) => {
                    sum += written.bytes;
                    self.chat.stats.bytes_out += written.bytes as u64;
                    if let Some(session) = session.filter(|_| written.of_owed > 0) {
                        self.chat.given(session, written.of_owed, conn.out());
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        conn.is_writable = false;
                        // Whoever takes a little is not stalled, or not any longer.
                        if sum > 0 || !conn.is_stalled {
                            self.set_stalled(key, Some(now));
                        }
                        return;
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => conn.is_broken = true,
                },
            }
        }
    }

    /// Notes since when a client has taken nothing of what it is owed; none if it takes it.
    fn set_stalled(&mut self, key: ConnId, since: Option<Now>) {
        let conn = &mut self.conns[key as usize];
        if since.is_none() && !conn.is_stalled {
            return;
        }
        let was_stalled = std::mem::replace(&mut conn.is_stalled, since.is_some());
        if let Some(session) = conn.client.session() {
            self.chat.set_stalled(session, since);
        }
        if was_stalled != since.is_some() {
            self.update_watch(key);
        }
    }

    /// Has the system watch the peer of a connection that keeps its session alive by being open.
    /// A client that takes nothing is watched by its session instead, which tells it why it goes.
    fn update_watch(&mut self, key: ConnId) {
        let conn = &mut self.conns[key as usize];
        let session = conn.client.session().filter(|_| !conn.is_stalled);
        let idle = session.and_then(|session| self.chat.tcp_idle(session));
        if conn.watched != idle {
            conn.watched = idle;
            conn.link.watch_peer(idle);
        }
    }

    /// Closes a connection: the one place where one is removed.
    fn close(&mut self, key: ConnId, now: Now) {
        let Some(mut conn) = self.conns.try_remove(key as usize) else {
            return;
        };
        self.chat.disconnect(&mut conn.client, now);
        self.chat.stats.connections -= 1;
        // A socket that is closed with input unread is reset, and the peer may then throw away
        // the last lines before it has read them.
        for _ in 0..READS_PER_TURN {
            if !matches!(conn.link.read(&mut self.buffer), Ok(1..)) {
                break;
            }
        }
    }
}
