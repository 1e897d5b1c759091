//! The system's clocks, read here and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Clock, Millis, Now};

/// Tells the time since the server's start, and the time of day.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose time begins now.
    #[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
    pub fn start() -> SystemClock {
        SystemClock {
            start: Instant::now(),
        }
    }

    /// How long it is until a deadline. The poll rounds this up to its own milliseconds, so the
    /// deadline has passed when the poll returns.
    pub fn until(&self, deadline: Millis) -> Duration {
        Duration::from_millis(deadline.0).saturating_sub(self.start.elapsed())
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
    fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = elapsed.as_millis() as u64;
        let has_fraction = elapsed.subsec_nanos() % 1_000_000 != 0;
        Now {
            at: Millis(millis + u64::from(has_fraction)),
            past: Millis(millis),
            unix_ms: unix.map_or(0, |unix| unix.as_millis() as u64),
        }
    }
}
