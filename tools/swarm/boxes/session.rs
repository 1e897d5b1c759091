//! One session on one box: its connection, which may break and come back, and what it waits for.

use std::collections::VecDeque;
use std::io::{self, Write};

use tools::net;

use super::ledger::Reader;

/// What a session is for.
pub enum Role {
    /// It gets the room's events, as they happen or when it polls.
    Reader(Reader),
    /// It says messages: that one of all senders. It is a pull session that does not poll.
    Sender(u32),
}

/// How far a session's connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// There is none.
    Away,
    /// HELLO has not come yet.
    Connecting,
    Greeted,
    /// The reply to JOIN or RESUME has not come yet.
    Joining,
    Joined,
    /// QUIT is under way: nothing is looked at any more.
    Leaving,
    Gone,
}

/// A command that has no reply yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Join,
    Resume,
    Poll,
    Say,
}

/// The rest of a reply to POLL.
pub struct Body {
    pub lines: u64,
    pub last: u64,
}

/// When a session may join a room where nobody is yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// It is the first, and sees everybody come.
    First,
    Reader,
    Sender,
}

pub struct Session {
    pub net: Option<net::Conn>,
    pub role: Role,
    /// The box where it is, its room there, and its name.
    pub home: usize,
    pub room: usize,
    pub name: String,
    pub wave: Wave,
    pub stage: Stage,
    /// How many times the box had lost its connections when this one was made.
    pub era: u32,
    /// Once it has joined, in the present life of its box.
    pub token: Option<String>,
    pub asks: VecDeque<Ask>,
    pub body: Option<Body>,
    /// The reply to a POLL may have been lost.
    pub is_unsure: bool,
    /// The beginning of a line whose end has not come.
    pub rest: Vec<u8>,
    /// When to connect again, or to poll.
    pub due_us: u64,
}

impl Session {
    pub fn new(role: Role, [home, room]: [usize; 2], name: String, wave: Wave) -> Session {
        Session {
            net: None,
            role,
            home,
            room,
            name,
            wave,
            stage: Stage::Away,
            era: 0,
            token: None,
            asks: VecDeque::new(),
            body: None,
            is_unsure: false,
            rest: Vec::new(),
            due_us: 0,
        }
    }

    /// Whether it is a pull session that waits for no reply.
    pub fn may_poll(&self) -> bool {
        let is_pull = matches!(&self.role, Role::Reader(reader) if reader.is_pull);
        is_pull && self.asks.is_empty() && self.body.is_none()
    }

    /// Sends a command.
    pub fn ask(&mut self, ask: Ask, command: std::fmt::Arguments<'_>) {
        let Some(net) = &mut self.net else { return };
        let written = write!(net.out, "{command}\r\n");
        written.expect("a Vec takes everything");
        self.asks.push_back(ask);
        net.flush();
    }

    /// Makes it join its room for the first time in this life of its box.
    pub fn join(&mut self, room: &str) {
        let mode = match &self.role {
            Role::Reader(reader) if !reader.is_pull => "push",
            _ => "pull",
        };
        self.stage = Stage::Joining;
        let name = self.name.clone();
        self.ask(
            Ask::Join,
            format_args!("JOIN {name} room={room} mode={mode} alive=tcp idle=600"),
        );
    }

    /// Makes it go on where it was.
    pub fn resume(&mut self, token: &str) {
        self.stage = Stage::Joining;
        match &self.role {
            Role::Reader(reader) if !reader.is_pull => {
                let last = reader.next - 1;
                self.ask(Ask::Resume, format_args!("RESUME {token} after={last}"));
            }
            _ => self.ask(Ask::Resume, format_args!("RESUME {token}")),
        }
    }

    /// Makes a pull session fetch what there is.
    pub fn poll(&mut self) {
        let Role::Reader(reader) = &self.role else {
            return;
        };
        match std::mem::take(&mut self.is_unsure) {
            true => {
                let last = reader.next - 1;
                self.ask(Ask::Poll, format_args!("POLL max=1000 after={last}"));
            }
            false => self.ask(Ask::Poll, format_args!("POLL max=1000")),
        }
    }

    /// Its connection is at its end; another one may be made at a time.
    pub fn break_off(&mut self, again_us: u64) {
        self.net = None;
        self.is_unsure |= self.body.is_some() || self.asks.contains(&Ask::Poll);
        self.body = None;
        self.asks.clear();
        self.rest.clear();
        self.stage = Stage::Away;
        self.due_us = again_us;
    }

    /// Reads behind what is left from the last time; gives how many bytes `buffer` holds then, and whether
    /// there may be more. Without anything to read, it gives none.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let Some(net) = &mut self.net else {
            return Ok(None);
        };
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let space = &mut buffer[kept..];
        let read = net.read(space)?;
        Ok(read.map(|len| {
            self.rest.clear();
            (kept + len, len == space.len())
        }))
    }
}
