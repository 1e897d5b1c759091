//! Moves bytes between connections and `chat`: what one turn of the server's loop does.
//!
//! Each turn reads what is readable, then fires the timers that are due, then writes output and
//! events. Sockets come before timers, so that no client expires whose PING was waiting while the
//! server itself was stopped: timers fire only up to a time by which everything that clients had
//! sent is known to have been read. No connection gets more than its budget in one turn; the hub
//! returns in the next turn to those that have something left. It knows neither the poll nor the
//! clocks, and a test can put anything in place of its streams.

mod check;
pub mod conn;
pub mod edit;
pub mod line;
mod link;
mod operator;
mod read;
mod saved;
mod telnet;
mod write;

pub use saved::Loaded;

use operator::TELL_PER_TURN;
use read::Budget;

use slab::Slab;

use crate::chat::keys::Keys;
use crate::chat::stats::Stats;
use crate::chat::{Chat, ConnEvent, ConnId, Due, Notice, Peer, TimerBudget};
use crate::hub::conn::{Conn, READ_BYTES, Readiness, Space, Transport};
use crate::protocol::{Bye, LifeId, Limits};
use crate::time::{Clock, Millis, Now, Zone};

/// The most reads from one connection in one turn.
const READS_PER_TURN: usize = 32;
/// How many bytes one turn writes to one connection, unless a log is about to drop events.
const WRITE_BYTES_PER_TURN: usize = 256 * 1024;
/// The most timers of each kind that one turn looks at.
const TIMERS_PER_TURN: usize = 256;
/// After this many writes to connections, a turn fires no more timers.
const WRITES_PER_FIRING: u64 = 1024;
/// Timers are held back while something that has come is unread. They fire all the same once both
/// this many turns and this much time have passed.
const TURNS_HELD_BACK: u32 = 16;
const TIME_HELD_BACK: Millis = Millis(200);

/// All connections, and the chat that they take part in.
pub struct Hub<T> {
    chat: Chat,
    conns: Slab<Conn<T>>,
    /// The stream to the broker, if rooms span boxes and there is one.
    broker: Option<link::BrokerStream<T>>,
    /// Many connections have gone, so that the lists of connections are too large as well.
    has_shrunk: bool,
    /// For how many connections the server edits lines, or has offered to.
    editors: usize,
    /// The connection whose input is being answered: nothing may close it.
    in_hand: Option<ConnId>,
    /// Connections to read in the next turn.
    to_read: Vec<ConnId>,
    /// Connections to write to at the end of the turn.
    to_write: Vec<ConnId>,
    /// An empty list that takes the place of one of these while that one is worked through.
    spare: Vec<ConnId>,
    /// Timers fire up to this time.
    horizon: Millis,
    /// Since when, and for how many turns, unread input has kept the horizon from moving.
    held_back: Option<(Millis, u32)>,
    /// How many lines of the connection in hand may still be answered in this turn.
    lines_left: usize,
    /// The value of `bytes_written` at which the connection in hand has used up its turn.
    bytes_written_max: u64,
    /// How many writes there were to connections.
    writes: u64,
    /// How many bytes they wrote.
    bytes_written: u64,
    /// The number of the turn.
    turn: u32,
    /// The buffer into which every connection is read.
    buffer: Vec<u8>,
    /// A buffer for what has to follow the events that were just written.
    rest: Vec<u8>,
    /// A buffer for the audience of the room that is being served.
    audience: Vec<ConnId>,
}

impl<T: Transport> Hub<T> {
    /// Makes a hub without connections, in the life `boot` of the server. It shows people the local
    /// time of `zone`.
    pub fn new(limits: Limits, boot: LifeId, zone: Zone) -> Self {
        Hub {
            chat: Chat::new(limits, boot, zone),
            conns: Slab::new(),
            broker: None,
            has_shrunk: false,
            editors: 0,
            in_hand: None,
            to_read: Vec::new(),
            to_write: Vec::new(),
            spare: Vec::new(),
            horizon: Millis(0),
            held_back: None,
            lines_left: 0,
            bytes_written_max: 0,
            writes: 0,
            bytes_written: 0,
            turn: 0,
            buffer: vec![0; READ_BYTES],
            rest: Vec::with_capacity(64),
            audience: Vec::with_capacity(limits.connections_max.min(4096)),
        }
    }

    /// The sessions and rooms.
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// All streams, with the connections that they belong to.
    pub fn streams(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        let conns = self.conns.iter_mut();
        conns.map(|(key, conn)| (ConnId::at(key), &mut conn.stream))
    }

    /// Gives the place of the next connection.
    pub fn vacancy(&mut self) -> Vacancy<'_, T> {
        Vacancy {
            conn: ConnId::at(self.conns.vacant_key()),
            is_operators: false,
            hub: self,
        }
    }

    /// Notes what the poll reports about a connection.
    pub fn ready(&mut self, key: ConnId, readiness: Readiness, now: Now) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        let Readiness {
            readable,
            writable,
            read_closed,
            urgent,
            broken,
            failed,
        } = readiness;
        conn.is_readable |= readable || read_closed || urgent || broken;
        // A broken connection receives nothing more, whatever the poll reports; and if a throttled
        // one is reported because its stream has ended, no new line has come.
        let is_end = conn.is_unreachable() || (read_closed || broken) && conn.is_throttled();
        conn.is_reported |= readable && !is_end;
        conn.is_read_in_part |= read_closed || urgent || broken;
        if writable {
            conn.space = Space::Some;
        }
        if writable {
            self.chat.note(&mut conn.caller, ConnEvent::Writable, now);
        }
        if broken {
            if !(failed && conn.stream.drops_untaken()) {
                self.note_taken(key, now);
            }
            self.conns[key.index()].lose_client();
        }
        let conn = &self.conns[key.index()];
        if conn.is_readable {
            self.read_later(key);
        }
        if writable || broken {
            self.write_later(key);
        }
    }

    /// Whether much memory has gone back to the allocator, which may keep it, since the last call.
    pub fn take_has_freed_memory(&mut self) -> bool {
        self.chat.take_has_freed_memory()
    }

    /// Whether there is something left to do that need not wait for anything.
    pub fn has_work(&self) -> bool {
        !self.to_read.is_empty()
            || !self.to_write.is_empty()
            || self.has_broker_input()
            || self.has_broker_output()
            || self.chat.is_telling()
    }

    /// When the next timer is due.
    pub fn next_deadline(&mut self) -> Option<Millis> {
        self.chat.next_deadline()
    }

    /// Takes one turn: reads, fires timers, writes.
    ///
    /// `asked` is when the poll was asked. `heard_all` says that it has reported, through
    /// [`ready`](Self::ready), everything that had come by then.
    pub fn turn(&mut self, clock: &impl Clock, asked: Millis, heard_all: bool) {
        let now = clock.now();
        self.turn = self.turn.wrapping_add(1);
        self.chat.stats.turns += 1;
        self.serve_rooms(now, true);
        let spare = std::mem::take(&mut self.spare);
        let mut to_read = std::mem::replace(&mut self.to_read, spare);
        let budget = Budget::of(to_read.len());
        for key in to_read.drain(..) {
            if let Some(conn) = self.conns.get_mut(key.index()) {
                conn.is_to_read = false;
                self.read(key, budget, clock);
            }
        }
        if self.chat.has_link() {
            self.read_broker(clock);
        }
        let now = clock.now();
        let has_read = self.to_read.is_empty() && !self.has_broker_input();
        self.move_horizon(asked, heard_all && has_read, now);
        let past = self.horizon;
        self.fire(Now { past, ..now }, clock);
        if self.chat.has_link() {
            self.fire_broker(Now { past, ..now });
        }
        self.serve_rooms(now, false);
        self.write_broker(now);
        let mut to_write = std::mem::replace(&mut self.to_write, to_read);
        for key in to_write.drain(..) {
            if let Some(conn) = self.conns.get_mut(key.index()) {
                conn.is_to_write = false;
                if conn.space == Space::Some || conn.is_unreachable() {
                    self.write(key, now, WRITE_BYTES_PER_TURN);
                }
                self.finish(key, now);
            }
        }
        self.spare = to_write;
        if self.chat.is_telling() {
            self.tell_members(TELL_PER_TURN, now);
        }
        if std::mem::take(&mut self.has_shrunk) {
            for list in [&mut self.to_read, &mut self.to_write, &mut self.spare] {
                list.shrink_to_fit();
            }
        }
    }

    /// Lets timers fire up to the time when the poll was asked, if everything that had come by then
    /// has been read, or if they have been held back for long enough. Enough is both turns and
    /// time, since one long turn may only mean that the server was stopped.
    fn move_horizon(&mut self, asked: Millis, heard_all: bool, now: Now) {
        let (since, turns) = self.held_back.unwrap_or((now.at, 0));
        let is_enough = turns >= TURNS_HELD_BACK && now.at.since(since) >= TIME_HELD_BACK;
        if heard_all || is_enough {
            self.horizon = asked;
            self.held_back = None;
        } else {
            self.held_back = Some((since, turns + 1));
        }
    }

    /// Replaces the keys; see [`Chat::set_keys`].
    pub fn set_keys(&mut self, keys: Option<Keys>, now: Now) {
        self.chat.set_keys(keys, now);
    }

    /// Shows people the local time of `zone` from now on.
    pub fn set_zone(&mut self, zone: Zone) {
        self.chat.set_zone(zone);
    }

    /// What the server counts. The server's loop adds what it alone can see.
    pub fn stats(&mut self) -> &mut Stats {
        &mut self.chat.stats
    }

    /// Tells every client that the server is shutting down. Each connection closes once its stream
    /// has taken that.
    pub fn shut_down(&mut self, now: Now) {
        self.serve_rooms(now, false);
        self.finish_telling(now);
        let keys: Vec<_> = self.conns.iter().map(|(key, _)| ConnId::at(key)).collect();
        for key in keys {
            self.say_goodbye(key, Bye::Shutdown, now);
        }
    }

    /// Says goodbye on a connection, which closes once its stream has taken that.
    fn say_goodbye(&mut self, key: ConnId, bye: Bye, now: Now) {
        self.end_editing(key);
        let conn = &mut self.conns[key.index()];
        if !conn.is_closing() {
            let (_, caller, out) = conn.parts();
            self.chat.say_goodbye(caller, bye, now, out);
            conn.close_after_output();
        }
        self.write_and_finish(key, now, WRITE_BYTES_PER_TURN);
    }

    fn read_later(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        if !conn.is_to_read {
            conn.is_to_read = true;
            self.to_read.push(key);
        }
    }

    fn write_later(&mut self, key: ConnId) {
        let conn = &mut self.conns[key.index()];
        if !conn.is_to_write {
            conn.is_to_write = true;
            self.to_write.push(key);
        }
    }

    /// Fires the timers that are due, within the turn's budget.
    fn fire(&mut self, now: Now, clock: &impl Clock) {
        let mut budget = TimerBudget::each(TIMERS_PER_TURN);
        // Each timer may cause a write to everybody in a room.
        let writes_max = self.writes + WRITES_PER_FIRING;
        while self.writes < writes_max {
            let Some(due) = self.chat.due(now, &mut budget) else {
                return;
            };
            self.fire_one(due, now, clock);
            self.serve_rooms(now, true);
        }
    }

    /// Reads the connection of a timer that is due, so that a sign of life that came in time
    /// counts, and then settles what is due.
    fn fire_one(&mut self, due: Due, now: Now, clock: &impl Clock) {
        if due.resumes_reading() {
            due.conn().into_iter().for_each(|key| self.read_later(key));
        } else if let Some(key) = due.conn() {
            self.read_at_last(key, clock);
            if due.concerns_session() {
                // The stream may take something again: the system reports that only once there is
                // much space.
                self.write(key, now, WRITE_BYTES_PER_TURN);
                self.renew_stall_if_taken(key, now);
            }
        }
        let caller = due.conn().map(|key| &mut self.conns[key.index()].caller);
        if let Some(notice) = self.chat.settle(due, caller, now) {
            self.deliver(notice, now);
        }
    }

    /// Appends a notice to a connection's output, and closes the connection if that was the last it
    /// gets.
    fn deliver(&mut self, notice: Notice, now: Now) {
        let key = notice.conn();
        let conn = &mut self.conns[key.index()];
        let (text, is_last) = notice.hand_to(&mut conn.caller);
        if is_last {
            self.end_editing(key);
        }
        let conn = &mut self.conns[key.index()];
        conn.append(&text);
        if is_last {
            conn.close_after_output();
            self.write(key, now, WRITE_BYTES_PER_TURN);
            self.close(key, now);
        } else {
            self.write_later(key);
        }
    }

    /// Closes a connection. This is the only place that removes one.
    fn close(&mut self, key: ConnId, now: Now) {
        if self.conns.contains(key.index()) {
            self.note_taken(key, now);
        }
        let Some(conn) = self.conns.try_remove(key.index()) else {
            return;
        };
        self.editors -= usize::from(conn.editing.is_some());
        let capacity = self.conns.capacity();
        if self.chat.disconnect(conn.caller, capacity, now) {
            self.conns.shrink_to_fit();
            self.has_shrunk = true;
        }
        hang_up(conn.stream);
    }
}

/// A place for a connection. Its id is known before the connection takes it, so that the poll can
/// already watch the stream under that id.
pub struct Vacancy<'a, T> {
    hub: &'a mut Hub<T>,
    conn: ConnId,
    /// It is for a connection of the operator's.
    is_operators: bool,
}

impl<T: Transport> Vacancy<'_, T> {
    /// The id that the connection will have.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Takes in a new connection, or tells its client that the server is full and closes it.
    pub fn accept(self, mut stream: T, peer: Peer, now: Now) -> Option<ConnId> {
        let Vacancy {
            hub,
            conn,
            is_operators,
        } = self;
        let mut greeting = Vec::new();
        let caller = match peer {
            Peer::Local { user } if is_operators => {
                (hub.chat).connect_operator(conn, user, now, &mut greeting)
            }
            _ => hub.chat.connect(conn, peer, now, &mut greeting),
        };
        let Some(caller) = caller else {
            // A new stream has space for this line. If not, nothing can be done about it.
            let _ = stream.write(&greeting);
            hang_up(stream);
            return None;
        };
        hub.conns.insert(Conn::new(stream, caller, greeting));
        // A client that did not wait for the greeting gets it in one write with its first answer.
        hub.read_later(conn);
        hub.write_later(conn);
        Some(conn)
    }
}

/// Reads what is left on a stream, then closes it. The system resets a socket that is closed with
/// input unread, and the peer may then lose the last lines that were written to it.
fn hang_up(mut stream: impl Transport) {
    let mut nowhere = [0; READ_BYTES];
    for _ in 0..READS_PER_TURN {
        if !matches!(stream.read(&mut nowhere), Ok(1..)) {
            break;
        }
    }
}
