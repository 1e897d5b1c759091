//! Points in time as the core sees them: numbers that the caller passes in.
//!
//! Nothing here reads a clock; the one place that does is `server`.

use std::ops::Add;

/// Milliseconds on a clock that only ever goes forward, counted from the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A time that does not come.
    pub const NEVER: Millis = Millis(u64::MAX);

    /// A whole number of seconds as milliseconds.
    pub const fn from_secs(secs: u32) -> Millis {
        Millis(secs as u64 * 1000)
    }

    /// How many milliseconds lie between `earlier` and `self`; 0 if `earlier` is the later one.
    pub const fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The same moment in microseconds.
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

/// The present moment, read from the clocks once a turn.
///
/// It is given by two points in time. What happens now is stamped with the later one and timers
/// fire by the earlier one: a timeout that is counted from a stamp is then never over too early,
/// though clocks are finer than milliseconds and reading what has been sent takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The moment rounded up: the stamp for what happens now.
    pub at: Millis,
    /// A moment that is over, rounded down: what is due by then may fire.
    pub past: Millis,
    /// Wall-clock time for people, in milliseconds since 1970-01-01 UTC. It may jump.
    pub unix_ms: u64,
}

impl Now {
    /// A moment that falls exactly on a millisecond.
    pub const fn exactly(at: Millis, unix_ms: u64) -> Now {
        Now {
            at,
            past: at,
            unix_ms,
        }
    }
}

/// What tells the time: a clock, or a moment that stands still.
pub trait Clock {
    /// The present moment.
    fn now(&self) -> Now;
}

impl Clock for Now {
    fn now(&self) -> Now {
        *self
    }
}
