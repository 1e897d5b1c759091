//! The system's clocks, read here and nowhere else.

use std::time::Duration;

use crate::time::{Clock, Millis, Now, Zone};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Tells the server's time, and the time of day.
pub struct SystemClock {
    /// Where the server's time begins on the system's monotonic clock, in nanoseconds. It wraps around:
    /// that may be before the system started.
    start_ns: u64,
}

impl SystemClock {
    /// A clock whose time begins now.
    pub fn start() -> SystemClock {
        SystemClock::starting_at(Millis(0))
    }

    /// A clock that shows `at` now.
    pub fn starting_at(at: Millis) -> SystemClock {
        let at_ns = at.0.wrapping_mul(NANOS_PER_MILLI);
        SystemClock {
            start_ns: monotonic_ns().wrapping_sub(at_ns),
        }
    }

    /// The clock of another program since the system started, by its [`start_ns`](Self::start_ns).
    pub fn going_on_from(start_ns: u64) -> SystemClock {
        SystemClock { start_ns }
    }

    /// Where its time begins on the system's monotonic clock, in nanoseconds.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// How long it is until a deadline. The poll rounds this up to its own milliseconds, so the
    /// deadline has passed when the poll returns.
    pub fn until(&self, deadline: Millis) -> Duration {
        let elapsed = Duration::from_nanos(self.elapsed_ns());
        Duration::from_millis(deadline.0).saturating_sub(elapsed)
    }

    fn elapsed_ns(&self) -> u64 {
        monotonic_ns().wrapping_sub(self.start_ns)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let elapsed_ns = self.elapsed_ns();
        Now {
            at: Millis(elapsed_ns.div_ceil(NANOS_PER_MILLI)),
            past: Millis(elapsed_ns / NANOS_PER_MILLI),
            unix_ms: since_1970().as_millis() as u64,
        }
    }
}

/// The system's monotonic clock, in nanoseconds: unlike an `Instant`, another program can go on with it.
#[expect(unsafe_code, reason = "no dependency has this call without it")]
fn monotonic_ns() -> u64 {
    // SAFETY: all of its fields are numbers.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a value of the right type. Linux always has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time since the beginning of 1970; 0 before that.
#[cfg(not(all(target_env = "musl", target_pointer_width = "32")))]
#[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
pub fn since_1970() -> Duration {
    use std::time::{SystemTime, UNIX_EPOCH};
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO)
}

/// The same from musl's call that counts in 64 bits. On a processor with 32, `SystemTime` still asks the
/// one that counts in 32, which fails after January 2038, and panics then.
#[cfg(all(target_env = "musl", target_pointer_width = "32"))]
#[expect(unsafe_code, reason = "no crate has this call")]
pub fn since_1970() -> Duration {
    /// `struct timespec` since musl 1.2, with the bytes that fill up its nanoseconds.
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn __clock_gettime64(clock: libc::clockid_t, time: *mut Timespec) -> libc::c_int;
    }
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the pointer is to a value of the right type. Linux always has this clock.
    unsafe { __clock_gettime64(libc::CLOCK_REALTIME, &raw mut time) };
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    // At most 999,999,999, of which a big-endian processor may leave the upper half as it was: 0.
    Duration::new(seconds, time.nanoseconds as u32)
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
#[allow(
    deprecated,
    reason = "libc will give musl 64 bits, and this works with either"
)]
fn as_time_t(unix_s: u64) -> Option<libc::time_t> {
    const CYCLE_S: u64 = (28 * 365 + 7) * 24 * 3600;
    let latest = libc::time_t::MAX as u64;
    let cycles = unix_s.saturating_sub(latest).div_ceil(CYCLE_S);
    libc::time_t::try_from(unix_s - cycles * CYCLE_S).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_where_another_was() {
        let clock = SystemClock::start();
        assert!(clock.now().past < Millis(60_000));
        let next = SystemClock::going_on_from(clock.start_ns());
        let before = clock.now();
        let between = next.now();
        let after = clock.now();
        assert!(before.at <= between.at && between.at <= after.at);
        assert!(before.past <= between.past && between.past <= after.past);
    }

    /// The server may have run for longer than the system has since it started again.
    #[test]
    fn a_clock_may_begin_before_the_system_did() {
        let at = Millis(100 * 365 * 24 * 3600 * 1000);
        let clock = SystemClock::starting_at(at);
        let now = clock.now();
        assert!(now.past >= at && now.past < at + Millis(60_000), "{now:?}");
        assert!(clock.until(now.past + Millis(60_000)) <= Duration::from_secs(60));
    }
}
