//! The system's clocks, read here and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Clock, Millis, Now, Zone};

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

    /// A clock that shows `at` now.
    #[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
    pub fn starting_at(at: Millis) -> SystemClock {
        SystemClock {
            start: Instant::now() - Duration::from_millis(at.0),
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

/// The system's time zone: that of TZ in the environment, or of /etc/localtime.
pub const LOCAL_ZONE: Zone = Zone(local_ahead_s);

/// By how many seconds local time is ahead of UTC at a time that counts in seconds since 1970.
#[expect(unsafe_code, reason = "no crate has this call without it")]
fn local_ahead_s(unix_s: u64) -> i32 {
    let Some(time) = as_time_t(unix_s) else {
        return 0;
    };
    // SAFETY: all of its fields are numbers, and a pointer to text that may be null.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values of the right type that outlive the call, and no other thread
    // changes the environment.
    let result = unsafe { libc::localtime_r(&time, &mut local) };
    match result.is_null() {
        true => 0,
        false => local.tm_gmtoff as i32,
    }
}

/// Makes the C library look again which time zone the system is in.
///
/// localtime(3) does that; localtime_r(3) need not, and does not in glibc. glibc then looks whether
/// /etc/localtime has changed, unless TZ is set. musl keeps the zone with which it started.
#[expect(unsafe_code, reason = "no crate has this call without it")]
pub fn read_zone() {
    // SAFETY: the pointer is to a value of the right type, and nothing uses the result.
    unsafe { libc::localtime(&0) };
}

/// The time as the C library counts it. Where it has 32 bits for that, a time after January 2038 stands
/// for one whole cycles of 28 years earlier: the calendar of these years is the same until 2100.
fn as_time_t(unix_s: u64) -> Option<libc::time_t> {
    const CYCLE_S: u64 = (28 * 365 + 7) * 24 * 3600;
    let latest = libc::time_t::MAX as u64;
    let cycles = unix_s.saturating_sub(latest).div_ceil(CYCLE_S);
    libc::time_t::try_from(unix_s - cycles * CYCLE_S).ok()
}
