//! Writes connections' output and their sessions' events.

use std::io;

use super::{Hub, WRITE_BYTES_PER_TURN};
use crate::chat::{ConnEvent, ConnId, Owed};
use crate::hub::conn::{Conn, Flow, OUT_BYTES_ENOUGH, Space, Transport};
use crate::talk::Form;
use crate::time::Now;

impl<T: Transport> Hub<T> {
    /// Writes to the members of rooms what has happened there. If that is `urgent`, it also tries
    /// members whose streams took nothing in an earlier turn: they may take something now.
    pub(super) fn serve_rooms(&mut self, now: Now, urgent: bool) {
        let bytes_enough = match urgent {
            true => usize::MAX,
            false => WRITE_BYTES_PER_TURN,
        };
        while self.chat.next_audience(urgent, &mut self.audience) {
            for index in 0..self.audience.len() {
                let key = self.audience[index];
                let conn = self.conns.get(key.index());
                let may_take = |conn: &Conn<T>| match conn.space {
                    Space::Some => true,
                    Space::NoneInTurn(refused) => urgent && refused != self.turn,
                };
                if conn.is_some_and(may_take) {
                    self.write_and_finish(key, now, bytes_enough);
                }
            }
            if urgent {
                self.write_broker(now);
            }
        }
    }

    /// Writes to a connection, and closes it if there is nothing more to do for it.
    pub(super) fn write_and_finish(&mut self, key: ConnId, now: Now, bytes_enough: usize) {
        self.write(key, now, bytes_enough);
        self.finish(key, now);
    }

    /// Closes a connection if there is nothing more to do for it. Otherwise lists it for reading if
    /// it may have something to read.
    pub(super) fn finish(&mut self, key: ConnId, now: Now) {
        let conn = &self.conns[key.index()];
        // Looking for owed lines has a cost, and most connections are not done.
        if conn.may_be_done() && self.in_hand != Some(key) {
            let is_owed = !matches!(self.chat.owed(&conn.caller), Owed::Nothing);
            if conn.is_done(is_owed) {
                self.close(key, now);
                return;
            }
        }
        self.free_place(key);
        let conn = &mut self.conns[key.index()];
        if conn.space != Space::Some {
            // Output that waits may wait for long.
            conn.shrink_out();
        }
        conn.release_buffers();
        if conn.may_be_read() {
            self.read_later(key);
        }
    }

    /// Writes a connection's output and events until its stream takes no more, or until it has
    /// written `bytes_enough`.
    pub(super) fn write(&mut self, key: ConnId, now: Now, bytes_enough: usize) {
        self.note_taken(key, now);
        let mut sum = 0;
        loop {
            let conn = &mut self.conns[key.index()];
            if conn.is_unreachable() {
                conn.drop_out();
                conn.is_readable = true;
                return;
            }
            // The events come above the line that a person types, which is drawn again with them.
            let waits = conn.out_len() > 0 && conn.is_edited();
            let owed = match conn.is_closing() || waits {
                true => Owed::Nothing,
                false => self.chat.owed(&conn.caller),
            };
            if conn.out_len() == 0 && !matches!(owed, Owed::Lines { .. }) {
                let Owed::PollReply(receipt) = owed else {
                    return self.end_stall(key, now);
                };
                self.chat.advance(receipt, now, conn.out());
                continue;
            }
            if conn.out_len() == 0 && conn.is_edited() {
                // It goes above the line that the person types, and is written with that. There is no
                // more of it than a connection may hold.
                let lines = owed.slices()[0];
                let lines = &lines[..lines.len().min(OUT_BYTES_ENOUGH)];
                conn.out().extend_from_slice(lines);
                if let Some(receipt) = owed.written(lines.len()) {
                    self.chat.advance(receipt, now, conn.out());
                }
                conn.show_above(0);
                continue;
            }
            if sum >= bytes_enough {
                self.chat.note(&mut conn.caller, ConnEvent::Writable, now);
                self.write_later(key);
                return self.end_stall(key, now);
            }
            self.writes += 1;
            match conn.write(owed.slices()) {
                Ok(written) => {
                    let receipt = owed.written(written.of_owed);
                    sum += written.bytes;
                    self.bytes_written += written.bytes as u64;
                    self.chat.stats.bytes_out += written.bytes as u64;
                    if let Some(receipt) = receipt {
                        let is_all = receipt.is_all();
                        self.rest.clear();
                        self.chat.advance(receipt, now, &mut self.rest);
                        if !self.rest.is_empty() {
                            conn.append(&self.rest);
                        }
                        if is_all {
                            if conn.is_stalled() {
                                self.end_stall(key, now);
                            }
                            return;
                        }
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        conn.space = Space::NoneInTurn(self.turn);
                        conn.shrink_out();
                        return self.stall(key, now);
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => conn.lose_client(),
                },
            }
        }
    }

    /// Notes if a person's client has taken everything, so that nothing of it has to be shown again when
    /// they come back after their connection was lost. Once that has happened, the output was thrown
    /// away, which shows nothing.
    pub(super) fn note_taken(&mut self, key: ConnId, now: Now) {
        let conn = &mut self.conns[key.index()];
        let is_person = conn.caller.form() == Form::Talk && !conn.is_unreachable();
        if is_person && conn.out_len() == 0 && conn.stream.untaken() == 0 {
            self.chat.note(&mut conn.caller, ConnEvent::Taken, now);
        }
    }

    /// Notes that a stream takes nothing. The system may take something now and then without the
    /// client doing so: a client that has taken nothing since an earlier stall has been stalled
    /// ever since.
    fn stall(&mut self, key: ConnId, now: Now) {
        let conn = &mut self.conns[key.index()];
        if conn.is_stalled() {
            return;
        }
        let taken = conn.taken();
        let since = match conn.flow {
            Flow::Unknown {
                since,
                taken: taken_then,
            } if taken_then == taken => since,
            _ => now.at,
        };
        conn.flow = Flow::Stalled { since, taken };
        let stalled = ConnEvent::Stalled(since);
        self.chat.note(&mut conn.caller, stalled, now);
        self.update_watch(key);
    }

    /// Notes that a stream is not stalled, or no longer.
    fn end_stall(&mut self, key: ConnId, now: Now) {
        let conn = &mut self.conns[key.index()];
        let Flow::Stalled { since, taken } = conn.flow else {
            return;
        };
        conn.flow = Flow::Unknown { since, taken };
        self.chat.note(&mut conn.caller, ConnEvent::Flows, now);
        self.update_watch(key);
    }

    /// Starts a stall again from now if the client has taken something since the last look.
    pub(super) fn renew_stall_if_taken(&mut self, key: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        let Flow::Stalled {
            taken: taken_then, ..
        } = conn.flow
        else {
            return;
        };
        let taken = conn.taken();
        if taken == taken_then {
            return;
        }
        conn.flow = Flow::Stalled {
            since: now.at,
            taken,
        };
        let stalled = ConnEvent::Stalled(now.at);
        self.chat.note(&mut conn.caller, stalled, now);
    }

    /// Makes the system watch the peer of a connection that keeps its session alive by being open,
    /// unless its client is stalled: then the session's timer ends it, and tells the client why.
    pub(super) fn update_watch(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        let idle_s = conn.caller.keepalive_s().filter(|_| !conn.is_stalled());
        if conn.watched_s != idle_s {
            conn.watched_s = idle_s;
            conn.stream.watch_peer(idle_s);
        }
    }
}
