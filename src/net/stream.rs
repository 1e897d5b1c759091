//! A connection's stream.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::chat::Peer;
use crate::hub::conn::Transport;
use crate::net::inherited;

/// The longest time between two probes that Linux allows.
const PROBE_INTERVAL_MAX_S: u32 = 32_767;

/// The most that a socket still takes when it is almost full: the pages and the head of one write.
const LAST_WRITE_BYTES: u64 = 64 * 1024;

/// A connection's stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// None: a program on trial looks at a state, and not at streams. It has the number that the stream has
    /// in the other program.
    Absent(u32),
}

impl Stream {
    /// Goes on with a stream of the program in whose place this one runs, which is to `peer`; `None` if
    /// there is none of that number.
    pub fn go_on(number: u32, peer: &Peer) -> Option<Stream> {
        let descriptor = inherited::take(number as RawFd)?;
        Some(match peer {
            Peer::Local { .. } => Stream::Unix(UnixStream::from_std(descriptor.into())),
            Peer::V4(..) | Peer::V6(..) => Stream::Tcp(TcpStream::from_std(descriptor.into())),
        })
    }

    /// Chooses whether a program that is executed inherits it.
    pub fn pass_on(&self, is_inherited: bool) {
        match self {
            Stream::Tcp(stream) => inherited::pass_on(stream, is_inherited),
            Stream::Unix(stream) => inherited::pass_on(stream, is_inherited),
            Stream::Absent(_) => {}
        }
    }

    /// Registers it with the poll, which reports from now on, edge by edge, all that happens on the
    /// stream, telnet's urgent bytes included. Once is enough: the system reports that a stream
    /// takes output again only after it has refused some, so nothing wakes the server needlessly.
    ///
    /// # Errors
    ///
    /// When the system is out of memory.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, interest),
            Stream::Unix(stream) => stream.register(registry, token, interest),
            Stream::Absent(_) => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Absent(_) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Absent(_) => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
            Stream::Absent(_) => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Stream {
    fn watch_peer(&mut self, idle_s: Option<u32>) {
        // The system always reports the end of a Unix socket's peer.
        let Stream::Tcp(stream) = self else { return };
        if let Err(error) = watch(SockRef::from(&*stream), idle_s) {
            log::debug!("cannot make the system watch a connection: {error}");
        }
    }

    fn untaken(&self) -> u32 {
        match self {
            Stream::Tcp(stream) => output_queued(stream.as_fd()),
            Stream::Unix(stream) => output_queued(stream.as_fd()),
            Stream::Absent(_) => 0,
        }
    }

    fn drops_untaken(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }

    fn may_read_in_part(&self) -> bool {
        // A read stops before bytes that were sent with a descriptor: unix(7).
        matches!(self, Stream::Unix(_))
    }

    fn number(&self) -> u32 {
        let descriptor = match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
            Stream::Absent(number) => return *number,
        };
        descriptor as u32
    }
}

/// How many bytes the system holds for a socket's peer: SIOCOUTQ in tcp(7), which is TIOCOUTQ and
/// which Unix sockets know as well; 0 if it does not say.
#[expect(unsafe_code, reason = "no crate has this call without it")]
fn output_queued(socket: BorrowedFd<'_>) -> u32 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: The descriptor is open, and the request writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match result {
        0 => bytes as u32,
        _ => 0,
    }
}

/// The most bytes that a client of a Unix socket can keep waiting for the server. They wait in the
/// client's own socket, and the server cannot limit them: the client chooses how many there may be
/// (SO_SNDBUF in socket(7)), up to twice net.core.wmem_max.
///
/// # Errors
///
/// When the system does not say.
pub fn client_bytes_max() -> io::Result<u64> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let by_default = socket.send_buffer_size()?;
    // The system cuts what is above its limit down to the limit.
    socket.set_send_buffer_size(i32::MAX as usize)?;
    let most = by_default.max(socket.send_buffer_size()?);
    Ok(most as u64 + LAST_WRITE_BYTES)
}

/// Makes the system find out within `idle_s` seconds, at least 3, that a connection's peer is gone.
///
/// While nothing is on its way, the system probes the peer after each sixth of that time, and gives
/// up at the third probe: after half of the time. While something is on its way, it repeats that,
/// and gives up after half of the time as well. Something may be sent just before the third probe,
/// so both halves together are the most. See tcp(7), and RFC 5482 for TCP_USER_TIMEOUT. Linux also
/// cuts off a peer that acknowledges but takes nothing for that long.
fn watch(socket: SockRef<'_>, idle_s: Option<u32>) -> io::Result<()> {
    let Some(idle_s) = idle_s else {
        socket.set_keepalive(false)?;
        return socket.set_tcp_user_timeout(None);
    };
    let interval_s = (idle_s / 6).clamp(1, PROBE_INTERVAL_MAX_S);
    // Giving up takes at least two probes, and whole seconds.
    let probes = (idle_s / interval_s / 2).clamp(2, 3);
    let probing_s = probes * interval_s;
    let silence_s = probing_s.min(idle_s.saturating_sub(probing_s).max(1));
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let keepalive = TcpKeepalive::new()
        .with_time(seconds(interval_s))
        .with_interval(seconds(interval_s));
    socket.set_tcp_keepalive(&keepalive)?;
    // The answer to a probe takes a little time.
    socket.set_tcp_user_timeout(Some(seconds(silence_s) - Duration::from_millis(200)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_watches_a_peer_within_the_idle_time_whatever_that_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&stream);
        for (idle, interval, timeout_ms) in [
            (3, 1, 800),
            (4, 1, 1_800),
            (5, 1, 1_800),
            (6, 1, 2_800),
            (60, 10, 29_800),
            (100, 16, 47_800),
            (3600, 600, 1_799_800),
            (100_000, 16_666, 49_997_800),
            (31_536_000, 32_767, 98_300_800),
        ] {
            watch(SockRef::from(&stream), Some(idle)).unwrap();
            assert!(socket.keepalive().unwrap());
            let interval = Duration::from_secs(interval);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), interval, "{idle}");
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval, "{idle}");
            let timeout = Duration::from_millis(timeout_ms);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout), "{idle}");
            // A probe finds it out, the second at the earliest; or what is sent just before.
            let probe = (2..).find(|n| *n * interval >= timeout).unwrap() * interval;
            assert!(probe + timeout < Duration::from_secs(idle.into()), "{idle}");
            watch(SockRef::from(&stream), None).unwrap();
            assert!(!socket.keepalive().unwrap());
            assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        }
    }
}
