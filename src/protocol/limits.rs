//! The limits that PROTOCOL.md lists: those that options set, with their defaults, and those that are
//! fixed. Only the system's buffer for a connection is among the options alone, since the core has no
//! sockets.

use std::num::NonZeroU32;

/// The longest line that a client may send, in bytes without its end, unless the longest message
/// needs a longer one.
pub const LINE_BYTES_MAX: usize = 2048;
/// How much longer than the longest message a line may be, in bytes.
pub const LINE_OVERHEAD_BYTES: usize = 1024;
/// The longest text that PING takes, in bytes.
pub const PING_BYTES_MAX: usize = LINE_BYTES_MAX - "PING ".len();
/// The longest name of a member or a room, in bytes.
pub const NAME_BYTES_MAX: usize = 24;
/// The longest reply, in bytes, unless it is a single event that is longer.
pub const REPLY_BYTES_MAX: usize = 7 * 1024;
/// The most events in the reply to a POLL without `max=`.
pub const POLL_EVENTS_DEFAULT: NonZeroU32 = NonZeroU32::new(100).expect("it is above 0");
/// The most events that a POLL may ask for.
pub const POLL_EVENTS_MAX: u32 = 1000;
/// How many earlier events TALK shows, and `/again`, unless the person asks for another number.
pub const TALK_HISTORY_DEFAULT: u64 = 20;
/// The longest time that a POLL may wait, in seconds.
pub const POLL_WAIT_MAX_S: u32 = 60;
/// The shortest idle time, in seconds.
pub const IDLE_MIN_S: u32 = 1;
/// The shortest idle time with `alive=tcp`, in seconds: a kernel's probes are seconds apart.
pub const IDLE_TCP_MIN_S: u32 = 3;
/// A client that sends nothing for this long, in seconds, gets a hint how to begin.
pub const HINT_AFTER_S: u32 = 3;
/// After this many errors in a row the server closes a connection.
pub const ERRORS_MAX: u32 = 100;
/// After this many JOINs without the right key the server closes a connection.
pub const DENIALS_MAX: u8 = 3;
/// After this many JOINs without the right key within a minute, further ones from their address have to
/// wait.
pub const DENIALS_PER_ADDRESS_MAX: u8 = 10;
/// How many seconds' worth of lines a connection may send at once.
pub const BURST_S: u32 = 4;
/// Input counts as one line for every group of this many bytes that it begins, so a line that is no
/// longer than that, with its end, counts once.
pub const BYTES_PER_LINE: usize = 96;
/// A room's log holds at most one event per this many bytes of its size, however short events are.
pub const LOG_BYTES_PER_EVENT: usize = 32;
/// How many connections the operator may have, with `--admin`.
pub const OPERATORS_MAX: usize = 2;
/// A connection of the operator's that has been silent for this long, in seconds, makes way for another.
pub const OPERATOR_SILENCE_S: u32 = 10;
/// How many ended sessions the server remembers.
pub const ENDED_MAX: usize = 1024;

/// The limits that options set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The idle time of a session that does not ask for one, in seconds.
    pub idle_s: u32,
    /// The longest idle time that the server grants, in seconds.
    pub idle_max_s: u32,
    /// How long a connection may stay without a session, in seconds. Its first HELP starts that time
    /// again.
    pub handshake_s: u32,
    /// How many bytes of events the server keeps for each room.
    pub log_bytes: usize,
    /// How long the server keeps a room that nobody is in, in seconds; 0 frees it at once.
    pub keep_rooms_s: u32,
    /// The longest message, in bytes.
    pub message_bytes_max: usize,
    /// The most connections of clients.
    pub connections_max: usize,
    /// How many more the operator may have: [`OPERATORS_MAX`], or none.
    pub operators_max: usize,
    /// The most sessions.
    pub sessions_max: usize,
    /// The most rooms.
    pub rooms_max: usize,
    /// Whether rooms span boxes, so that logs have lines with names of members of other boxes.
    pub is_linked: bool,
    /// How many rooms are always there, because they span boxes.
    pub rooms_permanent: usize,
    /// The most connections, and the most sessions, from one address.
    pub per_address_max: usize,
    /// How many lines a second the server reads from a connection after a burst; 0 for no bound.
    /// See [`BYTES_PER_LINE`] for what counts as a line.
    pub lines_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            idle_s: 60,
            idle_max_s: 3600,
            handshake_s: 60,
            log_bytes: 64 * 1024,
            keep_rooms_s: 24 * 3600,
            message_bytes_max: 1024,
            connections_max: 1024,
            operators_max: 0,
            sessions_max: 4096,
            rooms_max: 64,
            is_linked: false,
            rooms_permanent: 0,
            per_address_max: 64,
            lines_per_s: 50,
        }
    }
}

impl Limits {
    /// The longest line that a client may send, in bytes without its end.
    pub fn line_bytes_max(&self) -> usize {
        LINE_BYTES_MAX.max(self.message_bytes_max + LINE_OVERHEAD_BYTES)
    }

    /// The most connections that there can be at once, the operator's included.
    pub fn connections_at_once_max(&self) -> usize {
        self.connections_max + self.operators_max
    }

    /// The most rooms that there can be. If the server keeps none, each has a member or is always there.
    pub fn rooms_at_once_max(&self) -> usize {
        match self.keep_rooms_s {
            0 => self.rooms_max.min(self.sessions_max + self.rooms_permanent),
            _ => self.rooms_max,
        }
    }

    /// The time between two lines of a connection that sends at its rate; `None` if there is no
    /// bound.
    pub fn line_interval_us(&self) -> Option<u64> {
        1_000_000_u64.checked_div(self.lines_per_s.into())
    }
}
