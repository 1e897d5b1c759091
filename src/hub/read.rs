//! Reads connections and answers their lines.

use std::io;

use super::{Hub, READS_PER_TURN, WRITE_BYTES_PER_TURN};
use crate::chat::{ConnEvent, ConnId, Input, Outcome, Pending, Permit, SessionKey};
use crate::hub::conn::{Flow, OUT_BYTES_ENOUGH, Transport};
use crate::hub::line::Item;
use crate::protocol::{Abuse, BYTES_PER_LINE, Request};
use crate::time::{Clock, Now};

/// The most lines that one turn answers, over all connections; [`BYTES_PER_LINE`] says what counts
/// as a line. With very many connections, their smallest budgets add up to more.
const LINES_PER_TURN: usize = 2048;
/// The most bytes that one turn writes because of these lines, to their senders or to others. With
/// very many connections, their smallest budgets add up to more.
const ANSWER_BYTES_PER_TURN: usize = 1024 * 1024;

/// What a connection may cost in one turn; the rest of its lines wait for the next.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    lines: usize,
    bytes: usize,
}

impl Budget {
    /// The budget of each connection when `conns` of them have sent something. More connections get
    /// less each, so that none waits for long.
    pub fn of(conns: usize) -> Budget {
        let conns = conns.max(1);
        Budget {
            lines: (LINES_PER_TURN / conns).clamp(4, 512),
            bytes: (ANSWER_BYTES_PER_TURN / conns).clamp(8 * 1024, 128 * 1024),
        }
    }
}

impl<T: Transport> Hub<T> {
    /// Reads from a connection and answers its lines, up to its budget.
    pub(super) fn read(&mut self, key: ConnId, budget: Budget, clock: &impl Clock) {
        self.read_what_has_come(key, budget, false, clock);
    }

    /// Reads a connection before a timer acts on its silence, even if the poll has reported nothing
    /// from it.
    pub(super) fn read_at_last(&mut self, key: ConnId, clock: &impl Clock) {
        let conn = &mut self.conns[key.index()];
        let was_read_to_the_end = !std::mem::replace(&mut conn.is_readable, true);
        self.read_what_has_come(key, Budget::of(1), was_read_to_the_end, clock);
    }

    /// Reads a connection. `is_fresh` says that nothing was left unread before, so what is read now
    /// has just come; so has input that the poll has just reported. Other lines have waited: they
    /// came by the time of the last report.
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
            let heard = ConnEvent::Heard { is_ahead };
            self.chat.note(&mut conn.caller, heard, now);
        }
        if !self.chat.listens_to(&conn.caller) {
            return;
        }
        if conn.is_unreachable() {
            self.chat.note(&mut conn.caller, ConnEvent::Gone, now);
        }
        self.in_hand = Some(key);
        self.lines_left = budget.lines;
        self.bytes_written_max = self.bytes_written + budget.bytes as u64;
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_PER_TURN {
            if !self.read_once(key, &mut buffer, is_fresh || is_reported, clock) {
                break;
            }
        }
        self.buffer = buffer;
        self.fit_window(key);
        self.in_hand = None;
        let conn = &mut self.conns[key.index()];
        if conn.has_ended() {
            // Another connection may be read before this one is closed.
            self.chat.note(&mut conn.caller, ConnEvent::Ended, now);
        }
        if conn.may_be_read() {
            self.read_later(key);
        }
        self.write_later(key);
    }

    /// Answers the lines that were received, then reads once more; false if there is nothing more
    /// to do in this turn.
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
            self.answer_input(key, &input, clock.now());
        }
        let conn = &mut self.conns[key.index()];
        if !conn.may_be_read() || conn.has_unanswered() || self.lines_left == 0 {
            return false;
        }
        // While it keeps an unfinished line, it reads only what may be looked at straight away, and
        // so never keeps input as well.
        if conn.is_within_line() && !self.may_look(key, clock.now()) {
            return false;
        }
        self.receive(key, buffer, is_fresh, clock);
        true
    }

    /// Reads from the stream of a connection, and answers what has come.
    fn receive(&mut self, key: ConnId, buffer: &mut [u8], is_fresh: bool, clock: &impl Clock) {
        let conn = &mut self.conns[key.index()];
        // Bytes count against the budget even if they make no line.
        let bytes_max = (self.lines_left * BYTES_PER_LINE).min(buffer.len());
        let buffer = &mut buffer[..bytes_max];
        match conn.stream.read(buffer) {
            Ok(0) => conn.end_input(),
            Ok(len) => {
                // A read that does not fill the buffer has taken all there is, and the poll reports
                // what comes later: epoll(7), answer 9. That does not hold at the end of the
                // stream, for urgent bytes, and on Unix sockets.
                conn.is_readable = len == buffer.len() || conn.is_read_in_part;
                self.chat.stats.bytes_in += len as u64;
                // Read the clock only now: no sign of life may get a time before it came.
                let now = clock.now();
                if is_fresh {
                    let heard = ConnEvent::Heard { is_ahead: false };
                    self.chat.note(&mut conn.caller, heard, now);
                } else {
                    conn.is_ahead = true;
                }
                self.answer_input(key, &buffer[..len], now);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    conn.is_readable = false;
                    // Nothing more comes from a client that is gone.
                    if conn.is_unreachable() {
                        conn.end_input();
                    }
                }
                io::ErrorKind::Interrupted => {}
                _ => {
                    conn.end_input();
                    conn.lose_client();
                }
            },
        }
    }

    /// Answers the lines in `input` until the client should first take its answers, has used up its
    /// budget for this turn, or has sent faster than it may. Keeps the rest.
    fn answer_input(&mut self, key: ConnId, mut input: &[u8], now: Now) {
        loop {
            let conn = &mut self.conns[key.index()];
            if conn.is_closing() || input.is_empty() && !conn.has_postponed() {
                return conn.release_line();
            }
            if !self.has_space(key, now) {
                return self.conns[key.index()].keep_input(input);
            }
            let conn = &mut self.conns[key.index()];
            if let Some(pending) = conn.take_postponed() {
                self.answer_after_output(key, *pending, now);
            } else if let Some(permit) = self.chat.admit(&mut conn.caller, now) {
                self.take_item(key, permit, &mut input, now);
            } else {
                return conn.keep_input(input);
            }
            self.serve_rooms(now, true);
        }
    }

    /// Whether a connection has space for the next answer and budget left in this turn.
    fn has_space(&mut self, key: ConnId, now: Now) -> bool {
        let conn = &self.conns[key.index()];
        if conn.out_len() >= OUT_BYTES_ENOUGH || conn.has_postponed() {
            self.write(key, now, WRITE_BYTES_PER_TURN);
        }
        let conn = &self.conns[key.index()];
        let has_budget = self.lines_left > 0 && self.bytes_written < self.bytes_written_max;
        conn.out_len() <= conn.out_len_max() && has_budget
    }

    /// Whether the next bytes of a connection may be looked at as soon as they are read. The rate
    /// binds clients that are gone as well: what they have sent too fast is carried out later.
    fn may_look(&mut self, key: ConnId, now: Now) -> bool {
        let has_space = self.has_space(key, now);
        let caller = &mut self.conns[key.index()].caller;
        has_space && self.chat.admit(caller, now).is_some()
    }

    /// Takes the next item off `input`, or all of it if no item is complete, and answers it.
    fn take_item(&mut self, key: ConnId, permit: Permit, input: &mut &[u8], now: Now) {
        if self.conns[key.index()].is_edited() {
            return self.take_keys(key, permit, input, now);
        }
        let limits = *self.chat.limits();
        let conn = &mut self.conns[key.index()];
        let (lines, caller, out) = conn.parts();
        let (session, form) = (caller.session(), caller.form());
        let had_bytes = input.len();
        let item = lines.next(input, limits.line_bytes_max());
        let ends_line = matches!(item, Some(Item::Line(_) | Item::Skipped));
        let (mut option, mut size) = (None, None);
        let is_negotiation = matches!(item, Some(Item::Option(..) | Item::WindowSize(..)));
        let request = match item {
            None => None,
            Some(Item::Line(line)) => Some(form.read(line, &limits)),
            Some(Item::TooLong) => Some(Request::TooLong),
            Some(Item::Skipped) => Some(Request::Empty),
            Some(Item::SignOfLife) => Some(Request::SignOfLife),
            Some(Item::AreYouThere) => Some(Request::AreYouThere),
            Some(Item::Tls) => Some(Request::Abuse(Abuse::Tls)),
            Some(Item::Option(verb, number)) => {
                option = Some((verb, number));
                None
            }
            Some(Item::WindowSize(columns, rows)) => {
                size = Some((columns, rows));
                None
            }
        };
        let edit = match request {
            Some(Request::Edit { on }) => Some(on),
            _ => None,
        };
        let input = Input {
            bytes: had_bytes - input.len(),
            is_negotiation,
            ends_line,
            request,
        };
        let answered = self.chat.answer(caller, permit, input, now, out);
        self.lines_left = self.lines_left.saturating_sub(answered.lines);
        match answered.outcome {
            Outcome::Later(pending) => self.answer_after_output(key, pending, now),
            outcome => self.after_answer(key, session, outcome, now),
        }
        if let Some((verb, number)) = option {
            self.note_option(key, verb, number);
        }
        if let Some((columns, rows)) = size {
            self.note_window_size(key, columns, rows, now);
        }
        if let Some(on) = edit {
            self.set_editing(key, on);
        }
    }

    /// Writes a connection's output and events, and carries out a command that waits for that.
    pub(super) fn answer_after_output(&mut self, key: ConnId, pending: Pending, now: Now) {
        self.write(key, now, usize::MAX);
        let (_, caller, out) = self.conns[key.index()].parts();
        let session = caller.session();
        let before = out.len();
        let outcome = self.chat.carry_out(caller, pending, now, out);
        self.conns[key.index()].show_above(before);
        self.after_answer(key, session, outcome, now);
    }

    /// Does what an answer has left to do. `session` is the session that the connection held
    /// before.
    pub(super) fn after_answer(
        &mut self,
        key: ConnId,
        session: Option<SessionKey>,
        outcome: Outcome,
        now: Now,
    ) {
        let conn = &mut self.conns[key.index()];
        if conn.caller.session() != session {
            conn.flow = Flow::Flows;
            self.update_watch(key);
        }
        match outcome {
            Outcome::Done => {}
            Outcome::Later(pending) => self.conns[key.index()].postpone(pending),
            Outcome::Closes => {
                self.end_editing(key);
                self.conns[key.index()].close_after_output();
            }
            Outcome::Replaced(notice) => self.deliver(notice, now),
        }
    }
}
