//! The core's part of a connection.

use std::num::NonZeroU32;

use super::ids::{ConnId, SessionKey};
use super::origin::Peer;
use super::session::Session;
use super::usage::OriginKey;
use crate::protocol::{Alive, DENIALS_MAX, ERRORS_MAX};
use crate::state::saved;
use crate::talk::{COLUMNS_DEFAULT, Form};
use crate::time::Millis;

/// What the core has to remember about a connection. The hub stores it with the connection's other
/// half, its stream and its buffers.
#[derive(Debug)]
pub struct Caller {
    pub(super) conn: ConnId,
    pub(super) peer: Peer,
    pub(super) origin: OriginKey,
    pub(super) session: Option<SessionKey>,
    /// How it and the server speak with each other.
    pub(super) form: Form,
    /// How many columns its window has, if it is a person's.
    pub(super) columns: u16,
    /// The session's idle time, if the open connection keeps it alive (`alive=tcp`).
    pub(super) keepalive_s: Option<NonZeroU32>,
    /// Errors since the last OK.
    pub(super) errors: u32,
    /// JOINs refused because the key was missing or wrong.
    pub(super) denials: u8,
    /// It has waited for its next JOIN with a key, as those do that come from a suspect address.
    pub(super) has_paused: bool,
    /// One of its lines got an OK.
    pub(super) is_understood: bool,
    /// It has JOINed or RESUMEd, even if it has left since.
    pub(super) has_had_session: bool,
    /// Its handshake's timer fires first for a hint how to begin, because it has sent nothing. Until
    /// then `heard_at` is when it was accepted.
    pub(super) awaits_hint: bool,
    /// It has had HELP without a session, and with it time to read that.
    pub(super) has_had_help: bool,
    /// When everything that is answered now had arrived. A line that waits is a sign of life of this
    /// time, not of the time at which it is answered.
    pub(super) heard_at: Millis,
    /// A timer is filed that lets the hub read it again.
    pub(super) is_throttled: bool,
    /// The theoretical arrival time of its next line, in microseconds: see `rate`.
    pub(super) arrival_us: u64,
    /// Nothing that it has sent has been admitted yet.
    pub(super) is_new: bool,
    /// How many more bytes the current line may take before it counts as one line more.
    pub(super) paid_bytes: u8,
    /// It has its BYE, and closes as soon as the client has taken that.
    pub(super) is_leaving: bool,
}

impl Caller {
    /// The caller of a connection that has just been accepted.
    pub(super) fn new(conn: ConnId, peer: Peer, origin: OriginKey, at: Millis) -> Caller {
        Caller {
            conn,
            peer,
            origin,
            session: None,
            form: Form::Lines,
            columns: COLUMNS_DEFAULT,
            keepalive_s: None,
            errors: 0,
            denials: 0,
            has_paused: false,
            is_understood: false,
            has_had_session: false,
            awaits_hint: false,
            has_had_help: false,
            heard_at: at,
            is_throttled: false,
            arrival_us: 0,
            is_new: true,
            paid_bytes: 0,
            is_leaving: false,
        }
    }

    /// Whether it is the operator, on their own socket.
    pub fn is_operator(&self) -> bool {
        self.form == Form::Operator
    }

    /// Its connection.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// The other end of its connection.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The session to which the connection is attached.
    pub fn session(&self) -> Option<SessionKey> {
        self.session
    }

    /// How the connection and the server speak with each other.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Within how many seconds the system has to find out that the client is gone, if the open
    /// connection is what keeps the session alive.
    pub fn keepalive_s(&self) -> Option<u32> {
        let idle_s = self.keepalive_s.filter(|_| self.session.is_some());
        idle_s.map(NonZeroU32::get)
    }

    /// Notes that the connection is attached to a session now.
    pub(super) fn hold(&mut self, key: SessionKey, session: &Session) {
        self.session = Some(key);
        self.has_had_session = true;
        let idle_s = NonZeroU32::new(session.idle_s);
        self.keepalive_s = idle_s.filter(|_| session.alive == Alive::Tcp);
    }

    /// Whether it may be like that at a time: at a bound it would be leaving, a window has columns, and the
    /// operator is on this machine.
    pub(super) fn is_sound(&self, at: Millis) -> bool {
        let is_within = self.errors <= ERRORS_MAX && self.denials <= DENIALS_MAX;
        let is_local = matches!(self.origin, OriginKey::Local(_));
        is_within && self.columns > 0 && self.heard_at <= at && (is_local || !self.is_operator())
    }

    /// Whether the hub must not read it for now: its client has sent faster than it may, or tries keys
    /// from a suspect address.
    pub fn is_throttled(&self) -> bool {
        self.is_throttled
    }
}

saved!(struct Caller {
    conn,
    peer,
    origin,
    session,
    form,
    columns,
    keepalive_s,
    errors,
    denials,
    has_paused,
    is_understood,
    has_had_session,
    awaits_hint,
    has_had_help,
    heard_at,
    is_throttled,
    arrival_us,
    is_new,
    paid_bytes,
    is_leaving,
});

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn the_operator_comes_from_this_machine() {
        let peer = Peer::V4([192, 0, 2, 1], 47480);
        let origins = [OriginKey::Local(0), OriginKey::Counted(NonZeroU32::MIN)];
        let is_sound = |form, origin| {
            let caller = Caller::new(ConnId(0), peer, origin, Millis(0));
            Caller { form, ..caller }.is_sound(Millis(0))
        };
        assert_eq!(
            origins.map(|origin| is_sound(Form::Lines, origin)),
            [true, true]
        );
        assert_eq!(
            origins.map(|origin| is_sound(Form::Operator, origin)),
            [true, false]
        );
    }
}
