//! One connection: what it is for, how far it has come, and what came on it last.

use std::io;

use tools::net;

use crate::ledger::{Form, Reader};

/// What a connection is for.
pub enum Role {
    /// A push session or a person's, which reads.
    Receiver(Reader),
    /// A push session that joins and never reads again.
    Dead,
    /// A session that says messages: that one. It is a pull session that does not poll, so that it
    /// is not given what it says itself.
    Sender(u32),
    /// It serves pull sessions: that one of those who do.
    Carrier(u32),
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// HELLO has not come yet.
    Connecting,
    Greeted,
    /// The reply to JOIN has not come yet.
    Joining,
    Joined,
    /// QUIT is under way: nothing is looked at any more.
    Leaving,
    Gone,
}

/// A connection, and what it is for.
pub struct Conn {
    pub net: net::Conn,
    pub role: Role,
    /// The name and the room of its own session.
    pub name: String,
    pub room: usize,
    pub stage: Stage,
    /// How many senders a person has seen coming.
    pub senders_seen: usize,
    /// The beginning of a line whose end has not come.
    pub rest: Vec<u8>,
}

impl Conn {
    pub fn new(net: net::Conn, (role, name, room): (Role, String, usize)) -> Conn {
        Conn {
            net,
            role,
            name,
            room,
            stage: Stage::Connecting,
            senders_seen: 0,
            rest: Vec::new(),
        }
    }

    /// Whether its session is in talk form.
    pub fn is_person(&self) -> bool {
        matches!(&self.role, Role::Receiver(reader) if reader.form == Form::Talk)
    }

    /// Reads behind what is left from the last time; gives how many bytes `buffer` holds then, and
    /// whether there may be more to read. Without anything to
    /// read, it gives none.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let space = &mut buffer[kept..];
        let read = self.net.read(space)?;
        Ok(read.map(|len| {
            self.rest.clear();
            (kept + len, len == space.len())
        }))
    }
}
