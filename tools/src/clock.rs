//! The clock: where the load generators read the time and wait for it.

use std::thread;
use std::time::{Duration, Instant};

/// Tells how much time has passed since it was started. A copy tells the same.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "measuring takes a clock")]
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub fn now_us(self) -> u64 {
        self.elapsed().as_micros() as u64
    }

    /// Waits until this much time has passed since the start.
    #[expect(clippy::disallowed_methods, reason = "what is measured has its times")]
    pub fn sleep_until(self, elapsed: Duration) {
        thread::sleep(elapsed.saturating_sub(self.elapsed()));
    }
}
