//! An alarm for the poll that rings as exactly as the clock can tell.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tools::clock::Clock;

/// Wakes the poll. A poll's own timeout is in whole milliseconds, which is too coarse to send
/// thousands of messages a second each at its time.
pub struct Alarm {
    timer: OwnedFd,
    set_for_us: Option<u64>,
}

impl Alarm {
    pub fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        SourceFd(&timer.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Alarm {
            timer,
            set_for_us: None,
        })
    }

    /// Gives the timeout for a poll that is to last until `deadline_us`, setting the alarm if
    /// there has to be one.
    pub fn set(&mut self, clock: Clock, deadline_us: u64) -> io::Result<Option<Duration>> {
        let left_us = deadline_us.saturating_sub(clock.now_us());
        if left_us == 0 {
            return Ok(Some(Duration::ZERO));
        }
        if self.set_for_us != Some(deadline_us) {
            let it_value = Timespec {
                tv_sec: (left_us / 1_000_000) as i64,
                tv_nsec: (left_us % 1_000_000 * 1_000) as _,
            };
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value,
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            self.set_for_us = Some(deadline_us);
        }
        Ok(None)
    }

    /// It has rung.
    pub fn rung(&mut self) {
        self.set_for_us = None;
    }
}
