//! Where clients come from.

use crate::state::saved;
use core::net::{IpAddr, SocketAddr};
use std::fmt;

/// The other end of a connection, as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A program on this machine, through a Unix socket.
    Local {
        /// The user that runs it.
        user: u32,
    },
    /// An IPv4 address and a port.
    V4([u8; 4], u16),
    /// An IPv6 address and a port.
    V6([u8; 16], u16),
}

impl Peer {
    /// The peer at an address. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) counts as the
    /// IPv4 address.
    pub fn of(address: SocketAddr) -> Peer {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Peer::V4(ip.octets(), address.port()),
            IpAddr::V6(ip) => Peer::V6(ip.octets(), address.port()),
        }
    }

    /// The origin whose usage it counts towards.
    pub fn origin(&self) -> Origin {
        match *self {
            Peer::Local { .. } => Origin::Local,
            Peer::V4(ip, _) => Origin::V4(ip),
            Peer::V6([a, b, c, d, e, f, g, h, ..], _) => Origin::V6([a, b, c, d, e, f, g, h]),
        }
    }

    /// Its address without the port.
    pub fn address(&self) -> impl fmt::Display {
        PeerAddress(*self)
    }
}

/// A peer's address without its port.
struct PeerAddress(Peer);

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Peer::Local { .. } => f.write_str("a Unix socket"),
            Peer::V4(ip, _) => IpAddr::from(ip).fmt(f),
            Peer::V6(ip, _) => IpAddr::from(ip).fmt(f),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Peer::Local { .. } => f.write_str("a Unix socket"),
            Peer::V4(ip, port) => SocketAddr::from((ip, port)).fmt(f),
            Peer::V6(ip, port) => SocketAddr::from((ip, port)).fmt(f),
        }
    }
}

/// What the limits per address apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This machine, through a Unix socket: no limit applies.
    Local,
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address, which name one network (RFC 4291, section 2.5.4).
    V6([u8; 8]),
}

/// As the operator sees it: an IPv4 address, the network of an IPv6 address, or `-`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Origin::Local => f.write_str("-"),
            Origin::V4(address) => IpAddr::from(address).fmt(f),
            Origin::V6(network) => {
                let mut address = [0; 16];
                address[..network.len()].copy_from_slice(&network);
                write!(f, "{}/64", IpAddr::from(address))
            }
        }
    }
}

saved!(enum Peer { 0 = Local { user }, 1 = V4(address, port), 2 = V6(address, port) });
saved!(enum Origin { 0 = Local, 1 = V4(address), 2 = V6(network) });

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Origin = Origin::V4([192, 0, 2, 1]);

    #[test]
    fn an_ipv6_network_is_one_origin_and_so_is_an_ipv4_address_in_either_form() {
        let of = |address: &str| Peer::of(address.parse().unwrap()).origin();
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::2:0:0:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), HERE);
        for (address, shown) in [
            ("[2001:db8::1]:1", "2001:db8::/64"),
            ("[2001:db8:1:2:3::1]:1", "2001:db8:1:2::/64"),
            ("192.0.2.1:2", "192.0.2.1"),
        ] {
            assert_eq!(of(address).to_string(), shown);
        }
        assert_eq!(Peer::Local { user: 0 }.origin().to_string(), "-");
        assert_eq!(of("192.0.2.1:2"), HERE);
    }
}
