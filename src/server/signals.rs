//! The signals that the server heeds, as something that a poll reports.
//!
//! What a signal means is `server`'s business.

use std::io::{self, Read, Write};
use std::os::unix::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// Signals that have come and were not yet taken.
pub struct Signals {
    /// Has something to read when a flag was set.
    wake_ups: UnixStream,
    is_to_reload: Arc<AtomicBool>,
    is_to_end: Arc<AtomicBool>,
}

impl Signals {
    /// Heeds SIGHUP, SIGINT and SIGTERM from now on, and has a poll report them.
    ///
    /// # Errors
    ///
    /// Those of the system, which has no descriptors left.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        let (wake_ups, mut sender) = net::UnixStream::pair()?;
        wake_ups.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let mut wake_ups = UnixStream::from_std(wake_ups);
        registry.register(&mut wake_ups, token, Interest::READABLE)?;
        let signals = Signals {
            wake_ups,
            is_to_reload: Arc::default(),
            is_to_end: Arc::default(),
        };
        for (signal, flag) in [
            (SIGHUP, &signals.is_to_reload),
            (SIGINT, &signals.is_to_end),
            (SIGTERM, &signals.is_to_end),
        ] {
            // In this order: who is woken up finds the flag set.
            flag::register(signal, Arc::clone(flag))?;
            pipe::register(signal, sender.try_clone()?)?;
        }
        // One that came between the two had nobody to wake up.
        sender.write_all(b"X")?;
        Ok(signals)
    }

    /// Empties the stream of wake-ups, so that the poll reports the next one.
    pub fn clear(&mut self) {
        let mut buffer = [0; 64];
        while self.wake_ups.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    }

    /// Whether SIGHUP has come since this was asked last.
    pub fn take_reload(&self) -> bool {
        self.is_to_reload.swap(false, Ordering::Relaxed)
    }

    /// Whether a signal has asked for the end.
    pub fn is_to_end(&self) -> bool {
        self.is_to_end.load(Ordering::Relaxed)
    }
}
