//! Sockets that listen already, which the service manager passes: sd_listen_fds(3).
//!
//! Errors are texts for people.

use std::env;
use std::os::fd::RawFd;
use std::process;

use socket2::{Domain, Socket, Type};

use crate::net::address::Address;
use crate::net::inherited;
use crate::net::listener::Listener;
use crate::net::variable::{Lookup, number};

/// The most sockets that can be passed.
const SOCKETS_MAX: u64 = 1024;
/// The first descriptor that is passed.
const FIRST_DESCRIPTOR: RawFd = 3;

/// A socket that was passed. It is checked and not yet changed: other processes may hold it too.
#[derive(Debug)]
pub struct PassedSocket {
    /// Where it listens.
    pub address: Address,
    socket: Socket,
}

/// Takes all sockets that were passed. This can be done only once.
///
/// # Errors
///
/// If the environment does not say properly how many there are, or if one of them is not a TCP or
/// Unix socket that listens.
pub fn take_all() -> Result<Vec<PassedSocket>, String> {
    let count = count(&|name| env::var_os(name), process::id())?;
    (0..count)
        .map(|index| {
            let number = FIRST_DESCRIPTOR + index as RawFd;
            take(number).ok_or_else(|| {
                format!(
                    "descriptor {number}, which LISTEN_FDS in the environment counts, is not a TCP \
                     or Unix socket that listens; in the socket unit, set ListenStream= and \
                     Accept=no"
                )
            })
        })
        .collect()
}

impl PassedSocket {
    /// Makes it a listener of this program; see [`Listener::adopt`].
    ///
    /// # Errors
    ///
    /// A text for people, if the system refuses.
    pub fn listen(self, buffer_bytes: usize) -> Result<Listener, String> {
        let address = self.address;
        Listener::adopt(self.socket, buffer_bytes)
            .map_err(|error| format!("cannot set up {address}, which was passed: {error}"))
    }
}

fn take(number: RawFd) -> Option<PassedSocket> {
    let socket = Socket::from(inherited::take(number)?);
    socket.set_cloexec(true).ok()?;
    let is_stream = socket.r#type().ok()? == Type::STREAM;
    let domains = [Domain::IPV4, Domain::IPV6, Domain::UNIX];
    let is_known = is_stream && domains.contains(&socket.domain().ok()?);
    if !is_known || !socket.is_listener().ok()? {
        return None;
    }
    let address = Address::of_socket(&socket).ok()?;
    Some(PassedSocket { address, socket })
}

fn count(lookup: Lookup<'_>, pid: u32) -> Result<usize, String> {
    // Variables that a parent has passed on were meant for the parent.
    if number(lookup, "LISTEN_PID", u32::MAX.into())? != Some(pid.into()) {
        return Ok(0);
    }
    let count = number(lookup, "LISTEN_FDS", SOCKETS_MAX)?;
    Ok(count.unwrap_or(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::variable::tests::within;

    #[test]
    fn sockets_are_for_the_process_that_is_named() {
        for (environment, expected) in [
            ("", 0),
            ("LISTEN_FDS=2", 0),
            ("LISTEN_PID=4711", 0),
            ("LISTEN_PID=4712 LISTEN_FDS=2", 0),
            ("LISTEN_PID=4712 LISTEN_FDS=x", 0),
            ("LISTEN_PID=4711 LISTEN_FDS=1", 1),
            ("LISTEN_FDS=1024 LISTEN_PID=4711", 1024),
        ] {
            assert_eq!(within(environment, count), Ok(expected), "{environment}");
        }
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named() {
        for (environment, variable) in [
            ("LISTEN_PID=x LISTEN_FDS=1", "LISTEN_PID=x "),
            (
                "LISTEN_PID=4294967296 LISTEN_FDS=1",
                "LISTEN_PID=4294967296 ",
            ),
            ("LISTEN_PID=4711 LISTEN_FDS=0", "LISTEN_FDS=0 "),
            ("LISTEN_PID=4711 LISTEN_FDS=1025", "LISTEN_FDS=1025 "),
        ] {
            let error = within(environment, count).unwrap_err();
            assert!(error.starts_with(variable), "{error}");
        }
    }
}
