//! What happens when time runs out.

use super::session::Deadline;
use super::{Chat, Client, ConnId, Message, Owed};
use crate::chat::room::SessionKey;
use crate::protocol::{Alive, Bye, LeaveReason, write_expiring};
use crate::time::{Millis, Now};
use crate::wheel::Wheel;

/// Something that is due unless its connection has already sent a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A session's deadline; with it the connection that holds it. If that takes nothing of what it
    /// is owed, the caller also looks whether the client has taken something since.
    Session(SessionKey, Option<ConnId>),
    /// A connection's time to get a session is over.
    Handshake(ConnId),
    /// A connection may be read again.
    Throttle(ConnId),
}

/// How many timers of each kind may still be looked at: a crowd of one kind holds up no other.
#[derive(Debug)]
pub struct Allowance {
    throttles: usize,
    handshakes: usize,
    sessions: usize,
}

impl Allowance {
    /// So many of each kind.
    pub fn each(timers: usize) -> Allowance {
        Allowance {
            throttles: timers,
            handshakes: timers,
            sessions: timers,
        }
    }
}

impl Chat {
    /// When something is due next. It may be a deadline that signs of life have put off since.
    pub fn next_deadline(&mut self) -> Option<Millis> {
        let wheels = [
            &mut self.session_timers,
            &mut self.handshakes,
            &mut self.throttles,
        ];
        let timers = wheels.into_iter().filter_map(Wheel::next_deadline).min();
        timers.into_iter().chain(self.journal.next_deadline()).min()
    }

    /// The next thing that is due, within an allowance of timers to look at.
    ///
    /// The caller first reads what the connection has received, so that a sign of life which came
    /// in time counts even if the server was slow to look, and then settles the matter:
    /// with [`settle`](Self::settle) or [`settle_handshake`](Self::settle_handshake).
    pub fn due(&mut self, now: Now, work: &mut Allowance) -> Option<Due> {
        if let Some(conn) = self.throttles.pop(now.past, &mut work.throttles) {
            return Some(Due::Throttle(conn));
        }
        if let Some(conn) = self.handshakes.pop(now.past, &mut work.handshakes) {
            return Some(Due::Handshake(conn));
        }
        while let Some(key) = self.session_timers.pop(now.past, &mut work.sessions) {
            let session = &mut self.sessions[key as usize];
            match session.deadline(now.past) {
                Some((when, _)) if when <= now.past => {
                    return Some(Due::Session(key, session.conn()));
                }
                _ => self.arm(key, now.past),
            }
        }
        None
    }

    /// Does what a session's deadline asks for, if it still is due.
    pub fn settle(&mut self, key: SessionKey, now: Now) -> Option<Message> {
        let session = self.sessions.get_mut(key as usize)?;
        let conn = session.conn();
        let due = session.deadline(now.past);
        let due = due.filter(|(when, _)| *when <= now.past).map(|(_, d)| d);
        let mut text = Vec::new();
        match due {
            None => {}
            Some(Deadline::Wait) => self.end_wait(key, now, &mut text),
            Some(Deadline::Look) => {
                let look_at = now.at + session.look_interval();
                if let Some(attachment) = &mut session.attachment {
                    attachment.look_at = look_at;
                }
            }
            Some(Deadline::Expiring) => {
                write_expiring(session.idle / 3, &mut text);
                if let Some(attachment) = &mut session.attachment {
                    attachment.warned = true;
                }
            }
            Some(Deadline::Revoked) => {
                let message = self.last_words(key, Bye::Replaced, Owed::Told, now);
                self.destroy(key, LeaveReason::Replaced, now);
                return message;
            }
            Some(Deadline::Idle | Deadline::Stalled) => {
                let (reason, bye) = match due {
                    Some(Deadline::Stalled) => (LeaveReason::Slow, Bye::Slow),
                    _ => (LeaveReason::Expired, Bye::Expired),
                };
                let message = self.last_words(key, bye, Owed::Kept, now);
                self.destroy(key, reason, now);
                return message;
            }
        }
        self.arm(key, now.past);
        let conn = conn.filter(|_| !text.is_empty())?;
        Some(Message {
            conn,
            text,
            closes: false,
        })
    }

    /// Gives a connection without a session so many seconds, and no others.
    pub(super) fn give_time(&mut self, client: &Client, at: Millis, secs: u32) {
        let when = at + Millis::from_secs(secs);
        self.handshakes.file(client.conn, when);
    }

    pub(super) fn end_time(&mut self, client: &Client) {
        self.handshakes.cancel(client.conn);
    }

    /// Cancels all timers of a connection.
    pub(super) fn end_timers(&mut self, client: &Client) {
        self.end_time(client);
        self.throttles.cancel(client.conn);
    }

    /// Notes that the client of a session has closed its connection, which is there for as long as
    /// lines wait that it had sent. From now on it counts as alive by those alone.
    pub fn lose_peer(&mut self, key: SessionKey, now: Now) {
        let session = &mut self.sessions[key as usize];
        session.touch_if_held(now.at);
        if let Some(attachment) = &mut session.attachment {
            attachment.is_lost = true;
        }
        self.arm(key, now.past);
    }

    /// Notes that all that a connection is heard to send has come by now; also what it was heard to
    /// send before, if that `is_ahead` of the time that was noted then.
    pub fn hear(&mut self, client: &mut Client, is_ahead: bool, now: Now) {
        client.heard_at = now.at;
        if let Some(key) = client.session.filter(|_| is_ahead) {
            self.sessions[key as usize].touch(now.at);
        }
    }

    /// Notes a line that is still to be answered, if the connection of a session waits with one.
    pub fn note_line(&mut self, key: SessionKey, client: &Client) {
        if let Some(session) = self.sessions.get_mut(key as usize) {
            if client.is_throttled() && client.session == Some(key) {
                session.touch(client.heard_at);
            }
        }
    }

    /// Whether a connection whose time was over has still not got a session; if so, that is counted
    /// and logged, and the caller is to close it.
    pub fn settle_handshake(&mut self, client: &Client) -> bool {
        let is_over = client.session.is_none() && self.handshakes.when(client.conn).is_none();
        if is_over {
            self.stats.connections_handshake += 1;
            log::debug!("{} got no session in time", client.peer);
        }
        is_over
    }

    /// The idle time in seconds of a session that an open connection keeps alive, for the kernel
    /// to find out within that time if the peer is gone.
    pub fn tcp_idle(&self, key: SessionKey) -> Option<u32> {
        let session = &self.sessions[key as usize];
        (session.alive == Alive::Tcp).then_some(session.idle)
    }

    /// Notes since when the client of a session has taken nothing of what it is owed, as is known by
    /// now. It will be looked at several times before its time is over: see [`Due::Session`].
    pub fn set_stalled(&mut self, key: SessionKey, since: Millis, now: Now) {
        let session = &mut self.sessions[key as usize];
        let look_at = now.at + session.look_interval();
        if let Some(attachment) = &mut session.attachment {
            attachment.stalled_at = since;
            attachment.look_at = look_at;
        }
        self.arm(key, now.past);
    }

    /// Notes that the connection of a session takes all that it is owed.
    pub fn end_stall(&mut self, key: SessionKey) {
        if let Some(attachment) = &mut self.sessions[key as usize].attachment {
            attachment.stalled_at = Millis::NEVER;
            attachment.look_at = Millis::NEVER;
        }
    }

    /// Sees to it that a session's timer fires no later than its deadline.
    pub(super) fn arm(&mut self, key: SessionKey, past: Millis) {
        let Some((when, _)) = self.sessions[key as usize].deadline(past) else {
            return;
        };
        if self
            .session_timers
            .when(key)
            .is_none_or(|filed| filed > when)
        {
            self.session_timers.file(key, when);
        }
    }
}
