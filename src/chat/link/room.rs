//! What a linked room has besides others.

use crate::chat::event_log::EventLog;
use crate::link::payload::EventId;
use crate::link::roster::RosterHash;
use crate::protocol::{Event, LifeId, Numbered, is_local_line};
use crate::state::saved;
use crate::time::Millis;

/// How soon after something has changed in a room the next digest says so.
pub(super) const DIGEST_AFTER_CHANGE: Millis = Millis(10_000);

/// The shortest time between two digests that others ask for.
const DIGEST_PAUSE: Millis = Millis(1000);
/// The most own events that are published unasked after a time without a link.
const BACKLOG_MAX: u64 = 256;
/// The shortest time until what was published once more is published again.
const AGAIN_PAUSE: Millis = Millis(500);

/// The part of a room that spans boxes.
#[derive(Debug)]
pub(in crate::chat) struct LinkedRoom {
    /// Which log of the room it is, in this life of the server.
    pub log: u64,
    /// The number in the log from which on own events have own numbers, from 1.
    from: u64,
    /// The own number of the next own event.
    pub next: u64,
    /// The number in the log of the next event to look at, and the own number of the next own event from
    /// there on.
    pub cursor: u64,
    pub cursor_own: u64,
    /// Own events to publish once more.
    pub again: Again,
    /// When publishing them began.
    pub again_at: Millis,
    /// What tells the roster from others.
    pub roster_hash: RosterHash,
    /// When its next digest is due.
    pub digest_at: Millis,
    /// When the last one went out.
    pub told_at: Millis,
    /// The broker passes on what other boxes say of this room.
    pub is_subscribed: bool,
    /// It is among those to publish.
    pub is_queued: bool,
    /// The part of its roster that goes out next, from 1; 0 if nobody has asked for it.
    pub roster_part: u32,
    /// The next own number, and the hash, of the roster whose parts go out.
    pub roster_of: (u64, RosterHash),
}

/// Own events that somebody has asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::chat) struct Again {
    /// Where the range began, by own numbers.
    pub begun: u64,
    /// The next own number to publish.
    pub from: u64,
    /// The own number behind the last.
    pub to: u64,
    /// A number in the log behind which no own event before `from` stands; 0 if none is known.
    pub seq: u64,
}

saved!(struct Again { begun, from, to, seq });

saved!(struct LinkedRoom {
    log,
    from,
    next,
    cursor,
    cursor_own,
    again,
    again_at,
    roster_hash,
    digest_at,
    told_at,
    is_subscribed,
    is_queued,
    roster_part,
    roster_of,
});

impl LinkedRoom {
    /// The part of a room whose next event has the number `next` in its log.
    pub fn new(log: u64, next: u64) -> LinkedRoom {
        LinkedRoom {
            log,
            from: next,
            next: 1,
            cursor: next,
            cursor_own: 1,
            again: Again::default(),
            again_at: Millis(0),
            roster_hash: RosterHash::default(),
            digest_at: Millis(0),
            told_at: Millis(0),
            is_subscribed: false,
            is_queued: false,
            roster_part: 0,
            roster_of: (0, RosterHash::default()),
        }
    }

    /// The same of a room that goes on with the numbers of one of its name that was freed.
    pub fn going_on(former: EventId, next: u64) -> LinkedRoom {
        LinkedRoom {
            next: former.number,
            cursor_own: former.number,
            ..LinkedRoom::new(former.log, next)
        }
    }

    /// Goes on in another life of the server, in which nothing has been said yet. The next event has the
    /// number `next` in the log.
    pub fn begin_life(&mut self, next: u64) {
        let (roster_hash, digest_at) = (self.roster_hash, self.digest_at);
        *self = LinkedRoom {
            roster_hash,
            digest_at,
            ..LinkedRoom::new(0, next)
        };
    }

    /// The identity of an own event.
    pub fn id(&self, boot: LifeId, number: u64) -> EventId {
        EventId {
            boot,
            log: self.log,
            number,
        }
    }

    /// Counts an event that is being appended, if it is the box's own. Returns whether it is.
    pub fn count(&mut self, event: &Event<'_>) -> bool {
        let is_own = is_own(event);
        self.next += u64::from(is_own);
        is_own
    }

    /// Notes that something in the room has changed, which the next digest has to say. Returns when
    /// that is due, if it is earlier than it was.
    pub fn change(&mut self, at: Millis) -> Option<Millis> {
        let due = at + DIGEST_AFTER_CHANGE;
        let is_earlier = due < self.digest_at;
        self.digest_at = self.digest_at.min(due);
        is_earlier.then_some(due)
    }

    /// Moves the cursor to the next event held, if the log has overtaken it, or over a gap.
    pub fn catch_up(&mut self, log: &EventLog) {
        let next = log.next_held(self.cursor);
        if self.cursor < next {
            self.cursor = next;
            self.cursor_own = self.next - self.own_between(log, self.cursor, log.next());
        }
    }

    /// Leaves much that is still to be published to those who ask for it: a broker keeps little for a
    /// client that takes it slowly.
    pub fn skip_backlog(&mut self, log: &EventLog) {
        self.catch_up(log);
        if self.next - self.cursor_own > BACKLOG_MAX {
            (self.cursor, self.cursor_own) = (log.next(), self.next);
        }
    }

    /// The lowest own number whose event the log still holds, or of the next one to come.
    pub fn first_own(&self, log: &EventLog) -> u64 {
        self.next - self.own_between(log, log.first().max(self.from), log.next())
    }

    fn own_between(&self, log: &EventLog, from: u64, to: u64) -> u64 {
        let [head, tail] = log.range(from, to);
        // The log is a ring, so a line may go around it.
        let head_end = memchr::memrchr(b'\n', head).map_or(0, |at| at + 1);
        let tail_start = match head_end == head.len() {
            true => 0,
            false => memchr::memchr(b'\n', tail).map_or(0, |at| at + 1),
        };
        let around = [&head[head_end..], &tail[..tail_start]].concat();
        let parts = [&head[..head_end], &around, &tail[tail_start..]];
        parts.into_iter().map(own_lines).sum()
    }

    /// The number in the log of the own event with an own number, which the log holds. `first` is the
    /// [lowest](Self::first_own) own number there.
    pub fn seq_of(&self, log: &EventLog, first: u64, own: u64) -> u64 {
        let mut number = first;
        let mut found = log.next();
        walk(
            log,
            log.first().max(self.from),
            log.next(),
            |seq, numbered| {
                found = seq;
                if is_own(&numbered.event) {
                    if number == own {
                        return false;
                    }
                    number += 1;
                }
                true
            },
        );
        found
    }

    /// Goes on without a connection to the broker.
    pub fn begin_again(&mut self) {
        (self.again, self.again_at) = (Again::default(), Millis(0));
        (self.is_subscribed, self.is_queued) = (false, false);
        self.roster_part = 0;
    }

    /// Takes the wish for own events from one number up to, not including, another. What somebody else
    /// has just got is not published again at once. Somebody who wants nothing that there is does not know
    /// how far this box is.
    pub fn want(&mut self, from: u64, to: u64, at: Millis) {
        let to = to.min(self.cursor_own);
        let again = &mut self.again;
        if from >= to {
            self.digest_at = self.digest_at.min(at.max(self.told_at + DIGEST_PAUSE));
            return;
        }
        let is_done = again.from >= again.to;
        if is_done && (again.to == 0 || self.again_at + AGAIN_PAUSE <= at) {
            *again = Again {
                begun: from,
                from,
                to,
                seq: 0,
            };
            self.again_at = at;
        } else if from < again.begun {
            // The range gets twice as long at least. So what goes out more often than once is less than
            // what goes out once, however many ranges are wanted.
            let as_much = again.begun.saturating_sub(again.to - again.begun);
            let from = from.min(as_much).max(1);
            *again = Again {
                begun: from,
                from,
                to: to.max(again.to),
                seq: 0,
            };
        } else if to > again.to {
            if is_done {
                (again.from, again.seq) = (again.to, 0);
            }
            again.to = to;
        }
    }

    /// Whether a room with this log could have it.
    pub fn is_sound(&self, log: &EventLog) -> bool {
        let next = log.next();
        (1..=next).contains(&self.from)
            && (1..=next).contains(&self.cursor)
            && self.next >= 1
            && (1..=self.next).contains(&self.cursor_own)
            && self.again.to <= self.next
            && self.own_between(log, log.first().max(self.from), next) < self.next
            && {
                let behind = self.own_between(log, self.cursor.max(log.first()), next);
                self.cursor < log.first() || self.cursor_own + behind == self.next
            }
    }
}

/// Whether an event is of the kind that boxes tell each other, and this box's own.
pub(super) fn is_own(event: &Event<'_>) -> bool {
    match event {
        Event::Msg { name, .. } | Event::Joined { name } | Event::Left { name, .. } => {
            name.is_local()
        }
        Event::Split { .. } | Event::Healed { .. } | Event::Missed { .. } => false,
    }
}

/// How many lines of a log are such events.
fn own_lines(lines: &[u8]) -> u64 {
    let mut start = 0;
    let mut own = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        own += u64::from(is_local_line(&lines[start..end]));
        start = end + 1;
    }
    own
}

/// Shows each event held from number `from` up to, not including, `to`, with its number, until `show`
/// says that it is enough.
pub(super) fn walk(
    log: &EventLog,
    from: u64,
    to: u64,
    mut show: impl FnMut(u64, Numbered<'_>) -> bool,
) {
    let mut scratch = Vec::new();
    let mut seq = log.next_held(from);
    while seq < to {
        let numbered = crate::chat::talk::read_event(log, seq, &mut scratch);
        if !show(seq, numbered) {
            return;
        }
        seq = log.next_held(seq + 1);
    }
}
