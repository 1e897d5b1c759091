//! What the core does when a timer fires: it ends a session or warns it, says goodbye to a connection
//! without one, or lets the hub read again.

use super::Chat;
use super::caller::Caller;
use super::ids::{ConnId, SessionKey};
use super::life::OwedEvents;
use super::notice::Notice;
use super::session::Deadline;
use crate::protocol::{Bye, Expiring, LeaveReason, Output};
use crate::time::{Millis, Now};

/// Something that is due, unless its connection has sent a sign of life that is still unread. The hub
/// reads the connection and then calls [`Chat::settle`].
#[derive(Debug)]
#[must_use = "what is due has to be settled"]
pub struct Due {
    kind: DueKind,
    conn: Option<ConnId>,
}

/// What is due.
#[derive(Clone, Copy, Debug)]
enum DueKind {
    /// A session's deadline.
    Session(SessionKey),
    /// The end of the time in which a connection has to get a session, or that of its silence.
    Handshake,
    /// The end of the time for which a connection had to wait: see `rate`.
    Throttle,
}

impl Due {
    /// The connection that the hub has to read first; `None` for a detached session.
    pub fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    /// Whether this is about a session, and may end it. The hub then also has to write to the connection
    /// and, if that is stalled, check whether its client has taken something since.
    pub fn concerns_session(&self) -> bool {
        matches!(self.kind, DueKind::Session(_))
    }

    /// Whether all that is left to do after [`Chat::settle`] is to read the connection again.
    pub fn resumes_reading(&self) -> bool {
        matches!(self.kind, DueKind::Throttle)
    }
}

/// How many timers of each kind may still be looked at. However many are due of one kind, they delay no other.
#[derive(Debug)]
pub struct TimerBudget {
    throttles: usize,
    handshakes: usize,
    sessions: usize,
    rooms: usize,
}

impl TimerBudget {
    /// The same number of timers of each kind.
    pub fn each(timers: usize) -> TimerBudget {
        TimerBudget {
            throttles: timers,
            handshakes: timers,
            sessions: timers,
            rooms: timers,
        }
    }
}

impl Chat {
    /// When to ask for what is [due](Self::due) again. There may be nothing by then: a sign of life puts
    /// off a deadline, but not its timer.
    pub fn next_deadline(&mut self) -> Option<Millis> {
        let timers = [
            self.session_timers.next_deadline(),
            self.handshakes.next_deadline(),
            self.throttles.next_deadline(),
            self.next_room_deadline(),
            self.journal.next_deadline(),
            self.link_deadline(),
        ];
        let earliest = (timers.into_iter()).fold(Millis::NEVER, |earliest, next| {
            earliest.min(next.unwrap_or(Millis::NEVER))
        });
        (earliest < Millis::NEVER).then_some(earliest)
    }

    /// The next thing that is due, within a budget of timers. Frees rooms that were kept for long
    /// enough, which concerns no connection. When nothing is left, writes the log's summaries.
    ///
    /// The hub reads the connection before it settles what is due, so that a sign of life that arrived
    /// in time counts even if the server was slow.
    pub fn due(&mut self, now: Now, budget: &mut TimerBudget) -> Option<Due> {
        self.free_due_rooms(now.past, &mut budget.rooms);
        if let Some(conn) = self.throttles.pop(now.past, &mut budget.throttles) {
            return Some(Due {
                kind: DueKind::Throttle,
                conn: Some(conn),
            });
        }
        if let Some(conn) = self.handshakes.pop(now.past, &mut budget.handshakes) {
            return Some(Due {
                kind: DueKind::Handshake,
                conn: Some(conn),
            });
        }
        while let Some(key) = self.session_timers.pop(now.past, &mut budget.sessions) {
            let session = &mut self.sessions[key.index()];
            match session.deadline(now.past) {
                Some((when, _)) if when <= now.past => {
                    return Some(Due {
                        kind: DueKind::Session(key),
                        conn: session.conn(),
                    });
                }
                _ => self.arm(key, now.past),
            }
        }
        self.journal.log_summaries(now);
        None
    }

    /// Does what is due, if it still is. `caller` belongs to [its connection](Due::conn).
    pub fn settle(&mut self, due: Due, caller: Option<&mut Caller>, now: Now) -> Option<Notice> {
        debug_assert!(
            (caller.as_ref()).is_none_or(|caller| due.conn == Some(caller.conn)),
            "the caller of another connection"
        );
        match (due.kind, caller) {
            (DueKind::Throttle, caller) => {
                caller?.is_throttled = false;
                None
            }
            (DueKind::Handshake, caller) => self.settle_handshake(caller?, now),
            (DueKind::Session(key), caller) => {
                let session = self.sessions.get_mut(key.index())?;
                // A line that waits because of the rate is a sign of life.
                if let Some(caller) = caller.filter(|c| c.is_throttled && c.session == Some(key)) {
                    session.touch(caller.heard_at);
                }
                self.settle_session(key, now)
            }
        }
    }

    /// Says goodbye to a connection whose handshake has taken too long, unless it has a session by now.
    /// If it has its goodbye already, just closes it. If its time is not over yet, and its client has
    /// sent nothing, tells it how to begin.
    fn settle_handshake(&mut self, caller: &mut Caller, now: Now) -> Option<Notice> {
        if caller.session.is_some() || self.handshakes.when(caller.conn).is_some() {
            return None;
        }
        let mut text = Vec::new();
        let end = caller.heard_at + Millis::from_secs(self.limits.handshake_s);
        if caller.awaits_hint && end > now.past {
            self.end_silence(caller, now);
            // What a throttled client has sent is still unread.
            if caller.is_throttled {
                return None;
            }
            let left_s = end.since(now.at).secs() as u32;
            let what = Expiring::Silence;
            Output::Expiring { what, left_s }.write(&mut text);
            return Some(Notice::lines(caller.conn, text));
        }
        if !caller.is_leaving {
            self.stats.connections_handshake += 1;
            log::debug!("{} got no session in time", caller.peer);
            Output::Bye(Bye::Handshake).write(&mut text);
        }
        Some(Notice::goodbye(caller.conn, text))
    }

    fn settle_session(&mut self, key: SessionKey, now: Now) -> Option<Notice> {
        let session = &mut self.sessions[key.index()];
        let conn = session.conn();
        let due = session.deadline(now.past);
        let due = due.filter(|(when, _)| *when <= now.past).map(|(_, d)| d);
        let mut text = Vec::new();
        match due {
            None => {}
            Some(Deadline::Wait) => self.end_wait(key, now, &mut text),
            Some(Deadline::StallCheck) => {
                let stall_check_at = now.at + session.stall_check_interval();
                session.attached_mut().stall_check_at = stall_check_at;
            }
            Some(Deadline::Expiring) => {
                let left_s = session.idle_s / 3;
                let what = Expiring::Session;
                Output::Expiring { what, left_s }.write(&mut text);
                session.attached_mut().is_warned = true;
            }
            Some(Deadline::Revoked) => {
                let goodbye = self.goodbye_notice(key, Bye::Replaced, OwedEvents::Written, now);
                self.destroy(key, LeaveReason::Replaced, now);
                return goodbye;
            }
            Some(Deadline::Stalled) => {
                let goodbye = self.goodbye_notice(key, Bye::Slow, OwedEvents::Kept, now);
                self.destroy(key, LeaveReason::Slow, now);
                return goodbye;
            }
            Some(Deadline::Idle) => {
                let goodbye = self.goodbye_notice(key, Bye::Expired, OwedEvents::Kept, now);
                self.destroy(key, LeaveReason::Expired, now);
                return goodbye;
            }
        }
        self.arm(key, now.past);
        let conn = conn.filter(|_| !text.is_empty())?;
        Some(Notice::lines(conn, text))
    }

    /// Makes the timers of all sessions fire no later than their deadlines. Those of sessions that are about
    /// to end are due by `at`.
    pub(super) fn arm_all(&mut self, at: Millis) {
        let keys: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in keys.into_iter().map(SessionKey::at) {
            // Those that are about to end have timers that fire in a certain order.
            let is_due = self.session_timers.when(key).is_some_and(|when| when <= at);
            if !(is_due && self.sessions[key.index()].is_revoked) {
                self.arm(key, Millis(0));
            }
        }
    }

    /// Makes a session's timer fire no later than its deadline.
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
