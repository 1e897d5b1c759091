//! One client: its stream, how far in it is, and what it was sent. What it is for is not known
//! here.

use std::io::{self, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::adapter::{Opening, contains};

/// What is remembered of what a client was sent last.
const TAIL_BYTES: usize = 80;

/// How far in a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Connecting,
    Joining,
    In,
    /// It was not let in.
    Refused,
    /// It was in, and the server has closed its connection.
    CutOff,
}

/// A client of a server.
pub struct Client {
    pub stream: TcpStream,
    pub stage: Stage,
    opening: Opening,
    /// The end of what it was sent before it was in.
    pub tail: Vec<u8>,
    /// Bytes that its stream has not taken yet.
    pub out: Vec<u8>,
    /// Marks that it was sent.
    pub marks: u64,
}

impl Client {
    /// Begins to connect. The system keeps at most `receive_buffer` bytes, and as many again for
    /// its own book-keeping, of what the client did not read; none for the system's default.
    pub fn connect(
        address: SocketAddr,
        receive_buffer: Option<usize>,
        opening: Opening,
    ) -> io::Result<Client> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Client {
            stream: TcpStream::from_std(socket.into()),
            stage: Stage::Connecting,
            opening,
            tail: Vec::new(),
            out: Vec::new(),
            marks: 0,
        })
    }

    /// Sees whether it is connected by now, and has it say what it has to say then; false if it was
    /// refused.
    pub fn go_on_connecting(&mut self) -> bool {
        match self.stream.take_error() {
            Ok(None) if self.stream.peer_addr().is_ok() => {
                self.stage = Stage::Joining;
                self.out.append(&mut self.opening.bytes);
                true
            }
            Ok(None) => true,
            _ => false,
        }
    }

    /// Looks through what it was sent for the confirmation that it is in; true if that is there.
    pub fn is_confirmed_by(&mut self, block: &[u8]) -> bool {
        self.tail.extend_from_slice(block);
        if contains(&self.tail, self.opening.confirmation) {
            self.stage = Stage::In;
            self.tail = Vec::new();
            return true;
        }
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        false
    }

    /// Whether it ever was in.
    pub fn was_in(&self) -> bool {
        matches!(self.stage, Stage::In | Stage::CutOff)
    }

    /// Writes what is left, as far as the stream takes it. Why it takes no more, reading will tell.
    pub fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(len) => drop(self.out.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
