//! Children of this process: copies of it that do one thing and end.

use std::io;

use rustix::event::{Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process,
    set_parent_process_death_signal, waitpid,
};

/// Makes a child that does its work, and then ends with a status; a panic ends it, too. It is killed when
/// this process ends: nobody else would end it.
///
/// # Errors
///
/// When the system is out of memory or processes.
#[expect(unsafe_code, reason = "no dependency has this call without it")]
pub fn start(status: i32, work: impl FnOnce()) -> io::Result<Pid> {
    let parent = getpid();
    // SAFETY: the handler is no function. Whoever has started this process may have had it ignore the ends
    // of children, and then nobody would learn how they have ended.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    // SAFETY: this process has a single thread, so that its child may do whatever it may do itself.
    let number = unsafe { libc::fork() };
    if number == 0 {
        let end = End(status);
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have ended before that.
        if getppid() == Some(parent) {
            work();
        }
        drop(end);
    }
    match Pid::from_raw(number) {
        Some(child) if number > 0 => Ok(child),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How a child has ended; `None` if it has not.
///
/// # Errors
///
/// If there is no such child any more.
pub fn status(child: Pid) -> io::Result<Option<WaitStatus>> {
    let ended = retry_on_intr(|| waitpid(Some(child), WaitOptions::NOHANG))?;
    Ok(ended.map(|(_, status)| status))
}

/// Waits for the end of a child.
pub fn wait(child: Pid) {
    let _ = retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
}

/// Kills a child, and waits until it is gone, about `wait_max_ms` milliseconds at most; false if it is
/// still there. A killed child stays for as long as the system waits for a disk on its behalf.
pub fn kill(child: Pid, wait_max_ms: u64) -> bool {
    const PAUSE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let _ = kill_process(child, Signal::KILL);
    (0..=wait_max_ms).any(|_| {
        let is_gone = !matches!(status(child), Ok(None));
        if !is_gone {
            let _ = poll(&mut [], Some(&PAUSE));
        }
        is_gone
    })
}

/// Ends the process with a status when it is dropped, by a panic too. Nothing else is dropped: sockets'
/// files and locks are the parent's.
struct End(i32);

impl Drop for End {
    #[expect(
        unsafe_code,
        reason = "the library's exit would run what the parent has registered"
    )]
    fn drop(&mut self) {
        // SAFETY: it ends the process at once.
        unsafe { libc::_exit(self.0) }
    }
}
