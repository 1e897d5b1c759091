//! `--upgrade`: asks a server to upgrade itself, and waits for what comes of it.
//!
//! The server answers on a socket that is named after its process. It answers whether or not anybody has
//! asked like this, and never waits. Anybody can take that name before: then it shows in the process
//! whether another program has taken the old one's place.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use signal_hook::consts::{SIGBUS, SIGSEGV, SIGUSR1};
use socket2::{Domain, SockAddr, Socket, Type};

use super::clock::SystemClock;
use super::signals::CAUGHT;
use crate::time::{Clock, Millis};

/// How long to wait for the answer.
const ANSWER_MAX: Millis = Millis(30_000);
/// How long to wait between two looks.
const LOOK_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};
/// How the answer begins if the upgrade has succeeded.
const SUCCESS: &str = "upgraded ";
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// Asks the server that is the process `pid`. Returns what it says of its upgrade.
///
/// # Errors
///
/// A text for people, if there is no upgrade, or no answer.
pub fn ask(pid: u32) -> Result<String, String> {
    let about = |text: String| format!("--upgrade {pid}: {text}");
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(process) = raw else {
        return Err(about("there is no such process".to_owned()));
    };
    ask_process(process).map_err(about)
}

fn ask_process(process: Pid) -> Result<String, String> {
    let pid = process.as_raw_nonzero().get() as u32;
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such process".to_owned(),
        _ => format!("cannot look at it: {error}"),
    })?;
    if !is_server(&status) {
        return Err(
            "this is not a chinwag, or one that cannot be upgraded like this; restart it"
                .to_owned(),
        );
    }
    let listener = match listen(own_number(&status).unwrap_or(pid)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        result => {
            let error = |error| format!("cannot set up a socket for the answer: {error}");
            Some(result.map_err(error)?)
        }
    };
    let before = program_mark(pid);
    if listener.is_none() && before.is_empty() {
        return Err(
            "somebody else is asking it already, and this user cannot see what comes of it; be root"
                .to_owned(),
        );
    }
    kill_process(process, Signal::USR2).map_err(|error| match error {
        Errno::PERM => "this user may not send signals to it; be root, or its user".to_owned(),
        _ => format!("cannot send it a signal: {error}"),
    })?;
    let answer = match &listener {
        Some(listener) => await_answer(listener, process)?,
        None => await_change(process, &before)?,
    };
    match answer.starts_with(SUCCESS) {
        true => Ok(answer),
        false => Err(answer),
    }
}

/// Listens for the answer of the server that goes by the number `pid`.
fn listen(pid: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name(pid))?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What no two programs that a process runs have in common, because the system places each elsewhere in
/// memory; empty if this user may not see it.
fn program_mark(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default()
}

/// Sends what has come of an upgrade to whoever has asked for it, if anybody listens.
pub fn answer(text: &str) {
    let name = format!("\0{}", name(process::id()));
    let send = || -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(name)?)?;
        socket.send(text.as_bytes())?;
        Ok(())
    };
    let _ = send();
}

fn name(pid: u32) -> String {
    format!("chinwag-upgrade-{pid}")
}

/// The number that a process itself goes by, from its status: in a container, or in a jail of OpenWrt, it
/// is another one than outside. `None` before Linux 4.1, which does not tell.
fn own_number(status: &str) -> Option<u32> {
    field(status, "NSpid:")?
        .split_whitespace()
        .last()?
        .parse()
        .ok()
}

/// Whether a process catches the signals that a server catches, and no others, according to its status: one
/// that is something else might end.
fn is_server(status: &str) -> bool {
    // Those that the C library and the standard library keep for themselves do not count. Another release
    // may not catch SIGUSR1.
    const ORDINARY: u64 = ((1 << 31) - 1) & !set_of(&[SIGBUS, SIGSEGV, SIGUSR1]);
    let caught = field(status, "SigCgt:");
    let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
    caught.is_some_and(|caught| caught & ORDINARY == set_of(&CAUGHT) & ORDINARY)
}

/// The value of a field in a process's status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

/// Signals as the system shows them: a bit for each.
const fn set_of(signals: &[i32]) -> u64 {
    let mut set = 0;
    let mut index = 0;
    while index < signals.len() {
        set |= 1 << (signals[index] - 1);
        index += 1;
    }
    set
}

fn await_answer(listener: &UnixListener, process: Pid) -> Result<String, String> {
    watch(process, Some(listener), || {
        while let Ok((mut stream, _)) = listener.accept() {
            // Anybody may connect.
            if socket_peercred(&stream).is_ok_and(|peer| peer.pid == process) {
                let mut answer = [0; ANSWER_BYTES_MAX];
                // The server sends its answer as a whole, and at once.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let read = stream.read(&mut answer);
                let answer = read.map(|len| String::from_utf8_lossy(&answer[..len]).into_owned());
                return Some(answer.map_err(|error| format!("cannot read its answer: {error}")));
            }
        }
        None
    })
}

/// Waits until the process runs another program than the one with the mark `before`.
fn await_change(process: Pid, before: &[u8]) -> Result<String, String> {
    let pid = process.as_raw_nonzero().get() as u32;
    watch(process, None, || {
        let mark = program_mark(pid);
        (!mark.is_empty() && mark != before).then(|| {
            Ok(format!(
                "{SUCCESS}(its log says more: somebody else listens for its answer)"
            ))
        })
    })
}

/// Looks again and again, and whenever somebody connects, for what has come of it.
fn watch(
    process: Pid,
    listener: Option<&UnixListener>,
    mut look: impl FnMut() -> Option<Result<String, String>>,
) -> Result<String, String> {
    let clock = SystemClock::start();
    while clock.now().past < ANSWER_MAX {
        let mut asked: Vec<_> = listener
            .iter()
            .map(|listener| PollFd::new(listener, PollFlags::IN))
            .collect();
        let _ = poll(&mut asked, Some(&LOOK_PAUSE));
        if let Some(result) = look() {
            return result;
        }
        if test_kill_process(process) == Err(Errno::SRCH) {
            return Err("it has ended; look into its log".to_owned());
        }
    }
    Err("it has not answered in time; look into its log".to_owned())
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2};

    use super::*;

    #[test]
    fn the_number_that_a_process_goes_by_is_the_innermost() {
        for (status, number) in [
            ("Pid:\t12\nNSpid:\t12\nSigCgt:\t0\n", Some(12)),
            ("Pid:\t4711\nNSpid:\t4711\t25\t1\n", Some(1)),
            ("Pid:\t12\nPPid:\t1\n", None),
            ("NSpid:\n", None),
            ("NSpid:\tx\n", None),
            ("", None),
        ] {
            assert_eq!(own_number(status), number, "{status:?}");
        }
    }

    #[test]
    fn a_server_catches_its_signals_and_no_others() {
        // SEGV and BUS do not count, nor does what the C library has above 31.
        let server = set_of(&[SIGHUP, SIGINT, SIGUSR2, SIGTERM]);
        let library = set_of(&[SIGBUS, SIGSEGV]);
        for (caught, is) in [
            (server, true),
            (server | library, true),
            (server | library | set_of(&[33]), true),
            (server | set_of(&[SIGUSR1]), true),
            (server | library | set_of(&[SIGUSR1]), true),
            (server & !set_of(&[SIGUSR2]), false),
            (server & !set_of(&[SIGUSR2]) | set_of(&[SIGUSR1]), false),
            (set_of(&[SIGUSR2]), false),
            (server | set_of(&[SIGCHLD]), false),
            (0, false),
        ] {
            // MIPS has twice as many signals.
            for shown in [format!("{caught:016x}"), format!("{caught:032x}")] {
                let status = format!("Name:\ta\nSigCgt:\t{shown}\n");
                assert_eq!(is_server(&status), is, "{status}");
            }
        }
        assert!(!is_server("Name:\ta\nSigCgt:\tx\n"));
        assert!(!is_server("Name:\ta\n"));
    }
}
