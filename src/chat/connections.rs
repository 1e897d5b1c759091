//! The life of a connection as the core sees it: from HELLO to BYE.

use super::Chat;
use super::caller::Caller;
use super::ids::ConnId;
use super::journal::Full;
use super::origin::Peer;
use crate::protocol::{Bye, DENIALS_MAX, HINT_AFTER_S, Output};
use crate::talk::Form;
use crate::time::{Millis, Now};

/// How long a connection may take to read its BYE, in seconds, but never longer than the handshake may
/// take.
pub const GOODBYE_MAX_S: u32 = 30;

/// Something that happens to a connection, other than that its client sends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnEvent {
    /// Everything that the core answers until the next `Heard` has arrived by now, and is a sign of
    /// life of this time.
    Heard {
        /// Whether the hub has read something since the last `Heard` that may have arrived after that
        /// one. It is a sign of life of this time, too.
        is_ahead: bool,
    },
    /// Its client has closed it. It stays open while lines wait that the client has sent, and only
    /// those keep its session alive from now on.
    Gone,
    /// Its client will send nothing more. Later connections from its address begin with no more of
    /// their rate than it has left.
    Ended,
    /// It has taken nothing of its session's events since then. From now on the core makes the hub
    /// check that several times, before the session's time is over: see
    /// [`Due::concerns_session`](super::Due::concerns_session).
    Stalled(Millis),
    /// It takes all of its session's events.
    Flows,
    /// This is how many columns its client's window has.
    Window(u16),
    /// Its client's system has taken everything that was written.
    Taken,
    /// It may have space again for events that it did not take, or that the hub did not offer it.
    Writable,
}

impl Chat {
    /// Greets a new connection, which then has to get a session in time. If a limit leaves no space for
    /// it, says goodbye instead and returns `None`.
    pub fn connect(
        &mut self,
        conn: ConnId,
        peer: Peer,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Option<Caller> {
        self.greet(false, out);
        let origin = peer.origin();
        let of_origin = self.usages.connections(origin) as usize;
        let stats = &mut self.stats;
        let refused = if self.connections >= self.limits.connections_max {
            let count = &mut stats.refused_connections;
            Some((count, Full::Connections, Bye::Full))
        } else if of_origin >= self.limits.per_address_max {
            let count = &mut stats.refused_connections_address;
            Some((count, Full::ConnectionsOfAddress, Bye::AddressFull))
        } else {
            None
        };
        if let Some((count, full, bye)) = refused {
            *count += 1;
            self.journal.full(full, &peer, &self.limits, now);
            Output::Bye(bye).write(out);
            return None;
        }
        self.connections += 1;
        self.connections_shrink.added(self.connections);
        self.stats.connections_total += 1;
        let now_open = self.connections as u64;
        self.stats.connections_most = self.stats.connections_most.max(now_open);
        let origin = self.usages.connect(&peer, now.at.micros());
        let mut caller = Caller::new(conn, peer, origin, now.at);
        self.start_silence(&mut caller, now.at);
        Some(caller)
    }

    /// Greets a new connection of the operator's, whose program belongs to this user. If there are as many
    /// as there may be, says goodbye instead and returns `None`. No other limit applies to it.
    pub fn connect_operator(
        &mut self,
        conn: ConnId,
        user: u32,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Option<Caller> {
        self.greet(true, out);
        if self.operators.len() >= self.limits.operators_max {
            Output::Bye(Bye::OperatorFull).write(out);
            return None;
        }
        self.operators.push(conn);
        let peer = Peer::Local { user };
        let origin = self.usages.connect(&peer, now.at.micros());
        Some(Caller {
            form: Form::Operator,
            ..Caller::new(conn, peer, origin, now.at)
        })
    }

    /// Writes the first line on a connection.
    fn greet(&self, is_operator: bool, out: &mut Vec<u8>) {
        Output::Hello {
            boot: self.boot,
            message_bytes_max: self.limits.message_bytes_max,
            link: self.link_name(),
            is_operator,
        }
        .write(out);
    }

    /// Forgets a connection that the hub has closed. Its session, if it has one, lives on without it.
    ///
    /// `capacity` is how many connections the hub has memory for. Returns true if so many have gone that
    /// the hub should return some of it.
    #[must_use]
    pub fn disconnect(&mut self, mut caller: Caller, capacity: usize, now: Now) -> bool {
        self.cancel_timers(&caller);
        if let Some(key) = caller.session.take() {
            self.detach(key, now);
        }
        // A client that guesses keys may hang up before the server does, and connect again.
        if (1..DENIALS_MAX).contains(&caller.denials) {
            self.journal.denied(caller.denials, &caller.peer, now);
        }
        if caller.is_operator() {
            self.operators.retain(|&conn| conn != caller.conn);
            return false;
        }
        self.usages
            .disconnect(caller.origin, caller.arrival_us, now.at.micros());
        self.connections -= 1;
        let is_worth_it = self.connections_shrink.removed(self.connections, capacity);
        if is_worth_it {
            self.handshakes.shrink();
            self.throttles.shrink();
            self.has_freed_memory = true;
        }
        is_worth_it
    }

    /// Says goodbye to a connection, which the hub closes once the client has read that. Its session, if
    /// it has one, lives on without it. A connection that is still in its handshake gets no more time.
    pub fn say_goodbye(&mut self, caller: &mut Caller, bye: Bye, now: Now, out: &mut Vec<u8>) {
        self.end_silence(caller, now);
        if let Some(key) = caller.session.take() {
            self.end_wait(key, now, out);
            self.detach(key, now);
        }
        let goodbye_s = GOODBYE_MAX_S.min(self.limits.handshake_s);
        let end = now.at + Millis::from_secs(goodbye_s);
        let filed = self.handshakes.when(caller.conn);
        if filed.is_none_or(|filed| filed > end) {
            self.set_handshake_end(caller, now.at, goodbye_s);
        }
        caller.is_leaving = true;
        caller.form.write(&Output::Bye(bye), out);
    }

    /// Starts the time in which a new connection has to get a session. If it is long enough, and the
    /// client sends nothing, its timer fires first for a hint how to begin.
    fn start_silence(&mut self, caller: &mut Caller, at: Millis) {
        caller.awaits_hint = self.limits.handshake_s > HINT_AFTER_S;
        let first_s = self.limits.handshake_s.min(HINT_AFTER_S);
        self.set_handshake_end(caller, at, first_s);
    }

    /// Notes that a connection needs no hint any more. Its timer fires next when its handshake ends.
    pub(super) fn end_silence(&mut self, caller: &mut Caller, now: Now) {
        if std::mem::take(&mut caller.awaits_hint) {
            self.start_handshake(caller, caller.heard_at);
            caller.heard_at = now.at;
        }
    }

    /// Starts the time in which a connection has to get a session.
    pub(super) fn start_handshake(&mut self, caller: &Caller, at: Millis) {
        self.set_handshake_end(caller, at, self.limits.handshake_s);
    }

    /// Gives a connection `time_s` seconds from `at`, and no more than that, to get a session or to
    /// read its goodbye.
    pub(super) fn set_handshake_end(&mut self, caller: &Caller, at: Millis, time_s: u32) {
        let when = at + Millis::from_secs(time_s);
        self.handshakes.file(caller.conn, when);
    }

    pub(super) fn cancel_handshake(&mut self, caller: &Caller) {
        self.handshakes.cancel(caller.conn);
    }

    pub(super) fn cancel_timers(&mut self, caller: &Caller) {
        self.cancel_handshake(caller);
        self.throttles.cancel(caller.conn);
    }

    /// Notes something that has happened to a connection.
    pub fn note(&mut self, caller: &mut Caller, event: ConnEvent, now: Now) {
        match event {
            ConnEvent::Heard { is_ahead } => {
                // A report alone ends no silence.
                if caller.awaits_hint {
                    return;
                }
                caller.heard_at = now.at;
                if !is_ahead {
                    return;
                }
            }
            ConnEvent::Ended => return self.usages.note_arrival(caller.origin, caller.arrival_us),
            ConnEvent::Window(columns) => caller.columns = columns,
            _ => {}
        }
        let Some(key) = caller.session else { return };
        let session = &mut self.sessions[key.index()];
        match event {
            ConnEvent::Ended => {}
            ConnEvent::Heard { .. } => session.touch(now.at),
            ConnEvent::Writable => self.offer_again(key),
            ConnEvent::Window(columns) => {
                if let Some(talk) = &mut session.attached_mut().talk {
                    talk.viewer.columns = columns;
                }
            }
            ConnEvent::Taken => {
                let cursor = session.cursor;
                if let Some(talk) = &mut session.attached_mut().talk {
                    talk.taken = cursor;
                }
            }
            ConnEvent::Flows => {
                let attachment = session.attached_mut();
                attachment.stalled_at = Millis::NEVER;
                attachment.stall_check_at = Millis::NEVER;
            }
            ConnEvent::Stalled(since) => {
                let stall_check_at = now.at + session.stall_check_interval();
                let attachment = session.attached_mut();
                attachment.stalled_at = since;
                attachment.stall_check_at = stall_check_at;
                self.arm(key, now.past);
            }
            ConnEvent::Gone => {
                session.touch_if_kept_alive(now.at);
                session.attached_mut().is_gone = true;
                self.arm(key, now.past);
            }
        }
    }

    /// Whether the server answers a client. It does not once the client's session has lost the right to
    /// its name and is about to end.
    pub fn listens_to(&self, caller: &Caller) -> bool {
        let session = caller.session.map(|key| &self.sessions[key.index()]);
        session.is_none_or(|session| !session.is_revoked)
    }
}
