//! A connection to the server, line by line.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::{PATIENCE, Watch};

/// A connection to the server.
pub struct Client {
    pub socket: Socket,
    /// What was received; everything from `start` on is still to be looked at.
    input: Vec<u8>,
    start: usize,
    /// Whether it passes the server's hint how to begin on to the test. Others may get one on a slow
    /// machine.
    shows_hint: bool,
}

/// Whether a line is what the server sends to a client that has sent nothing yet.
pub fn is_hint(line: &str) -> bool {
    line.starts_with("EXPIRING ") && line.ends_with(" type TALK and your name to chat, or HELP")
}

/// What a client may wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A line, without its end.
    Line(String),
    /// Nothing until the deadline.
    Nothing,
    /// The server's end of the stream.
    End,
}

impl Client {
    /// A connection that has not read anything.
    pub fn connect(address: &str) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub fn try_connect(address: &str) -> io::Result<Client> {
        let (socket, address) = socket(address)?;
        Client::over(socket, &address)
    }

    /// A connection whose system takes little while nobody reads from it.
    pub fn narrow(address: &str) -> Client {
        Client::with_buffer(address, 4096)
    }

    /// A connection with a receive buffer of that size.
    pub fn with_buffer(address: &str, bytes: usize) -> Client {
        let (socket, address) = socket(address).unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Client::over(socket, &address).unwrap()
    }

    /// A connection from one of this machine's own addresses, of which 127.0.0.0/8 is full.
    pub fn from(source: [u8; 4], address: &str) -> Client {
        let (socket, address) = socket(address).unwrap();
        let source = SocketAddr::from((source, 0));
        socket.bind(&source.into()).unwrap();
        Client::over(socket, &address).unwrap()
    }

    fn over(socket: Socket, address: &SockAddr) -> io::Result<Client> {
        socket.connect(address)?;
        if address.is_ipv4() || address.is_ipv6() {
            socket.set_tcp_nodelay(true)?;
        }
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            socket,
            input: Vec::new(),
            start: 0,
            shows_hint: false,
        })
    }

    /// A connection that has received the server's first line.
    pub fn greeted(address: &str) -> Client {
        let mut client = Client::connect(address);
        client.expect("HELLO chinwag/");
        client
    }

    /// Joins with these arguments; returns the session's token.
    pub fn join(&mut self, args: &str) -> String {
        let reply = self.ask(&format!("JOIN {args}"), "OK JOIN ");
        if reply.contains(" mode=push ") {
            let name = args.split(' ').next().unwrap();
            self.expect_event("JOINED", name);
        }
        let token = reply.split(' ').find_map(|w| w.strip_prefix("session="));
        token.unwrap().to_owned()
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends a line and waits for the next one, which must begin with `reply`.
    pub fn ask(&mut self, line: &str, reply: &str) -> String {
        self.send(line);
        self.expect(reply)
    }

    /// Ends the client's side of the stream.
    pub fn end(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Waits for the server's hint how to begin; returns the seconds in it.
    pub fn expect_hint(&mut self) -> u64 {
        self.shows_hint = true;
        let line = self.expect("EXPIRING ");
        assert!(is_hint(&line), "{line}");
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the next line, which must begin with `beginning`.
    pub fn expect(&mut self, beginning: &str) -> String {
        match self.receive(PATIENCE) {
            Received::Line(line) if line.starts_with(beginning) => line,
            other => panic!("expected {beginning:?}, not {other:?}"),
        }
    }

    /// Waits for the next line, which must be an event of this kind; returns its number. `rest` is
    /// the text behind its time.
    pub fn expect_event(&mut self, kind: &str, rest: &str) -> u64 {
        let line = self.expect(&format!("{kind} "));
        let mut words = line.splitn(4, ' ').skip(1);
        let seq = words.next().unwrap().parse().unwrap();
        assert_eq!(words.nth(1), Some(rest), "{line}");
        seq
    }

    /// Waits for the server to say goodbye for this reason and to close the connection.
    pub fn expect_bye(&mut self, reason: &str) {
        self.expect(&format!("BYE {reason} "));
        self.expect_closed();
    }

    /// Waits for the server to close the connection without another line.
    pub fn expect_closed(&mut self) {
        assert_eq!(self.receive(PATIENCE), Received::End);
    }

    /// Checks that nothing comes for some time.
    pub fn expect_nothing(&mut self, time: Duration) {
        assert_eq!(self.receive(time), Received::Nothing);
    }

    /// Checks that the server answers, with nothing before that.
    pub fn expect_service(&mut self) {
        self.ask("PING still there?", "OK PING still there?");
    }

    /// One of the server's figures.
    pub fn stat(&mut self, name: &str) -> u64 {
        let head = self.ask("STATS", "OK STATS ");
        let count = head.split(' ').nth(2).unwrap().parse().unwrap();
        let lines: Vec<_> = (0..count).map(|_| self.expect("STAT ")).collect();
        let beginning = format!("STAT {name} ");
        let value = lines.iter().find_map(|line| line.strip_prefix(&beginning));
        let value = value.unwrap_or_else(|| panic!("no {name} in {lines:?}"));
        value.parse().unwrap()
    }

    /// Asks for one of the server's figures until it is `value`.
    pub fn await_stat(&mut self, name: &str, value: u64) {
        let watch = Watch::start();
        loop {
            let found = self.stat(name);
            if found == value {
                return;
            }
            assert!(!watch.is_over(), "{name} is {found} and not {value}");
            self.expect_nothing(Duration::from_millis(25));
        }
    }

    /// All lines up to the end of the stream.
    pub fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.receive(PATIENCE) {
                Received::Line(line) => lines.push(line),
                Received::Nothing => panic!("no end in time: {lines:?}"),
                Received::End => return lines,
            }
        }
    }

    /// Waits some time for a line or the end, which must not come within a line.
    pub fn receive(&mut self, time: Duration) -> Received {
        let received = self.try_receive(time);
        let received = received.unwrap_or_else(|error| panic!("cannot read: {error}"));
        if received == Received::End {
            let input = &self.input[self.start..];
            assert!(input.is_empty(), "an unfinished line: {input:?}");
        }
        received
    }

    /// Waits some time for a line or the end, which may come anywhere.
    pub fn try_receive(&mut self, time: Duration) -> io::Result<Received> {
        let watch = Watch::start();
        let mut looked_at = 0;
        loop {
            let input = &self.input[self.start..];
            if let Some(at) = input[looked_at..].iter().position(|&b| b == b'\n') {
                let len = looked_at + at + 1;
                let line = input[..len].strip_suffix(b"\r\n");
                let line = line.unwrap_or_else(|| panic!("no CR LF: {:?}", &input[..len]));
                let line = String::from_utf8(line.to_vec()).unwrap();
                self.start += len;
                if is_hint(&line) && !self.shows_hint {
                    looked_at = 0;
                    continue;
                }
                return Ok(Received::Line(line));
            }
            looked_at = input.len();
            match self.fill(watch.left(time)) {
                Ok(0) => return Ok(Received::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Received::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is something to read, and does not read it.
    pub fn await_input(&self) {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 1];
        assert_eq!(self.socket.peek(&mut buffer).unwrap(), 1);
    }

    /// Waits for exactly these bytes, which need not be lines.
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let watch = Watch::start();
        while self.input.len() - self.start < bytes.len() {
            let read = self.fill(watch.left(PATIENCE));
            assert!(read.is_ok_and(|len| len > 0), "{:?}", &self.input);
        }
        let end = self.start + bytes.len();
        assert_eq!(&self.input[self.start..end], bytes);
        self.start = end;
    }

    /// Receives once, waiting for at most `time`, which is over if it is `None`.
    fn fill(&mut self, time: Option<Duration>) -> io::Result<usize> {
        let time = time.ok_or(ErrorKind::WouldBlock)?;
        self.input.drain(..self.start);
        self.start = 0;
        // A timeout of 0 µs would mean to wait for ever.
        let time = time.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(time))?;
        let mut buffer = [0; 16 * 1024];
        let len = self.socket.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..len]);
        Ok(len)
    }
}

/// A client that keeps to the rules while something else goes on.
pub struct Polite {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Polite {
    /// Lets a client ask for an answer again and again, in a thread of its own and well below the
    /// rate that the server grants.
    pub fn start(mut client: Client) -> Polite {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut slowest = Duration::ZERO;
            while !ends.load(Ordering::Relaxed) {
                let watch = Watch::start();
                client.expect_service();
                slowest = slowest.max(watch.elapsed());
                client.expect_nothing(Duration::from_millis(25));
            }
            slowest
        });
        Polite { is_over, thread }
    }

    /// Ends it once every answer has come; returns how long the slowest took.
    pub fn end(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn socket(address: &str) -> io::Result<(Socket, SockAddr)> {
    let (domain, address) = match address.strip_prefix("unix:") {
        Some(path) => (Domain::UNIX, SockAddr::unix(path)?),
        None => {
            let address: SocketAddr = address.parse().map_err(io::Error::other)?;
            (Domain::for_address(address), address.into())
        }
    };
    Ok((Socket::new(domain, Type::STREAM, None)?, address))
}
