//! Reading connections, and answering their lines.

use std::io;

use super::{Hub, READS_PER_TURN, WRITE_BYTES_PER_TURN};
use crate::chat::ConnId;
use crate::conn::{Link, OUT_BYTES_ENOUGH};
use crate::line::Item;
use crate::protocol::Request;
use crate::time::{Clock, Now};

/// What connections may cost together in one turn, as far as each has the least share: lines that
/// are answered, and bytes that are written on their account, to themselves or to others.
const LINES_PER_TURN: usize = 2048;
const ANSWER_BYTES_PER_TURN: usize = 1024 * 1024;

/// What a connection may cost in one turn; the rest of its lines is left for the next.
#[derive(Clone, Copy)]
pub(super) struct Share {
    lines: usize,
    bytes: usize,
}

impl Share {
    /// The share of each if so many connections have sent something: the more, the less, so that
    /// nobody has to wait for long.
    pub fn of(conns: usize) -> Share {
        let conns = conns.max(1);
        Share {
            lines: (LINES_PER_TURN / conns).clamp(16, 512),
            bytes: (ANSWER_BYTES_PER_TURN / conns).clamp(8 * 1024, 128 * 1024),
        }
    }
}

impl<L: Link> Hub<L> {
    /// Reads a connection's share of the turn and answers its lines.
    pub(super) fn read(&mut self, key: ConnId, share: Share, clock: &impl Clock) {
        let Some(conn) = self.conns.get_mut(key as usize) else {
            return;
        };
        // While it is in hand, nothing closes it.
        conn.is_in_hand = true;
        self.lines_left = share.lines;
        self.bytes_out_max = self.chat.stats.bytes_out + share.bytes as u64;
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_PER_TURN {
            if !self.read_once(key, &mut buffer, clock) {
                break;
            }
        }
        self.buffer = buffer;
        let conn = &mut self.conns[key as usize];
        conn.is_in_hand = false;
        if conn.may_be_read() {
            self.read_later(key);
        }
        self.write_later(key);
    }

    /// Answers the lines that were received, then receives once more; false if there is nothing
    /// more to do for now.
    fn read_once(&mut self, key: ConnId, buffer: &mut [u8], clock: &impl Clock) -> bool {
        let conn = &mut self.conns[key as usize];
        let input = std::mem::take(&mut conn.input);
        if !input.is_empty() {
            self.take_input(key, &input, clock.now());
        }
        let conn = &mut self.conns[key as usize];
        if !conn.may_be_read() || !conn.input.is_empty() {
            return false;
        }
        match conn.link.read(buffer) {
            Ok(0) => conn.has_ended = true,
            Ok(len) => {
                // Less than was asked for is all there is, and more to come makes itself known:
                // epoll(7), in its answer 9. It does not go without saying for the end of the
                // stream and for urgent bytes.
                conn.is_readable = len == buffer.len() || conn.is_read_to_the_end;
                self.chat.stats.bytes_in += len as u64;
                // Not before it had come: no sign of life is given an earlier time than its own.
                self.take_input(key, &buffer[..len], clock.now());
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

    /// Answers the lines in `input`, until the client ought to take its answers first or has had
    /// its share of the turn; the rest is kept.
    fn take_input(&mut self, key: ConnId, mut input: &[u8], now: Now) {
        loop {
            if self.conns[key as usize].out_len() >= OUT_BYTES_ENOUGH {
                self.flush(key, now, WRITE_BYTES_PER_TURN);
            }
            let conn = &mut self.conns[key as usize];
            if conn.is_closing {
                return;
            }
            let had_its_share =
                self.lines_left == 0 || self.chat.stats.bytes_out >= self.bytes_out_max;
            if conn.out_len() >= OUT_BYTES_ENOUGH || had_its_share {
                conn.input = input.to_vec();
                return;
            }
            if !self.take_line(key, &mut input, now) {
                return;
            }
            self.lines_left -= 1;
            self.serve_if_needed(now);
        }
    }

    /// Answers the next line in `input`; false if there is none.
    fn take_line(&mut self, key: ConnId, input: &mut &[u8], now: Now) -> bool {
        let limits = *self.chat.limits();
        let (lines, client, out) = self.conns[key as usize].parts();
        let session = client.session();
        let Some(item) = lines.next(input, limits.line_bytes_max()) else {
            return false;
        };
        let request = match item {
            Item::Line(line) => Request::read(line, &limits),
            Item::TooLong => Request::TooLong,
            Item::Skipped => Request::Empty,
            Item::Negotiation(answer) => {
                out.extend_from_slice(&answer);
                return true;
            }
        };
        let parting = match &request {
            Request::Command(command) => command.parting(),
            _ => None,
        };
        let outcome = match parting {
            None => self.chat.answer(client, request, now, out),
            Some(command) => {
                // What the session is owed reaches the client before it lets go of it.
                self.flush(key, now, usize::MAX);
                let (_, client, out) = self.conns[key as usize].parts();
                self.chat
                    .answer(client, Request::Command(command), now, out)
            }
        };
        let conn = &mut self.conns[key as usize];
        conn.is_closing |= outcome.closes;
        if conn.client.session() != session {
            conn.is_stalled = false;
            self.update_watch(key);
        }
        if let Some(message) = outcome.replaced {
            self.deliver(message, now);
        }
        true
    }
}
