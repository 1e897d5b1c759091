//! What the benchmarks measure: states that the core can get into, and operations on them.
//!
//! Nothing here measures. An operation does what the server's loop would do, and can be repeated.

#![allow(dead_code, reason = "no benchmark program uses all of it")]

pub mod connections;
pub mod sessions;

use chinwag::protocol::Limits;
use chinwag::time::{Millis, Now};
use chinwag::wheel::Wheel;

/// An event line of a common length.
pub const EVENT: &[u8] = b"MSG 123456 1763800000000 ann Shall we have another cup of tea?\r\n";

/// A message of a common length, as its sender types it.
pub const SAY: &[u8] = b"SAY Shall we have another cup of tea?";

/// Whether `cargo bench` runs the program. `cargo test --all-targets` runs it too, but without
/// optimization measuring takes long and says nothing.
pub fn is_bench() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// The default limits, but with no bound on how many there are of anything.
pub fn limits() -> Limits {
    Limits {
        connections_max: usize::MAX,
        sessions_max: usize::MAX,
        rooms_max: usize::MAX,
        per_address_max: usize::MAX,
        lines_per_s: 0,
        ..Limits::default()
    }
}

/// The time `at_ms` milliseconds after the start.
pub fn moment(at_ms: u64) -> Now {
    Now::exactly(Millis(at_ms), 1_763_800_000_000 + at_ms)
}

/// A wheel with timers that are due within the next two hours, like those of sessions.
pub struct Timers {
    wheel: Wheel,
    timers: u32,
    deadlines: u64,
}

impl Timers {
    pub fn new(count: usize) -> Timers {
        let mut timers = Timers {
            wheel: Wheel::new(),
            timers: 0,
            deadlines: 0,
        };
        for _ in 0..count {
            timers.file();
            timers.timers += 1;
        }
        timers
    }

    /// Files one more timer and cancels it.
    pub fn file_and_cancel(&mut self) {
        self.file();
        self.wheel.cancel(self.timers);
    }

    fn file(&mut self) {
        // Deadlines in no order; the stride comes to each millisecond once.
        self.deadlines += 1;
        let when = Millis(1 + self.deadlines * 3_600_007 % 7_200_000);
        self.wheel.file(self.timers, when);
    }
}
