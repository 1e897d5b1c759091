//! The time as the core sees it: numbers that others pass to it.
//!
//! Nothing here reads a clock; only `server/clock.rs` does.

use std::ops::Add;

/// A point in time or a span of it, in milliseconds. Points count from the server's start, on a clock
/// that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A point in time that never comes.
    pub const NEVER: Millis = Millis(u64::MAX);

    /// A whole number of seconds as milliseconds.
    pub const fn from_secs(secs: u32) -> Millis {
        Millis(secs as u64 * 1000)
    }

    /// The span from `earlier` to `self`; 0 if `earlier` is the later one.
    pub const fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The same in microseconds.
    pub const fn micros(self) -> u64 {
        self.0.saturating_mul(1000)
    }

    /// Whole seconds, rounded down.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }
}

impl Add for Millis {
    type Output = Millis;

    fn add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }
}

/// One instant, rounded both ways. Events are stamped with `at`, timers fire by `past`: a timeout that
/// runs from a stamp never ends early, although clocks are finer than milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Rounded up: the stamp of what happens now.
    pub at: Millis,
    /// Rounded down, or earlier: timers that are due by then may fire.
    pub past: Millis,
    /// Wall-clock time for people, in milliseconds since 1970-01-01 UTC. It may jump.
    pub unix_ms: u64,
}

impl Now {
    /// An instant that falls exactly on a millisecond.
    pub const fn exactly(at: Millis, unix_ms: u64) -> Now {
        Now {
            at,
            past: at,
            unix_ms,
        }
    }
}

/// Something that tells the time: a clock, or an instant that stands still.
pub trait Clock {
    /// The present instant.
    fn now(&self) -> Now;
}

impl Clock for Now {
    fn now(&self) -> Now {
        *self
    }
}
