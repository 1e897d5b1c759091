//! The signals that the server acts on, as something that the poll reports.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level::pipe};

/// The signals that are caught.
pub const CAUGHT: [i32; 5] = [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2];

/// Signals that have arrived.
pub struct Signals {
    /// Becomes readable when a flag was set.
    wake_ups: UnixStream,
    reload: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    upgrade: Arc<AtomicBool>,
    stats: Arc<AtomicBool>,
}

/// Lets a write beyond the limit on the size of files fail like any other, in the programs and processes that
/// come after this one, too. By default it would end the process.
#[expect(unsafe_code, reason = "no dependency has this call without it")]
fn ignore_long_files() {
    // SAFETY: This sets no function as the handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

impl Signals {
    /// Catches SIGHUP, SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 from now on. The poll reports them with `token`.
    ///
    /// # Errors
    ///
    /// When the system is out of descriptors or memory.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        ignore_long_files();
        let (wake_ups, mut sender) = net::UnixStream::pair()?;
        wake_ups.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let mut wake_ups = UnixStream::from_std(wake_ups);
        registry.register(&mut wake_ups, token, Interest::READABLE)?;
        let signals = Signals {
            wake_ups,
            reload: Arc::default(),
            end: Arc::default(),
            upgrade: Arc::default(),
            stats: Arc::default(),
        };
        for signal in CAUGHT {
            let flag = match signal {
                SIGHUP => &signals.reload,
                SIGUSR1 => &signals.stats,
                SIGUSR2 => &signals.upgrade,
                _ => &signals.end,
            };
            // In this order, so that the loop finds the flag set when it wakes up.
            flag::register(signal, Arc::clone(flag))?;
            pipe::register(signal, sender.try_clone()?)?;
        }
        // A signal between the two registrations has set its flag and woken nothing.
        sender.write_all(b"X")?;
        Ok(signals)
    }

    /// Empties the stream of wake-ups, so that the poll reports the next signal.
    pub fn clear(&mut self) {
        let mut buffer = [0; 64];
        while self.wake_ups.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    }

    /// Whether SIGHUP has arrived since the last call.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// Whether SIGINT or SIGTERM has arrived.
    pub fn is_to_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether SIGUSR2 has arrived since the last call.
    pub fn take_upgrade(&self) -> bool {
        self.upgrade.swap(false, Ordering::Relaxed)
    }

    /// Whether SIGUSR1 has arrived since the last call.
    pub fn take_stats(&self) -> bool {
        self.stats.swap(false, Ordering::Relaxed)
    }

    /// Sends SIGHUP to this process again, if it has arrived and nothing has come of it. Once it is
    /// blocked, it waits for the program that unblocks it.
    pub fn repeat_reload(&self) {
        if self.take_reload() {
            let _ = kill_process(getpid(), Signal::HUP);
        }
    }
}

/// Becomes readable when a signal has arrived.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake_ups.as_fd()
    }
}

/// Lets the signals that are caught wait from now on, also for a program that is executed.
pub fn block() {
    change_mask(libc::SIG_BLOCK);
}

/// Lets them arrive again. Those that have waited have arrived when this returns.
pub fn unblock() {
    change_mask(libc::SIG_UNBLOCK);
}

#[expect(unsafe_code, reason = "no dependency has these calls without it")]
fn change_mask(how: libc::c_int) {
    // SAFETY: a set of signals is numbers, and the first call makes it an empty one. The pointers are
    // to a set that outlives the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in CAUGHT {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(how, &raw const set, std::ptr::null_mut());
    }
}
