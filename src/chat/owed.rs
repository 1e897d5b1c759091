//! What goes out of the rooms' logs, and to whom.
//!
//! An event is written once, into its room's log. A session is a cursor into it; what it is owed
//! is what lies behind. Nothing here is queued for a session.

use std::num::NonZeroUsize;

use super::Chat;
use super::caller::Caller;
use super::event_log::EventLog;
use super::ids::SessionKey;
use super::session::{Delivery, Session};
use super::stats::Stats;
use crate::protocol::{Listing, Output};
use crate::time::Now;

/// What a session is owed on its connection without asking again.
#[derive(Debug)]
pub enum Owed<'a> {
    /// Nothing.
    Nothing,
    /// The answer to a POLL that waits, when there is something to give.
    Later,
    /// The answer to a POLL that waits: to be appended to the output with [`Chat::advance`].
    Answer(Receipt),
    /// Lines, to be written behind the output.
    Lines(OwedLines<'a>),
}

/// Lines that a push session is owed: a LOST line if the log has overtaken it, and events.
#[derive(Debug)]
pub struct OwedLines<'a> {
    session: SessionKey,
    slices: [&'a [u8]; 3],
}

/// What was written of what a session is owed: [`Chat::advance`] takes it.
#[derive(Debug)]
#[must_use = "what was written would be written again"]
pub struct Receipt {
    session: SessionKey,
    /// How many bytes of lines were written; none for the answer to a POLL.
    bytes: Option<NonZeroUsize>,
}

impl<'a> OwedLines<'a> {
    /// The lines, one slice behind the other; any of them may be empty.
    pub fn slices(&self) -> [&'a [u8]; 3] {
        self.slices
    }

    /// How many bytes they have.
    pub fn len_bytes(&self) -> usize {
        self.slices.iter().map(|slice| slice.len()).sum()
    }

    /// What it means that the first `bytes` bytes were written.
    pub fn written(self, bytes: NonZeroUsize) -> Receipt {
        Receipt {
            session: self.session,
            bytes: Some(bytes),
        }
    }
}

impl Chat {
    /// What the session of a connection is owed, if it has one.
    pub fn owed(&mut self, caller: &Caller) -> Owed<'_> {
        let Some(key) = caller.session else {
            return Owed::Nothing;
        };
        let session = &self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let has_events = session.cursor < log.next();
        match session.delivery() {
            Delivery::Pushed if has_events => {
                self.line.clear();
                if session.cursor < log.first() {
                    let (count, next_seq) = (log.first() - session.cursor, log.first());
                    Output::Lost { count, next_seq }.write(&mut self.line);
                }
                let [head, tail] = log.tail(session.cursor);
                Owed::Lines(OwedLines {
                    session: key,
                    slices: [&self.line, head, tail],
                })
            }
            Delivery::Awaited(_) if has_events => Owed::Answer(Receipt {
                session: key,
                bytes: None,
            }),
            Delivery::Awaited(_) => Owed::Later,
            Delivery::Pushed | Delivery::Kept => Owed::Nothing,
        }
    }

    /// Moves a session on over what was written of what it is [owed](Self::owed). What has to follow
    /// on the connection is appended to `out`, and counts as given: the rest of a line that was broken
    /// off, and the event that a LOST line has announced; or the answer to a POLL.
    pub fn advance(&mut self, receipt: Receipt, now: Now, out: &mut Vec<u8>) {
        match receipt.bytes {
            Some(bytes) => self.advance_push(receipt.session, bytes.get(), now, out),
            None => self.end_wait(receipt.session, now, out),
        }
    }

    /// Whether a session is owed something on its connection without asking again.
    pub(super) fn is_owed(&self, key: SessionKey) -> bool {
        match self.sessions[key.index()].delivery() {
            Delivery::Pushed => self.has_events_for(key),
            Delivery::Awaited(_) => true,
            Delivery::Kept => false,
        }
    }

    /// Moves a session's cursor over lines of which so many bytes were written.
    fn advance_push(&mut self, key: SessionKey, mut bytes: usize, now: Now, out: &mut Vec<u8>) {
        self.note_loss(key, now);
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let log = &room.log;
        if session.cursor < log.first() {
            let count = session.skip_to(log.first());
            self.stats.events_lost += count;
            let next_seq = session.cursor;
            Output::Lost { count, next_seq }.write(out);
            let of_lost = bytes.min(out.len());
            out.drain(..of_lost);
            bytes -= of_lost;
            if bytes == 0 {
                let announced = log.fit(session.cursor, 1, usize::MAX);
                out.extend(log.range(session.cursor, announced).concat());
                let bytes = log.tail_bytes(session.cursor) - log.tail_bytes(announced);
                return mark_delivered(session, log, announced, bytes, &mut self.stats);
            }
        }
        let (cursor, missing) = log.advance(session.cursor, bytes);
        if missing > 0 {
            let broken_off = log.range(cursor - 1, cursor).concat();
            out.extend_from_slice(&broken_off[broken_off.len() - missing..]);
        }
        mark_delivered(session, log, cursor, bytes + missing, &mut self.stats);
    }

    /// Logs it if a session is about to be told that it lost events, once until it has had all there
    /// is.
    pub(super) fn note_loss(&mut self, key: SessionKey, now: Now) {
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let is_behind = session.cursor < room.log.first();
        if !is_behind || std::mem::replace(&mut session.is_behind, true) {
            return;
        }
        let origin = self.usages.origin(session.origin);
        if self.journal.admits_slow(origin, now) {
            let (name, room) = (session.name, room.name);
            log::info!("{name} in {room} has fallen behind and lost events");
        }
    }

    /// Appends to `out` what a push session is owed, if that is no more than a reply may be: what
    /// has happened in the same turn, to one who takes what it is given.
    pub(super) fn write_owed(&self, key: SessionKey, out: &mut Vec<u8>) {
        let session = &self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        if matches!(session.delivery(), Delivery::Pushed) && session.cursor >= log.first() {
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

    /// Sets a session's cursor just behind an event that the room has had.
    pub(super) fn set_cursor(&mut self, key: SessionKey, after: u64) {
        let session = &mut self.sessions[key.index()];
        session.cursor = after + 1;
    }
}

/// Moves a session's cursor behind events that it was given, and counts them and their bytes.
pub(super) fn mark_delivered(
    session: &mut Session,
    log: &EventLog,
    to: u64,
    bytes: usize,
    stats: &mut Stats,
) {
    stats.events_delivered += to - session.cursor;
    stats.events_delivered_bytes += bytes as u64;
    session.move_to(to, log.next());
}
