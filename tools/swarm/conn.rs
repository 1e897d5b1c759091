//! One connection: its stream, and what is not yet read or written.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::ledger::Reader;

/// What a connection is for.
pub enum Role {
    /// A push session that reads.
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

pub struct Conn {
    pub stream: TcpStream,
    pub role: Role,
    pub stage: Stage,
    /// The beginning of a line whose end has not come.
    pub rest: Vec<u8>,
    /// What is to be written, from `written` on.
    pub out: Vec<u8>,
    written: usize,
    pub is_writable: bool,
    /// It is on the list of those to be written.
    pub is_listed: bool,
}

impl Conn {
    pub fn new(stream: TcpStream, role: Role) -> Conn {
        Conn {
            stream,
            role,
            stage: Stage::Connecting,
            rest: Vec::new(),
            out: Vec::new(),
            written: 0,
            is_writable: true,
            is_listed: false,
        }
    }

    /// How many bytes have still to be written.
    pub fn out_len(&self) -> usize {
        self.out.len() - self.written
    }

    /// Reads behind what is left from the last time; gives how many bytes `buffer` holds then, and
    /// whether there may be more to read. None if there is nothing now.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let room = &mut buffer[kept..];
        loop {
            match self.stream.read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.rest.clear();
                    return Ok(Some((kept + len, len == room.len())));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what the stream takes. An error is left to whoever reads next, who may find what the
    /// server said before it closed the connection.
    pub fn flush(&mut self) {
        while self.out_len() > 0 && self.is_writable {
            match self.stream.write(&self.out[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.written = self.out.len(),
            }
        }
        if self.out_len() == 0 {
            self.out.clear();
            self.written = 0;
        } else if self.written > self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }
}
