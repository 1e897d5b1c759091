//! A session: its settings, its signs of life, its place in the room's log, and when it is due.

use std::num::NonZeroU32;

use super::ids::{ConnId, RoomKey};
use super::keys::KeyHash;
use super::restart::LEFT_MIN;
use super::usage::OriginKey;
use crate::protocol::{Alive, Mode, Name, Presence, SecretHash};
use crate::state::saved;
use crate::talk::{Form, Viewer};
use crate::time::Millis;

/// How often the server checks, within its idle time, whether a client that took nothing has taken
/// something since. A client that takes something right after a check gets up to one interval more
/// than its idle time.
pub const STALL_CHECKS_PER_IDLE_TIME: u64 = 8;

/// A member of a room.
#[derive(Debug)]
pub(super) struct Session {
    pub secret: SecretHash,
    pub name: Name,
    pub room: RoomKey,
    /// Where the client that joined came from: its usage counts the session.
    pub origin: OriginKey,
    pub idle_s: u32,
    /// The number of the next event that the session gets.
    pub cursor: u64,
    /// How many messages it has said.
    pub said: u64,
    /// The theoretical arrival time of the next line from any of its connections, in microseconds:
    /// see `rate`.
    pub arrival_us: u64,
    /// The last sign of life. It is out of date while the session is [kept
    /// alive](Self::kept_alive_until).
    pub alive_at: Millis,
    pub mode: Mode,
    pub alive: Alive,
    /// Its room gets no JOINED and no LEFT.
    pub is_quiet: bool,
    /// It has lost events and not caught up with its room since.
    pub is_behind: bool,
    /// It has lost the right to its name and is about to end.
    pub is_revoked: bool,
    /// It is a person's: TALK began it, or has taken it over.
    pub is_talk: bool,
    /// Over how many restarts of the server it has been carried since its last sign of life.
    pub carried: u8,
    /// What takes its name back on a server without a users file. In a box, since few sessions have it.
    pub key: Option<Box<KeyHash>>,
    /// In a box, so that a detached session takes less memory.
    pub attachment: Option<Box<Attachment>>,
}

/// What a session needs while it is attached to a connection.
#[derive(Debug)]
pub(super) struct Attachment {
    pub conn: ConnId,
    /// The POLL that waits for an event.
    pub wait: Option<Wait>,
    /// Since when the client has taken nothing of its events; [`Millis::NEVER`] if it takes them.
    pub stalled_at: Millis,
    /// When to check next whether a stalled client takes something.
    pub stall_check_at: Millis,
    /// The client has got an EXPIRING since its last sign of life.
    pub is_warned: bool,
    /// Its index in the room's audience, if it is there.
    pub audience_index: Option<u32>,
    /// The client has closed the connection. Lines that it sent before may still wait.
    pub is_gone: bool,
    /// How events are shown, if the connection is in talk form.
    pub talk: Option<Box<TalkState>>,
}

/// What an attachment to a person's connection needs besides.
#[derive(Debug)]
pub(super) struct TalkState {
    pub viewer: Viewer,
    /// The cursor up to which the client's system is known to have taken everything. What was written
    /// after that may be lost with the connection.
    pub taken: u64,
}

/// A POLL that waits for an event or the end of its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub until: Millis,
    /// How long the wait keeps the session alive: [`Millis::NEVER`] means while it lasts.
    pub alive_until: Millis,
    /// The most lines in the reply.
    pub max: NonZeroU32,
}

/// How a session's events reach its client. Only this and POLL look at the session's mode.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// The server sends them as they happen.
    Pushed,
    /// A POLL waits for the next.
    Awaited(Wait),
    /// They wait for the client's next POLL.
    Kept,
}

/// What happens at a session's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The session ends: it has lost the right to its name.
    Revoked,
    /// The POLL that waits gets its reply.
    Wait,
    /// The session ends: its client has taken nothing for its idle time.
    Stalled,
    /// The server checks whether a stalled client takes something.
    StallCheck,
    /// The session ends: its client has shown no sign of life for its idle time.
    Idle,
    /// The client gets an EXPIRING: a third of its idle time is left.
    Expiring,
}

impl Attachment {
    pub fn new(conn: ConnId) -> Self {
        Attachment {
            conn,
            wait: None,
            stalled_at: Millis::NEVER,
            stall_check_at: Millis::NEVER,
            is_warned: false,
            audience_index: None,
            is_gone: false,
            talk: None,
        }
    }
}

impl Attachment {
    /// What the attachment to a person's connection has besides.
    pub fn talk_mut(&mut self) -> &mut TalkState {
        self.talk.as_mut().expect("only people see events")
    }
}

impl Session {
    pub fn conn(&self) -> Option<ConnId> {
        self.attachment.as_ref().map(|a| a.conn)
    }

    /// How its connection and the server speak with each other.
    pub fn form(&self) -> Form {
        match self.attachment.as_ref().and_then(|a| a.talk.as_ref()) {
            Some(_) => Form::Talk,
            None => Form::Lines,
        }
    }

    pub fn presence(&self) -> Presence {
        match self.attachment {
            Some(_) => Presence::Attached,
            None => Presence::Detached,
        }
    }

    /// The attachment of a session that is known to be attached.
    pub fn attached_mut(&mut self) -> &mut Attachment {
        self.attachment
            .as_mut()
            .expect("callers, audiences, waits and stalls are those of attached sessions")
    }

    pub fn delivery(&self) -> Delivery {
        match self.mode {
            Mode::Push => Delivery::Pushed,
            Mode::Pull => match self.attachment.as_ref().and_then(|a| a.wait) {
                Some(wait) => Delivery::Awaited(wait),
                None => Delivery::Kept,
            },
        }
    }

    /// Whether a session may be like that at a time, in a room whose next event has the number `next`.
    pub fn is_sound(&self, next: u64, at: Millis) -> bool {
        let talk = self.attachment.as_ref().and_then(|a| a.talk.as_ref());
        (1..=next).contains(&self.cursor)
            && self.said < next
            && self.idle_s > 0
            && self.alive_at <= at + LEFT_MIN
            && talk.is_none_or(|talk| (1..=next).contains(&talk.taken) && talk.viewer.is_sound())
    }

    /// Notes a sign of life, unless a later one is known. This leaves the timer alone: it fires too
    /// early, finds nothing due, and is then filed for the deadline as it has become.
    pub fn touch(&mut self, at: Millis) {
        // A restart of the server may have added time, which it does not need any more.
        let is_back = std::mem::take(&mut self.carried) > 0;
        if at <= self.alive_at && !is_back {
            return;
        }
        self.alive_at = at;
        if let Some(attachment) = &mut self.attachment {
            attachment.is_warned = false;
        }
    }

    /// Turns what has [kept the session alive](Self::kept_alive_until) into a sign of life, at `now`
    /// at the latest. Call this before that ends.
    pub fn touch_if_kept_alive(&mut self, now: Millis) {
        if let Some(until) = self.kept_alive_until() {
            self.touch(now.min(until));
        }
    }

    /// Moves the cursor past events that the session has got. `next` is the number that the room's
    /// next event will have.
    pub fn move_to(&mut self, cursor: u64, next: u64) {
        self.cursor = cursor;
        self.is_behind &= cursor < next;
    }

    /// Until when an open connection (`alive=tcp`) or a waiting POLL keeps the session alive without
    /// a sign of life, if one does.
    fn kept_alive_until(&self) -> Option<Millis> {
        let attachment = self.attachment.as_ref().filter(|a| !a.is_gone)?;
        match self.alive {
            Alive::Tcp => Some(Millis::NEVER),
            Alive::Ping => attachment.wait.map(|wait| wait.alive_until),
        }
    }

    /// The time between two checks whether a stalled client takes something.
    pub fn stall_check_interval(&self) -> Millis {
        Millis(Millis::from_secs(self.idle_s).0 / STALL_CHECKS_PER_IDLE_TIME)
    }

    /// Seconds since the last sign of life.
    pub fn silent_s(&self, at: Millis) -> u64 {
        let alive_at = self
            .kept_alive_until()
            .map_or(self.alive_at, |until| until.min(at));
        at.since(alive_at).secs()
    }

    /// When the session expires if it shows no sign of life until then; `None` while only its open
    /// connection or a POLL that waits keeps it alive.
    pub fn idle_end(&self) -> Option<Millis> {
        let alive_at = self.kept_alive_until().unwrap_or(self.alive_at);
        let idle_end = alive_at + Millis::from_secs(self.idle_s);
        (idle_end < Millis::NEVER).then_some(idle_end)
    }

    /// The next deadline and what happens then; `None` while only its open connection keeps it alive.
    ///
    /// If several have passed, the gravest comes first: a session that is due to expire gets no
    /// warning any more.
    pub fn deadline(&self, past: Millis) -> Option<(Millis, Deadline)> {
        if self.is_revoked {
            return Some((Millis(0), Deadline::Revoked));
        }
        let idle = Millis::from_secs(self.idle_s);
        let kept_alive_until = self.kept_alive_until();
        let attached = self.attachment.as_ref();
        let wait = attached.and_then(|a| a.wait).map(|w| w.until);
        let stalled = attached.map(|a| a.stalled_at + idle);
        let stalled = stalled.filter(|&when| when < Millis::NEVER);
        let stall_check = attached.map(|a| a.stall_check_at);
        let stall_check = stall_check.filter(|&when| when < Millis::NEVER);
        let warning = attached
            .filter(|a| kept_alive_until.is_none() && !a.is_warned)
            .filter(|_| matches!(self.delivery(), Delivery::Pushed))
            .map(|_| self.alive_at + Millis(idle.0 - idle.0 / 3));
        // The gravest first.
        let deadlines = [
            (stalled, Deadline::Stalled),
            (self.idle_end(), Deadline::Idle),
            (wait, Deadline::Wait),
            (stall_check, Deadline::StallCheck),
            (warning, Deadline::Expiring),
        ];
        let mut next = None;
        for (when, what) in deadlines {
            let Some(when) = when else { continue };
            if when <= past {
                return Some((when, what));
            }
            if next.is_none_or(|(earliest, _)| when < earliest) {
                next = Some((when, what));
            }
        }
        next
    }
}

saved!(struct Attachment {
    conn,
    wait,
    stalled_at,
    stall_check_at,
    is_warned,
    audience_index,
    is_gone,
    talk,
});
saved!(struct TalkState { viewer, taken });
saved!(struct Wait { until, alive_until, max });

saved!(struct Session {
    secret,
    name,
    room,
    origin,
    idle_s,
    cursor,
    said,
    arrival_us,
    alive_at,
    mode,
    alive,
    is_quiet,
    is_behind,
    is_revoked,
    is_talk,
    carried,
    key,
    attachment,
});

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of glibc's and of musl's that holds 56 bytes takes 64.
    #[test]
    fn a_person_who_is_silent_costs_at_most_64_bytes_more_than_a_program() {
        assert!(size_of::<TalkState>() <= 56, "{}", size_of::<TalkState>());
    }
}
