//! The time as the core sees it: numbers that others pass to it.
//!
//! Nothing here reads a clock; only `server/clock.rs` does.

use std::fmt;
use std::ops::Add;

use crate::state::saved;

/// A point in time or a span of it, in milliseconds. Points count from the server's start, on a clock
/// that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

saved!(struct Millis(ms));

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

/// A time zone: how far local time is ahead of UTC, in seconds, at a time that counts in seconds since
/// 1970-01-01 UTC.
#[derive(Clone, Copy)]
pub struct Zone(pub fn(unix_s: u64) -> i32);

impl Zone {
    /// Universal time.
    pub const UTC: Zone = Zone(|_| 0);

    /// The local time at a moment, in milliseconds since 1970-01-01 UTC.
    pub fn local(self, unix_ms: u64) -> LocalTime {
        let unix_s = unix_ms / 1000;
        LocalTime::of(unix_s, self.0(unix_s))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zone(…)")
    }
}

const DAY_S: u64 = 24 * 3600;

/// What a clock on the wall shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The date.
    pub day: Day,
    /// The minute of the day, from 0.
    pub minute: u16,
}

impl LocalTime {
    /// The local time at a moment, in seconds since 1970-01-01 UTC, where it is `ahead_s` seconds ahead.
    pub fn of(unix_s: u64, ahead_s: i32) -> LocalTime {
        let local_s = unix_s.saturating_add_signed(i64::from(ahead_s));
        LocalTime {
            day: Day(local_s / DAY_S),
            minute: (local_s % DAY_S / 60) as u16,
        }
    }
}

/// A date, as the number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u64);

saved!(struct Day(number));

impl Day {
    /// A day on which nothing happens.
    pub const NEVER: Day = Day(u64::MAX);

    /// The year, the month from 1, and the day of the month from 1, by the Gregorian calendar.
    ///
    /// The year is taken to begin in March, so that the leap day is its last: then the lengths of its
    /// months are those of a straight line, rounded (Howard Hinnant, chrono-Compatible Low-Level Date
    /// Algorithms, `civil_from_days`).
    pub fn civil(self) -> (u64, u64, u64) {
        const DAYS_OF_400_YEARS: u64 = 146_097;
        let days = self.0 + 719_468; // since 0000-03-01
        let (era, of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let of_month = of_year - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        (era * 400 + year_of_era + next, month, of_month)
    }
}

/// Shows it for people: `Friday 27 November 2026`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEEKDAYS: [&str; 7] = [
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
            "Monday",
            "Tuesday",
            "Wednesday",
        ];
        #[rustfmt::skip]
        const MONTHS: [&str; 12] = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September",
            "October", "November", "December",
        ];
        let (year, month, day) = self.civil();
        let weekday = WEEKDAYS[(self.0 % 7) as usize];
        let month = MONTHS[month as usize - 1];
        write!(f, "{weekday} {day} {month} {year}")
    }
}

/// A moment of universal time, in seconds since 1970-01-01.
pub struct Utc(pub u64);

/// Shows it as RFC 3339 has it: `2026-11-27T17:32:09Z`.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = Day(self.0 / DAY_S).civil();
        let of_day = self.0 % DAY_S;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Shows it as `17:32`.
impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_date_that_the_calendar_has() {
        for (unix_s, date) in [
            (0, "Thursday 1 January 1970"),
            (951_782_399, "Monday 28 February 2000"),
            (951_782_400, "Tuesday 29 February 2000"),
            (951_868_800, "Wednesday 1 March 2000"),
            (1_763_800_000, "Saturday 22 November 2025"),
            (1_798_761_599, "Thursday 31 December 2026"),
            (1_798_761_600, "Friday 1 January 2027"),
            (2_147_483_648, "Tuesday 19 January 2038"),
            (4_107_542_400, "Monday 1 March 2100"),
        ] {
            assert_eq!(Day(unix_s / DAY_S).to_string(), date);
        }
    }

    #[test]
    fn a_moment_is_shown_as_logs_have_it() {
        for (unix_s, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_764_264_729, "2025-11-27T17:32:09Z"),
            (2_147_483_647, "2038-01-19T03:14:07Z"),
            (4_294_967_296, "2106-02-07T06:28:16Z"),
        ] {
            assert_eq!(Utc(unix_s).to_string(), shown);
        }
    }

    #[test]
    fn every_day_is_followed_by_the_next_of_its_month_or_by_a_first() {
        let mut last = Day(0).civil();
        for days in 1..200_000 {
            let (year, month, day) = Day(days).civil();
            match day {
                1 if month == 1 => assert_eq!((year - 1, 12, 31), last),
                1 => assert_eq!((year, month - 1), (last.0, last.1)),
                _ => assert_eq!((year, month, day - 1), last),
            }
            assert!(day > 1 || last.2 >= 28);
            last = (year, month, day);
        }
    }

    #[test]
    fn local_time_is_ahead_of_utc_by_what_the_zone_says() {
        let new_york = Zone(|_| -5 * 3600);
        let kathmandu = Zone(|unix_s| if unix_s < 86_400 { 0 } else { 5 * 3600 + 2700 });
        for (zone, unix_ms, day, shown) in [
            (Zone::UTC, 0, 0, "00:00"),
            (Zone::UTC, 86_399_999, 0, "23:59"),
            (new_york, 86_400_000, 0, "19:00"),
            // Before 1970 there is no time.
            (new_york, 0, 0, "00:00"),
            (kathmandu, 86_399_999, 0, "23:59"),
            (kathmandu, 86_400_000, 1, "05:45"),
        ] {
            let local = zone.local(unix_ms);
            assert_eq!((local.day, local.to_string()), (Day(day), shown.to_owned()));
        }
    }
}
