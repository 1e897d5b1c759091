//! The sockets that connections are accepted from.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV6};

use mio::event::Source;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, SockRef, Socket, Type};

use crate::chat::Peer;
use crate::net::address::Address;
use crate::net::stream::Stream;
use crate::net::unix_socket::UnixSocket;

/// How many connections the system may hold that were not accepted yet; it has its own bound too.
const BACKLOG: i32 = 4096;

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

    /// Takes a TCP or Unix socket that listens already. Its file is another's, and stays. For the
    /// connections that come from now on, the system keeps as much as [`bind`](Self::bind) says.
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
        match self {
            Listener::Tcp(listener, _) => Address::of_socket(&SockRef::from(listener)),
            Listener::Unix(socket, _) => Address::of_socket(&SockRef::from(&socket.listener)),
        }
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
    /// What [`NotAccepted`](crate::net::accept_error::NotAccepted) tells apart.
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
