//! A connection that waits: whole lines out and in. Errors are texts for people.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::Clock;

/// How long a server may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What is read at once: much, lest the server wait for its client.
const READ_BYTES: usize = 64 * 1024;

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Client {
    /// A connection to a server of any protocol.
    pub fn open(address: SocketAddr) -> Result<Client, String> {
        let opened = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => Ok(Client {
                stream: BufReader::with_capacity(READ_BYTES, stream),
                line: Vec::new(),
            }),
            Err(error) => Err(format!("{address}: cannot connect: {error}")),
        }
    }

    /// A connection to chinwag, which has said HELLO.
    pub fn greeted(address: SocketAddr) -> Result<Client, String> {
        let mut client = Client::open(address).map_err(|error| {
            format!("{error}; is the server there? start it with: chinwag --listen {address}")
        })?;
        let hello = client.line()?;
        match hello.starts_with("HELLO ") && hello.split(' ').any(|word| word == "protocol=1") {
            true => Ok(client),
            false if hello.starts_with("BYE ") => {
                Err(format!("{address}: the server said {hello:?}"))
            }
            false => Err(format!(
                "{address}: this is not a server of protocol version 1: {hello:?}"
            )),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.get_mut().write_all(bytes);
        sent.map_err(|error| format!("cannot send to the server: {error}"))
    }

    /// Whether the next line is there already.
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.stream.buffer()).is_some()
    }

    /// The next line, without its end.
    pub fn line_bytes(&mut self) -> Result<&[u8], String> {
        self.line.clear();
        let read = self.stream.read_until(b'\n', &mut self.line);
        read.map_err(|error| format!("no answer from the server: {error}"))?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(line.strip_suffix(b"\r").unwrap_or(line)),
            None => Err("the server closed a connection".into()),
        }
    }

    /// The same as text.
    pub fn line(&mut self) -> Result<&str, String> {
        let line = std::str::from_utf8(self.line_bytes()?);
        line.map_err(|_| "the server sent something that is not UTF-8".into())
    }

    /// The next line, which has to begin like this; gives what follows.
    pub fn expect(&mut self, start: &str) -> Result<&str, String> {
        let line = self.line()?;
        line.strip_prefix(start)
            .ok_or_else(|| format!("the server said '{line}' in place of '{start}…'"))
    }

    /// Sends a command and gives what follows `start` in its reply.
    pub fn ask(&mut self, command: &str, start: &str) -> Result<&str, String> {
        self.send(command.as_bytes())?;
        self.expect(start)
    }

    /// One of the numbers that STATS tells.
    pub fn stat(&mut self, name: &str) -> Result<u64, String> {
        let count = self.ask("STATS\n", "OK STATS ")?.parse::<usize>();
        let mut value = None;
        for _ in 0..count.unwrap_or(0) {
            let stat = self.expect("STAT ")?;
            if let Some((_, number)) = stat.split_once(' ').filter(|(n, _)| *n == name) {
                value = number.parse().ok();
            }
        }
        value.ok_or_else(|| format!("STATS: there is no '{name}'"))
    }

    /// Waits until a number that STATS tells is at most `max`.
    pub fn await_stat(&mut self, name: &str, max: u64) -> Result<(), String> {
        let clock = Clock::start();
        while self.stat(name)? > max {
            if clock.elapsed() > PATIENCE {
                return Err(format!("STATS: {name} stays above {max}"));
            }
        }
        Ok(())
    }
}
