//! The sockets that connections are accepted from.

use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mio::event::Source;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockRef, Socket, Type};

use crate::chat::Peer;
use crate::net::address::Address;
use crate::net::inherited;
use crate::net::stream::Stream;
use crate::net::unix_socket::{SocketFile, UnixSocket};
use crate::state::saved;

/// How many connections may wait to be accepted; the system has its own limit too.
const BACKLOG: i32 = 4096;

/// A socket that connections are accepted from.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp {
        /// The socket.
        socket: TcpListener,
        /// The size of each connection's buffers, if connections may have arrived before the
        /// listener was set up, from which they inherit it.
        buffer_bytes: Option<usize>,
    },
    /// A Unix socket, from which connections inherit no size.
    Unix {
        /// The socket.
        socket: UnixSocket,
        /// The size of each connection's buffer.
        buffer_bytes: usize,
    },
}

/// What one program tells the next of a listener.
#[derive(Debug)]
pub struct SavedListener {
    descriptor: u32,
    file: Option<SocketFile>,
}

saved!(struct SavedListener { descriptor, file });

impl Listener {
    /// Binds an address and listens there. For each direction of a connection the system keeps at
    /// most `buffer_bytes`, and as much again for its own bookkeeping. A Unix socket's file gets the
    /// permissions `socket_mode`, or else those that the umask leaves.
    ///
    /// # Errors
    ///
    /// A text for people: the address, the reason, and the way out.
    pub fn bind(
        address: &Address,
        buffer_bytes: usize,
        socket_mode: Option<u32>,
    ) -> Result<Listener, String> {
        match address {
            Address::Tcp(ip) => Self::bind_tcp(*ip, address, buffer_bytes),
            Address::LinkLocal {
                address: ip,
                interface,
            } => index_of(interface).and_then(|index| {
                let ip = SocketAddrV6::new(*ip.ip(), ip.port(), 0, index);
                Self::bind_tcp(ip.into(), address, buffer_bytes)
            }),
            Address::Unix(path) => {
                let socket = UnixSocket::bind(path, socket_mode, BACKLOG);
                socket.map(|socket| Listener::Unix {
                    socket,
                    buffer_bytes,
                })
            }
        }
        .map_err(|error| format!("cannot listen on {address}: {}", explain(address, &error)))
    }

    fn bind_tcp(address: SocketAddr, shown: &Address, buffer_bytes: usize) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A restarted server gets its port back, even while old connections linger.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]` leaves IPv4 to `0.0.0.0`, so both can be listened on.
            socket.set_only_v6(true)?;
        }
        set_up(&socket, buffer_bytes)?;
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
        Ok(Listener::Tcp {
            socket: TcpListener::from_std(socket.into()),
            buffer_bytes: None,
        })
    }

    /// Takes over a TCP or Unix socket that listens already. Its file belongs to somebody else, and
    /// stays. Connections that are accepted from now on have the buffers that [`bind`](Self::bind)
    /// gives them.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn adopt(socket: Socket, buffer_bytes: usize) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        if socket.domain()? == Domain::UNIX {
            let socket = UnixSocket::adopt(socket, None);
            return Ok(Listener::Unix {
                socket,
                buffer_bytes,
            });
        }
        set_up(&socket, buffer_bytes)?;
        Ok(Listener::Tcp {
            socket: TcpListener::from_std(socket.into()),
            buffer_bytes: Some(buffer_bytes),
        })
    }

    /// Goes on with a listener of the program in whose place this one runs. If `is_passed`, the service
    /// manager had passed it to that; see [`adopt`](Self::adopt).
    ///
    /// # Errors
    ///
    /// Those of the system. The socket stays open.
    pub fn go_on(
        saved: SavedListener,
        is_passed: bool,
        buffer_bytes: usize,
    ) -> io::Result<Listener> {
        let descriptor = inherited::take(saved.descriptor as RawFd);
        let descriptor = descriptor.ok_or(ErrorKind::NotFound)?;
        let domain = SockRef::from(&descriptor).domain();
        // What is owned by now is leaked if that fails.
        let socket = ManuallyDrop::new(Socket::from(descriptor));
        let socket = match domain? {
            Domain::UNIX => Listener::Unix {
                socket: UnixSocket::adopt(ManuallyDrop::into_inner(socket), saved.file),
                buffer_bytes,
            },
            _ => Listener::Tcp {
                socket: TcpListener::from_std(ManuallyDrop::into_inner(socket).into()),
                buffer_bytes: is_passed.then_some(buffer_bytes),
            },
        };
        Ok(socket)
    }

    /// What the program that takes this one's place needs to go on with the listener.
    pub fn to_saved(&self) -> SavedListener {
        SavedListener {
            descriptor: self.as_fd().as_raw_fd() as u32,
            file: match self {
                Listener::Tcp { .. } => None,
                Listener::Unix { socket, .. } => socket.file.clone(),
            },
        }
    }

    /// The address that it listens on; see [`Address::of_socket`].
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp { socket, .. } => Address::of_socket(&SockRef::from(socket)),
            Listener::Unix { socket, .. } => Address::of_socket(&SockRef::from(&socket.listener)),
        }
    }

    /// Registers it with the poll, which reports new connections from now on.
    ///
    /// # Errors
    ///
    /// When the system is out of memory.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => socket.register(registry, token, Interest::READABLE),
            Listener::Unix { socket, .. } => {
                socket
                    .listener
                    .register(registry, token, Interest::READABLE)
            }
        }
    }

    /// Accepts the next connection, and says where it comes from.
    ///
    /// # Errors
    ///
    /// Those that [`NotAccepted`](crate::net::accept_error::NotAccepted) sorts.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp {
                socket,
                buffer_bytes,
            } => {
                let (stream, address) = socket.accept()?;
                if let Some(buffer_bytes) = buffer_bytes {
                    // A client can chat even if this fails.
                    let _ = set_up(&SockRef::from(&stream), *buffer_bytes);
                }
                Ok((Stream::Tcp(stream), Peer::of(address)))
            }
            Listener::Unix {
                socket,
                buffer_bytes,
            } => {
                let (stream, _) = socket.listener.accept()?;
                // A Unix socket has no buffer for what it receives.
                let _ = SockRef::from(&stream).set_send_buffer_size(*buffer_bytes);
                // Linux knows this of every Unix socket that is connected.
                let user = socket_peercred(&stream)?.uid.as_raw();
                Ok((Stream::Unix(stream), Peer::Local { user }))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp { socket, .. } => socket.as_fd(),
            Listener::Unix { socket, .. } => socket.listener.as_fd(),
        }
    }
}

/// Binds an address that no interface has yet, as happens while the machine starts.
fn bind_early(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.is_ipv6() {
        true => socket.set_freebind_v6(true)?,
        false => socket.set_freebind_v4(true)?,
    }
    socket.bind(&address.into())
}

/// The number of the interface that has this name now.
pub(crate) fn index_of(interface: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    Ok(name_to_index(&socket, interface)?)
}

/// Sets what connections inherit from their listener.
fn set_up(socket: &Socket, buffer_bytes: usize) -> io::Result<()> {
    socket.set_send_buffer_size(buffer_bytes)?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_tcp_nodelay(true)?;
    // Telnet marks an interrupt with an urgent byte, which belongs in its place in the stream.
    socket.set_out_of_band_inline(true)
}

/// An error with the way out, if one is known.
fn explain(address: &Address, error: &io::Error) -> String {
    let way_out = match (address, error.kind(), error.raw_os_error()) {
        (Address::Unix(_), ErrorKind::AddrInUse, _) => {
            "another program has just made a file there; choose another path"
        }
        (Address::Unix(_), ErrorKind::PermissionDenied, _) => {
            "this user may not make it; choose a path in a folder of its own"
        }
        (_, ErrorKind::AddrInUse, _) => {
            "another program, or another --listen, has that port; choose another port"
        }
        (_, ErrorKind::AddrNotAvailable, _) => "no interface of this machine has that address",
        (_, ErrorKind::PermissionDenied, _) => {
            "this user may not use that port; choose one above 1023"
        }
        (Address::LinkLocal { interface, .. }, _, Some(libc::ENODEV)) => {
            return format!("there is no interface {interface} now; ip link lists those there are");
        }
        (_, _, Some(libc::ENODEV)) => {
            return "there is no interface with that number now; ip link lists those there are"
                .to_owned();
        }
        (_, _, Some(libc::EAFNOSUPPORT)) => {
            "this system does not support that kind of address; choose another"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {way_out}")
}
