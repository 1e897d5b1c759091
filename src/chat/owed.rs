//! What goes out of the rooms' logs, and to whom.
//!
//! An event is written once, into its room's log. A session is a cursor into it; what it is owed
//! is what lies behind. Nothing here is queued for a session.

use std::num::NonZeroU32;

use super::Chat;
use super::event_log::EventLog;
use super::ids::SessionKey;
use super::room::Room;
use super::session::{Session, Wait};
use super::stats::Stats;
use crate::protocol::{LINE_BYTES_MAX, Limits, Listing, Mode, Reply, write_lost};
use crate::time::{Millis, Now};

impl Chat {
    /// Whether there is something to give to a POLL that waits.
    pub fn has_answer(&self, key: SessionKey) -> bool {
        let session = &self.sessions[key.index()];
        let is_waiting = session.mode == Mode::Pull && self.is_owed(key);
        is_waiting && session.cursor < self.rooms[session.room.index()].log.next()
    }

    /// What a push session is owed: a LOST line if its room's log has overtaken it, which is put
    /// into `notice`, and then event lines.
    pub fn owed<'a>(&'a self, key: SessionKey, notice: &'a mut Vec<u8>) -> [&'a [u8]; 3] {
        notice.clear();
        let session = &self.sessions[key.index()];
        if session.mode == Mode::Pull {
            return [&[]; 3];
        }
        let log = &self.rooms[session.room.index()].log;
        if session.cursor < log.first() {
            write_lost(log.first() - session.cursor, log.first(), notice);
        }
        let [head, tail] = log.tail(session.cursor);
        [notice, head, tail]
    }

    /// Logs it if a session is about to be told that it lost events, once until it has had all there
    /// is.
    fn note_loss(&mut self, key: SessionKey, now: Now) {
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let is_lagging = session.cursor < room.log.first();
        if !is_lagging || std::mem::replace(&mut session.is_lagging, true) {
            return;
        }
        let origin = self.usages.origin(session.origin);
        if self.journal.admits_slow(origin, now) {
            let (name, room) = (session.name, room.name);
            log::info!("{name} in {room} is too slow and loses events");
        }
    }

    /// Appends to `out` what a push session is owed, if that is no more than a reply may be: what
    /// has happened in the same turn, to one who takes what it is given.
    pub(super) fn tell_owed(&self, key: SessionKey, out: &mut Vec<u8>) {
        let session = &self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        if session.mode == Mode::Push && session.cursor >= log.first() {
            let to = log.fit(session.cursor, u64::MAX, Listing::BYTES_MAX);
            for slice in log.range(session.cursor, to) {
                out.extend_from_slice(slice);
            }
        }
    }

    /// Whether there are events that a session was not given.
    pub(super) fn has_events_for(&self, key: SessionKey) -> bool {
        let session = &self.sessions[key.index()];
        session.cursor < self.rooms[session.room.index()].log.next()
    }

    /// Whether a session is still to be written something on its connection without asking anew:
    /// events, or the answer to a POLL that waits.
    pub fn is_owed(&self, key: SessionKey) -> bool {
        let session = &self.sessions[key.index()];
        match session.mode {
            Mode::Push => session.cursor < self.rooms[session.room.index()].log.next(),
            Mode::Pull => session
                .attachment
                .as_ref()
                .is_some_and(|a| a.wait.is_some()),
        }
    }

    /// Notes that the first `bytes` bytes of what a session was [owed](Self::owed) have been
    /// written, at least one. What has to follow them is appended to `out` and counts as given:
    /// the rest of a line that was broken off, and the event that a LOST line has announced.
    pub fn given(&mut self, key: SessionKey, mut bytes: usize, now: Now, out: &mut Vec<u8>) {
        self.note_loss(key, now);
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let log = &room.log;
        if session.cursor < log.first() {
            let count = session.skip_to(log.first());
            self.stats.events_lost += count;
            write_lost(count, session.cursor, out);
            let of_lost = bytes.min(out.len());
            out.drain(..of_lost);
            bytes -= of_lost;
            if bytes == 0 {
                let announced = log.fit(session.cursor, 1, usize::MAX);
                out.extend(log.range(session.cursor, announced).concat());
                let bytes = log.tail_bytes(session.cursor) - log.tail_bytes(announced);
                return move_on(session, log, announced, bytes, &mut self.stats);
            }
        }
        let (cursor, missing) = log.advance(session.cursor, bytes);
        if missing > 0 {
            let broken_off = log.range(cursor - 1, cursor).concat();
            out.extend_from_slice(&broken_off[broken_off.len() - missing..]);
        }
        move_on(session, log, cursor, bytes + missing, &mut self.stats);
    }

    /// Answers a POLL that waits, with what there is: appends that to `out`.
    pub fn end_wait(&mut self, key: SessionKey, now: Now, out: &mut Vec<u8>) {
        self.end_wait_as_of(key, now.at, now, out);
    }

    /// Answers a POLL that waits, and that has kept its session alive until `alive_at` at most.
    pub(super) fn end_wait_as_of(
        &mut self,
        key: SessionKey,
        alive_at: Millis,
        now: Now,
        out: &mut Vec<u8>,
    ) {
        let session = &mut self.sessions[key.index()];
        let Some(wait) = session.attachment.as_ref().and_then(|a| a.wait) else {
            return;
        };
        session.touch_if_held(alive_at);
        if let Some(attachment) = &mut session.attachment {
            attachment.wait = None;
        }
        self.leave_seat(key);
        // Behind what waits to be written, and before the answer to the line that ends the wait.
        let room = Listing::BYTES_MAX.saturating_sub(out.len() + LINE_BYTES_MAX);
        self.batch(key, wait.max.get(), room, now).write(out);
        self.arm(key, now.past);
    }

    /// Lets a POLL wait that came at `heard_at`. If that was a while ago, nobody may be there any
    /// more to wait for it, and the session counts as alive by it from then on only.
    pub(super) fn start_wait(
        &mut self,
        key: SessionKey,
        (max, wait_s): (u32, u32),
        heard_at: Millis,
        now: Now,
    ) {
        let max = NonZeroU32::new(max).unwrap_or(NonZeroU32::MIN);
        let session = &mut self.sessions[key.index()];
        let wait = Millis::from_secs(wait_s);
        let alive_until = match heard_at < now.at {
            true => heard_at + wait,
            false => Millis::NEVER,
        };
        if let Some(attachment) = &mut session.attachment {
            attachment.wait = Some(Wait {
                until: now.at + wait,
                alive_until,
                max,
            });
        }
        self.take_seat(key);
        self.arm(key, now.past);
    }

    /// Gives a pull session the events behind its cursor, as many as `max` lines and `bytes_max`
    /// bytes hold; one in any case.
    pub(super) fn batch(
        &mut self,
        key: SessionKey,
        max: u32,
        bytes_max: usize,
        now: Now,
    ) -> Reply<'static> {
        self.note_loss(key, now);
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let log = &room.log;
        let mut events = Listing::default();
        if session.cursor < log.first() {
            let count = session.skip_to(log.first());
            self.stats.events_lost += count;
            events.add(|out| write_lost(count, session.cursor, out));
        }
        let lines_left = u64::from(max) - events.lines();
        let bytes_left = events.room().min(bytes_max);
        let mut to = log.fit(session.cursor, lines_left, bytes_left);
        if to == session.cursor && events.lines() == 0 {
            // A reply may be longer than others for the sake of one long event.
            to = log.next().min(session.cursor + 1);
        }
        let lines = log.range(session.cursor, to);
        events.add_lines(to - session.cursor, lines);
        let bytes = lines[0].len() + lines[1].len();
        move_on(session, log, to, bytes, &mut self.stats);
        Reply::Polled {
            events,
            last: to - 1,
            more: log.next() - to,
        }
    }

    /// Sets a session's cursor just behind an event that the room has had.
    pub(super) fn set_cursor(&mut self, key: SessionKey, after: u64) {
        let session = &mut self.sessions[key.index()];
        session.cursor = after + 1;
    }
}

/// Moves a session's cursor behind events that it was given, and counts them and their bytes.
fn move_on(session: &mut Session, log: &EventLog, to: u64, bytes: usize, stats: &mut Stats) {
    stats.events_delivered += to - session.cursor;
    stats.events_delivered_bytes += bytes as u64;
    session.move_to(to, log.next());
}

impl Room {
    /// Where a new member's cursor stands that asks for `history` events from before its JOINED,
    /// which is the newest.
    pub(super) fn cursor_for(&self, history: u64) -> u64 {
        self.newest().saturating_sub(history).max(self.log.first())
    }
}

impl Limits {
    /// The idle time that a wish for `idle_s` is granted: at least `shortest_s`.
    pub(super) fn granted_idle_s(&self, idle_s: Option<u32>, shortest_s: u32) -> u32 {
        idle_s
            .unwrap_or(self.idle_s)
            .min(self.idle_max_s)
            .max(shortest_s)
    }
}
