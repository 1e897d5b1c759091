//! What the core keeps of a connection.

use super::ids::{ConnId, SessionKey};
use super::origin::Peer;
use super::session::Session;
use super::usage::OriginKey;
use crate::protocol::Alive;
use crate::time::Millis;

/// What the core keeps of a connection; the hub keeps it with the connection.
#[derive(Debug)]
pub struct Caller {
    pub(super) conn: ConnId,
    pub(super) peer: Peer,
    pub(super) origin: OriginKey,
    pub(super) session: Option<SessionKey>,
    /// The idle time of a session that the connection keeps alive by being open.
    pub(super) keepalive_s: Option<u32>,
    /// Errors since the last OK.
    pub(super) errors: u32,
    /// Refusals for want of the right key.
    pub(super) denials: u32,
    /// One of its lines got an OK.
    pub(super) is_understood: bool,
    /// It has JOINed or RESUMEd, be it that it has left since.
    pub(super) has_had_session: bool,
    /// By when all had come that it was heard to send: a line that is answered later is a sign of
    /// life of that time.
    pub(super) heard_at: Millis,
    /// A timer is filed for when it may be read again.
    pub(super) is_throttled: bool,
    /// When its lines would have come at exactly their rate, in microseconds.
    pub(super) arrival_us: u64,
    /// None of its lines was admitted yet.
    pub(super) is_new: bool,
    /// How many more bytes of the line that has begun count as part of what was counted already.
    pub(super) paid_bytes: u8,
    /// It was told goodbye, and is only there until it has taken that.
    pub(super) is_leaving: bool,
}

impl Caller {
    /// The session that this connection holds.
    pub fn session(&self) -> Option<SessionKey> {
        self.session
    }

    /// Within how many seconds the system is to find out that the peer is gone; none if the session
    /// has other signs of life.
    pub fn keepalive_s(&self) -> Option<u32> {
        self.keepalive_s.filter(|_| self.session.is_some())
    }

    /// Notes that the connection now holds a session.
    pub(super) fn hold(&mut self, key: SessionKey, session: &Session) {
        self.session = Some(key);
        self.has_had_session = true;
        self.keepalive_s = (session.alive == Alive::Tcp).then_some(session.idle_s);
    }

    /// Whether it has sent lines faster than it may, and has to wait.
    pub fn is_throttled(&self) -> bool {
        self.is_throttled
    }
}
