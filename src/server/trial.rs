//! A program on trial: a child that looks at the state of this server, and says what it has understood.
//!
//! Whatever the program is and does, it costs this server nothing but a little time.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, WaitStatus, kill_process_group, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::{child, errand, program, signals};
use crate::net::inherited;

/// The most bytes of its output that are read.
const OUTPUT_BYTES_MAX: usize = 4096;
/// The most characters of it that are shown.
const SHOWN_CHARS_MAX: usize = 200;
/// How long a killed child may take until it is gone, in milliseconds.
const END_MAX_MS: u64 = 1000;
/// The status of a child that has executed nothing.
const NOT_EXECUTED: i32 = 127;

/// A program on trial.
pub struct Trial {
    child: Pid,
    /// Its input, which is at its end, and its output.
    stream: UnixStream,
    output: Vec<u8>,
    /// It can say nothing more.
    is_silent: bool,
    /// How it has ended.
    status: Option<WaitStatus>,
}

impl Trial {
    /// Starts a program that finds the state among its descriptors.
    ///
    /// # Errors
    ///
    /// When the system is out of descriptors, memory or processes.
    pub fn start(program: &File, state: &File) -> io::Result<Trial> {
        let (stream, its_end) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // What ends or wakes this server is not for the child, which is killed when it is time.
        signals::block();
        let child = child::start(NOT_EXECUTED, || be_tried(program, state, &its_end));
        signals::unblock();
        Ok(Trial {
            child: child?,
            stream,
            output: Vec::new(),
            is_silent: false,
            status: None,
        })
    }

    /// What to poll for more output; `None` if there is none to come.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_silent).then(|| self.stream.as_fd())
    }

    /// Reads what it has said, and looks whether it has ended. Returns whether there is nothing more to
    /// wait for.
    pub fn look(&mut self) -> bool {
        while !self.is_silent {
            let mut buffer = [0; 512];
            match self.stream.read(&mut buffer) {
                Ok(len) => {
                    self.output.extend_from_slice(&buffer[..len]);
                    self.is_silent = len == 0 || self.output.len() > OUTPUT_BYTES_MAX;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => self.is_silent = true,
            }
        }
        if self.output.len() > OUTPUT_BYTES_MAX {
            return true;
        }
        self.status = (self.status).or(child::status(self.child).unwrap_or_default());
        self.status.is_some()
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// A text for people, if it has not said exactly what was expected, and then ended.
    pub fn finish(self, expected: &str) -> Result<(), String> {
        let is_good = |status: WaitStatus| status.exit_status() == Some(0);
        if self.output == expected.as_bytes() && self.status.is_some_and(is_good) {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&self.output);
        let first_line = output.lines().next().unwrap_or_default();
        let said = match first_line {
            "" => String::new(),
            line => format!("; it said: {}", printable(line)),
        };
        Err(match self.status {
            None if self.output.len() > OUTPUT_BYTES_MAX => format!("it said too much{said}"),
            None => format!("it has not ended in time{said}"),
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(0), _) => format!("it has not understood the state{said}"),
                (Some(status), _) => format!("it ended with status {status}{said}"),
                (_, signal) => format!("signal {} ended it{said}", signal.unwrap_or_default()),
            },
        })
    }
}

impl Drop for Trial {
    /// Leaves nothing of it behind, unless the system does not let it end.
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = kill_process_group(self.child, Signal::KILL);
            child::kill(self.child, END_MAX_MS);
        }
    }
}

/// What the child does. Returns if it cannot execute the program.
fn be_tried(program: &File, state: &File, stream: &UnixStream) {
    // Its own children are in its group, and no terminal's signals reach it.
    let _ = setsid();
    program::be_dispensable();
    let streams = dup2_stdin(stream)
        .and_then(|()| dup2_stdout(stream))
        .and_then(|()| dup2_stderr(stream));
    if streams.is_ok() {
        inherited::pass_on(state, true);
        let error = program::execute(program, &errand::trial(state), true);
        let reason = match error.kind() {
            ErrorKind::NotFound => "it is a script, or lacks its interpreter".to_owned(),
            _ => error.to_string(),
        };
        let _ = { stream }.write_all(format!("cannot execute it: {reason}\n").as_bytes());
    }
}

/// The beginning of a text, without anything that a log should not show.
pub fn printable(text: &str) -> String {
    let shown = text.chars().take(SHOWN_CHARS_MAX);
    shown
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
