//! Connections that do not wait, and the one poll that tells of them.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::iter::Chain;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use socket2::{Domain, Socket, Type};

use crate::clock::Clock;

/// From here on the poll's own timeout is exact enough, which counts in milliseconds and costs no
/// system call.
const FAR_US: u64 = 100_000;

/// Events that are fetched from the system at once.
const EVENTS_PER_WAIT: usize = 1024;
const ALARM: Token = Token(usize::MAX - 1);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// The ports that programs may take, if the system does not tell.
const PORTS: (u16, u16) = (32_768, 60_999);
/// The error of a connection that is being made.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// One connection.
pub struct Conn {
    stream: TcpStream,
    /// What is to be written, from `written` on.
    pub out: Vec<u8>,
    written: usize,
    is_writable: bool,
}

impl Conn {
    /// How many bytes have still to be written.
    pub fn out_len(&self) -> usize {
        self.out.len() - self.written
    }

    /// Reads into `space`, if there is something to read now. The end of the stream is an error.
    pub fn read(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(space) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => return Ok(Some(len)),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }

    /// Writes what the stream takes. An error is left to the next read, which may find what the
    /// server said before it closed the connection.
    pub fn flush(&mut self) {
        while self.out_len() > 0 && self.is_writable {
            match self.stream.write(&self.out[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
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

    /// Takes in that the stream takes more.
    pub fn writable(&mut self) {
        self.is_writable = true;
        self.flush();
    }
}

/// What has happened to a connection.
#[derive(Clone, Copy)]
pub struct Ready {
    pub index: usize,
    pub is_writable: bool,
    pub is_readable: bool,
    /// There is nothing to come behind what can be read.
    pub is_closed: bool,
}

/// Makes connections to one address, and tells what happens to them.
///
/// Each comes from a port that is chosen here: when half of a machine's ports are taken, Linux looks
/// through that half again for each further connection, which is slower than all that a server does
/// for one.
pub struct Net {
    address: SocketAddr,
    ports: Chain<RangeInclusive<u16>, Range<u16>>,
    poll: Poll,
    events: Events,
    clock: Clock,
    /// Wakes the poll. A poll's own timeout is in whole milliseconds, which is too coarse to send
    /// thousands of messages a second each at its time.
    alarm: OwnedFd,
    alarm_us: Option<u64>,
}

impl Net {
    pub fn new(address: SocketAddr, clock: Clock) -> io::Result<Net> {
        let poll = Poll::new()?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        SourceFd(&alarm.as_raw_fd()).register(poll.registry(), ALARM, Interest::READABLE)?;
        let (first, last) = port_range().unwrap_or(PORTS);
        let start = fastrand::u16(first..=last);
        Ok(Net {
            address,
            ports: (start..=last).chain(first..start),
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            clock,
            alarm,
            alarm_us: None,
        })
    }

    /// Begins to make a connection, which [`wait`](Self::wait) calls by this index. Of what nobody
    /// reads, the system keeps at most `receive_buffer` bytes, and as many again for its own
    /// book-keeping, instead of its default.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn connect(&mut self, index: usize, receive_buffer: Option<usize>) -> Result<Conn, String> {
        self.connect_to(self.address, index, receive_buffer)
    }

    /// The same to another address.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn connect_to(
        &mut self,
        address: SocketAddr,
        index: usize,
        receive_buffer: Option<usize>,
    ) -> Result<Conn, String> {
        let connected = self.try_connect(address, receive_buffer);
        let connected = connected.and_then(|mut stream| {
            let registry = self.poll.registry();
            registry.register(&mut stream, Token(index), BOTH)?;
            Ok(stream)
        });
        let stream = connected.map_err(|error| {
            let way_out = match error.kind() {
                ErrorKind::AddrNotAvailable => {
                    ": all ports of this machine are taken; wait for a minute if there were many \
                     connections before, or see /proc/sys/net/ipv4/ip_local_port_range"
                }
                _ => "",
            };
            format!("cannot open connection {index} to {address}: {error}{way_out}")
        })?;
        Ok(Conn {
            stream,
            out: Vec::new(),
            written: 0,
            is_writable: true,
        })
    }

    fn try_connect(
        &mut self,
        address: SocketAddr,
        receive_buffer: Option<usize>,
    ) -> io::Result<TcpStream> {
        loop {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            // A port may have had connections to other addresses a minute ago.
            socket.set_reuse_address(true)?;
            socket.set_tcp_nodelay(true)?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            let is_bound = self.bind(&socket, address)?;
            match socket.connect(&address.into()) {
                // That port has a connection to that very address.
                Err(error) if is_bound && error.kind() == ErrorKind::AddrNotAvailable => {}
                Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
                _ => return Ok(TcpStream::from_std(socket.into())),
            }
        }
    }

    /// Binds the next port that is free. If there is none, it is left to the system to find one
    /// that has connections to other addresses alone.
    fn bind(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<bool> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        for port in &mut self.ports {
            match socket.bind(&SocketAddr::from((any, port)).into()) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                result => return result.map(|()| true),
            }
        }
        Ok(false)
    }

    /// Waits until something happens or the clock shows `until_us`, and tells what has happened.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn wait(&mut self, until_us: u64, ready: &mut Vec<Ready>) -> Result<(), String> {
        ready.clear();
        let waited = self.set_alarm(until_us);
        let waited = waited.and_then(|timeout| self.poll.poll(&mut self.events, timeout));
        match waited {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(|error| format!("cannot wait for events: {error}"))?,
        }
        for event in &self.events {
            match event.token() {
                ALARM => self.alarm_us = None,
                Token(index) => ready.push(Ready {
                    index,
                    is_writable: event.is_writable(),
                    is_readable: event.is_readable() || event.is_error(),
                    is_closed: event.is_read_closed(),
                }),
            }
        }
        Ok(())
    }

    /// Gives the poll's own timeout.
    fn set_alarm(&mut self, until_us: u64) -> io::Result<Option<Duration>> {
        let left_us = until_us.saturating_sub(self.clock.now_us());
        if left_us == 0 {
            return Ok(Some(Duration::ZERO));
        }
        if left_us >= FAR_US {
            return Ok(Some(Duration::from_micros(left_us)));
        }
        if self.alarm_us != Some(until_us) {
            let it_value = Timespec {
                tv_sec: (left_us / 1_000_000) as i64,
                tv_nsec: (left_us % 1_000_000 * 1_000) as _,
            };
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value,
            };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once)?;
            self.alarm_us = Some(until_us);
        }
        Ok(None)
    }

    /// Says nothing more about a connection, so that nobody reads from it.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn forget(&self, conn: &mut Conn) -> Result<(), String> {
        let forgotten = self.poll.registry().deregister(&mut conn.stream);
        forgotten.map_err(|error| format!("cannot stop polling a connection: {error}"))
    }

    /// Tells again what happens to a connection that was forgotten.
    pub fn remember(&self, index: usize, conn: &mut Conn) {
        let registry = self.poll.registry();
        // Only a descriptor that is polled already cannot be.
        let _ = registry.register(&mut conn.stream, Token(index), BOTH);
    }
}

/// The ports that programs may take.
fn port_range() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    let range = (first.parse().ok()?, last.trim().parse().ok()?);
    (range.0 < range.1).then_some(range)
}

/// Raises this process' limit on open files to `wanted` if it is lower; gives what it is then.
pub fn raise_descriptors(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Only root may raise the second.
    for maximum in [limit.maximum.map(|hard| hard.max(wanted)), limit.maximum] {
        let current = Some(maximum.map_or(wanted, |hard| hard.min(wanted)));
        if limit.current.is_none_or(|soft| soft >= wanted)
            || setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok()
        {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
