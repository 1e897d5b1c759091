//! What the server owes a person: events as people see them, made from the log when they are written.

use super::Chat;
use super::ids::SessionKey;
use super::owed::{Owed, Shown, mark_delivered};
use super::talk::read_event;
use crate::protocol::{Limits, Output};
use crate::talk::{Form, shown_bytes_max};
use crate::time::Now;

/// After this many bytes, the rest is shown in the next write.
const SHOWN_BYTES: usize = 4096;

/// The most memory that buffers for events as people see them take, in bytes. They grow by doubling, with
/// a copy; a date may come before an event; and /again reads one into a buffer of its own and shows it
/// in another.
pub(super) fn buffers_bytes_max(limits: &Limits) -> u64 {
    let event = limits.event_bytes_max();
    let shown = SHOWN_BYTES + shown_bytes_max(event) + 64;
    (3 * shown + 3 * event + 2 * shown_bytes_max(event)) as u64
}

impl Chat {
    /// Returns the events that the server owes a person, and moves their cursor past those that they
    /// have caused themselves, unless others wait before these.
    pub(super) fn owed_in_talk(&mut self, key: SessionKey) -> Owed<'_> {
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        if session.cursor == log.next() {
            return Owed::Nothing;
        }
        let mut viewer = session.attached_mut().talk_mut().viewer;
        let mut to = session.cursor;
        self.shown.clear();
        if to < log.first() {
            let (count, next_seq) = (log.first() - to, log.first());
            Form::Talk.write(&Output::Lost { count, next_seq }, &mut self.shown);
            to = log.first();
        }
        while to < log.next() && self.shown.len() < SHOWN_BYTES {
            let numbered = read_event(log, to, &mut self.line);
            if !viewer.is_own(&numbered) {
                let local = self.local.at(numbered.unix_ms);
                viewer.show(&numbered, local, &mut self.shown);
            }
            to += 1;
        }
        if self.shown.is_empty() {
            mark_delivered(session, log, to, 0, &mut self.stats);
            return Owed::Nothing;
        }
        Owed::Lines {
            session: key,
            slices: [&self.shown, &[], &[]],
            shown: Some(Shown {
                to,
                viewer,
                is_all: to == log.next(),
            }),
        }
    }

    /// Moves a person's cursor past the first `bytes` bytes of what was shown; `shown` says where that
    /// is if it was all. Appends to `out` the rest of a line that was cut.
    pub(super) fn advance_talk(
        &mut self,
        key: SessionKey,
        bytes: usize,
        shown: Option<Shown>,
        now: Now,
        out: &mut Vec<u8>,
    ) {
        let mut left = bytes;
        if let Some(count) = self.take_loss(key, now) {
            self.shown.clear();
            let next_seq = self.sessions[key.index()].cursor;
            Form::Talk.write(&Output::Lost { count, next_seq }, &mut self.shown);
            left = take_written(&self.shown, left, out);
        }
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let (mut to, mut viewer) = (session.cursor, session.attached_mut().talk_mut().viewer);
        if let Some(shown) = shown {
            (to, viewer) = (shown.to, shown.viewer);
            left = 0;
        }
        while left > 0 {
            let numbered = read_event(log, to, &mut self.line);
            self.shown.clear();
            if !viewer.is_own(&numbered) {
                let local = self.local.at(numbered.unix_ms);
                viewer.show(&numbered, local, &mut self.shown);
            }
            left = take_written(&self.shown, left, out);
            to += 1;
        }
        session.attached_mut().talk_mut().viewer = viewer;
        mark_delivered(session, log, to, bytes + out.len(), &mut self.stats);
    }
}

/// Takes `text` off the bytes that were written, of which `written` are left. Appends to `out` what of
/// the text was not written, and returns how many bytes are left then.
fn take_written(text: &[u8], written: usize, out: &mut Vec<u8>) -> usize {
    let of_text = written.min(text.len());
    out.extend_from_slice(&text[of_text..]);
    written - of_text
}
