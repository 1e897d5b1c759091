//! Reports to the service manager that has started the server, if one has: sd_notify(3) and
//! sd_watchdog_enabled(3).
//!
//! It never keeps the server waiting. The loop asks for the next deadline, and calls at the end of
//! each turn. Errors are texts for people.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::variable::{Lookup, number};
use crate::plural::count;
use crate::time::{Millis, Now};

/// The shortest time between two reports, except to the watchdog.
const REPORT_PAUSE: Millis = Millis(1000);
/// The time between two signs of life, if the manager wants them: half of the time that it waits.
fn watchdog_interval(lookup: Lookup<'_>, pid: u32) -> Result<Option<Millis>, String> {
    let micros = number(lookup, "WATCHDOG_USEC", u64::MAX - 1)?;
    let watched = number(lookup, "WATCHDOG_PID", u32::MAX.into())?;
    let is_watched = watched.is_none_or(|watched| watched == pid.into());
    let interval = |micros: u64| Millis((micros / 2000).max(1));
    Ok(micros.filter(|_| is_watched).map(interval))
}

/// What the service manager shows of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Connections open now.
    pub connections: usize,
    /// Sessions now.
    pub sessions: usize,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = count(self.connections as u64, "connection");
        let sessions = count(self.sessions as u64, "session");
        write!(f, "{connections}, {sessions}")
    }
}

/// The service manager, and what it knows of the server.
pub struct ServiceManager {
    socket: Socket,
    address: SockAddr,
    /// It knows that the server is ready.
    knows_ready: bool,
    /// The status now; none before the first turn.
    status: Option<Status>,
    /// The status that it knows.
    known_status: Option<Status>,
    /// The next status is not reported before this time.
    report_at: Millis,
    watchdog: Option<Watchdog>,
}

/// It wants signs of life.
struct Watchdog {
    interval: Millis,
    due: Millis,
}

impl ServiceManager {
    /// The one that the environment names, if it names one. A useless address causes a warning.
    ///
    /// # Errors
    ///
    /// If a variable of the watchdog makes no sense.
    pub fn from_env() -> Result<Option<ServiceManager>, String> {
        let lookup = |name: &str| env::var_os(name);
        let interval = watchdog_interval(&lookup, process::id())?;
        let name = lookup("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let Some(name) = name else {
            return Ok(None);
        };
        let manager = ServiceManager::new(name.as_bytes(), interval);
        if let Err(error) = &manager {
            let name = name.to_string_lossy();
            log::warn!(
                "NOTIFY_SOCKET={name}: {error}; nothing will be reported to the service manager"
            );
        }
        Ok(manager.ok())
    }

    fn new(name: &[u8], interval: Option<Millis>) -> io::Result<ServiceManager> {
        let path = match name {
            // For the system an abstract name begins with a zero in place of the @.
            [b'@', name @ ..] => [b"\0", name].concat(),
            [b'/', ..] => name.to_owned(),
            _ => return Err(io::Error::other("this is neither /path nor @name")),
        };
        let address = SockAddr::unix(OsStr::from_bytes(&path))?;
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(ServiceManager {
            socket,
            address,
            knows_ready: false,
            status: None,
            known_status: None,
            report_at: Millis(0),
            watchdog: interval.map(|interval| Watchdog {
                interval,
                due: Millis(0),
            }),
        })
    }

    /// When the next report is due; none while nothing changes and no watchdog waits.
    pub fn next_deadline(&self) -> Option<Millis> {
        let status = (self.known_status != self.status).then_some(self.report_at);
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.due);
        status.into_iter().chain(watchdog).min()
    }

    /// Reports what is due. A change soon after a report waits, so that a busy server does not keep
    /// its manager busy; the last change is always reported in the end.
    pub fn turn(&mut self, status: Status, now: Now) {
        self.status = Some(status);
        if self.next_deadline().is_none_or(|due| due > now.past) {
            return;
        }
        let ready = if self.knows_ready { "" } else { "READY=1\n" };
        let alive = self.watchdog.as_ref().map_or("", |_| "WATCHDOG=1\n");
        let result = self.send(&format!("{ready}STATUS={status}\n{alive}"));
        let is_worth_repeating = result.is_err_and(|kind| match kind {
            // It is behind with reading, or the system has no memory just now.
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => true,
            // It is gone, and will be gone in a second.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => false,
            // Among these is ENOBUFS; it has to learn that the server is ready.
            _ => !self.knows_ready,
        });
        if is_worth_repeating {
            self.known_status = None;
        } else {
            self.knows_ready = true;
            self.known_status = Some(status);
        }
        self.report_at = now.at + REPORT_PAUSE;
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.due = now.at + watchdog.interval;
        }
    }

    /// Reports that the server is ending.
    pub fn stopping(&self) {
        let _ = self.send("STOPPING=1\nSTATUS=saying goodbye\n");
    }

    fn send(&self, text: &str) -> Result<(), io::ErrorKind> {
        let sent = self.socket.send_to(text.as_bytes(), &self.address);
        sent.map(drop).map_err(|error| {
            let level = match self.knows_ready {
                true => log::Level::Debug,
                false => log::Level::Warn,
            };
            log::log!(level, "cannot reach the service manager: {error}");
            error.kind()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;
    use crate::net::variable::tests::within;

    #[test]
    fn the_watchdog_is_shown_two_signs_of_life_in_its_time() {
        for (environment, millis) in [
            ("", None),
            ("WATCHDOG_PID=4711", None),
            ("WATCHDOG_USEC=30000000", Some(15_000)),
            ("WATCHDOG_USEC=30000000 WATCHDOG_PID=4711", Some(15_000)),
            ("WATCHDOG_USEC=30000000 WATCHDOG_PID=4712", None),
            ("WATCHDOG_USEC=1", Some(1)),
            ("WATCHDOG_USEC=18446744073709551614", Some(u64::MAX / 2000)),
        ] {
            let expected = Ok(millis.map(Millis));
            assert_eq!(
                within(environment, watchdog_interval),
                expected,
                "{environment}"
            );
        }
    }

    #[test]
    fn a_variable_of_the_watchdog_that_makes_no_sense_is_named() {
        for (environment, variable) in [
            ("WATCHDOG_USEC=0", "WATCHDOG_USEC=0 "),
            (
                "WATCHDOG_USEC=18446744073709551615",
                "WATCHDOG_USEC=18446744073709551615 ",
            ),
            ("WATCHDOG_USEC=1 WATCHDOG_PID=x", "WATCHDOG_PID=x "),
            (
                "WATCHDOG_USEC=1 WATCHDOG_PID=4294967296",
                "WATCHDOG_PID=4294967296 ",
            ),
        ] {
            let error = within(environment, watchdog_interval).unwrap_err();
            assert!(error.starts_with(variable), "{error}");
        }
    }

    /// The socket of a service manager, and the server's side of it.
    struct Stage {
        name: Vec<u8>,
        socket: UnixDatagram,
        manager: ServiceManager,
    }

    impl Stage {
        fn new(test: &str, watchdog: Option<Millis>) -> Stage {
            let name = format!("@chinwag-test-{}-{test}", process::id()).into_bytes();
            let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            socket.set_nonblocking(true).unwrap();
            let manager = ServiceManager::new(&name, watchdog).unwrap();
            Stage {
                name,
                socket,
                manager,
            }
        }

        fn turn(&mut self, connections: usize, at: u64) {
            let status = Status {
                connections,
                sessions: 0,
            };
            self.manager.turn(status, Now::exactly(Millis(at), 0));
        }

        fn received(&self) -> Option<String> {
            let mut buffer = [0; 1024];
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
        }

        /// Expects what was reported, and when the next report is due.
        fn expect(&self, told: Option<&str>, deadline: Option<u64>) {
            assert_eq!(self.received().as_deref(), told);
            assert_eq!(self.received(), None);
            assert_eq!(self.manager.next_deadline(), deadline.map(Millis));
        }
    }

    #[test]
    fn changes_are_told_in_the_end_and_once_a_second_at_most() {
        let mut stage = Stage::new("changes", None);
        stage.turn(0, 5);
        stage.expect(Some("READY=1\nSTATUS=0 connections, 0 sessions\n"), None);
        stage.turn(0, 5000);
        stage.expect(None, None);
        stage.turn(1, 5001);
        stage.expect(Some("STATUS=1 connection, 0 sessions\n"), None);
        for connections in 2..10 {
            stage.turn(connections, 5002);
            stage.expect(None, Some(6001));
        }
        stage.turn(9, 6000);
        stage.expect(None, Some(6001));
        stage.turn(9, 6001);
        stage.expect(Some("STATUS=9 connections, 0 sessions\n"), None);
        // A connection that has gone again by then is never reported.
        stage.turn(10, 6002);
        stage.expect(None, Some(7001));
        stage.turn(9, 6003);
        stage.expect(None, None);
        stage.manager.stopping();
        stage.expect(Some("STOPPING=1\nSTATUS=saying goodbye\n"), None);
    }

    #[test]
    fn a_watchdog_is_shown_signs_of_life_though_nothing_happens() {
        let mut stage = Stage::new("watchdog", Some(Millis(15_000)));
        let status = "STATUS=0 connections, 0 sessions\nWATCHDOG=1\n";
        stage.turn(0, 5);
        stage.expect(Some(&format!("READY=1\n{status}")), Some(15_005));
        stage.turn(0, 15_004);
        stage.expect(None, Some(15_005));
        stage.turn(0, 15_005);
        stage.expect(Some(status), Some(30_005));
    }

    #[test]
    fn a_manager_that_is_behind_is_told_later() {
        let mut stage = Stage::new("behind", Some(Millis(15_000)));
        let mut at = 0;
        let mut connections = 0;
        while stage.manager.known_status.is_some() || at == 0 {
            (at, connections) = (at + 1000, connections + 1);
            stage.turn(connections, at);
        }
        assert_eq!(stage.manager.next_deadline(), Some(Millis(at + 1000)));
        while stage.received().is_some() {}
        stage.turn(connections, at + 1000);
        let status = format!("STATUS={connections} connections, 0 sessions\nWATCHDOG=1\n");
        stage.expect(Some(&status), Some(at + 16_000));
    }

    #[test]
    fn a_manager_that_has_not_heard_that_the_server_is_ready_is_told_again() {
        let mut stage = Stage::new("ready", None);
        // From many senders: the buffer of a single one may be smaller than the queue.
        let send_one = || ServiceManager::new(&stage.name, None).unwrap().send("");
        while send_one().is_ok() {}
        stage.turn(0, 0);
        assert_eq!(stage.manager.next_deadline(), Some(Millis(1000)));
        while stage.received().is_some() {}
        stage.turn(0, 1000);
        stage.expect(Some("READY=1\nSTATUS=0 connections, 0 sessions\n"), None);
    }

    #[test]
    fn a_manager_that_is_gone_keeps_nobody_awake() {
        let Stage {
            socket,
            mut manager,
            ..
        } = Stage::new("gone", None);
        drop(socket);
        let status = |connections| Status {
            connections,
            sessions: 0,
        };
        manager.turn(status(0), Now::exactly(Millis(0), 0));
        assert_eq!(manager.next_deadline(), None);
        manager.turn(status(1), Now::exactly(Millis(5000), 0));
        assert_eq!(manager.next_deadline(), None);
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        for name in ["chat", "vsock:2:1234", "~/socket"] {
            assert!(
                ServiceManager::new(name.as_bytes(), None).is_err(),
                "{name}"
            );
        }
        let too_long = format!("/{}", "p".repeat(108));
        assert!(ServiceManager::new(too_long.as_bytes(), None).is_err());
        for name in ["/run/notify", "@notify"] {
            ServiceManager::new(name.as_bytes(), None).unwrap();
        }
    }
}
