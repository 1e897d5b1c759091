//! POLL: batches of events for a pull session, and waiting for the next event.

use std::num::NonZeroU32;

use super::Chat;
use super::ids::SessionKey;
use super::owed::mark_delivered;
use super::session::{Delivery, Wait};
use crate::protocol::{LINE_BYTES_MAX, Listing, Output, Poll, Reply};
use crate::time::{Millis, Now};

impl Chat {
    /// Ends the wait of a session's POLL, if one waits: appends its reply, with the events that there
    /// are, to `out`.
    pub(super) fn end_wait(&mut self, key: SessionKey, now: Now, out: &mut Vec<u8>) {
        self.end_wait_as_of(key, now.at, now, out);
    }

    /// Like [`end_wait`](Self::end_wait), but the wait is a sign of life of `alive_at` at the latest.
    pub(super) fn end_wait_as_of(
        &mut self,
        key: SessionKey,
        alive_at: Millis,
        now: Now,
        out: &mut Vec<u8>,
    ) {
        let session = &mut self.sessions[key.index()];
        let Delivery::Awaited(wait) = session.delivery() else {
            return;
        };
        session.touch_if_kept_alive(alive_at);
        session.attached_mut().wait = None;
        self.leave_audience(key);
        // Leaves space for what is in `out` already, and for the reply to the line that ends the wait.
        let bytes_max = Listing::BYTES_MAX.saturating_sub(out.len() + LINE_BYTES_MAX);
        let reply = self.batch(key, wait.max, bytes_max, now);
        Output::Reply(&reply).write(out);
        self.arm(key, now.past);
    }

    /// Makes a POLL that arrived at `heard_at` wait. If that was in an earlier turn, its client may be
    /// gone by now, so the wait keeps the session alive only for its time counted from then.
    pub(super) fn start_wait(&mut self, key: SessionKey, poll: Poll, heard_at: Millis, now: Now) {
        let session = &mut self.sessions[key.index()];
        let wait = Millis::from_secs(poll.wait_s);
        let alive_until = match heard_at < now.at {
            true => heard_at + wait,
            false => Millis::NEVER,
        };
        session.attached_mut().wait = Some(Wait {
            until: now.at + wait,
            alive_until,
            max: poll.max,
        });
        self.join_audience(key);
        self.arm(key, now.past);
    }

    /// The reply to a POLL: a LOST if the log has overtaken the session's cursor, then events from the
    /// cursor on, which moves past them. It has as many lines as `max` and `bytes_max` allow, but at
    /// least one if there is anything.
    pub(super) fn batch(
        &mut self,
        key: SessionKey,
        max: NonZeroU32,
        bytes_max: usize,
        now: Now,
    ) -> Reply<'static> {
        let lost = self.take_loss(key, now);
        let session = &mut self.sessions[key.index()];
        let log = &self.rooms[session.room.index()].log;
        let mut events = Listing::default();
        if let Some(lost) = lost {
            events.add(lost);
        }
        let lines_left = u64::from(max.get()) - events.lines();
        let bytes_left = events.space_bytes().min(bytes_max);
        let mut to = log.fit(session.cursor, lines_left, bytes_left);
        if to == session.cursor && events.lines() == 0 {
            // One long event may make the reply longer than others.
            to = log.run_end(session.cursor).min(session.cursor + 1);
        }
        let lines = log.range(session.cursor, to);
        events.add_lines(to - session.cursor, lines);
        let bytes = lines[0].len() + lines[1].len();
        mark_delivered(session, log, to, bytes, &mut self.stats);
        Reply::Polled {
            events,
            last: to - 1,
            more: log.count(to, log.next()),
        }
    }
}
