//! Writing what connections are owed.

use std::io;
use std::num::NonZeroUsize;

use super::{Hub, WRITE_BYTES_PER_TURN};
use crate::chat::{ConnEvent, ConnId, Owed, OwedLines};
use crate::hub::conn::{Conn, Flow, Space, Stall, Transport};
use crate::time::Now;

impl<T: Transport> Hub<T> {
    /// Writes what has happened in rooms to those who are there. Nobody is left out if it is
    /// `urgent`: somebody whose stream took nothing in another turn may take something now.
    pub(super) fn serve_rooms(&mut self, now: Now, urgent: bool) {
        let share = match urgent {
            true => usize::MAX,
            false => WRITE_BYTES_PER_TURN,
        };
        let turn = self.turn;
        let mut audience = std::mem::take(&mut self.audience);
        while self.chat.next_audience(urgent, &mut audience) {
            for &key in &audience {
                let conn = self.conns.get(key.index());
                let may_take = |conn: &Conn<T>| match conn.space {
                    Space::Some => true,
                    Space::NoneInTurn(refused) => urgent && refused != turn,
                };
                if conn.is_some_and(may_take) {
                    self.write_and_finish(key, now, share);
                }
            }
        }
        self.audience = audience;
    }

    /// Writes to a connection, and closes it if that was all there is to do for it.
    pub(super) fn write_and_finish(&mut self, key: ConnId, now: Now, share: usize) {
        self.write(key, now, share);
        self.finish(key, now);
    }

    /// Closes a connection if there is nothing more to do for it; else sees to it that it is read
    /// if there is something to read.
    pub(super) fn finish(&mut self, key: ConnId, now: Now) {
        let conn = &self.conns[key.index()];
        // Which it mostly is not, and then what it is owed need not be looked up.
        if conn.may_be_done() && self.in_hand != Some(key) {
            let is_owed = !matches!(self.chat.owed(&conn.caller), Owed::Nothing);
            if conn.is_done(is_owed) {
                self.close(key, now);
                return;
            }
        }
        let conn = &mut self.conns[key.index()];
        if conn.space != Space::Some {
            // What waits may wait for long.
            conn.shrink_out();
        }
        conn.release_buffers();
        if conn.may_be_read() {
            self.read_later(key);
        }
    }

    /// Writes what a connection is owed until its stream takes no more, or about `share` bytes.
    pub(super) fn write(&mut self, key: ConnId, now: Now, share: usize) {
        let mut sum = 0;
        loop {
            let conn = &mut self.conns[key.index()];
            if conn.is_broken() {
                conn.drop_out();
                conn.is_readable = true;
                return;
            }
            let owed = match conn.is_closing() {
                true => Owed::Nothing,
                false => self.chat.owed(&conn.caller),
            };
            let lines = match owed {
                Owed::Lines(lines) => Some(lines),
                Owed::Answer(receipt) if conn.out_len() == 0 => {
                    self.chat.advance(receipt, now, conn.out());
                    None
                }
                Owed::Nothing | Owed::Later | Owed::Answer(_) => None,
            };
            if conn.out_len() == 0 && lines.is_none() {
                return self.end_stall(key, now);
            }
            if sum >= share {
                self.chat.note(&mut conn.caller, ConnEvent::Writable, now);
                self.write_later(key);
                return self.end_stall(key, now);
            }
            let slices = lines.as_ref().map_or([&[][..]; 3], OwedLines::slices);
            self.writes += 1;
            match conn.write(slices) {
                Ok(written) => {
                    let is_all = (lines.as_ref()).is_some_and(|l| l.len_bytes() == written.of_owed);
                    let of_owed = lines.zip(NonZeroUsize::new(written.of_owed));
                    let receipt = of_owed.map(|(lines, bytes)| lines.written(bytes));
                    sum += written.bytes;
                    self.bytes_written += written.bytes as u64;
                    self.chat.stats.bytes_out += written.bytes as u64;
                    if let Some(receipt) = receipt {
                        self.rest.clear();
                        self.chat.advance(receipt, now, &mut self.rest);
                        if !self.rest.is_empty() {
                            conn.append(&self.rest);
                        }
                        if is_all {
                            return self.end_stall(key, now);
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
                    _ => conn.break_off(),
                },
            }
        }
    }

    /// Notes that a stream takes nothing. That the system takes something now and then does not mean
    /// that the client does: if the client has taken nothing since it was stalled before, it still
    /// is, since then.
    fn stall(&mut self, key: ConnId, now: Now) {
        let conn = &mut self.conns[key.index()];
        if conn.is_stalled() {
            return;
        }
        let taken = conn.taken();
        let stall = match conn.flow {
            Flow::Unknown(stall) if stall.taken == taken => stall,
            _ => Stall {
                since: now.at,
                taken,
            },
        };
        conn.flow = Flow::Stalled(stall);
        let since = stall.since;
        let stalled = ConnEvent::Stalled(since);
        self.chat.note(&mut conn.caller, stalled, now);
        self.update_watch(key);
    }

    /// Notes that a stream has taken all that it was to take.
    fn end_stall(&mut self, key: ConnId, now: Now) {
        let conn = &mut self.conns[key.index()];
        let Flow::Stalled(stall) = conn.flow else {
            return;
        };
        conn.flow = Flow::Unknown(stall);
        self.chat.note(&mut conn.caller, ConnEvent::Flows, now);
        self.update_watch(key);
    }

    /// Looks whether a client that is stalled has taken something since it was looked at last.
    pub(super) fn look_whether_taken(&mut self, key: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        let taken = conn.taken();
        match conn.flow {
            Flow::Stalled(stall) if stall.taken != taken => {}
            _ => return,
        }
        conn.flow = Flow::Stalled(Stall {
            since: now.at,
            taken,
        });
        let stalled = ConnEvent::Stalled(now.at);
        self.chat.note(&mut conn.caller, stalled, now);
    }

    /// Has the system watch the peer of a connection that keeps its session alive by being open.
    /// A client that takes nothing is watched by its session instead, which tells it why it goes.
    pub(super) fn update_watch(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        let idle_s = conn.caller.keepalive_s().filter(|_| !conn.is_stalled());
        if conn.watched_s != idle_s {
            conn.watched_s = idle_s;
            conn.stream.watch_peer(idle_s);
        }
    }
}
