//! Making connections, each from a port that is chosen here: when half of a machine's ports are
//! taken, Linux looks through that half again for each further connection, which is slower than
//! all that a server does for one.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpStream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Descriptors beside those of connections.
const DESCRIPTORS_BESIDE: usize = 32;
/// The ports that programs may take, if the system does not tell.
const PORTS: (u16, u16) = (32_768, 60_999);

/// Makes connections to one address.
pub struct Dialer {
    address: SocketAddr,
    /// The ports that connections come from: the first and how many there are.
    first: u16,
    count: u16,
    /// How many of them were looked at, from a random one on.
    looked_at: u16,
    start: u16,
}

impl Dialer {
    /// For connections to `address`, from somewhere among the ports.
    pub fn new(address: SocketAddr, random: u32) -> Dialer {
        let (first, last) = port_range().unwrap_or(PORTS);
        let count = (last - first).max(1);
        Dialer {
            address,
            first,
            count,
            looked_at: 0,
            start: (random % u32::from(count)) as u16,
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn dial(&mut self) -> Result<TcpStream, String> {
        self.try_dial().map_err(|error| {
            let way_out = match error.kind() {
                ErrorKind::AddrNotAvailable => {
                    ": all ports of this machine are taken; wait for a minute if there were many \
                     connections before, or see /proc/sys/net/ipv4/ip_local_port_range"
                }
                _ => "",
            };
            format!("cannot connect to {}: {error}{way_out}", self.address)
        })
    }

    fn try_dial(&mut self) -> io::Result<TcpStream> {
        loop {
            let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            let is_bound = self.bind(&socket)?;
            match socket.connect(&self.address.into()) {
                // That port has a connection to that very address.
                Err(error) if is_bound && error.kind() == ErrorKind::AddrNotAvailable => {}
                Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
                _ => return Ok(TcpStream::from_std(socket.into())),
            }
        }
    }

    /// Binds the next port that is free. If there is none, it is left to the system to find one
    /// that has connections to other addresses alone.
    fn bind(&mut self, socket: &Socket) -> io::Result<bool> {
        let any: IpAddr = match self.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        while self.looked_at < self.count {
            let place = (u32::from(self.start) + u32::from(self.looked_at)) % u32::from(self.count);
            self.looked_at += 1;
            let port = self.first + place as u16;
            match socket.bind(&SocketAddr::from((any, port)).into()) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                result => return result.map(|()| true),
            }
        }
        Ok(false)
    }
}

/// The error of a connection that is being made.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// The ports that programs may take.
fn port_range() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    let range = (first.parse().ok()?, last.trim().parse().ok()?);
    (range.0 < range.1).then_some(range)
}

/// The address of a host and a port.
///
/// # Errors
///
/// A text for people.
pub fn resolve(address: &str) -> Result<SocketAddr, String> {
    let found = address.to_socket_addrs().map(|mut found| found.next());
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("--addr {address}: there is no such host")),
        Err(error) => Err(format!("--addr {address}: {error}")),
    }
}

/// Sees that as many connections can be open.
///
/// # Errors
///
/// A text for people.
pub fn raise_descriptors(connections: usize) -> Result<(), String> {
    let needed = (connections + DESCRIPTORS_BESIDE) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum.map(|hard| hard.max(needed)),
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        let hard = limit.maximum.unwrap_or(u64::MAX);
        format!(
            "{connections} connections take {needed} open files, and the system allows {hard} \
             ({error}); raise that as root with: ulimit -Hn {needed}; or give fewer connections"
        )
    })
}
