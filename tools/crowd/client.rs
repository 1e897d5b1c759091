//! Connections to the server: whole lines out and in, one command at a time or in blocks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tools::clock::Clock;

/// How long a reply may take before the measurement is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Commands or groups of them that are sent at once: so few that they fit into what the system
/// keeps for a connection, and the sender never waits for one who waits for him.
const BLOCK: usize = 96;

/// A connection.
pub struct Client {
    stream: TcpStream,
    /// What was received; what is before `start` was looked at.
    input: Vec<u8>,
    start: usize,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client, String> {
        let system = |error| format!("{address}: cannot connect: {error}");
        let stream = TcpStream::connect(address).map_err(system)?;
        stream.set_nodelay(true).map_err(system)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(system)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(system)?;
        let mut client = Client {
            stream,
            input: Vec::new(),
            start: 0,
        };
        client.expect("HELLO ")?;
        Ok(client)
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.write_all(bytes);
        sent.map_err(|error| format!("cannot send to the server: {error}"))
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> Result<&str, String> {
        let mut looked = 0;
        let len = loop {
            let held = &self.input[self.start + looked..];
            if let Some(len) = memchr::memchr(b'\n', held) {
                break looked + len;
            }
            looked += held.len();
            self.receive()?;
        };
        let line = &self.input[self.start..self.start + len];
        self.start += len + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        std::str::from_utf8(line).map_err(|_| "the server sent what is not UTF-8".into())
    }

    fn receive(&mut self) -> Result<(), String> {
        self.input.drain(..std::mem::take(&mut self.start));
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err("the server has closed a connection".into()),
            Ok(len) => {
                self.input.extend_from_slice(&chunk[..len]);
                Ok(())
            }
            Err(error) => Err(format!("no answer from the server: {error}")),
        }
    }

    /// The next line, which has to begin so; gives what follows.
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

    /// Holds no more memory than a connection that waits needs.
    pub fn shrink(&mut self) {
        self.input.drain(..std::mem::take(&mut self.start));
        self.input.shrink_to_fit();
    }

    /// One of the numbers that STATS tells.
    pub fn stat(&mut self, name: &str) -> Result<u64, String> {
        let count = self.ask("STATS\n", "OK STATS ")?;
        let count: usize = count
            .parse()
            .map_err(|_| format!("STATS: '{count}' lines"))?;
        let mut value = None;
        for _ in 0..count {
            let stat = self.expect("STAT ")?;
            if let Some((_, number)) = stat.split_once(' ').filter(|(n, _)| *n == name) {
                value = number.parse().ok();
            }
        }
        value.ok_or_else(|| format!("STATS: there is no '{name}'"))
    }

    /// Waits until a number that STATS tells is so low.
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

/// What is sent and received group by group.
pub trait Work {
    /// Appends the commands of group number `index`.
    fn write(&mut self, index: usize, out: &mut Vec<u8>);
    /// Reads the replies to group number `index`.
    fn read(&mut self, index: usize, client: &mut Client) -> Result<(), String>;
}

/// Does work in blocks over several connections in turn, so that the server always has something
/// to do while one block is read.
pub fn in_blocks(clients: &mut [Client], count: usize, work: &mut impl Work) -> Result<(), String> {
    let mut out = Vec::new();
    let (ahead, blocks) = (clients.len(), count.div_ceil(BLOCK));
    let groups = |block: usize| block * BLOCK..count.min((block + 1) * BLOCK);
    for block in 0..blocks + ahead {
        let client = &mut clients[block % ahead];
        if let Some(sent) = block.checked_sub(ahead) {
            for index in groups(sent) {
                work.read(index, client)?;
            }
        }
        if block < blocks {
            out.clear();
            for index in groups(block) {
                work.write(index, &mut out);
            }
            client.send(&out)?;
        }
    }
    Ok(())
}

/// Does work one group of commands at a time.
pub fn one_by_one(client: &mut Client, count: usize, work: &mut impl Work) -> Result<(), String> {
    let mut out = Vec::new();
    for index in 0..count {
        out.clear();
        work.write(index, &mut out);
        client.send(&out)?;
        work.read(index, client)?;
    }
    Ok(())
}
