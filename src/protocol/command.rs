//! What a client wants done, as values.

use std::num::NonZeroU32;

use super::life_id::LifeId;
use super::name::{FullName, Name};
use super::token::Token;
use super::words::words;
use crate::state::saved;

words! {
    /// How a session gets its events.
    #[derive(Default)]
    pub enum Mode {
        /// They are written to its connection as they happen.
        #[default]
        Push = "push",
        /// It fetches them with POLL.
        Pull = "pull",
    }
}

words! {
    /// What counts as a sign of life besides the lines that a client sends.
    #[derive(Default)]
    pub enum Alive {
        /// Nothing: the client has to send something now and then.
        #[default]
        Ping = "ping",
        /// An open connection whose peer's kernel still answers.
        Tcp = "tcp",
    }
}

/// What JOIN asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join<'a> {
    /// The member's name.
    pub name: Name,
    /// The room to enter.
    pub room: Name,
    /// How to get events.
    pub mode: Mode,
    /// The idle time that the client asks for.
    pub idle_s: Option<u32>,
    /// What counts as a sign of life.
    pub alive: Alive,
    /// How many events from before the JOIN to send first.
    pub history: u64,
    /// The name's key, for a server that has keys.
    pub key: Option<&'a str>,
    /// Where a former session of the client stopped.
    pub since: Option<Since>,
    /// The room gets no JOINED and no LEFT.
    pub is_quiet: bool,
}

/// How far a client has seen a room's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The number of the last event that it has seen.
    pub after: u64,
    /// Which life of the log that was.
    pub log: LifeId,
}

/// What TALK asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talk<'a> {
    /// The person's name.
    pub name: Name,
    /// The room to enter.
    pub room: Name,
    /// How many earlier events to show first, unless the person comes back.
    pub history: u64,
    /// The idle time that the person asks for.
    pub idle_s: Option<u32>,
    /// The name's key.
    pub key: Option<&'a str>,
}

/// What RESUME asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The session's token; `None` if the word cannot be one.
    pub token: Option<Token>,
    /// The number of the last event that the client has seen.
    pub after: Option<u64>,
}

/// What POLL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The most lines to answer with.
    pub max: NonZeroU32,
    /// The number of the last event that the client has seen.
    pub after: Option<u64>,
    /// How long to wait if there is nothing to send.
    pub wait_s: u32,
}

/// What a client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of verbs documents them")]
pub enum Command<'a> {
    Talk(Talk<'a>),
    Join(Join<'a>),
    Resume(Resume),
    Say(&'a str),
    Ping(&'a str),
    Query(Query),
    Parting(Parting),
    /// One of the operator's, on their own socket.
    Order(Order<'a>),
}

/// What only the operator can have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of verbs documents them")]
pub enum Order<'a> {
    End { room: Name, name: FullName },
    TellAll(&'a str),
}

/// Commands whose replies may be long. They wait until the connection's output is written, so that
/// the output never holds two long replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of verbs documents them")]
pub enum Query {
    Poll(Poll),
    Who {
        after: Option<FullName>,
    },
    Rooms {
        after: Option<Name>,
    },
    /// The newest events once more. Only people have a word for it.
    Again {
        events: u64,
    },
    Stats,
    Help,
    /// All sessions, in the order of rooms and names, from behind this one on. Only the operator has a
    /// word for it.
    Sessions {
        after: Option<SessionName>,
    },
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionName {
    /// The name of its room.
    pub room: Name,
    /// Its own.
    pub name: Name,
}

/// Commands that take a connection's session away. They wait until its output and the session's
/// events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of verbs documents them")]
pub enum Parting {
    Leave,
    Detach,
    Quit,
    /// Leaves for another room. Only people have a word for it.
    Enter {
        room: Name,
    },
}

/// A command that waits until the connection's output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the commands document them")]
pub enum Deferred {
    Query(Query),
    Parting(Parting),
}

impl From<Deferred> for Command<'_> {
    fn from(deferred: Deferred) -> Self {
        match deferred {
            Deferred::Query(query) => Command::Query(query),
            Deferred::Parting(parting) => Command::Parting(parting),
        }
    }
}

impl Command<'_> {
    /// The same command without a borrow of its line, if it waits until the connection's output is
    /// written.
    pub fn after_output(&self) -> Option<Deferred> {
        match *self {
            Command::Query(query) => Some(Deferred::Query(query)),
            Command::Parting(parting) => Some(Deferred::Parting(parting)),
            Command::Talk(_)
            | Command::Join(_)
            | Command::Resume(_)
            | Command::Say(_)
            | Command::Ping(_)
            | Command::Order(_) => None,
        }
    }
}

saved!(struct Poll { max, after, wait_s });
saved!(enum Query {
    0 = Poll(poll),
    1 = Who { after },
    2 = Rooms { after },
    3 = Again { events },
    4 = Stats,
    5 = Help,
    6 = Sessions { after },
});
saved!(struct SessionName { room, name });
saved!(enum Deferred { 0 = Query(query), 1 = Parting(parting) });
saved!(enum Parting { 0 = Leave, 1 = Detach, 2 = Quit, 3 = Enter { room } });
