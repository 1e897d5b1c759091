//! What happens when time runs out.

use super::session::Deadline;
use super::{Chat, Client, ConnId, Message, Timer};
use crate::protocol::{Alive, Bye, LeaveReason, write_expiring};
use crate::room::SessionKey;
use crate::time::{Millis, Now};

/// Something that is due unless its connection has already sent a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A session's deadline; with it the connection that holds it.
    Session(SessionKey, Option<ConnId>),
    /// A connection's time to get a session is over.
    Handshake(ConnId),
}

impl Chat {
    /// When something is due next. It may be a deadline that signs of life have put off since.
    pub fn next_deadline(&mut self) -> Option<Millis> {
        self.wheel.next_deadline()
    }

    /// The next thing that is due, within an allowance of `work` timers to look at.
    ///
    /// The caller first reads what the connection has received, so that a sign of life which came
    /// in time counts even if the server was slow to look, and then settles the matter:
    /// with [`settle`](Self::settle) or [`settle_handshake`](Self::settle_handshake).
    pub fn due(&mut self, now: Now, work: &mut usize) -> Option<Due> {
        while let Some(timer) = self.wheel.pop(now.past, work) {
            match timer {
                Timer::Handshake(conn) => return Some(Due::Handshake(conn)),
                Timer::Session(key) => {
                    let session = &mut self.sessions[key as usize];
                    session.timer = None;
                    match session.deadline(now.past) {
                        Some((when, _)) if when <= now.past => {
                            return Some(Due::Session(key, session.conn()));
                        }
                        _ => self.arm(key, now.past),
                    }
                }
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
        let mut closes = false;
        match due {
            None => {}
            Some(Deadline::Wait) => self.end_wait(key, now, &mut text),
            Some(Deadline::Expiring) => {
                write_expiring(session.idle / 3, &mut text);
                if let Some(attachment) = &mut session.attachment {
                    attachment.warned = true;
                }
            }
            Some(Deadline::Idle | Deadline::Stalled) => {
                let (reason, bye) = match due {
                    Some(Deadline::Stalled) => (LeaveReason::Slow, Bye::Slow),
                    _ => (LeaveReason::Expired, Bye::Expired),
                };
                self.end_wait(key, now, &mut text);
                self.destroy(key, reason, now);
                bye.write(&mut text);
                closes = true;
            }
        }
        if !closes {
            self.arm(key, now.past);
        }
        let conn = conn.filter(|_| !text.is_empty())?;
        Some(Message { conn, text, closes })
    }

    /// Notes that a connection's time to get a session is over; to be called before it is read.
    pub fn handshake_fired(client: &mut Client) {
        client.handshake = None;
    }

    /// Whether a connection whose time was over has still not got a session.
    pub fn settle_handshake(client: &Client) -> bool {
        client.session.is_none() && client.handshake.is_none()
    }

    /// The idle time in seconds of a session that an open connection keeps alive, for the kernel
    /// to find out within that time if the peer is gone.
    pub fn tcp_idle(&self, key: SessionKey) -> Option<u32> {
        let session = &self.sessions[key as usize];
        (session.alive == Alive::Tcp).then_some(session.idle)
    }

    /// Notes since when the connection of a session has taken nothing of what it is owed; none if
    /// it takes it.
    pub fn set_stalled(&mut self, key: SessionKey, since: Option<Now>) {
        if let Some(attachment) = &mut self.sessions[key as usize].attachment {
            attachment.stalled_at = since.map(|now| now.at);
        }
        if let Some(now) = since {
            self.arm(key, now.past);
        }
    }

    /// Sees to it that a session's timer fires no later than its deadline.
    pub(super) fn arm(&mut self, key: SessionKey, past: Millis) {
        let session = &mut self.sessions[key as usize];
        let Some((when, _)) = session.deadline(past) else {
            return;
        };
        if let Some(timer) = session.timer {
            if self.wheel.when(timer) <= when {
                return;
            }
            self.wheel.cancel(timer);
        }
        session.timer = Some(self.wheel.file(when, Timer::Session(key)));
    }
}
