//! Sessions and rooms: what the server is, without its sockets.
//!
//! Requests go in with the time, and answers come out as bytes for the connection that asked. The
//! caller then fires what is due ([`Chat::due`], [`Chat::settle`]) and writes out what sessions
//! are owed ([`Chat::end_wait`], [`Chat::owed`], [`Chat::given`]). Here is what creates, attaches,
//! detaches and destroys sessions, each in one place; `commands` has a function for each verb,
//! `deadlines` what the wheel fires, `owed` what goes out of a room's log.

mod admission;
mod answer;
mod audience;
mod caller;
mod check;
mod commands;
mod connections;
mod deadlines;
mod ended;
pub mod event_log;
mod ids;
mod journal;
pub mod keys;
mod life;
mod memory;
mod notice;
mod origin;
mod owed;
mod rate;
pub mod room;
mod session;
pub mod stats;
mod timers;
mod usage;

use std::cmp::Ordering;

use slab::Slab;

pub use answer::{Answered, Input, Outcome, Pending};
pub use caller::Client;
pub use connections::ConnEvent;
pub use deadlines::{Due, TimerBudget};
pub use ids::{ConnId, SessionKey};
pub use journal::{LINES_MAX as LOG_LINES_MAX, PERIOD as LOG_PERIOD};
pub use notice::Notice;
pub use origin::{Origin, Peer};
pub use owed::{Owed, OwedLines, Receipt};
pub use rate::Permit;
pub use session::LOOKS as STALL_CHECKS_PER_IDLE_TIME;

use crate::protocol::{Limits, Name, Token};
use crate::shrink::ShrinkPolicy;
use crate::sorted_index::{self, SortedIndex, Sought};
use crate::wheel::Wheel;
use ended::{End, Ended};
use ids::RoomKey;
use journal::Journal;
use keys::Keys;
use room::Room;
use session::Session;
use stats::Stats;
use timers::Timers;
use usage::Usages;

/// All sessions and rooms.
#[derive(Debug)]
pub struct Chat {
    limits: Limits,
    /// Who may join; none if anybody may.
    keys: Option<Keys>,
    usages: Usages,
    sessions: Slab<Session>,
    /// How many of them a connection holds.
    attached: u64,
    sessions_shrink: ShrinkPolicy,
    /// How many connections there are.
    connections: usize,
    connections_shrink: ShrinkPolicy,
    /// Much memory went back to the allocator, which may keep it.
    has_freed_memory: bool,
    rooms: Slab<Room>,
    room_names: SortedIndex,
    /// A timer for each session, under its key.
    session_timers: Timers<SessionKey>,
    /// A timer for each connection that has no session.
    handshakes: Timers<ConnId>,
    /// A timer for each connection that has to wait before it is read again.
    throttles: Timers<ConnId>,
    ended: Ended,
    journal: Journal,
    /// Rooms whose audience is to be served.
    dirty: Vec<RoomKey>,
    /// Bytes of events that all logs hold.
    log_bytes: u64,
    /// Whether that has to happen before anything else is appended.
    must_serve: bool,
    /// Where an event's line is put together.
    line: Vec<u8>,
    /// What the server counts; the caller adds what it alone can see.
    pub stats: Stats,
}

impl Chat {
    /// A server without sessions.
    pub fn new(limits: Limits) -> Self {
        Chat {
            limits,
            keys: None,
            usages: Usages::new(&limits),
            sessions: Slab::new(),
            attached: 0,
            sessions_shrink: ShrinkPolicy::default(),
            connections: 0,
            connections_shrink: ShrinkPolicy::default(),
            has_freed_memory: false,
            rooms: Slab::new(),
            room_names: SortedIndex::default(),
            session_timers: Timers::new(),
            handshakes: Timers::new(),
            throttles: Timers::new(),
            ended: Ended::new(),
            journal: Journal::new(),
            dirty: Vec::with_capacity(64),
            log_bytes: 0,
            must_serve: false,
            line: Vec::with_capacity(limits.event_bytes_max()),
            stats: Stats::default(),
        }
    }

    /// What the server was told to allow.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether much memory went back to the allocator, which may keep it, since this was asked last.
    pub fn take_has_freed_memory(&mut self) -> bool {
        std::mem::take(&mut self.has_freed_memory)
    }

    fn wheels(&self) -> [&Wheel; 3] {
        [
            self.session_timers.wheel(),
            self.handshakes.wheel(),
            self.throttles.wheel(),
        ]
    }
}

/// How a session's name compares with a name.
fn by_name(sessions: &Slab<Session>, name: Name) -> Sought<impl Fn(u32) -> Ordering> {
    sorted_index::by_name(name, |key| sessions[key as usize].name.folded())
}

/// How a room's name compares with a name.
fn by_room_name(rooms: &Slab<Room>, name: Name) -> Sought<impl Fn(u32) -> Ordering> {
    sorted_index::by_name(name, |key| rooms[key as usize].name.folded())
}
