//! What happens when time runs out.

use super::ids::SessionKey;
use super::session::Deadline;
use super::{Chat, ConnId, Message, Owed};
use crate::protocol::{Bye, LeaveReason, write_expiring};
use crate::time::{Millis, Now};

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
        let deadlines = [
            self.session_timers.next_deadline(),
            self.handshakes.next_deadline(),
            self.throttles.next_deadline(),
            self.journal.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
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
            let session = &mut self.sessions[key.index()];
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
        let session = self.sessions.get_mut(key.index())?;
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
                write_expiring(session.idle_s / 3, &mut text);
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

    /// Notes since when the client of a session has taken nothing of what it is owed, as is known by
    /// now. It will be looked at several times before its time is over: see [`Due::Session`].
    pub fn set_stalled(&mut self, key: SessionKey, since: Millis, now: Now) {
        let session = &mut self.sessions[key.index()];
        let look_at = now.at + session.look_interval();
        if let Some(attachment) = &mut session.attachment {
            attachment.stalled_at = since;
            attachment.look_at = look_at;
        }
        self.arm(key, now.past);
    }

    /// Notes that the connection of a session takes all that it is owed.
    pub fn end_stall(&mut self, key: SessionKey) {
        if let Some(attachment) = &mut self.sessions[key.index()].attachment {
            attachment.stalled_at = Millis::NEVER;
            attachment.look_at = Millis::NEVER;
        }
    }

    /// Sees to it that a session's timer fires no later than its deadline.
    pub(super) fn arm(&mut self, key: SessionKey, past: Millis) {
        let Some((when, _)) = self.sessions[key.index()].deadline(past) else {
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
