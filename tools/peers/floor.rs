//! The floor: the least that a server can do that passes on what anybody says to everybody.
//!
//! One thread and one poll. Each block that is read from a client is written, with one write, to
//! every client, its sender included. There are no lines, names, rooms, limits or timers, and
//! nothing is kept for a client but its descriptor, unless it did not take a block as a whole: then
//! the rest is, without any bound. A client gets an empty line when it is accepted, so that it knows
//! when it is in.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

/// The most that is read, and passed on, at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How many connections the system may hold that were not accepted yet.
const BACKLOG: i32 = 4096;
const EVENTS_PER_TURN: usize = 1024;
const LISTENER: Token = Token(usize::MAX);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address = match args.as_slice() {
        [address] => address.parse::<SocketAddr>().ok(),
        _ => None,
    };
    let Some(address) = address else {
        eprintln!("Usage: floor IP:PORT\nPasses on what any client says to all of them.");
        return ExitCode::from(2);
    };
    let result = Floor::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}; choose another address"))
        .and_then(|floor| {
            floor
                .run()
                .map_err(|error| format!("the event loop failed: {error}"))
        });
    if let Err(error) = result {
        eprintln!("floor: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<TcpStream>>,
    /// Places in `clients` that are empty.
    free: Vec<u32>,
    /// What clients did not take at once.
    kept: HashMap<usize, Vec<u8>>,
}

impl Floor {
    fn bind(address: SocketAddr) -> io::Result<Floor> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Floor {
            poll,
            listener,
            clients: Vec::new(),
            free: Vec::new(),
            kept: HashMap::new(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                if event.is_writable() {
                    self.write_kept(event.token().0)?;
                }
                if event.is_readable() {
                    self.pass_on(event.token().0, &mut block)?;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let place = self.free.pop().unwrap_or(self.clients.len() as u32) as usize;
            if place == self.clients.len() {
                self.clients.push(None);
            }
            self.poll
                .registry()
                .register(&mut stream, Token(place), Interest::READABLE)?;
            let is_in = stream.set_nodelay(true).is_ok() && stream.write(b"\n").is_ok();
            match is_in {
                true => self.clients[place] = Some(stream),
                false => self.free.push(place as u32),
            }
        }
    }

    /// Reads what a client says and writes it to all.
    fn pass_on(&mut self, place: usize, block: &mut [u8]) -> io::Result<()> {
        loop {
            let Some(Some(stream)) = self.clients.get_mut(place) else {
                return Ok(());
            };
            match stream.read(block) {
                Ok(len @ 1..) => {
                    for place in 0..self.clients.len() {
                        self.write(place, &block[..len])?;
                    }
                    // Less than was asked for is all there is.
                    if len < block.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return self.close(place),
            }
        }
    }

    fn write(&mut self, place: usize, block: &[u8]) -> io::Result<()> {
        let Some(Some(stream)) = self.clients.get_mut(place) else {
            return Ok(());
        };
        if !self.kept.is_empty() {
            if let Some(kept) = self.kept.get_mut(&place) {
                kept.extend_from_slice(block);
                return Ok(());
            }
        }
        match stream.write(block) {
            Ok(len) if len == block.len() => Ok(()),
            Ok(len) => self.keep(place, &block[len..]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.keep(place, block),
            Err(_) => self.close(place),
        }
    }

    fn keep(&mut self, place: usize, rest: &[u8]) -> io::Result<()> {
        self.kept.insert(place, rest.to_vec());
        self.listen_for(place, Interest::READABLE | Interest::WRITABLE)
    }

    fn write_kept(&mut self, place: usize) -> io::Result<()> {
        let (Some(Some(stream)), Some(kept)) =
            (self.clients.get_mut(place), self.kept.get_mut(&place))
        else {
            return Ok(());
        };
        while !kept.is_empty() {
            match stream.write(kept) {
                Ok(len) => drop(kept.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(place),
            }
        }
        self.kept.remove(&place);
        self.listen_for(place, Interest::READABLE)
    }

    fn listen_for(&mut self, place: usize, interest: Interest) -> io::Result<()> {
        match &mut self.clients[place] {
            Some(stream) => self
                .poll
                .registry()
                .reregister(stream, Token(place), interest),
            None => Ok(()),
        }
    }

    fn close(&mut self, place: usize) -> io::Result<()> {
        self.kept.remove(&place);
        if self.clients[place].take().is_some() {
            self.free.push(place as u32);
        }
        Ok(())
    }
}
