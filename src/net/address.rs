//! An address to listen on, as people write it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use socket2::Socket;

/// The longest path that fits into a Unix socket's address, in bytes.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 stands for any free one.
    Tcp(SocketAddr),
    /// A link-local address with the name of its interface. With a number it is a `Tcp`.
    LinkLocal {
        /// The address and the port.
        address: SocketAddrV6,
        /// The interface's name.
        interface: String,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::LinkLocal { address, interface } => {
                write!(f, "[{}%{interface}]:{}", address.ip(), address.port())
            }
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Reads an address as people write it.
    ///
    /// # Errors
    ///
    /// A text for people that says what is wrong with it.
    #[inline(never)]
    pub fn parse(text: &str) -> Result<Address, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return network_address(text).map_err(str::to_owned);
        };
        if path.is_empty() {
            return Err("the socket's path is missing".to_owned());
        }
        if path.len() > UNIX_PATH_BYTES_MAX {
            return Err(format!(
                "a socket's path has at most {UNIX_PATH_BYTES_MAX} bytes"
            ));
        }
        Ok(Address::Unix(path.into()))
    }

    /// The address that a socket is bound to, with the port that the system chose for port 0 and
    /// the interface's number. An IPv4 address is written like one, even if it is an IPv6 socket's.
    ///
    /// # Errors
    ///
    /// Those of the system, and if the socket has no address.
    pub fn of_socket(socket: &Socket) -> io::Result<Address> {
        let address = socket.local_addr()?;
        if let Some(mut ip) = address.as_socket() {
            ip.set_ip(ip.ip().to_canonical());
            return Ok(Address::Tcp(ip));
        }
        if let Some(path) = address.as_pathname() {
            return Ok(Address::Unix(path.to_owned()));
        }
        match address.as_abstract_namespace() {
            // People write a name that is not a file's like this.
            Some(name) => Ok(Address::Unix(
                OsString::from_vec([b"@", name].concat()).into(),
            )),
            None => Err(io::Error::other("the socket has no address")),
        }
    }

    /// Whether it is the address of a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }

    /// Its port, if it has one; 0 stands for any free one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Tcp(address) => Some(address.port()),
            Address::LinkLocal { address, .. } => Some(address.port()),
            Address::Unix(_) => None,
        }
    }

    /// Names the interface if the address that was asked for, `given`, does.
    pub fn written_like(self, given: &Address) -> Address {
        match (self, given) {
            (Address::Tcp(SocketAddr::V6(found)), Address::LinkLocal { interface, .. }) => {
                Address::LinkLocal {
                    address: SocketAddrV6::new(*found.ip(), found.port(), 0, 0),
                    interface: interface.clone(),
                }
            }
            (found, _) => found,
        }
    }

    /// Whether other machines may be able to reach it.
    pub fn is_on_network(&self) -> bool {
        match self {
            Address::Tcp(tcp) => !tcp.ip().is_loopback(),
            Address::LinkLocal { .. } => true,
            Address::Unix(_) => false,
        }
    }
}

fn network_address(text: &str) -> Result<Address, &'static str> {
    const UNKNOWN: &str = "this is not IP:PORT, [IPv6]:PORT or unix:/path; names are not looked \
                           up, so write an IP address and a port";
    let (address, interface) = match text.parse::<SocketAddr>() {
        Ok(address) => (address, None),
        Err(_) => {
            let (ip, rest) = text.split_once('%').ok_or(UNKNOWN)?;
            let (interface, port) = rest.rsplit_once("]:").ok_or(UNKNOWN)?;
            let address = format!("{ip}]:{port}").parse().map_err(|_| UNKNOWN)?;
            (address, Some(interface))
        }
    };
    let is_link_local = matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local());
    match (address, interface) {
        (SocketAddr::V6(v6), _) if v6.ip().to_ipv4_mapped().is_some() => {
            Err("this is an IPv4 address, so write it like one: 127.0.0.1:8255")
        }
        (SocketAddr::V6(v6), None) if is_link_local && v6.scope_id() == 0 => {
            Err("a link-local address needs its interface: [fe80::1%eth0]:8255")
        }
        (SocketAddr::V6(v6), None) if !is_link_local && v6.scope_id() != 0 => {
            Err("only an address that begins with fe80 has an interface")
        }
        (address, None) => Ok(Address::Tcp(address)),
        (_, Some(_)) if !is_link_local => {
            Err("only an address that begins with fe80 has an interface")
        }
        (SocketAddr::V6(address), Some(name)) if is_interface_name(name) => {
            Ok(Address::LinkLocal {
                address,
                interface: name.to_owned(),
            })
        }
        _ => Err("an interface's name has 1 to 15 bytes, and no space, colon or slash"),
    }
}

/// Whether an interface could have this name.
fn is_interface_name(name: &str) -> bool {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
    (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(is_bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Address {
        Address::Tcp(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_shown_as_it_was_given() {
        for text in ["0.0.0.0:0", "[::1]:8255", "[fe80::1%7]:1"] {
            assert_eq!(Address::parse(text), Ok(tcp(text)));
            assert_eq!(tcp(text).to_string(), text);
        }
        for text in [
            "unix:/run/chinwag",
            "unix:here",
            "[fe80::1%lo]:0",
            "[fe80::a:b%br-lan.2]:8255",
            "[fe80::1%q]]:1",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_paths_length_is_bounded() {
        let longest = "p".repeat(UNIX_PATH_BYTES_MAX);
        let parsed = Address::parse(&format!("unix:{longest}"));
        assert_eq!(parsed, Ok(Address::Unix(longest.clone().into())));
        let error = Address::parse(&format!("unix:{longest}p")).unwrap_err();
        assert!(error.contains("at most 107 bytes"), "{error}");
    }

    #[test]
    fn loopback_addresses_and_unix_sockets_are_not_on_a_network() {
        for (text, is_on_network) in [
            ("127.0.0.1:1", false),
            ("127.1.2.3:1", false),
            ("[::1]:1", false),
            ("unix:/s", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("192.0.2.1:1", true),
            ("[2001:db8::1]:1", true),
            ("[fe80::1%7]:1", true),
            ("[fe80::1%lo]:1", true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.is_on_network(), is_on_network, "{text}");
        }
    }

    #[test]
    fn an_error_says_what_an_address_looks_like() {
        for (text, said) in [
            ("", "IP:PORT"),
            ("nowhere", "IP:PORT"),
            ("localhost:8255", "not looked up"),
            ("127.0.0.1", "IP:PORT"),
            ("::1:8255x", "IP:PORT"),
            ("127.0.0.1:65536", "IP:PORT"),
            ("[::ffff:192.0.2.1]:1", "IPv4"),
            ("[fe80::1]:1", "%eth0"),
            ("[fe80::1%0]:1", "%eth0"),
            ("[::1%1]:1", "fe80"),
            ("[::1%lo]:1", "fe80"),
            ("[fe80::1%]:1", "name"),
            ("[fe80::1%..]:1", "name"),
            ("[fe80::1%a/b]:1", "name"),
            ("[fe80::1%1234567890123456]:1", "name"),
            ("[fe80::1%lo]:x", "IP:PORT"),
            ("fe80::1%lo:1", "IP:PORT"),
            ("127.0.0.1%lo]:1", "IP:PORT"),
            ("unix:", "missing"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(said), "{text:?} gives {error:?}");
        }
    }
}
