//! Sessions and rooms: the server without its sockets and its clock.
//!
//! The hub owns the connections, and with each the core's part of it, a [`Caller`].
//! One turn goes like this. A call that leaves something to do returns it as a value that another call
//! takes.
//!
//! | the hub | calls | and gets |
//! |---|---|---|
//! | has a new connection | [`Chat::connect`], [`Chat::connect_operator`] | its `Caller`, unless a limit is reached |
//! | learns something about it | [`Chat::note`] a [`ConnEvent`] | |
//! | may read it | [`Chat::listens_to`] | whether to do so |
//! | has read something from it | [`Chat::admit`], then [`Chat::answer`] | a [`Permit`] to look at it; an [`Outcome`] |
//! | has written output for a [`Pending`] command | [`Chat::carry_out`] | an `Outcome` |
//! | has read all there is | [`Chat::due`], then [`Chat::settle`] | what is [`Due`]; a [`Notice`] |
//! | may write events | [`Chat::next_audience`] | the connections that may get some |
//! | can write to one | [`Chat::owed`] | [`Owed`] lines or a POLL's reply, with a [`Receipt`] |
//! | has written some of it | [`Chat::advance`] | what has to follow |
//! | may tell everybody something | [`Chat::next_to_tell`] | whom to tell next, and [what](Chat::tell) |
//! | closes a connection | [`Chat::say_goodbye`], [`Chat::disconnect`] | |
//! | has nothing to do | [`Chat::next_deadline`] | until when it may sleep |
//! | ends a turn | [`Chat::take_has_freed_memory`] | whether to return memory to the system |
//! | has other keys | [`Chat::set_keys`] | |
//!
//! The core appends text for connections to the buffers that it gets with a call. `now` never goes back.

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
mod head;
mod ids;
mod journal;
mod kept_rooms;
pub mod keys;
mod life;
mod link;
mod memory;
mod notice;
mod operator;
mod origin;
mod owed;
mod owed_in_talk;
mod poll;
mod rate;
mod restart;
mod room;
mod saved;
mod session;
pub mod stats;
mod talk;
mod timers;
mod usage;

use std::cmp::Ordering;

use slab::Slab;

pub use answer::{Answered, Input, Outcome, Pending};
pub use caller::Caller;
pub use check::RoomState;
pub use connections::{ConnEvent, GOODBYE_MAX_S};
pub use deadlines::{Due, TimerBudget};
pub use event_log::GAPS_MAX;
pub use head::{Head, Kind};
pub use ids::{ConnId, SessionKey};
pub use journal::{LINES_MAX as LOG_LINES_MAX, PERIOD as LOG_PERIOD};
pub use link::FromBroker;
pub use notice::Notice;
pub use operator::TellBudget;
pub use origin::{Origin, Peer};
pub use owed::{Owed, Receipt};
pub use rate::Permit;
pub use restart::{CARRIED_MAX, PROMISED_AHEAD};
pub use saved::LoadingChat;
pub use session::STALL_CHECKS_PER_IDLE_TIME;

use crate::protocol::{LifeId, Limits, Mode, Name};
use crate::shrink::ShrinkPolicy;
use crate::sorted_index::{self, SortedIndex, Target};
use crate::talk::LocalClock;
use crate::time::{Millis, Zone};
use crate::wheel::Wheel;
use ended::EndedSessions;
use ids::RoomKey;
use journal::Journal;
use kept_rooms::KeptRooms;
use keys::Keys;
use owed_in_talk::ShownEvents;
use room::Room;
use session::Session;
use stats::Stats;
use timers::Timers;
use usage::Usages;

/// All sessions and rooms.
#[derive(Debug)]
pub struct Chat {
    limits: Limits,
    /// Which life of the server it is.
    boot: LifeId,
    /// How many logs have begun in it.
    logs_begun: u64,
    /// When this run of the server began.
    started_at: Millis,
    /// The names that may join; `None` lets anybody join.
    keys: Option<Keys>,
    usages: Usages,
    sessions: Slab<Session>,
    /// How many of them are attached.
    attached: u64,
    /// How many of those are in push mode.
    attached_push: u64,
    sessions_shrink: ShrinkPolicy,
    /// How many connections of clients there are; the hub has them.
    connections: usize,
    /// The operator's connections.
    operators: Vec<ConnId>,
    /// The notice that is on its way to everybody.
    telling: Option<operator::Telling>,
    connections_shrink: ShrinkPolicy,
    /// Much memory has gone back to the allocator, which may keep it.
    has_freed_memory: bool,
    rooms: Slab<Room>,
    rooms_shrink: ShrinkPolicy,
    room_names: SortedIndex,
    /// Those that nobody is in.
    kept: KeptRooms,
    /// A timer for each session, under its key.
    session_timers: Timers<SessionKey>,
    /// A timer for each connection that has no session, or is leaving. Of a new one it first ends the
    /// silence.
    handshakes: Timers<ConnId>,
    /// A timer for each connection that must not be read for now: see `rate`.
    throttles: Timers<ConnId>,
    ended: EndedSessions,
    journal: Journal,
    /// The rooms whose audience the hub still has to serve.
    dirty: Vec<RoomKey>,
    /// It has to serve them before anything else is appended.
    is_serving_urgent: bool,
    /// A room has used up half of its promised numbers: see `restart`.
    is_save_urgent: bool,
    /// How many rooms were freed.
    rooms_freed: u64,
    /// Bytes of events that all logs hold.
    log_bytes: u64,
    /// A buffer in which lines are put together.
    line: Vec<u8>,
    /// Events as people see them.
    shown: ShownEvents,
    /// The local time, for people.
    local: LocalClock,
    /// What makes rooms span boxes.
    link: Option<Box<link::Link>>,
    /// What the server counts. The hub and the server add what only they can see.
    pub stats: Stats,
}

impl Chat {
    /// A server without sessions, in the life `boot`. It shows people the local time of `zone`.
    pub fn new(limits: Limits, boot: LifeId, zone: Zone) -> Self {
        Chat {
            limits,
            boot,
            logs_begun: 0,
            started_at: Millis(0),
            keys: None,
            usages: Usages::new(&limits),
            sessions: Slab::new(),
            attached: 0,
            attached_push: 0,
            sessions_shrink: ShrinkPolicy::default(),
            connections: 0,
            operators: Vec::with_capacity(limits.operators_max),
            telling: None,
            connections_shrink: ShrinkPolicy::default(),
            has_freed_memory: false,
            rooms: Slab::new(),
            rooms_shrink: ShrinkPolicy::default(),
            room_names: SortedIndex::default(),
            kept: KeptRooms::default(),
            session_timers: Timers::new(),
            handshakes: Timers::new(),
            throttles: Timers::new(),
            ended: EndedSessions::new(),
            journal: Journal::new(),
            dirty: Vec::with_capacity(64),
            is_serving_urgent: false,
            is_save_urgent: false,
            rooms_freed: 0,
            log_bytes: 0,
            line: Vec::with_capacity(limits.event_bytes_max()),
            shown: ShownEvents::default(),
            local: LocalClock::new(zone),
            link: None,
            stats: Stats::default(),
        }
    }

    /// Shows people the local time of `zone` from now on.
    pub fn set_zone(&mut self, zone: Zone) {
        self.local = LocalClock::new(zone);
        self.shown = ShownEvents::default();
    }

    /// Which life of the server it is.
    pub fn boot(&self) -> LifeId {
        self.boot
    }

    /// The limits that the server enforces.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many names may join; `None` if anybody may.
    pub fn names(&self) -> Option<usize> {
        self.keys.as_ref().map(Keys::len)
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether much memory has gone back to the allocator since the last call. The allocator may keep it.
    pub fn take_has_freed_memory(&mut self) -> bool {
        std::mem::take(&mut self.has_freed_memory)
    }

    /// Counts one session more or one less that is attached.
    fn count_attached(&mut self, mode: Mode, is_more: bool) {
        let is_push = u64::from(mode == Mode::Push);
        match is_more {
            true => {
                self.attached += 1;
                self.attached_push += is_push;
            }
            false => {
                self.attached -= 1;
                self.attached_push -= is_push;
            }
        }
    }

    fn wheels(&self) -> [&Wheel; 3] {
        [
            self.session_timers.wheel(),
            self.handshakes.wheel(),
            self.throttles.wheel(),
        ]
    }
}

/// The target of a search for a session by its name.
fn by_name(sessions: &Slab<Session>, name: Name) -> Target<impl Fn(u32) -> Ordering> {
    sorted_index::by_name(name, |key| sessions[key as usize].name.folded())
}

/// The target of a search for a room by its name.
fn by_room_name(rooms: &Slab<Room>, name: Name) -> Target<impl Fn(u32) -> Ordering> {
    sorted_index::by_name(name, |key| rooms[key as usize].name.folded())
}
