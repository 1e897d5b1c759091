//! What the server owes a person: events as people see them, made from the log when they are written.

use super::Chat;
use super::ids::SessionKey;
use super::owed::{Owed, Shown, loss_at, mark_delivered};
use super::talk::read_event;
use crate::protocol::{LifeId, Limits};
use crate::talk::{Form, shown_bytes_max};
use crate::time::{Day, Now};

/// After this many bytes, the rest is shown in the next write.
const SHOWN_BYTES: usize = 16 * 1024;

/// How many stretches of events are kept as people see them: enough for all that a log holds with the
/// default limits.
const STRETCHES: usize = 4;

/// The most memory that buffers for events as people see them take, in bytes. They grow by doubling, one
/// of them with a copy; a date may come before an event; and /again reads one into a buffer of its own
/// and shows it in another.
pub(super) fn buffers_bytes_max(limits: &Limits) -> u64 {
    let event = limits.event_bytes_max();
    let shown = SHOWN_BYTES + shown_bytes_max(event) + 64;
    ((2 * STRETCHES + 1) * shown + 3 * event + 2 * shown_bytes_max(event)) as u64
}

/// Events as people see them. In a room where something happens, the next person mostly gets what the
/// last one got, so they are kept.
#[derive(Debug, Default)]
pub(super) struct ShownEvents {
    stretches: [Stretch; STRETCHES],
    /// The one that gives way to the next.
    oldest: usize,
}

/// Successive events of a room as people see them.
#[derive(Debug, Default)]
struct Stretch {
    text: Vec<u8>,
    /// Whom else they are for; `None` if they are one person's.
    start: Option<Start>,
    /// The number after the last of the events.
    to: u64,
    /// The day of the last.
    day: Day,
}

/// What decides how the next events are shown to people who have caused none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    log: LifeId,
    cursor: u64,
    day: Day,
    columns: u16,
}

impl ShownEvents {
    /// An empty buffer. What was kept in it is forgotten.
    fn clear(&mut self) -> &mut Vec<u8> {
        let oldest = &mut self.stretches[self.oldest];
        oldest.start = None;
        oldest.text.clear();
        &mut oldest.text
    }

    /// Which stretch holds what people get from `start` on, if it is all that they can get at once.
    /// `next` is the number that the room's next event will have.
    fn find(&self, start: Start, next: u64) -> Option<usize> {
        self.stretches.iter().position(|stretch| {
            let is_enough = stretch.to == next || stretch.text.len() >= SHOWN_BYTES;
            stretch.start == Some(start) && is_enough
        })
    }

    /// Says of what was put into the [empty buffer](Self::clear) where those are who have got it, and
    /// for whom it is kept. Returns which stretch it is.
    fn end(&mut self, start: Option<Start>, to: u64, day: Day) -> usize {
        let index = self.oldest;
        let stretch = &mut self.stretches[index];
        (stretch.start, stretch.to, stretch.day) = (start, to, day);
        if start.is_some() {
            self.oldest = (index + 1) % STRETCHES;
        }
        index
    }
}

impl Chat {
    /// Returns the events that the server owes a person, and moves their cursor past those that they
    /// have caused themselves, unless others wait before these.
    pub(super) fn owed_in_talk(&mut self, key: SessionKey) -> Owed<'_> {
        let session = &mut self.sessions[key.index()];
        let room = &self.rooms[session.room.index()];
        let (log, name, cursor) = (&room.log, session.name, session.cursor);
        if cursor == log.next() {
            return Owed::Nothing;
        }
        let mut viewer = session.attached_mut().talk_mut().viewer;
        let next_seq = log.next_held(cursor);
        let is_like_others = cursor == next_seq && !viewer.may_have_own(cursor);
        let start = is_like_others.then_some(Start {
            log: room.log_id,
            cursor,
            day: viewer.day,
            columns: viewer.columns,
        });
        let found = start.and_then(|start| self.shown.find(start, log.next()));
        let index = found.unwrap_or_else(|| {
            let shown = self.shown.clear();
            let mut to = cursor;
            if let Some(loss) = loss_at(log, to) {
                Form::Talk.write(&loss, shown);
                to = next_seq;
            }
            while to < log.run_end(next_seq) && shown.len() < SHOWN_BYTES {
                let numbered = read_event(log, to, &mut self.line);
                if !viewer.is_own(name, &numbered) {
                    viewer.show(&numbered, &mut self.local, shown);
                }
                to += 1;
            }
            self.shown.end(start, to, viewer.day)
        });
        let &Stretch {
            ref text, to, day, ..
        } = &self.shown.stretches[index];
        if text.is_empty() {
            mark_delivered(session, log, to, 0, &mut self.stats);
            return Owed::Nothing;
        }
        Owed::Lines {
            session: key,
            slices: [text, &[], &[]],
            is_all: to == log.next(),
            shown: Some(Shown { to, day }),
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
        if let Some(loss) = self.take_loss(key, now) {
            let shown = self.shown.clear();
            Form::Talk.write(&loss, shown);
            left = take_written(shown, left, out);
        }
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let (mut to, name) = (session.cursor, session.name);
        let viewer = &mut session.attached_mut().talk_mut().viewer;
        if let Some(shown) = shown {
            (to, viewer.day) = (shown.to, shown.day);
            left = 0;
        }
        while left > 0 {
            let numbered = read_event(log, to, &mut self.line);
            let shown = self.shown.clear();
            if !viewer.is_own(name, &numbered) {
                viewer.show(&numbered, &mut self.local, shown);
            }
            left = take_written(shown, left, out);
            to += 1;
        }
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
