//! `--upgrade`: asks a server to upgrade itself, and waits for what comes of it.
//!
//! The server answers on a socket that is named after its process. It answers whether or not anybody has
//! asked like this, and never waits.

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
use signal_hook::consts::{SIGBUS, SIGSEGV};
use socket2::{Domain, SockAddr, Socket, Type};

use super::signals::CAUGHT;

/// How many times to look whether the process is still there, before the wait is over.
const LOOKS: u32 = 120;
/// How long to wait between two looks, in milliseconds.
const LOOK_PAUSE_MS: i64 = 250;
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
    check_is_server(pid)?;
    let listener = SocketAddr::from_abstract_name(name(pid))
        .and_then(|address| UnixListener::bind_addr(&address))
        .map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                "somebody else is asking it already; look into its log".to_owned()
            }
            _ => format!("cannot set up a socket for the answer: {error}"),
        })?;
    let set = listener.set_nonblocking(true);
    set.map_err(|error| format!("cannot set up a socket for the answer: {error}"))?;
    kill_process(process, Signal::USR2).map_err(|error| match error {
        Errno::PERM => "this user may not send signals to it; be root, or its user".to_owned(),
        _ => format!("cannot send it a signal: {error}"),
    })?;
    match await_answer(&listener, process)? {
        answer if answer.starts_with(SUCCESS) => Ok(answer),
        refusal => Err(refusal),
    }
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

/// Checks that a process catches the signals that a server catches, and no others: one that is something
/// else might end.
fn check_is_server(pid: u32) -> Result<(), String> {
    // Those that the C library and the standard library keep for themselves do not count.
    const ORDINARY: u64 = ((1 << 31) - 1) & !set_of(&[SIGBUS, SIGSEGV]);
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such process".to_owned(),
        _ => format!("cannot look at it: {error}"),
    })?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
    match caught.map(|caught| caught & ORDINARY) == Some(set_of(&CAUGHT)) {
        true => Ok(()),
        false => Err(
            "this is not a chinwag, or one that cannot be upgraded like this; restart it"
                .to_owned(),
        ),
    }
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
    let pause = Timespec {
        tv_sec: 0,
        tv_nsec: LOOK_PAUSE_MS * 1_000_000,
    };
    for _ in 0..LOOKS {
        let mut asked = [PollFd::new(listener, PollFlags::IN)];
        let _ = poll(&mut asked, Some(&pause));
        while let Ok((mut stream, _)) = listener.accept() {
            // Anybody may connect.
            if socket_peercred(&stream).is_ok_and(|peer| peer.pid == process) {
                let mut answer = [0; ANSWER_BYTES_MAX];
                // The server sends its answer as a whole, and at once.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let read = stream.read(&mut answer);
                let len = read.map_err(|error| format!("cannot read its answer: {error}"))?;
                return Ok(String::from_utf8_lossy(&answer[..len]).into_owned());
            }
        }
        if test_kill_process(process) == Err(Errno::SRCH) {
            return Err("it has ended; look into its log".to_owned());
        }
    }
    Err("it has not answered in time; look into its log".to_owned())
}
