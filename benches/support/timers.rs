//! Many timers.

use chinwag::time::Millis;
use chinwag::wheel::Wheel;

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
