//! The signals that the server acts on, as something that the poll reports.

use std::io::{self, Read, Write};
use std::os::unix::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// Signals that have arrived.
pub struct Signals {
    /// Becomes readable when a flag was set.
    wake_ups: UnixStream,
    reload: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
}

impl Signals {
    /// Catches SIGHUP, SIGINT and SIGTERM from now on. The poll reports them with `token`.
    ///
    /// # Errors
    ///
    /// When the system is out of descriptors or memory.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        let (wake_ups, mut sender) = net::UnixStream::pair()?;
        wake_ups.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let mut wake_ups = UnixStream::from_std(wake_ups);
        registry.register(&mut wake_ups, token, Interest::READABLE)?;
        let signals = Signals {
            wake_ups,
            reload: Arc::default(),
            end: Arc::default(),
        };
        for (signal, flag) in [
            (SIGHUP, &signals.reload),
            (SIGINT, &signals.end),
            (SIGTERM, &signals.end),
        ] {
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
}
