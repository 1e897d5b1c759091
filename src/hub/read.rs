//! Reading connections, and answering their lines.

use std::io;

use super::{Hub, READS_PER_TURN, WRITE_BYTES_PER_TURN};
use crate::chat::{ConnId, Outcome, SessionKey};
use crate::hub::conn::{Link, OUT_BYTES_ENOUGH};
use crate::hub::line::Item;
use crate::protocol::{Abuse, BYTES_PER_LINE, Command, Request};
use crate::time::{Clock, Millis, Now};

/// What connections may cost together in one turn, as far as each has the least budget: lines that
/// are answered, or bytes that count as such, and bytes that are written on their account, to
/// themselves or to others.
const LINES_PER_TURN: usize = 2048;
const ANSWER_BYTES_PER_TURN: usize = 1024 * 1024;

/// What a connection may cost in one turn; the rest of its lines is left for the next.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    lines: usize,
    bytes: usize,
}

impl Budget {
    /// The budget of each if so many connections have sent something: the more, the less, so that
    /// nobody has to wait for long.
    pub fn of(conns: usize) -> Budget {
        let conns = conns.max(1);
        Budget {
            lines: (LINES_PER_TURN / conns).clamp(4, 512),
            bytes: (ANSWER_BYTES_PER_TURN / conns).clamp(8 * 1024, 128 * 1024),
        }
    }
}

impl<L: Link> Hub<L> {
    /// Reads a connection's budget of the turn and answers its lines.
    pub(super) fn read(&mut self, key: ConnId, budget: Budget, clock: &impl Clock) {
        self.read_what_has_come(key, budget, false, clock);
    }

    /// Reads a connection that is about to lose something for not having sent anything, though
    /// nothing was reported of it.
    pub(super) fn read_at_last(&mut self, key: ConnId, clock: &impl Clock) {
        let conn = &mut self.conns[key.index()];
        let was_read_to_the_end = !std::mem::replace(&mut conn.is_readable, true);
        self.read_what_has_come(key, Budget::of(1), was_read_to_the_end, clock);
    }

    /// Reads a connection. What is read `is_fresh` if it came after all that was read before, and
    /// also if the poll has just reported it; other lines have waited, and came by the time of the
    /// last report.
    fn read_what_has_come(
        &mut self,
        key: ConnId,
        budget: Budget,
        is_fresh: bool,
        clock: &impl Clock,
    ) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        let now = clock.now();
        let is_reported = std::mem::take(&mut conn.is_reported);
        if is_reported {
            let is_ahead = std::mem::take(&mut conn.is_ahead);
            self.chat.hear(&mut conn.client, is_ahead, now);
        }
        if let Some(session) = conn.client.session() {
            if self.chat.is_revoked(session) {
                return;
            }
            if conn.is_broken {
                self.chat.lose_peer(session, now);
            }
        }
        // While it is in hand, nothing closes it.
        conn.is_in_hand = true;
        self.lines_left = budget.lines;
        self.bytes_out_max = self.chat.stats.bytes_out + budget.bytes as u64;
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_PER_TURN {
            if !self.read_once(key, &mut buffer, is_fresh || is_reported, clock) {
                break;
            }
        }
        self.buffer = buffer;
        let conn = &mut self.conns[key.index()];
        conn.is_in_hand = false;
        if conn.has_ended {
            // Whoever comes next may be read before this one is closed.
            self.chat.leave_allowance(&conn.client);
        }
        if conn.may_be_read() {
            self.read_later(key);
        }
        self.write_later(key);
    }

    /// Answers the lines that were received, then receives once more; false if there is nothing
    /// more to do in this turn.
    fn read_once(
        &mut self,
        key: ConnId,
        buffer: &mut [u8],
        is_fresh: bool,
        clock: &impl Clock,
    ) -> bool {
        let conn = &mut self.conns[key.index()];
        if conn.is_throttled() {
            return false;
        }
        if conn.has_unanswered() {
            let input = conn.take_input();
            self.take_input(key, &input, clock.now());
        }
        let conn = &mut self.conns[key.index()];
        if !conn.may_be_read() || conn.has_unanswered() || self.lines_left == 0 {
            return false;
        }
        // With the beginning of a line kept, no more is received than can be looked at at once: the
        // one is not kept beside the other.
        if conn.is_within_line() && !self.is_ready_for_line(key, clock.now()) {
            return false;
        }
        let conn = &mut self.conns[key.index()];
        // No more than its budget, should that make no line.
        let bytes_max = (self.lines_left * BYTES_PER_LINE).min(buffer.len());
        let buffer = &mut buffer[..bytes_max];
        match conn.link.read(buffer) {
            Ok(0) => conn.has_ended = true,
            Ok(len) => {
                // Less than was asked for is all there is, and more to come makes itself known:
                // epoll(7), in its answer 9. It does not go without saying for the end of the
                // stream, for urgent bytes, and on Unix sockets.
                conn.is_readable = len == buffer.len() || conn.is_read_to_the_end;
                self.chat.stats.bytes_in += len as u64;
                // Not before it had come: no sign of life is given an earlier time than its own.
                let now = clock.now();
                if is_fresh {
                    self.chat.hear(&mut conn.client, false, now);
                } else {
                    conn.is_ahead = true;
                }
                self.take_input(key, &buffer[..len], now);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    conn.is_readable = false;
                    // One who cannot be told anything need not be waited for.
                    conn.has_ended |= conn.is_broken;
                }
                io::ErrorKind::Interrupted => {}
                _ => {
                    conn.has_ended = true;
                    conn.is_broken = true;
                }
            },
        }
        true
    }

    /// Answers the lines in `input`, until the client ought to take its answers first, has had its
    /// budget of the turn, or has sent faster than it may; the rest is kept.
    fn take_input(&mut self, key: ConnId, mut input: &[u8], now: Now) {
        while !self.conns[key.index()].is_closing {
            let is_there_more = !input.is_empty() || self.conns[key.index()].has_postponed();
            if is_there_more && !self.is_ready_for_line(key, now) {
                self.conns[key.index()].keep_input(input);
                return;
            }
            if !self.take_item(key, &mut input, now) {
                return;
            }
            self.serve_if_needed(now);
        }
    }

    /// Whether a connection's next line may be answered. What a client that is gone has sent faster
    /// than it may is carried out like that of others, when its turn has come.
    fn is_ready_for_line(&mut self, key: ConnId, now: Now) -> bool {
        let conn = &self.conns[key.index()];
        if conn.out_len() >= OUT_BYTES_ENOUGH || conn.has_postponed() {
            self.write(key, now, WRITE_BYTES_PER_TURN);
        }
        let conn = &mut self.conns[key.index()];
        let out_len_max = conn.out_len_max();
        let had_its_share = self.lines_left == 0 || self.chat.stats.bytes_out >= self.bytes_out_max;
        if conn.out_len() > out_len_max || had_its_share {
            return false;
        }
        // A line that was postponed has been counted.
        conn.has_postponed() || self.chat.admits_line(&mut conn.client, now)
    }

    /// Answers the next line in `input`, or what came instead of one; false if there is none.
    fn take_item(&mut self, key: ConnId, input: &mut &[u8], now: Now) -> bool {
        let limits = *self.chat.limits();
        let conn = &mut self.conns[key.index()];
        if let Some(command) = conn.take_postponed() {
            self.answer_after_output(key, *command, now);
            return true;
        }
        let (lines, client, out) = conn.parts();
        let session = client.session();
        let had_bytes = input.len();
        let item = lines.next(input, limits.line_bytes_max());
        let ends_line = matches!(item, Some(Item::Line(_) | Item::Skipped));
        let bytes = had_bytes - input.len();
        let counted = self.chat.count_input(client, bytes, ends_line, now);
        self.lines_left = self.lines_left.saturating_sub(counted);
        let request = match item {
            None => return false,
            Some(Item::Line(line)) => Request::read(line, &limits),
            Some(Item::TooLong) => Request::TooLong,
            Some(Item::Skipped) => Request::Empty,
            Some(Item::Sign) => Request::Sign,
            Some(Item::AreYouThere) => Request::AreYouThere,
            Some(Item::Tls) => Request::Abuse(Abuse::Tls),
            Some(Item::Negotiation(answer)) => {
                out.extend_from_slice(&answer);
                return true;
            }
        };
        let waits = match &request {
            Request::Command(command) => command.after_output(),
            _ => None,
        };
        if let Some(command) = waits {
            self.answer_after_output(key, command, now);
        } else {
            let outcome = self.chat.answer(client, request, now, out);
            self.after_answer(key, session, outcome, now);
        }
        true
    }

    /// Answers a command behind the output that waits: what a session is owed reaches its client
    /// before it lets go of it, and there is never more than one long reply.
    fn answer_after_output(&mut self, key: ConnId, command: Command<'static>, now: Now) {
        let session = self.conns[key.index()].client.session();
        let is_owed = session.is_some_and(|session| self.chat.is_owed(session));
        let is_long = command.has_long_reply() && self.chat.may_give_much(session, &command);
        if is_owed || is_long {
            self.write(key, now, usize::MAX);
        }
        let conn = &mut self.conns[key.index()];
        if is_long && conn.out_len() > 0 {
            conn.postpone(command);
            return;
        }
        let (_, client, out) = conn.parts();
        let session = client.session();
        let request = Request::Command(command);
        let outcome = self.chat.answer(client, request, now, out);
        self.after_answer(key, session, outcome, now);
    }

    /// Does what an answer means for connections; `session` is what this one held before.
    fn after_answer(
        &mut self,
        key: ConnId,
        session: Option<SessionKey>,
        outcome: Outcome,
        now: Now,
    ) {
        let conn = &mut self.conns[key.index()];
        conn.is_closing |= outcome.closes;
        if conn.client.session() != session {
            conn.is_stalled = false;
            conn.stalled_at = Millis::NEVER;
            self.update_watch(key);
        }
        if let Some(notice) = outcome.replaced {
            self.deliver(notice, now);
        }
    }
}
