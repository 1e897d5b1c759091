//! A session, and a client as long as it has a connection.

use std::num::NonZeroU32;

use super::ids::{ConnId, RoomKey};
use super::usage::OriginKey;
use crate::protocol::{Alive, Mode, Name, Secret};
use crate::time::Millis;

/// How often a client that takes nothing is looked at within its idle time: it has a part of that
/// more at the most, since it may have taken something just behind a look.
pub const STALL_CHECKS_PER_IDLE_TIME: u64 = 8;

/// A member of a room.
#[derive(Debug)]
pub(super) struct Session {
    pub secret: Secret,
    pub name: Name,
    pub room: RoomKey,
    /// Where the client came from that joined.
    pub origin: OriginKey,
    /// Idle time.
    pub idle_s: u32,
    /// The number of the event to be given next.
    pub cursor: u64,
    /// How many messages it has said.
    pub said: u64,
    /// When the lines of its connections would have come at exactly their rate, in microseconds.
    pub arrival_us: u64,
    /// The last sign of life; it is older than the truth while something else keeps it
    /// alive.
    pub alive_at: Millis,
    pub mode: Mode,
    pub alive: Alive,
    /// It lost events, and has not had all there are since.
    pub is_behind: bool,
    /// It has lost the right to its name, and is about to end.
    pub is_revoked: bool,
    /// Boxed, so that a session without a connection costs less.
    pub attachment: Option<Box<Attachment>>,
}

/// What a session needs while a connection holds it.
#[derive(Debug)]
pub(super) struct Attachment {
    pub conn: ConnId,
    /// The POLL that waits for an event.
    pub wait: Option<Wait>,
    /// Since when the client has taken nothing of what it is owed; never if it takes it.
    pub stalled_at: Millis,
    /// When it is looked at next whether it has.
    pub stall_check_at: Millis,
    /// Whether EXPIRING was said in this idle period.
    pub warned: bool,
    /// Its place in the room's audience.
    pub audience_index: Option<u32>,
    /// The client has closed the connection, of which only what it has sent is left.
    pub is_gone: bool,
}

/// A POLL that is answered when there is something to give, or at the end of its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub until: Millis,
    /// Until when the session counts as alive by it; never, if as long as it waits.
    pub alive_until: Millis,
    pub max: NonZeroU32,
}

/// How a session's events reach its client: the one place that asks for its mode, but for POLL.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// They are sent as they happen.
    Pushed,
    /// A POLL waits for the next.
    Awaited(Wait),
    /// They are kept until the client POLLs.
    Kept,
}

/// What a session's deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// It has lost the right to its name.
    Revoked,
    /// Its POLL has waited for long enough.
    Wait,
    /// Its client takes nothing.
    Stalled,
    /// It is time to look whether it takes something.
    StallCheck,
    /// It has shown no sign of life.
    Idle,
    /// A third of its idle time is left.
    Expiring,
}

impl Attachment {
    pub fn new(conn: ConnId) -> Self {
        Attachment {
            conn,
            wait: None,
            stalled_at: Millis::NEVER,
            stall_check_at: Millis::NEVER,
            warned: false,
            audience_index: None,
            is_gone: false,
        }
    }
}

impl Session {
    pub fn conn(&self) -> Option<ConnId> {
        self.attachment.as_ref().map(|a| a.conn)
    }

    /// How its events reach its client.
    pub fn delivery(&self) -> Delivery {
        match self.mode {
            Mode::Push => Delivery::Pushed,
            Mode::Pull => match self.attachment.as_ref().and_then(|a| a.wait) {
                Some(wait) => Delivery::Awaited(wait),
                None => Delivery::Kept,
            },
        }
    }

    /// Notes a sign of life, unless a later one is known. The deadline it puts off is not filed
    /// anew: the timer that is filed fires early, finds nothing due, and is filed for the deadline
    /// as it is then.
    pub fn touch(&mut self, at: Millis) {
        if at <= self.alive_at {
            return;
        }
        self.alive_at = at;
        if let Some(attachment) = &mut self.attachment {
            attachment.warned = false;
        }
    }

    /// Notes that what has kept it alive without a further sign ends now.
    pub fn touch_if_kept_alive(&mut self, now: Millis) {
        if let Some(until) = self.kept_alive_until() {
            self.touch(now.min(until));
        }
    }

    /// Moves the cursor over events that the log has dropped, and tells how many.
    pub fn skip_to(&mut self, first: u64) -> u64 {
        let count = first - self.cursor;
        self.cursor = first;
        count
    }

    /// Moves the cursor behind events that were given; `next` is the number of the next event.
    pub fn move_to(&mut self, cursor: u64, next: u64) {
        self.cursor = cursor;
        self.is_behind &= cursor < next;
    }

    /// Until when it counts as alive without a further sign, if it does.
    fn kept_alive_until(&self) -> Option<Millis> {
        let attachment = self.attachment.as_ref().filter(|a| !a.is_gone)?;
        match self.alive {
            Alive::Tcp => Some(Millis::NEVER),
            Alive::Ping => attachment.wait.map(|wait| wait.alive_until),
        }
    }

    /// How often it is looked at whether a client has taken something that seemed to take nothing.
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

    /// The next deadline and what it is about; none while the connection alone keeps it alive.
    ///
    /// Of two that have passed the graver one counts: a session that ought to have expired is not
    /// warned any more.
    pub fn deadline(&self, past: Millis) -> Option<(Millis, Deadline)> {
        if self.is_revoked {
            return Some((Millis(0), Deadline::Revoked));
        }
        let idle = Millis::from_secs(self.idle_s);
        let kept_alive_until = self.kept_alive_until();
        let idle_end = kept_alive_until.unwrap_or(self.alive_at) + idle;
        let attached = self.attachment.as_ref();
        let wait = attached.and_then(|a| a.wait).map(|w| w.until);
        let stalled = attached.map(|a| a.stalled_at + idle);
        let stalled = stalled.filter(|&when| when < Millis::NEVER);
        let stall_check = attached.map(|a| a.stall_check_at);
        let stall_check = stall_check.filter(|&when| when < Millis::NEVER);
        let warning = attached
            .filter(|a| kept_alive_until.is_none() && !a.warned)
            .filter(|_| matches!(self.delivery(), Delivery::Pushed))
            .map(|_| self.alive_at + Millis(idle.0 - idle.0 / 3));
        let deadlines = [
            (stalled, Deadline::Stalled),
            (
                (idle_end < Millis::NEVER).then_some(idle_end),
                Deadline::Idle,
            ),
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
