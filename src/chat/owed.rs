//! What the server owes a session on its connection: events from its room's log.
//!
//! An event is written once, into its room's log. A session has a cursor there, and the server owes it
//! everything from the cursor on. There is no queue per session.

use std::num::NonZeroUsize;

use super::Chat;
use super::caller::Caller;
use super::event_log::EventLog;
use super::ids::SessionKey;
use super::session::{Delivery, Session};
use super::stats::Stats;
use crate::protocol::{Listing, Output};
use crate::talk::Form;
use crate::time::{Day, Now};

/// What the server owes a session on its connection without being asked again.
#[derive(Debug)]
pub enum Owed<'a> {
    /// Nothing.
    Nothing,
    /// The reply to a POLL that waits, once there is an event.
    PollWaits,
    /// The reply to a POLL that has waited: [`Chat::advance`] appends it to the output.
    PollReply(Receipt),
    /// Lines for a push session, to write after the output: a LOST if the log has overtaken its
    /// cursor, or has a gap there, and events.
    Lines {
        /// The session.
        session: SessionKey,
        /// The lines, as slices in order; any of them may be empty.
        slices: [&'a [u8]; 3],
        /// Whether that is all there is.
        is_all: bool,
        /// Where a person's session is after all of these lines; `None` for a program.
        shown: Option<Shown>,
    },
}

/// Where a person's session is after events that were shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Its cursor.
    pub(super) to: u64,
    /// The day of what was shown last.
    pub(super) day: Day,
}

/// Says what the hub has written of what was owed, for [`Chat::advance`].
#[derive(Debug)]
#[must_use = "what was written would be written again"]
pub struct Receipt {
    session: SessionKey,
    /// How many bytes of lines were written; `None` stands for the reply to a POLL.
    bytes: Option<NonZeroUsize>,
    is_all: bool,
    /// Whether the lines are a person's.
    is_talk: bool,
    /// Where a person's session is then, if all that was shown has been written.
    shown: Option<Shown>,
}

impl<'a> Owed<'a> {
    /// The lines to write, as slices in order; any of them may be empty.
    pub fn slices(&self) -> &[&'a [u8]; 3] {
        match self {
            Owed::Lines { slices, .. } => slices,
            Owed::Nothing | Owed::PollWaits | Owed::PollReply(_) => &[&[]; 3],
        }
    }

    /// Makes the receipt for the first `bytes` bytes of the lines, unless `bytes` is 0.
    pub fn written(&self, bytes: usize) -> Option<Receipt> {
        let Owed::Lines {
            session,
            slices,
            is_all,
            shown,
        } = self
        else {
            return None;
        };
        let len_bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let is_whole = bytes == len_bytes;
        Some(Receipt {
            session: *session,
            bytes: Some(NonZeroUsize::new(bytes)?),
            is_all: is_whole && *is_all,
            is_talk: shown.is_some(),
            shown: shown.filter(|_| is_whole),
        })
    }
}

impl Receipt {
    /// Whether everything has been written.
    pub fn is_all(&self) -> bool {
        self.is_all
    }
}

impl Chat {
    /// Returns what the server owes the session of a connection, if it has one.
    pub fn owed(&mut self, caller: &Caller) -> Owed<'_> {
        let Some(key) = caller.session else {
            return Owed::Nothing;
        };
        if caller.form == Form::Talk {
            return self.owed_in_talk(key);
        }
        let session = &self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let has_events = session.cursor < log.next();
        match session.delivery() {
            Delivery::Pushed if has_events => {
                self.line.clear();
                let next_seq = log.next_held(session.cursor);
                if let Some(loss) = loss_at(log, session.cursor) {
                    loss.write(&mut self.line);
                }
                let end = log.run_end(next_seq);
                let [head, tail] = log.range(next_seq, end);
                Owed::Lines {
                    session: key,
                    slices: [&self.line, head, tail],
                    is_all: end == log.next(),
                    shown: None,
                }
            }
            Delivery::Awaited(_) if has_events => Owed::PollReply(Receipt {
                session: key,
                bytes: None,
                is_all: true,
                is_talk: false,
                shown: None,
            }),
            Delivery::Awaited(_) => Owed::PollWaits,
            Delivery::Pushed | Delivery::Kept => Owed::Nothing,
        }
    }

    /// Moves a session's cursor past what the hub has written of [what was owed](Self::owed). Appends
    /// to `out` what has to follow on the connection, which counts as delivered: the rest of a line
    /// that was cut, the event that a LOST has announced, or the reply to a POLL.
    pub fn advance(&mut self, receipt: Receipt, now: Now, out: &mut Vec<u8>) {
        match receipt.bytes {
            Some(bytes) if receipt.is_talk => {
                self.advance_talk(receipt.session, bytes.get(), receipt.shown, now, out);
            }
            Some(bytes) => self.advance_push(receipt.session, bytes.get(), now, out),
            None => self.end_wait(receipt.session, now, out),
        }
    }

    /// Moves a session's cursor past the first `bytes` bytes of its owed lines.
    fn advance_push(&mut self, key: SessionKey, bytes: usize, now: Now, out: &mut Vec<u8>) {
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        if session.cursor < log.next_held(session.cursor) {
            return self.advance_past_loss(key, bytes, now, out);
        }
        let (cursor, missing) = log.advance(session.cursor, bytes);
        if missing > 0 {
            let cut = log.range(cursor - 1, cursor).concat();
            out.extend_from_slice(&cut[cut.len() - missing..]);
        }
        mark_delivered(session, log, cursor, bytes + missing, &mut self.stats);
    }

    /// Does the same if the log has overtaken the session, so that the lines began with a LOST. If no
    /// events were written after it, the event that it announces has to follow.
    fn advance_past_loss(&mut self, key: SessionKey, bytes: usize, now: Now, out: &mut Vec<u8>) {
        if let Some(loss) = self.take_loss(key, now) {
            loss.write(out);
        }
        let lost_bytes = bytes.min(out.len());
        out.drain(..lost_bytes);
        if bytes > lost_bytes {
            return self.advance_push(key, bytes - lost_bytes, now, out);
        }
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let announced = log.fit(session.cursor, 1, usize::MAX);
        out.extend(log.range(session.cursor, announced).concat());
        let bytes = log.tail_bytes(session.cursor) - log.tail_bytes(announced);
        mark_delivered(session, log, announced, bytes, &mut self.stats);
    }

    /// Moves a session's cursor past events that its room's log has dropped, or past a gap, and returns
    /// what its client learns of that. Logs only the first loss until the session has caught up with its
    /// room.
    pub(super) fn take_loss(&mut self, key: SessionKey, now: Now) -> Option<Output<'static>> {
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let loss = loss_at(&room.log, session.cursor)?;
        session.cursor = room.log.next_held(session.cursor);
        let Output::Lost { count, .. } = loss else {
            return Some(loss);
        };
        self.stats.events_lost += count;
        if !std::mem::replace(&mut session.is_behind, true) {
            let origin = self.usages.origin(session.origin);
            if self.journal.admits_slow(origin, now) {
                let (name, room) = (session.name, room.name);
                log::info!("{name} in {room} has fallen behind and lost events");
            }
        }
        Some(loss)
    }

    /// Appends to `out` the events that the server owes a push session, up to the length of a reply:
    /// those of this turn, if the client keeps up. Appends nothing if the log has overtaken it.
    pub(super) fn write_owed(&mut self, key: SessionKey, out: &mut Vec<u8>) {
        if self.sessions[key.index()].form() == Form::Talk {
            if let Owed::Lines { slices, .. } = self.owed_in_talk(key) {
                out.extend_from_slice(slices[0]);
            }
            return;
        }
        let session = &self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let is_held = loss_at(log, session.cursor).is_none();
        if matches!(session.delivery(), Delivery::Pushed) && is_held {
            let to = log.fit(session.cursor, u64::MAX, Listing::BYTES_MAX);
            for slice in log.range(session.cursor, to) {
                out.extend_from_slice(slice);
            }
        }
    }

    /// Whether its room has events that a session has not got yet.
    pub(super) fn has_events_for(&self, key: SessionKey) -> bool {
        let session = &self.sessions[key.index()];
        session.cursor < self.rooms[session.room.index()].log.next()
    }

    /// Sets a session's cursor to the event after number `after`, which the room has had.
    pub(super) fn set_cursor(&mut self, key: SessionKey, after: u64) {
        let session = &mut self.sessions[key.index()];
        session.cursor = after + 1;
    }
}

/// What a client learns whose cursor is at an event that its room's log does not hold.
#[inline(always)]
pub(super) fn loss_at(log: &EventLog, cursor: u64) -> Option<Output<'static>> {
    let next_seq = log.next_held(cursor);
    let count = next_seq - cursor;
    match count > 0 {
        true if log.is_in_gap(cursor) => Some(Output::Gap { count, next_seq }),
        true => Some(Output::Lost { count, next_seq }),
        false => None,
    }
}

/// Moves a session's cursor to event `to`, and counts the events that it has got and their bytes.
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
