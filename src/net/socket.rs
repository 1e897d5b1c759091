//! Sockets: a connection's stream, and the listeners that streams come from.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::chat::Peer;
use crate::hub::conn::Link;
use crate::net::address::Address;
use crate::net::unix_socket::UnixSocket;

/// How many connections the system may hold that were not accepted yet; it has its own bound too.
const BACKLOG: i32 = 4096;

/// The longest time between two probes that Linux knows.
const PROBE_SECS_MAX: u32 = 32_767;

/// A connection's stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Has the poll report, edge by edge, whatever happens on the stream, telnet's urgent bytes
    /// included. That needs to be said once only: what nobody waits for causes no wake-up, since
    /// the system reports that a stream takes output again only after it has refused some.
    ///
    /// # Errors
    ///
    /// When the system cannot, for want of memory.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, interest),
            Stream::Unix(stream) => stream.register(registry, token, interest),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link for Stream {
    fn watch_peer(&mut self, idle: Option<u32>) {
        // The end of a Unix socket's peer is never silent.
        let Stream::Tcp(stream) = self else { return };
        if let Err(error) = watch(SockRef::from(&*stream), idle) {
            log::debug!("cannot have the system watch a connection: {error}");
        }
    }

    fn untaken(&self) -> u32 {
        match self {
            Stream::Tcp(stream) => output_queued(stream.as_fd()),
            Stream::Unix(stream) => output_queued(stream.as_fd()),
        }
    }

    fn may_read_in_part(&self) -> bool {
        // What is sent with a descriptor is not read together with what came before it: unix(7).
        matches!(self, Stream::Unix(_))
    }
}

/// How many bytes the system holds for a socket's peer: SIOCOUTQ in tcp(7), which is TIOCOUTQ and
/// which Unix sockets know as well. 0 if it does not say.
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

/// Has the system find out within `idle` seconds, at least 3, that a connection's peer is gone.
///
/// With the peer silent, the system probes it each sixth of that time, and gives up at the third
/// probe. With something on its way to the peer it sends that again, and gives up after as long;
/// the last moment for something to be sent is just before the third probe, so that is half of the
/// time and half of the time. See tcp(7), and RFC 5482 for TCP_USER_TIMEOUT. A peer that answers
/// and takes nothing for that long is cut off as well: Linux counts that as hearing nothing.
fn watch(socket: SockRef<'_>, idle: Option<u32>) -> io::Result<()> {
    let Some(idle) = idle else {
        socket.set_keepalive(false)?;
        return socket.set_tcp_user_timeout(None);
    };
    let interval = (idle / 6).clamp(1, PROBE_SECS_MAX);
    // Giving up takes two probes at least, and whole seconds.
    let probes = (idle / interval / 2).clamp(2, 3);
    let silence = (probes * interval).min(idle.saturating_sub(probes * interval).max(1));
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let keepalive = TcpKeepalive::new()
        .with_time(seconds(interval))
        .with_interval(seconds(interval));
    socket.set_tcp_keepalive(&keepalive)?;
    // What a probe finds is a little later than the probe itself.
    socket.set_tcp_user_timeout(Some(seconds(silence) - Duration::from_millis(200)))
}

/// A socket that connections are accepted from.
#[derive(Debug)]
pub enum Listener {
    /// TCP, and the size of its connections' buffers if they may have come before it was set up.
    Tcp(TcpListener, Option<usize>),
    /// A Unix socket, and the size of its connections' buffers.
    Unix(UnixSocket, usize),
}

impl Listener {
    /// Binds an address and listens there. The system keeps at most `socket_buffer` bytes, and as
    /// many again for its own book-keeping, for each direction of a connection. A Unix socket's
    /// file gets the permissions in `socket_mode`, or else those that the umask leaves.
    ///
    /// # Errors
    ///
    /// A text for people: the address, the reason, and the way out.
    pub fn bind(
        address: &Address,
        socket_buffer: usize,
        socket_mode: Option<u32>,
    ) -> Result<Listener, String> {
        match address {
            Address::Tcp(ip) => Self::bind_tcp(*ip, address, socket_buffer),
            Address::LinkLocal {
                address: ip,
                interface,
            } => index_of(interface).and_then(|index| {
                let ip = SocketAddrV6::new(*ip.ip(), ip.port(), 0, index);
                Self::bind_tcp(ip.into(), address, socket_buffer)
            }),
            Address::Unix(path) => UnixSocket::bind(path, socket_mode, BACKLOG)
                .map(|socket| Listener::Unix(socket, socket_buffer)),
        }
        .map_err(|error| format!("cannot listen on {address}: {}", explain(address, &error)))
    }

    fn bind_tcp(
        address: SocketAddr,
        shown: &Address,
        socket_buffer: usize,
    ) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A server that was just restarted gets its port back, old connections or not.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]` leaves IPv4 to `0.0.0.0`, so that both can be given.
            socket.set_only_v6(true)?;
        }
        set_up(&socket, socket_buffer)?;
        socket.set_nonblocking(true)?;
        match socket.bind(&address.into()) {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                bind_early(&socket, address).map_err(|_| error)?;
                log::warn!(
                    "no interface of this machine has the address of {shown}; clients will reach \
                     it once one has"
                );
            }
            result => result?,
        }
        socket.listen(BACKLOG)?;
        Ok(Listener::Tcp(TcpListener::from_std(socket.into()), None))
    }

    /// Takes a TCP or Unix socket that listens already. Its file is another's, and stays.
    ///
    /// # Errors
    ///
    /// When the system does not let it be set up.
    pub fn adopt(socket: Socket, socket_buffer: usize) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        if socket.domain()? == Domain::UNIX {
            return Ok(Listener::Unix(UnixSocket::adopt(socket), socket_buffer));
        }
        set_up(&socket, socket_buffer)?;
        let listener = TcpListener::from_std(socket.into());
        Ok(Listener::Tcp(listener, Some(socket_buffer)))
    }

    /// The address with the port that was found for port 0, and an interface's number.
    ///
    /// # Errors
    ///
    /// When the system does not tell, which it does.
    pub fn address(&self) -> io::Result<Address> {
        let address = match self {
            Listener::Tcp(listener, _) => SockRef::from(listener).local_addr(),
            Listener::Unix(socket, _) => SockRef::from(&socket.listener).local_addr(),
        }?;
        if let Some(ip) = address.as_socket() {
            return Ok(Address::Tcp(ip));
        }
        let path = address.as_pathname().map(Path::to_owned);
        Ok(Address::Unix(path.unwrap_or_else(|| {
            // Without a file it has a name, which people write like this.
            let name = address.as_abstract_namespace().unwrap_or_default();
            OsString::from_vec([b"@", name].concat()).into()
        })))
    }

    /// Has the poll report new connections.
    ///
    /// # Errors
    ///
    /// When the system cannot, for want of memory.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener, _) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(socket, _) => {
                socket
                    .listener
                    .register(registry, token, Interest::READABLE)
            }
        }
    }

    /// Takes the next new connection, and tells where it comes from.
    ///
    /// # Errors
    ///
    /// What [`NotAccepted`] tells apart.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener, socket_buffer) => {
                let (stream, address) = listener.accept()?;
                if let Some(socket_buffer) = socket_buffer {
                    // Failing would not keep a client from chatting.
                    let _ = set_up(&SockRef::from(&stream), *socket_buffer);
                }
                Ok((Stream::Tcp(stream), Peer::of(address)))
            }
            Listener::Unix(socket, socket_buffer) => {
                let (stream, _) = socket.listener.accept()?;
                // A Unix socket does not inherit it; it has no buffer for what it receives.
                let _ = SockRef::from(&stream).set_send_buffer_size(*socket_buffer);
                Ok((Stream::Unix(stream), Peer::Local))
            }
        }
    }
}

/// Why accept(2) has given no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// Nobody waits to be accepted.
    NobodyWaits,
    /// One connection failed, or the call was interrupted; the next one may do.
    OneFailed,
    /// The system has no descriptors or no memory for more.
    Shortage,
    /// Anything else, which may last.
    Unknown,
}

impl NotAccepted {
    /// What an error is about, after the manual page accept(2).
    pub fn of(error: &io::Error) -> NotAccepted {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => NotAccepted::NobodyWaits,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                NotAccepted::Shortage
            }
            // Linux passes errors of the new connection's network on, and a firewall's refusal.
            Some(
                libc::ECONNABORTED
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EINTR
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EPERM
                | libc::EPROTO
                | libc::ETIMEDOUT,
            ) => NotAccepted::OneFailed,
            _ => NotAccepted::Unknown,
        }
    }
}

/// Binds an address that no interface has yet, as may be when the machine starts.
fn bind_early(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.is_ipv6() {
        true => socket.set_freebind_v6(true)?,
        false => socket.set_freebind_v4(true)?,
    }
    socket.bind(&address.into())
}

/// The number of the interface that has a name now.
fn index_of(interface: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    Ok(name_to_index(&socket, interface)?)
}

/// Connections inherit these from their listener.
fn set_up(socket: &Socket, socket_buffer: usize) -> io::Result<()> {
    socket.set_send_buffer_size(socket_buffer)?;
    socket.set_recv_buffer_size(socket_buffer)?;
    socket.set_tcp_nodelay(true)?;
    // Telnet marks an interrupt with an urgent byte, which belongs where it was sent.
    socket.set_out_of_band_inline(true)
}

/// An error with the way out, where one is known.
fn explain(address: &Address, error: &io::Error) -> String {
    let way_out = match (address, error.kind(), error.raw_os_error()) {
        (Address::Unix(_), ErrorKind::AddrInUse, _) => {
            "another program has made a file there meanwhile; choose another path"
        }
        (Address::Unix(_), ErrorKind::PermissionDenied, _) => {
            "this user may not; choose a path in a folder of its own"
        }
        (Address::Unix(_), ErrorKind::NotFound, _) => "the folder does not exist; make it",
        (Address::Unix(_), ErrorKind::NotADirectory, _) => {
            "what should be its folder is none; choose another path"
        }
        (Address::Unix(_), ErrorKind::ReadOnlyFilesystem, _) => {
            "choose a path in a folder that can be written to"
        }
        (_, ErrorKind::AddrInUse, _) => {
            "another program, or another --listen, has that port; choose another port"
        }
        (_, ErrorKind::AddrNotAvailable, _) => "no interface of this machine has that address",
        (_, ErrorKind::PermissionDenied, _) => "this user may not; choose a port above 1023",
        (Address::LinkLocal { interface, .. }, _, Some(libc::ENODEV)) => {
            return format!(
                "there is no interface {interface} now; ip link shows those that there are"
            );
        }
        (_, _, Some(libc::ENODEV)) => {
            return "there is no interface of that number now; ip link shows those that there are"
                .to_owned();
        }
        (_, _, Some(libc::EAFNOSUPPORT)) => {
            "this system does not have that kind of address; choose another"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {way_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_and_what_nobody_knows_are_more_than_one_connections_errors() {
        use NotAccepted::{NobodyWaits, OneFailed, Shortage, Unknown};
        for (errors, meaning) in [
            (&[libc::EAGAIN, libc::EWOULDBLOCK][..], NobodyWaits),
            (
                &[
                    libc::ENETDOWN,
                    libc::EPROTO,
                    libc::ENOPROTOOPT,
                    libc::EHOSTDOWN,
                ],
                OneFailed,
            ),
            (
                &[
                    libc::ENONET,
                    libc::EHOSTUNREACH,
                    libc::EOPNOTSUPP,
                    libc::ENETUNREACH,
                ],
                OneFailed,
            ),
            (
                &[
                    libc::ECONNABORTED,
                    libc::EINTR,
                    libc::EPERM,
                    libc::ETIMEDOUT,
                ],
                OneFailed,
            ),
            (
                &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM],
                Shortage,
            ),
            (
                &[
                    libc::EINVAL,
                    libc::EBADF,
                    libc::ENOTSOCK,
                    libc::ENOSYS,
                    libc::EACCES,
                ],
                Unknown,
            ),
        ] {
            for &error in errors {
                let error = io::Error::from_raw_os_error(error);
                assert_eq!(NotAccepted::of(&error), meaning, "{error}");
            }
        }
        assert_eq!(NotAccepted::of(&io::Error::other("?")), Unknown);
    }

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
            // It is found out by a probe, by the second at the earliest; or by what is sent then.
            let probe = (2..).find(|n| *n * interval >= timeout).unwrap() * interval;
            assert!(probe + timeout < Duration::from_secs(idle.into()), "{idle}");
            watch(SockRef::from(&stream), None).unwrap();
            assert!(!socket.keepalive().unwrap());
            assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        }
    }
}
